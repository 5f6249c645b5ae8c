"""How inputs become claims, drawn as a schematic with the real counts of a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from companion.errors import CompanionError
from companion.show.names import Names
from companion.show.panels import arm_handles, draw_legend
from companion.show.style import INK, PALE, fix_layout, in_style, new_figure
from companion.show.text import format_number


@dataclass(frozen=True)
class Stage:
    """One box: its title, what is done there, and for each line the key of a count with its word for one and many."""

    title: str
    deed: str
    lines: tuple[tuple[str, str, str], ...]


_COLUMNS = 4
_BOX = (1.5, 1.0)  # inches: width and height of a box
_STEP = (1.78, 1.36)  # inches from one box to the next, across and down


@in_style()
def plot_pipeline(
    stages: Sequence[Stage], counts: Mapping[str, int], arms: Sequence[str], *, names: Names, note: str
) -> Figure:
    """The stages of a study as boxes, four a row, joined by arrows.

    Args:
        stages: what is done one after the other.
        counts: numbers of things in a run, by the keys that the stages name; each may be left out.
        arms: arms of the run, shown above with their colours and markers.

    Raises:
        CompanionError: a count that no stage names.
    """
    known = [key for stage in stages for key, _, _ in stage.lines]
    unknown = sorted(set(counts) - set(known))
    if unknown:
        raise CompanionError(
            f"figure pipeline has no place for the counts {', '.join(unknown)}: use {', '.join(known)}"
        )
    rows = math.ceil(len(stages) / _COLUMNS)
    width, height = _STEP[0] * (_COLUMNS - 1) + _BOX[0], _STEP[1] * (rows - 1) + _BOX[1]
    figure = new_figure(height + 0.45, note)
    axes = figure.add_subplot(aspect="equal", xlim=(-0.03, width + 0.03), ylim=(height + 0.03, -0.03))
    axes.set_axis_off()
    for place, stage in enumerate(stages):
        _draw_stage(axes, _corner(place), f"{place + 1}  {stage.title}", stage.deed, _count_lines(stage, counts))
        if place:
            _draw_arrow(axes, _corner(place - 1), _corner(place))
    draw_legend(figure, arm_handles(names.order("arm", arms), names))
    return fix_layout(figure)


def _corner(place: int) -> tuple[float, float]:
    """The upper left corner of a box, in inches from the upper left of the drawing."""
    return place % _COLUMNS * _STEP[0], place // _COLUMNS * _STEP[1]


def _count_lines(stage: Stage, counts: Mapping[str, int]) -> list[str]:
    present = [line for line in stage.lines if line[0] in counts]
    return [f"{format_number(counts[key], 0)} {one if counts[key] == 1 else many}" for key, one, many in present]


def _draw_stage(axes: Axes, corner: tuple[float, float], title: str, deed: str, lines: Sequence[str]) -> None:
    x, y = corner
    width, height = _BOX
    shape = "round,pad=0,rounding_size=0.06"
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=shape, facecolor=PALE, edgecolor="#555555", linewidth=0.8)
    )
    axes.text(x + 0.07, y + 0.15, title, weight="bold", size=8, va="center")
    axes.text(x + 0.07, y + 0.31, deed, size=7, va="center", color="#555555")
    for place, line in enumerate(lines):
        axes.text(x + 0.07, y + 0.52 + 0.165 * place, line, size=8, va="center")


def _draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Straight to the right within a row; at its end down, back and into the first box of the next row."""
    if start[1] == end[1]:
        path = [(start[0] + _BOX[0], start[1] + _BOX[1] / 2)]
        tip = (end[0], end[1] + _BOX[1] / 2)
    else:
        middle = (start[1] + _BOX[1] + end[1]) / 2
        out, back = start[0] + _BOX[0] / 2, end[0] + _BOX[0] / 2
        path = [(out, start[1] + _BOX[1]), (out, middle), (back, middle)]
        tip = (back, end[1])
    axes.plot(*zip(*path, strict=True), color=INK, linewidth=1.1, solid_capstyle="butt")
    head = {"arrowstyle": "-|>,head_length=0.35,head_width=0.18", "color": INK, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=tip, xytext=path[-1], arrowprops=head)
