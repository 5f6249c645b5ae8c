"""How every figure looks and is saved: one style, fonts embedded as TrueType, the same bytes each time."""

import io
import textwrap
from functools import partial
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from companion.errors import CompanionError
from companion.show.outputs import Legend, write_output
from companion.show.provenance import Provenance
from companion.show.text import one_line

WIDTH = 6.9  # inches: the text width of a two-column paper
INK = "#222222"
GREY = "#8A8A8A"
PALE = "#F1F1F1"
_FOOT = 0.17  # inches kept free below a figure for the line of its origin
_LINE = 0.135  # inches of one line of the note
_GAP = 0.06  # inches between figure and note
_LETTERS = 122  # letters that fit on one line of the note

STYLE: list[str | Path] = ["default", Path(__file__).with_name("house.mplstyle")]


class NotebookFigure(Figure):
    """A figure that a notebook shows by itself; pyplot, which would show it twice and keep it, is not needed."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        # IPython's own hook; half the width makes the picture sharp on dense screens.
        return render_figure(self, "png", {"Software": None}), {"width": round(100 * self.get_figwidth())}


in_style = partial(matplotlib.style.context, STYLE)
"""The style of the house, over a block or a function; the settings around it come back at its end."""


def new_figure(height: float, note: str) -> Figure:
    """An empty figure, ``WIDTH`` wide: ``height`` inches to draw on, below it ``note`` and a line for the origin.

    Call inside ``in_style()``. Raises CompanionError for an empty note, since a figure must say what its n is.
    """
    if not note.strip():
        raise CompanionError("a figure needs a note: say how many sources, seeds and items it rests on")
    lines = textwrap.wrap(one_line(note), _LETTERS)
    foot = _FOOT + _LINE * len(lines) + _GAP
    total = height + foot
    layout = ConstrainedLayoutEngine(rect=(0, foot / total, 1, height / total))
    figure = NotebookFigure(figsize=(WIDTH, total), layout=layout)
    figure.text(0.008, _FOOT / total, "\n".join(lines), size=7.5, va="bottom", linespacing=1.15)
    return figure


def fix_layout(figure: Figure) -> Figure:
    """Fix the layout of ``figure``, so that its bytes do not depend on how often it is drawn or shown."""
    # The second pass sees the tick labels of the final axes sizes.
    figure.draw_without_rendering()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def save_figure(figure: Figure, folder: Path, name: str, provenance: Provenance, caption: str = "") -> tuple[Path, ...]:
    """Write ``<name>.pdf`` and ``<name>.png`` (200 dpi) into ``folder``, with the origin in small grey and as metadata.

    The bytes depend on the figure and the origin alone: no date, no version. Saving twice changes nothing.
    ``caption`` is what the index page says of the figure. Raises CompanionError as ``write_output`` does.
    """
    contents = figure_contents(figure, name, provenance)
    return write_output(folder, name, contents, Legend("figure", caption), provenance)


def figure_contents(figure: Figure, name: str, provenance: Provenance) -> dict[str, bytes]:
    """The bytes of a figure by file ending, pdf and png, as `save_figure` writes them."""
    _write_origin(figure, provenance.footer())
    # A key set to None is left out: dates and versions would change the bytes.
    about = {"Title": f"{name} ({provenance.study})", "Creator": None}
    pdf = about | {"Subject": provenance.footer(), "Keywords": " ".join(sorted(provenance.runs))}
    png = {"Title": about["Title"], "Description": provenance.footer(), "Runs": pdf["Keywords"], "Software": None}
    return {
        "pdf": render_figure(figure, "pdf", pdf | {"Producer": None, "CreationDate": None}),
        "png": render_figure(figure, "png", png),
    }


def _write_origin(figure: Figure, footer: str) -> None:
    for text in figure.texts:
        if text.get_gid() == "origin":
            text.set_text(footer)
            return
    with in_style():
        y = 0.045 / figure.get_figheight()
        figure.text(0.992, y, footer, size=6, color=GREY, ha="right", va="bottom", gid="origin")


def render_figure(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    """The bytes of a figure file of this kind ("png" or "pdf"), in the style of the house."""
    buffer = io.BytesIO()
    with in_style():
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()
