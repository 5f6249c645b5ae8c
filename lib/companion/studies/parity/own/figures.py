"""Pictures of an audit: relabellings and what was seen, pairs of groups, and C by the number of results."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from companion.show import panels
from companion.show.names import Style
from companion.show.style import GREY, INK, fix_layout, in_style, new_figure
from companion.show.text import format_number, one_line
from companion.studies.parity.names import LOOKS
from companion.studies.parity.own.audit import Audit
from companion.studies.parity.own.part import SHOWN_GROUPS

ALL = Style("all groups", INK, "o")


def _grid(count: int, columns: int) -> tuple[int, int]:
    return math.ceil(count / columns), min(count, columns)


@in_style()
def plot_null(found: Audit, note: str) -> Figure:
    """F1: C over relabellings as a histogram, and what was seen, a panel for each attribute."""
    lines, columns = _grid(len(found.null), 3)
    figure = new_figure(1.75 * lines + 0.2, f"{note} Grey: C when labels are exchanged; line: C that was seen.")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, (name, values) in zip(grid.flat, found.null.items(), strict=False):
        axes.hist(values[1:], bins=min(40, 5 + len(values) // 25), color=GREY, alpha=0.6)
        axes.axvline(values[0], color=LOOKS[1].colour, linewidth=1.8)
        reach = 1.1 * np.abs(values).max() or 1.0
        axes.set(xlim=(-reach, reach), title=one_line(name), yticks=())
        axes.locator_params(axis="x", nbins=4)
    panels.hide_unused(grid.flat, len(found.null), columns, "C")
    return fix_layout(figure)


@in_style()
def plot_pairs(found: Audit, note: str) -> Figure:
    """F2: observed over expected results for each pair of groups, attributes of at most ``SHOWN_GROUPS`` groups."""
    tables = {
        name: rows.pivot(index="query_group", columns="result_group", values="ratio").reindex(
            index=rows["query_group"].unique(), columns=rows["query_group"].unique()
        )
        for name, rows in found.by_group.groupby("attribute", sort=False)
    }
    shown = {str(name): table for name, table in tables.items() if len(table) <= SHOWN_GROUPS} or {
        "too many groups to show": pd.DataFrame([[np.nan]])
    }
    lines, columns = _grid(len(shown), 2)
    most = max(map(len, shown.values()))
    scale = "1: as many as if query and result were independent; red: more, blue: fewer."
    figure = new_figure(lines * (1.3 + 0.26 * most), f"{note} {scale}")
    grid = figure.subplots(lines, columns, squeeze=False)
    ratios = np.concatenate([table.to_numpy(dtype=float).ravel() for table in shown.values()])
    reach = max(math.log(1.5), float(np.abs(_take_logs(ratios)).max()))
    for axes, (name, table) in zip(grid.flat, shown.items(), strict=False):
        _draw_heat(axes, table, reach)
        axes.set_title(one_line(name))
        axes.set_xlabel("group of the result")
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("group of the query")
    return fix_layout(figure)


def _take_logs(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.clip(np.nan_to_num(ratios, nan=1.0), 1e-3, None))
    return logs


def _draw_heat(axes: Axes, table: pd.DataFrame, reach: float) -> None:
    """Blue below one, red above, on a scale of logarithms up to ``reach``; every cell says its number."""
    values = table.to_numpy(dtype=float)
    logs = _take_logs(values)
    axes.imshow(logs, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    size = 7.5 if len(table) <= 6 else 6
    for (row, column), value in np.ndenumerate(values):
        dark = abs(logs[row, column]) > 0.6 * reach
        axes.text(
            column, row, format_number(value, 2), ha="center", va="center", size=size, color="white" if dark else INK
        )
    names = [_shorten(str(name)) for name in table.columns]
    turned = len(names) > 4 or max(map(len, names)) > 10
    axes.set_xticks(range(len(names)), names, rotation=35 * turned, ha="right" if turned else "center")
    axes.set_yticks(range(len(table)), [_shorten(str(name)) for name in table.index])
    axes.tick_params(length=0)
    axes.grid(visible=False)


def _shorten(name: str, letters: int = 18) -> str:
    name = one_line(name)
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


@in_style()
def plot_depths(found: Audit, note: str) -> Figure:
    """F3: C with its interval by K, of all groups and of each against the rest, a panel for each attribute."""
    parts = {str(name): rows for name, rows in found.by_k.groupby("attribute", sort=False)}
    lines, columns = _grid(len(parts), 2)
    most = max(rows["group"].nunique() for rows in parts.values())
    figure = new_figure(lines * (2.0 + 0.11 * most), f"{note} Coloured: one group against all others.")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, (name, rows) in zip(grid.flat, parts.items(), strict=False):
        _draw_depths(axes, rows)
        axes.set_title(one_line(name))
    panels.hide_unused(grid.flat, len(parts), columns, "K")
    for axes in grid[:, 0]:
        axes.set_ylabel("C")
    return fix_layout(figure)


def _draw_depths(axes: Axes, rows: pd.DataFrame) -> None:
    groups, depths = list(rows["group"].unique()), sorted(rows["k"].unique())
    axes.axhline(0, color=GREY, linewidth=0.8)
    for place, group in enumerate(groups):
        own = rows[rows["group"] == group].sort_values("k")
        look = ALL if not place else LOOKS[(place - 1) % len(LOOKS)]
        x = np.arange(len(depths)) + 0.6 * ((place + 0.5) / len(groups) - 0.5)
        axes.vlines(x, own["centred_low"], own["centred_high"], color=look.colour, linewidth=1.3)
        # Groups that share a colour differ in their filling.
        inside = "white" if place > len(LOOKS) else look.colour
        axes.plot(x, own["centred"], look.marker, color=look.colour, mfc=inside, markersize=4, label=_shorten(group))
    axes.set_xticks(range(len(depths)), [str(depth) for depth in depths])
    axes.set_xlim(-0.5, len(depths) - 0.5)
    axes.grid(axis="x", visible=False)
    if len(groups) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.22), ncols=3, fontsize=6.5, borderaxespad=0)
