"""Pieces the figures are put together from: rows of a forest plot, dots per arm, curves, reliability, legends."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from companion.show.names import Names, Style
from companion.show.style import GREY, INK, PALE
from companion.show.text import format_interval, format_number, one_line

_REFERENCE_DASHES = ((0, (1, 1.2)), (0, (4, 2)), (0, (6, 1.5, 1, 1.5)), (0, (2, 3)))
LEAST_IN_BIN = 20  # predictions of a bin below which its accuracy is noise and is not drawn
_LEGEND_LETTERS = 112  # letters that fit on one line of a legend, six per symbol counted in


@dataclass(frozen=True)
class ForestRow:
    """One row of a forest plot: ``kind`` is head, cell or summary; a head has no numbers (NaN)."""

    kind: str
    text: str
    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    count: str = ""


def forest_rows(cells: pd.DataFrame, summaries: pd.DataFrame, group: str, row: str, names: Names) -> list[ForestRow]:
    """The rows from top to bottom: a head for each value of ``group`` with its cells, then a head with the summaries.

    ``row`` is the column that tells the cells of a group apart.
    """
    rows = []
    for value in names.order(group, cells[group]):
        rows.append(ForestRow("head", one_line(names.name(group, value))))
        for text, cell in zip(cells.loc[cells[group] == value, row], _rows(cells[cells[group] == value]), strict=True):
            count = f"{format_number(cell.n_items, 0)} \u00d7 {format_number(cell.n_seeds, 0)}"
            rows.append(ForestRow("cell", one_line(names.name(row, text)), cell.estimate, cell.low, cell.high, count))
    if not summaries.empty:
        rows.append(ForestRow("head", "summary"))
    labels = [one_line(names.name(group, label)) for label in summaries.get("label", [])]
    ends = zip(labels, _rows(summaries), strict=True)
    return rows + [ForestRow("summary", label, row.estimate, row.low, row.high) for label, row in ends]


def _rows(frame: pd.DataFrame) -> list[Any]:
    """The rows of ``frame`` as named tuples; what stands in a cell is the caller's promise, not the type checker's."""
    return list(frame.itertuples())


def draw_forest_row(axes: Axes, y: float, row: ForestRow, colour: str) -> None:
    """Draw one row at height ``y``: a square with its interval, or a diamond as wide as the interval."""
    if row.kind == "head":
        return
    if row.kind == "summary" and not pd.isna(row.low + row.high):
        corners = [(row.low, y), (row.estimate, y - 0.32), (row.high, y), (row.estimate, y + 0.32)]
        axes.add_patch(Polygon(corners, facecolor=INK, edgecolor=INK, linewidth=0.8, zorder=3))
    else:
        axes.hlines(y, row.low, row.high, color=colour, linewidth=1.3, zorder=2)
        marker = "D" if row.kind == "summary" else "s"
        axes.plot(row.estimate, y, marker, color=INK if row.kind == "summary" else colour, markersize=4, zorder=3)
    _write_beside(axes, y, format_interval(row.estimate, row.low, row.high), row.count, INK)


def finish_forest(axes: Axes, rows: Sequence[ForestRow]) -> None:
    """Labels to the left, column heads to the right, a line at zero, limits that hold zero and every interval."""
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row.text for row in rows])
    for y, (label, row) in enumerate(zip(axes.get_yticklabels(), rows, strict=True)):
        if row.kind == "head":
            label.set_fontweight("bold")
            axes.axhspan(y - 0.45, y + 0.45, color=PALE, zorder=0)
    ends = [end for row in rows for end in (row.low, row.high, row.estimate) if not pd.isna(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = 0.06 * (high - low or 1.0)
    axes.set_xlim(low - room, high + room)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=7)
    _write_beside(axes, 0, "difference [interval]", "items \u00d7 seeds", "#555555")


def _write_beside(axes: Axes, y: float, numbers: str, count: str, colour: str) -> None:
    """Two columns of text to the right of the axes, at the height ``y``."""
    for points, side, text in ((6, "left", numbers), (152, "right", count)):
        axes.annotate(
            text,
            xy=(1, y),
            xycoords=axes.get_yaxis_transform(),
            xytext=(points, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            size=7.5,
            color=colour,
        )


def draw_arm_dots(axes: Axes, arms: Sequence[str], points: pd.DataFrame, intervals: pd.DataFrame, names: Names) -> None:
    """One line per arm, first on top: estimate and interval, and below them one dot per seed."""
    for place, arm in enumerate(arms):
        style = names.style(arm)
        seeds = points.loc[points["arm"] == arm, "value"]
        axes.plot(
            seeds, [place + 0.24] * len(seeds), "o", color=style.colour, markersize=3, alpha=0.55, markeredgewidth=0
        )
        for row in _rows(intervals[intervals["arm"] == arm]):
            axes.hlines(place - 0.08, row.low, row.high, color=style.colour, linewidth=1.6)
            axes.plot(row.estimate, place - 0.08, style.marker, color=style.colour, markersize=5.5)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_yticks(range(len(arms)), [one_line(names.style(arm).label) for arm in arms])
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)


def draw_references(axes: Axes, references: pd.DataFrame, every: Sequence[str]) -> None:
    """A dashed line per baseline; ``every`` lists all baselines of the figure, so that each keeps its dash."""
    for row in _rows(references):
        dash = _REFERENCE_DASHES[list(every).index(row.name) % len(_REFERENCE_DASHES)]
        axes.axvline(row.value, color="#555555", linewidth=1, linestyle=dash, zorder=1)


def reference_handles(every: Sequence[str], names: Names) -> list[Line2D]:
    """Legend entries for the lines of ``draw_references``."""
    return [
        Line2D([], [], color="#555555", linewidth=1, label=one_line(names.name("reference", one)), linestyle=dash)
        for one, dash in zip(every, _REFERENCE_DASHES * len(every), strict=False)
    ]


def draw_seeds(axes: Axes, arms: Sequence[str], values: pd.DataFrame, x: str, names: Names) -> None:
    """Over ``x`` the mean of the seeds of each arm, and their range as a band.

    ``values``: columns arm, ``x``, value; one row per arm, seed and place.
    """
    styles = {arm: names.style(arm) for arm in arms if arm in set(values["arm"])}
    seaborn.lineplot(
        values,
        x=x,
        y="value",
        hue="arm",
        palette={arm: style.colour for arm, style in styles.items()},
        style="arm",
        dashes={arm: style.dash[1] or "" for arm, style in styles.items()},
        markers={arm: style.marker for arm, style in styles.items()},
        markersize=3.5,
        markeredgewidth=0,
        markevery=max(1, values[x].nunique() // 6),  # about six markers on a curve
        errorbar=("pi", 100),
        err_kws={"alpha": 0.18, "linewidth": 0},
        legend=False,
        ax=axes,
    )
    axes.set_ylabel("")


def draw_bands(axes: Axes, arms: Sequence[str], curves: pd.DataFrame, x: str, names: Names) -> None:
    """Over ``x`` each arm's estimate with its interval as a band; ``curves``: columns arm, x, estimate, low, high."""
    draw_seeds(axes, arms, curves.rename(columns={"estimate": "value"}), x, names)
    for arm in arms:
        curve, colour = curves[curves["arm"] == arm].sort_values(x), names.style(arm).colour
        axes.fill_between(curve[x], curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)


def arm_handles(arms: Sequence[str], names: Names) -> list[Line2D]:
    """Legend entries with the colour, dash and marker of each arm."""
    styles = [names.style(arm) for arm in arms]
    return [
        Line2D(
            [],
            [],
            color=style.colour,
            linestyle=style.dash,
            marker=style.marker,
            markersize=4,
            label=one_line(style.label),
        )
        for style in styles
    ]


def draw_reliability(upper: Axes, lower: Axes, style: Style, curve: pd.DataFrame, ece: pd.DataFrame) -> None:
    """One reliability diagram: accuracy over confidence in ``upper``, the number of predictions in ``lower``."""
    filled = curve[curve["count"] > 0].sort_values("confidence")
    drawn = filled[filled["count"] >= LEAST_IN_BIN]
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    upper.plot(drawn["confidence"], drawn["accuracy"], color=style.colour, marker=style.marker, markersize=4)
    upper.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), title=one_line(style.label))
    lower.bar(filled["confidence"], filled["count"], width=0.035, color=style.colour)
    lower.set_xlabel("confidence")
    lower.tick_params(axis="x", labelbottom=True)
    lower.locator_params(axis="y", nbins=2)
    words = [f"ECE {format_interval(row.estimate, row.low, row.high, 2)}" for row in _rows(ece)]
    words.append(f"n = {format_number(curve['count'].sum(), 0)}")
    upper.text(0.04, 0.97, "\n".join(words), va="top", size=7.5, linespacing=1.25)


def draw_legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """One legend above the panels, in as many columns as fit the width; none without handles."""
    if not handles:
        return
    longest = max(len(str(handle.get_label())) for handle in handles)
    most = max(1, min(len(handles), _LEGEND_LETTERS // (longest + 6)))
    rows = math.ceil(len(handles) / most)
    columns = math.ceil(len(handles) / rows)
    # A legend is filled column by column; readers go row by row.
    by_row = [handle for start in range(columns) for handle in handles[start::columns]]
    figure.legend(handles=by_row, loc="outside upper center", ncols=columns)


def hide_unused(grid: Iterable[Axes], used: int, columns: int, label: str) -> None:
    """Hide the panels after the first ``used``; write ``label`` under the lowest panel of each column."""
    for place, axes in enumerate(grid):
        if place >= used:
            axes.set_visible(False)
        elif place + columns >= used:
            axes.set_xlabel(label)
            axes.tick_params(axis="x", labelbottom=True)
