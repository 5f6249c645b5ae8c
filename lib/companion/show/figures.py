"""The figures of a study: tidy frames of estimates in, a matplotlib figure out.

Every function takes ``names``, the study's vocabulary, and ``note``, the sentence below the figure that says what n,
unit and interval are. It raises CompanionError where the note is empty, or a frame has no rows or lacks a column. An
interval that could not be made is NaN and is not drawn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from companion.errors import CompanionError
from companion.show import panels
from companion.show.names import Names
from companion.show.style import INK, PALE, fix_layout, in_style, new_figure
from companion.show.text import format_number

_ROW = 0.185  # inches of one row of a forest plot
_COLUMNS = 4  # boxes of a pipeline beside each other
_BOX = (1.5, 1.0)  # inches: width and height of a box
_STEP = (1.78, 1.36)  # inches from one box to the next, across and down


@in_style()
def plot_forest(
    cells: pd.DataFrame,
    summaries: pd.DataFrame,
    *,
    treatment: str,
    baseline: str,
    measure: str,
    names: Names,
    note: str,
    group: str = "axis",
    row: str = "source",
) -> Figure:
    """The difference ``treatment`` minus ``baseline`` in each cell, in groups; summaries as diamonds below.

    Args:
        cells: one row per cell; columns ``group``, ``row``, estimate, low, high, n_items, n_seeds.
        summaries: columns label, estimate, low, high; may have no rows.
        treatment, baseline: names of the arms.
        measure: what the difference is of.
    """
    _require("forest", cells, (row, group, "estimate", "low", "high", "n_items", "n_seeds"))
    if not summaries.empty:
        _require("forest", summaries, ("label", "estimate", "low", "high"))
    rows = panels.forest_rows(cells, summaries, group, row, names)
    figure = new_figure(0.85 + _ROW * len(rows), note)
    axes = figure.add_subplot()
    colour = names.style(treatment).colour
    for y, each in enumerate(rows):
        panels.draw_forest_row(axes, y, each, colour)
    panels.finish_forest(axes, rows)
    pair = f"\u201c{names.name('arm', treatment)}\u201d \u2212 \u201c{names.name('arm', baseline)}\u201d"
    axes.set_xlabel(f"difference in {names.name('measure', measure)}: {pair}")
    return fix_layout(figure)


@in_style()
def plot_dots(
    points: pd.DataFrame,
    intervals: pd.DataFrame,
    references: pd.DataFrame | None = None,
    *,
    names: Names,
    note: str,
    panel: str = "measure",
    measure: str = "",
    alike: Sequence[str] = (),
) -> Figure:
    """One panel per value of the column ``panel``: every arm's estimate and interval, every seed as a dot.

    Args:
        points: columns arm, ``panel``, seed, value.
        intervals: columns arm, ``panel``, estimate, low, high.
        references: columns ``panel``, name, value, drawn as dashed lines (what is reached without an arm).
        measure: what all panels show; they share one scale then, else each panel has its own.
        alike: panels that share a scale although the others do not.
    """
    _require("dots", points, ("arm", panel, "seed", "value"))
    _require("dots", intervals, ("arm", panel, "estimate", "low", "high"))
    if references is None or references.empty:
        references = pd.DataFrame(columns=[panel, "name", "value"])
    _require("dots", references, (panel, "name", "value"), empty=True)
    arms, baselines = names.order("arm", intervals["arm"]), list(references["name"].unique())
    shown = names.order(panel, intervals[panel])
    columns = min(2 if measure else 3, len(shown))
    lines = math.ceil(len(shown) / columns)
    heading, foot = (0.5, 0.5) if measure else (0.55, 0.1)
    height = lines * (heading + 0.2 * len(arms)) + foot
    seeds = points["seed"].nunique()
    marks = f"Small dots: single seeds (n = {seeds}). Large marker and bar: estimate and its interval."
    figure = new_figure(height, f"{note} {marks}")
    grid = figure.subplots(lines, columns, sharex=bool(measure), sharey=True, squeeze=False)
    places = dict(zip(shown, grid.flat, strict=False))
    for name in alike[1:]:
        if {alike[0], name} <= set(places):
            places[name].sharex(places[alike[0]])
    for value, axes in places.items():
        chosen = points[points[panel] == value], intervals[intervals[panel] == value]
        panels.draw_arm_dots(axes, arms, *chosen, names)
        panels.draw_references(axes, references[references[panel] == value], baselines)
        axes.set_title(names.name(panel, value))
    panels.hide_unused(grid.flat, len(shown), columns, names.name("measure", measure))
    panels.draw_legend(figure, panels.reference_handles(baselines, names))
    return fix_layout(figure)


@in_style()
def plot_curves(
    curves: pd.DataFrame,
    *,
    x: str,
    names: Names,
    note: str,
    shaded: tuple[float, float, str] | None = None,
    from_zero: bool = False,
) -> Figure:
    """One panel per measure: a curve per arm over the column ``x``, with a band.

    Args:
        curves: columns arm, measure, ``x``, and either seed and value (the band is the range of the seeds) or
            estimate, low and high (the band is the interval).
        x: name of the column of places, numbers.
        shaded: first and last place of a stretch, and what it is called.
        from_zero: whether both scales begin at zero.
    """
    by_seed = "estimate" not in curves.columns
    _require("curves", curves, ("arm", "measure", x, *(("seed", "value") if by_seed else ("estimate", "low", "high"))))
    shown, arms = names.order("measure", curves["measure"]), names.order("arm", curves["arm"])
    place = names.heading(x)
    band = "lowest to highest seed" if by_seed else f"interval, {place} by {place}, not adjusted for their number"
    narrow = len(shown) > 2
    parts = [note, f"Band: {band}.", f"Shaded: {shaded[2]}." if shaded else ""]
    figure = new_figure(2.75 if narrow else 2.7, " ".join(filter(None, parts)))
    grid = figure.subplots(1, len(shown), sharex=True, squeeze=False)
    draw = panels.draw_seeds if by_seed else panels.draw_bands
    for axes, measure in zip(grid.flat, shown, strict=True):
        if shaded:
            axes.axvspan(shaded[0] - 0.5, shaded[1] + 0.5, color=PALE, zorder=0)
            axes.grid(axis="x", visible=False)
        draw(axes, arms, curves[curves["measure"] == measure], x, names)
        title = names.name("measure", measure)
        axes.set_title(title.replace(" (", "\n(", 1) if narrow else title)
        axes.set_xlabel(place)
        if from_zero:
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
    panels.draw_legend(figure, panels.arm_handles(arms, names))
    return fix_layout(figure)


@in_style()
def plot_calibration(curve: pd.DataFrame, ece: pd.DataFrame, *, names: Names, note: str) -> Figure:
    """Accuracy against confidence, one panel per arm, with the number of predictions at each confidence below.

    Args:
        curve: columns arm, confidence, accuracy, count, one row per bin.
        ece: columns arm, estimate, low, high.
    """
    _require("calibration", curve, ("arm", "confidence", "accuracy", "count"))
    _require("calibration", ece, ("arm", "estimate", "low", "high"))
    arms = names.order("arm", curve["arm"])
    columns = len(arms) if len(arms) < 5 else 3
    lines = math.ceil(len(arms) / columns)
    marks = f"Bins of fewer than {panels.LEAST_IN_BIN} predictions are left out of the curve."
    figure = new_figure(2.45 * lines, f"{note} Diagonal: confidence equals accuracy. n: predictions. {marks}")
    grid = figure.subplots(2 * lines, columns, sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1) * lines)
    pairs = list(zip(grid[::2].flat, grid[1::2].flat, strict=True))
    for (upper, lower), arm in zip(pairs, arms, strict=False):
        of_arm = curve[curve["arm"] == arm], ece[ece["arm"] == arm]
        panels.draw_reliability(upper, lower, names.style(arm), *of_arm)
        lower.set_ylim(0, 1.1 * curve["count"].max())
    for upper, lower in pairs[len(arms) :]:
        upper.set_visible(False)
        lower.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy" if axes in grid[::2, 0] else "count")
    return fix_layout(figure)


def _require(figure: str, frame: pd.DataFrame, columns: Sequence[str], empty: bool = False) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise CompanionError(f"figure {figure} needs a frame with the columns {', '.join(missing)}: add them")
    if frame.empty and not empty:
        raise CompanionError(f"figure {figure} was given a frame without rows: run the study before its figures")


@dataclass(frozen=True)
class Stage:
    """One box: its title, what is done there, and for each line the key of a count with its word for one and many."""

    title: str
    deed: str
    lines: tuple[tuple[str, str, str], ...]


@in_style()
def plot_pipeline(
    stages: Sequence[Stage], counts: Mapping[str, int], arms: Sequence[str], *, names: Names, note: str
) -> Figure:
    """The stages of a study as boxes, four a row, joined by arrows.

    ``stages`` are done one after the other; ``counts`` are the numbers of things in a run by the keys that the stages
    name, each of which may be left out; ``arms`` are shown above with their colours and markers. Raises CompanionError
    for a count that no stage names.
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
    panels.draw_legend(figure, panels.arm_handles(names.order("arm", arms), names))
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
