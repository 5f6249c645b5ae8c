"""How the time of relabelling grows: one quantity at a time, and its figure."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from companion.bench.growth import plan_ways
from companion.bench.relabellings import DEPTH, DRAWS, GROUPS, LARGE, SIZES, clock, load_case, prepare_ours
from companion.bench.turns import Way
from companion.show.style import fix_layout, in_style, new_figure

ITEMS = 10**5
GROWTH: dict[str, tuple[int, ...]] = {
    "items": SIZES + LARGE,
    "results per query": (5, 10, 20, 50),
    "relabellings": (99, 999, 9_999),
    "groups": (2, 3, 5, 10),
}
"""What grows, and its values."""
NOTE = (
    f"{ITEMS:,} items, {DEPTH} random results for each, {DRAWS} relabellings and {GROUPS} groups of equal size, but "
    "for the quantity that grows; one thread."
)
BLUE = sns.color_palette("colorblind")[0]


def ways() -> list[Way]:
    """One way per point of the figure."""
    return plan_ways(GROWTH, measure_growth)


def measure_growth(value: int, quantity: str) -> float:
    """Seconds at one point of the figure, after a few draws that are not timed."""
    items, depth, draws, number = plan_growth(quantity, value)
    test = prepare_ours(*load_case("random", items, depth, number))
    clock(test, 1)
    return clock(test, draws)


def plan_growth(quantity: str, value: int) -> tuple[int, ...]:
    """Items, results per query, relabellings and groups at one point of the figure."""
    rest = dict(zip(GROWTH, (ITEMS, DEPTH, DRAWS, GROUPS), strict=True))
    return tuple((rest | {quantity: value}).values())


@in_style()
def growth_figure(table: pd.DataFrame) -> Figure:
    """Seconds over each quantity, both on a log scale: medians with the lowest and highest round.

    ``table``: rows of bench_parity.csv, `task` the quantity and `way` its value.
    """
    figure = new_figure(4.4, f"{NOTE} Bars: lowest to highest of {table['rounds'].min()} rounds.")
    for axes, (quantity, values) in zip(figure.subplots(2, 2).flat, GROWTH.items(), strict=True):
        points = table[table["task"] == quantity].assign(x=lambda rows: rows["way"].astype(int)).sort_values("x")
        spread = [points["median"] - points["lowest"], points["highest"] - points["median"]]
        axes.errorbar(points["x"], points["median"], yerr=spread, marker="o", markersize=4, capsize=2, color=BLUE)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(quantity)
        axes.set_xticks(values, [f"{value:,}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylabel("seconds")
    return fix_layout(figure)
