"""The figures of the picture searches: lists of results as pictures, effects by variant, and tones of the results."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from companion.show.style import GREY, INK, fix_layout, in_style, new_figure
from companion.studies.parity.data.drawing import Images
from companion.studies.parity.data.skin import BOUNDS
from companion.studies.parity.names import LOOKS, NAMES

TONES = ("#F7DECE", "#F3D2A2", "#D5AB88", "#AF7E57", "#7C533E")
"""Colours that stand for the five tones, light to dark."""


@in_style()
def plot_results(lists: Sequence[tuple[str, Images, Sequence[int]]], *, note: str) -> Figure:
    """F5: a query and its results as pictures, a row for each search.

    ``lists`` holds for each search its name, the pictures (1 + K, h, w, 3), the query first, and their tones from 0.
    """
    figure = new_figure(0.2 + 0.78 * len(lists), f"{note} Left of the line: the query. Bars: tone, light to dark.")
    rows = figure.subplots(len(lists), 1, squeeze=False)[:, 0]
    for axes, (name, images, tones) in zip(rows, lists, strict=True):
        side, gap = images.shape[1], images.shape[1] // 8
        strip = np.full((side, len(images) * (side + gap) - gap, 3), 255, dtype=np.uint8)
        for place, (image, tone) in enumerate(zip(images, tones, strict=True)):
            left = place * (side + gap)
            strip[:, left : left + side] = image
            axes.add_patch(Rectangle((left, side + gap / 2), side, gap / 1.5, color=TONES[tone]))
        axes.imshow(strip)
        axes.axvline(side + gap / 2, color=GREY, linewidth=1.2)
        axes.set_title(name, loc="left", size=7.5)
        axes.set(ylim=(side + 1.5 * gap, 0), xticks=(), yticks=())
        axes.set_axis_off()
    return fix_layout(figure)


@in_style()
def plot_variants(table: pd.DataFrame, *, note: str) -> Figure:
    """F6: Delta of every variant with its interval, a panel for each catalogue, each seed beside the others."""
    catalogues = list(dict.fromkeys(table["catalogue"]))
    counts = [table.loc[table["catalogue"] == name, "variant"].nunique() for name in catalogues]
    figure = new_figure(
        0.6 + 0.24 * max(counts),
        f"{note} Colours: catalogues. \u0394: results of the query's tone, less chance. Intervals: 95 %.",
    )
    grid = figure.subplots(1, len(catalogues), squeeze=False)
    for axes, catalogue in zip(grid.flat, catalogues, strict=True):
        chosen = table[table["catalogue"] == catalogue]
        variants = NAMES.order("variant", chosen["variant"])
        for place, (_, rows) in enumerate(chosen.groupby("seed")):
            y = np.array([variants.index(variant) for variant in rows["variant"]]) + 0.12 * place
            spread = np.abs(rows[["excess_low", "excess_high"]].to_numpy().T - rows["excess"].to_numpy())
            look = {"color": LOOKS[place % 6].colour, "marker": LOOKS[place % 6].marker}
            axes.errorbar(rows["excess"], y, xerr=spread, linestyle="none", markersize=4, linewidth=1.2, **look)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(variants)), [NAMES.name("variant", variant) for variant in variants])
        axes.invert_yaxis()
        axes.set(title=NAMES.name("catalogue", catalogue), xlabel="\u0394 (share of results)")
    return fix_layout(figure)


@in_style()
def plot_tones(shares: Sequence[tuple[str, np.ndarray]], *, note: str) -> Figure:
    """F7: tone of the results by tone of the query, as a heat map for each search (title, shares (G, G))."""
    figure = new_figure(2.2, f"{note} Rows sum to 1; 1/G is what chance gives. Tones from 1, light, to dark.")
    grid = figure.subplots(1, len(shares), squeeze=False)
    most = max(float(table.max()) for _, table in shares)
    for axes, (title, table) in zip(grid.flat, shares, strict=True):
        axes.imshow(table, cmap="Blues", vmin=0, vmax=most)
        for (row, column), value in np.ndenumerate(table):
            colour = "white" if value > 0.6 * most else INK
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", size=6.5, color=colour)
        ticks = range(len(table))
        axes.set_xticks(ticks, [str(tick + 1) for tick in ticks])
        axes.set_yticks(ticks, [str(tick + 1) for tick in ticks])
        axes.grid(visible=False)
        axes.set(title=title, xlabel="tone of the result")
    grid[0, 0].set_ylabel("tone of the query")
    return fix_layout(figure)


@in_style()
def plot_angles(angles: pd.DataFrame, *, note: str) -> Figure:
    """F8: the typology angle of skin as known and as measured, and their distributions with the six classes.

    ``angles`` has known, oracle (under the true mask) and rule (under a rule of colour; NaN: not enough pixels).
    """
    figure = new_figure(2.4, note)
    left, right = figure.subplots(1, 2)
    bins = np.arange(-60, 91, 6)
    for place, (column, label) in enumerate(
        {"known": "as drawn", "oracle": "true mask", "rule": "rule of colour"}.items()
    ):
        left.hist(
            angles[column].dropna(), bins=bins, histtype="step", color=LOOKS[place].colour, label=label, linewidth=1.2
        )
        if column != "known":
            right.plot(
                angles["known"], angles[column], LOOKS[place].marker, color=LOOKS[place].colour, markersize=2, alpha=0.5
            )
    for border in BOUNDS:
        left.axvline(border, color=GREY, linewidth=0.5)
    right.plot([-60, 90], [-60, 90], color=INK, linewidth=0.8)
    left.set(xlabel="typology angle (ITA) of the skin (degrees)", ylabel="items")
    right.set(xlabel="as drawn (degrees)", ylabel="measured (degrees)")
    left.legend(fontsize=7)
    return fix_layout(figure)
