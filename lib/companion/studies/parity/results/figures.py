"""The figures of this study: estimates in, a matplotlib figure out."""

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from companion.show import panels
from companion.show.names import Style
from companion.show.style import GREY, INK, fix_layout, in_style, new_figure
from companion.studies.parity.names import LOOKS, NAMES


@in_style()
def plot_levels(rates: pd.DataFrame, *, note: str) -> Figure:
    """F1: how often each test rejects where nothing is to be found, a panel for each design, a row for each test.

    ``rates`` has design, graph, test, estimate, low, high (see `simulation.count_rejections`).
    """
    designs, graphs = NAMES.order("design", rates["design"]), NAMES.order("graph", rates["graph"])
    tests = NAMES.order("arm", rates["test"])
    figure = new_figure(0.75 + 0.27 * len(tests), f"{note} Bars: exact 95 % intervals. Line: 0.05.")
    grid = figure.subplots(1, len(designs), sharey=True, squeeze=False)
    for axes, design in zip(grid.flat, designs, strict=True):
        for place, graph in enumerate(graphs):
            chosen = rates[(rates["design"] == design) & (rates["graph"] == graph)].set_index("test").loc[tests]
            y = np.arange(len(tests)) + (place - (len(graphs) - 1) / 2) * 0.17
            spread = _spread(chosen, "estimate", "low", "high")
            look = _look(LOOKS[place], NAMES.name("graph", graph))
            axes.errorbar(chosen["estimate"], y, xerr=spread, linestyle="none", **look)
        axes.axvline(0.05, color=INK, linewidth=0.8)
        axes.set(title=NAMES.name("design", design), xlabel="rejected at 0.05 (share)", xlim=(-0.03, 1.03))
        axes.set_yticks(range(len(tests)), [NAMES.name("arm", test) for test in tests])
    grid[0, 0].invert_yaxis()
    panels.draw_legend(figure, grid[0, 0].get_legend_handles_labels()[0])
    return fix_layout(figure)


@in_style()
def plot_power(power: pd.DataFrame, *, note: str) -> Figure:
    """F3: power against the strength of the bias, a panel for each search, a curve for each N."""
    graphs, sizes = NAMES.order("graph", power["graph"]), sorted(power["items"].unique())
    figure = new_figure(2.4, f"{note} Bars: exact 95 % intervals. Line: four times in five.")
    grid = figure.subplots(1, len(graphs), sharex=True, sharey=True, squeeze=False)
    for axes, graph in zip(grid.flat, graphs, strict=True):
        for place, size in enumerate(sizes):
            chosen = power[(power["graph"] == graph) & (power["items"] == size)].sort_values("strength")
            spread = _spread(chosen, "power", "power_low", "power_high")
            axes.errorbar(chosen["strength"], chosen["power"], yerr=spread, **_look(LOOKS[place], f"N = {size:,}"))
        axes.axhline(0.8, color=GREY, linewidth=0.8)
        axes.set(title=_break(NAMES.name("graph", graph)), xlabel="bias b", xscale="log", ylim=(-0.02, 1.02))
        _write_numbers(axes.xaxis)
    grid[0, 0].set_ylabel("power of C")
    panels.draw_legend(figure, grid[0, 0].get_legend_handles_labels()[0])
    return fix_layout(figure)


@in_style()
def plot_detectable(curve: pd.DataFrame, *, note: str) -> Figure:
    """F4: the bias that is found four times in five against N, beside what the planner says; a panel per shares."""
    shares, graphs = list(dict.fromkeys(curve["shares"])), NAMES.order("graph", curve["graph"])
    figure = new_figure(2.6, f"{note} Bars: 95 % intervals. Dotted: the planner, with the reciprocity of the search.")
    grid = figure.subplots(1, len(shares), sharex=True, sharey=True, squeeze=False)
    for axes, share in zip(grid.flat, shares, strict=True):
        for place, graph in enumerate(graphs):
            chosen = curve[(curve["graph"] == graph) & (curve["shares"] == share)].sort_values("items")
            spread, look = _spread(chosen, "estimate", "low", "high"), LOOKS[place]
            axes.errorbar(chosen["items"], chosen["estimate"], yerr=spread, **_look(look, NAMES.name("graph", graph)))
            axes.plot(chosen["items"], chosen["planned"], color=look.colour, linestyle=":", linewidth=1.2)
        axes.set(title=f"groups {share} %", xlabel="items in the catalogue (N)", xscale="log", yscale="log")
        _write_numbers(axes.xaxis)
        _write_numbers(axes.yaxis)
    grid[0, 0].set_ylabel("detectable bias b*")
    panels.draw_legend(figure, grid[0, 0].get_legend_handles_labels()[0])
    return fix_layout(figure)


@in_style()
def plot_nulls(draws: pd.DataFrame, *, note: str) -> Figure:
    """F2: C over relabellings of one catalogue and as observed (draw 0), a panel for each search."""
    graphs = NAMES.order("graph", draws["graph"])
    figure = new_figure(2.0, f"{note} Line: as observed.")
    grid = figure.subplots(1, len(graphs), sharex=True, squeeze=False)
    for axes, graph in zip(grid.flat, graphs, strict=True):
        chosen = draws[draws["graph"] == graph].sort_values("draw")["centred"].to_numpy()
        axes.hist(chosen[1:], bins=30, color=LOOKS[0].colour, alpha=0.6, density=True)
        axes.axvline(chosen[0], color=LOOKS[1].colour, linewidth=1.5)
        axes.set_title(_break(NAMES.name("graph", graph)))
        axes.set(xlabel="C (share of results)", yticks=[])
        axes.locator_params(axis="x", nbins=3)
    grid[0, 0].set_ylabel("density")
    return fix_layout(figure)


def _break(title: str) -> str:
    """A title in two lines where it has two parts, so that it is no wider than its panel."""
    return title.replace(", ", ",\n")


def _spread(rows: pd.DataFrame, middle: str, low: str, high: str) -> np.ndarray:
    """(2, n) lengths of the bars below and above."""
    values = rows[middle].to_numpy()
    return np.abs(np.stack([values - rows[low].to_numpy(), rows[high].to_numpy() - values]))


def _look(style: Style, label: str) -> dict[str, object]:
    return {"color": style.colour, "marker": style.marker, "label": label, "markersize": 3.5, "linewidth": 1}


def _write_numbers(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
