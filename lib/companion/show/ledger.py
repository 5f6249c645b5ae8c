"""The claims ledger of a run: its picture, its table and its page."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion.show.claims import (
    RULE,
    SYMBOLS,
    Claim,
    claims_view,
    collect_remarks,
    count_verdicts,
    describe_overruled,
    describe_shared_evidence,
    format_estimate,
    format_p,
    sort_claims,
    tabulate_claims,
)
from companion.show.html import fill_template
from companion.show.outputs import Legend, write_output
from companion.show.provenance import Provenance
from companion.show.style import INK, WIDTH, figure_contents, fix_layout, in_style, new_figure
from companion.show.tables import table_contents
from companion.show.text import one_line

READING = (
    "Each row has its own scale, since units differ; the line through all rows is zero. The pale area is where the "
    "estimate lies if the claim holds; dashed lines are the claim's threshold or margins."
)
_BAND, _GREY, _RULE = "#DCEBF5", "#555555", "#DDDDDD"
# Inches from the left: id, statement, left and right end of the plots, numbers, marker of the verdict, its word.
_ID, _STATEMENT, _LEFT, _RIGHT, _NUMBERS, _MARKER, _WORD = 0.06, 0.36, 3.02, 4.52, 4.6, 5.95, 6.04
_LETTERS, _FIGURES = 53, 24  # letters that fit on one line of a statement, and of the numbers
_LINE, _PAD, _HEAD = 0.122, 0.15, 0.24  # inches: a line of text, the room around a row's text, the headings


@dataclass(frozen=True)
class Look:
    """How a verdict is drawn: marker, its colour and whether it is filled, and the colour of the word."""

    marker: str
    colour: str
    filled: bool
    word: str


LOOKS = {
    "supported": Look("s", "#0072B2", True, "#004B76"),
    "contradicted": Look("X", "#D55E00", True, "#8A3B00"),
    "undecided": Look("o", "#666666", False, "#444444"),
}


@in_style()
def plot_claims(claims: Sequence[Claim], *, note: str) -> Figure:
    """The claims as rows: statement, interval on a scale of the row's own, numbers, and verdict.

    The verdict is told by colour, marker and word. A pale band marks where the claim puts the estimate. ``note`` is the
    sentence below the figure that says what n and intervals are. Raises CompanionError for no claims, an id used twice
    or an empty note.
    """
    ordered = sort_claims(claims)
    texts = [textwrap.wrap(one_line(claim.statement), _LETTERS) for claim in ordered]
    heights = [
        _LINE * max(2, len(lines), len(_break_numbers(claim))) + _PAD
        for claim, lines in zip(ordered, texts, strict=True)
    ]
    figure = new_figure(_HEAD + sum(heights) + 0.04, f"{note} {READING}")
    figure.set_layout_engine("none")
    top = figure.get_figheight()
    _draw_headings(figure, top - 0.7 * _HEAD)
    top -= _HEAD
    for claim, lines, height in zip(ordered, texts, heights, strict=True):
        _draw_rule(figure, top)
        _write_row(figure, top - height / 2, claim, "\n".join(lines))
        width, tall = figure.get_size_inches()
        box = (_LEFT / width, (top - height) / tall, (_RIGHT - _LEFT) / width, height / tall)
        _draw_interval(figure.add_axes(box), claim)
        top -= height
    _draw_rule(figure, top)
    return fix_layout(figure)


def _draw_interval(axes: Axes, claim: Claim) -> None:
    """Band, threshold, interval and estimate; zero is in the middle, and the largest number near the edge."""
    ends = [claim.estimate, claim.low, claim.high, claim.threshold]
    extent = 1.12 * max((abs(end) for end in ends if math.isfinite(end)), default=0.0) or 1.0
    axes.set_axis_off()
    axes.set(xlim=(-extent, extent), ylim=(-1, 1))
    sides = {"greater": (claim.threshold, extent), "less": (-extent, -claim.threshold)}
    region = sides.get(claim.side, (-claim.threshold, claim.threshold))
    axes.axvspan(*region, ymin=0.08, ymax=0.92, facecolor=_BAND, edgecolor="none", zorder=0)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for border in {*region} - {-extent, 0.0, extent}:
        axes.axvline(border, 0.08, 0.92, color=LOOKS["supported"].colour, linewidth=0.9, linestyle=(0, (2, 1.5)))
    if math.isnan(claim.estimate):
        free = extent / 2 if claim.side == "less" else -extent / 2
        axes.text(free, 0, "no estimate", size=7, color=_GREY, ha="center", va="center")
        return
    look = LOOKS[claim.verdict]
    if not math.isnan(claim.low + claim.high):
        axes.hlines(0, max(claim.low, -extent), min(claim.high, extent), color=look.colour, linewidth=1.6, zorder=2)
    axes.add_line(_marker(look, claim.estimate, 0, zorder=3))


def _marker(look: Look, x: float, y: float, **where: Any) -> Line2D:
    face = look.colour if look.filled else "white"
    return Line2D([x], [y], marker=look.marker, color=look.colour, markerfacecolor=face, markersize=5, **where)


def _write_row(figure: Figure, y: float, claim: Claim, statement: str) -> None:
    """Id and statement to the left of the plot, numbers, unit and verdict to its right, at ``y`` inches."""
    look = LOOKS[claim.verdict]
    _write(figure, _ID, y, one_line(claim.id), weight="bold")
    _write(figure, _STATEMENT, y, statement, size=7)
    numbers = _break_numbers(claim)
    for place, text in enumerate(numbers):
        rise = _LINE * ((len(numbers) - 1) / 2 - place)
        _write(figure, _NUMBERS, y + rise, text, size=7, color=_GREY if text == claim.unit else INK)
    width, height = figure.get_size_inches()
    figure.add_artist(_marker(look, _MARKER / width, y / height, transform=figure.transFigure))
    _write(figure, _WORD, y, claim.verdict, weight="bold", color=look.word)


def _break_numbers(claim: Claim) -> list[str]:
    """Estimate, interval and unit in as few lines as fit."""
    if math.isnan(claim.estimate):
        return ["no estimate"]
    text = format_estimate(claim)
    lines = [text] if len(text) <= _FIGURES else text.replace(" [", "\n[", 1).splitlines()
    return lines + [claim.unit] * bool(claim.unit)


def _draw_headings(figure: Figure, y: float) -> None:
    middle = (_LEFT + _RIGHT) / 2
    heads = {_ID: "claim", _LEFT: "\u2190 lower", _NUMBERS: "estimate [interval]", _MARKER - 0.04: "verdict"}
    sides = {middle: ("0", "center"), _RIGHT: ("higher \u2192", "right")}
    for x, (text, side) in ({x: (text, "left") for x, text in heads.items()} | sides).items():
        _write(figure, x, y, text, size=7, color=_GREY, ha=side, va="baseline")


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    """``text`` at ``x``, ``y`` in inches, centred on ``y``."""
    width, height = figure.get_size_inches()
    look: dict[str, Any] = {"size": 7.5, "va": "center", "linespacing": 1.15} | style
    figure.text(x / width, y / height, text, **look)


def _draw_rule(figure: Figure, y: float) -> None:
    at = y / figure.get_figheight()
    ends = [_ID / WIDTH, 1 - _ID / WIDTH]
    figure.add_artist(Line2D(ends, [at, at], color=_RULE, linewidth=0.6, zorder=-1))


def write_claims(
    claims: Sequence[Claim], folder: Path, note: str, provenance: Provenance, headline: str = ""
) -> tuple[Path, ...]:
    """Write ``claims.csv``, ``.md``, ``.tex``, ``.html``, ``.pdf`` and ``.png`` into ``folder``; returns the paths.

    The csv holds every field. The table leaves out how each claim was tested, which the page says; its remarks stand
    below it.
    ``note`` says in one or two sentences what all claims share, such as how much was trained; ``headline`` is the first
    line of page and table, such as why nothing can be decided and where more can. Raises CompanionError as
    `sort_claims` and `write_output`.
    """
    ordered = sort_claims(claims)
    shown, shared = claims_view(ordered), describe_shared_evidence(ordered)
    summary = count_verdicts(one.verdict for one in ordered)
    caption = f"{headline} Claims and what this run says of them: {summary}".strip()
    rows = [list(shown.columns), *shown.to_numpy().tolist()]
    below = [f"{RULE} {note}", *collect_remarks(ordered), shared]
    legend = Legend("claims", caption, "\n".join(filter(None, below)), rows)
    contents = table_contents(tabulate_claims(ordered), shown, "claims", legend, provenance)
    facts = {"headline": headline, "summary": summary, "note": f"{RULE} {note}", "shared": shared}
    contents["html"] = _fill_page(ordered, provenance, facts)
    about = [headline, note, "" if headline else describe_overruled(ordered)]
    figure = plot_claims(ordered, note=" ".join(filter(None, about)) or RULE)
    contents |= figure_contents(figure, "claims", provenance)
    return write_output(folder, "claims", contents, legend, provenance)


def _fill_page(claims: Sequence[Claim], provenance: Provenance, facts: dict[str, str]) -> bytes:
    rows = [
        asdict(claim) | {"symbol": SYMBOLS[claim.verdict], "interval": format_estimate(claim), "p": format_p(claim)}
        for claim in claims
    ]
    title = f"Claims of the study {provenance.study}"
    return fill_template("claims", title=title, claims=rows, image="claims.png", origin=provenance.footer(), **facts)
