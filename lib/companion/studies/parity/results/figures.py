"""The figures of this study: estimates in, a matplotlib figure out."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.show import panels
from companion.show.style import GREY, INK, fix_layout, in_style, new_figure
from companion.studies.parity.names import NAMES

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "os^Dv<"


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
            spread = np.abs(chosen[["low", "high"]].to_numpy().T - chosen["estimate"].to_numpy())
            look = {"color": COLOURS[place], "marker": MARKERS[place], "label": NAMES.name("graph", graph)}
            axes.errorbar(chosen["estimate"], y, xerr=spread, linestyle="none", markersize=3.5, linewidth=1, **look)
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
            spread = np.abs(chosen[["power_low", "power_high"]].to_numpy().T - chosen["power"].to_numpy())
            look = {"color": COLOURS[place], "marker": MARKERS[place], "label": f"N = {size:,}"}
            axes.errorbar(chosen["strength"], chosen["power"], yerr=spread, markersize=3.5, linewidth=1, **look)
        axes.axhline(0.8, color=GREY, linewidth=0.8)
        axes.set(title=NAMES.name("graph", graph), xlabel="bias b", xscale="log", ylim=(-0.02, 1.02))
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
            spread = np.abs(chosen[["low", "high"]].to_numpy().T - chosen["estimate"].to_numpy())
            look = {"color": COLOURS[place], "marker": MARKERS[place], "label": NAMES.name("graph", graph)}
            axes.errorbar(chosen["items"], chosen["estimate"], yerr=spread, markersize=4, linewidth=1, **look)
            axes.plot(chosen["items"], chosen["planned"], color=COLOURS[place], linestyle=":", linewidth=1.2)
        axes.set(title=f"groups {share} %", xlabel="items in the catalogue (N)", xscale="log", yscale="log")
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
        axes.hist(chosen[1:], bins=30, color=COLOURS[0], alpha=0.6, density=True)
        axes.axvline(chosen[0], color=COLOURS[1], linewidth=1.5)
        axes.set(title=NAMES.name("graph", graph), xlabel="C")
        axes.set_yticks([])
    grid[0, 0].set_ylabel("density")
    return fix_layout(figure)
