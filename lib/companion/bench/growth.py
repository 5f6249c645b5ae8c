"""How the cost of a grid grows: one quantity at a time, measured with the real engine, and its figure."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from companion.bench.grid import Run, seconds, specs
from companion.bench.turns import SECONDS, Way
from companion.bench.workload import VERSIONS
from companion.files import write_whole
from companion.show.style import fix_layout, in_style, new_figure, render_figure

GROWTH: dict[str, tuple[int, ...]] = {
    "training examples": (10, 30, 60),
    "test items": (40, 100, 200),
    "prompt length in tokens": (60, 120, 240),
    "seeds": (1, 2, 4),
    "arms": (1, 2, 4),
    "workers, for 8 runs": tuple(2**power for power in range((os.cpu_count() or 1).bit_length())),
}
"""What grows, and its values; the rest stays as in `Run`, with one run per worker."""
BLUE = sns.color_palette("colorblind")[0]
NOTE = (
    f"{os.cpu_count() or 1} runs on as many cores, {Run.train * VERSIONS} training examples with targets of "
    f"{Run.target} tokens, {Run.items} test items, prompts of {Run.length} tokens, but for the quantity that grows; an "
    "arm more has targets 8 tokens longer."
)


def ways() -> list[Way]:
    """One way per point of the figure."""
    return plan_ways(GROWTH, measure_growth)


def plan_ways(growth: Mapping[str, Sequence[int]], measure: Callable[[int, str], float]) -> list[Way]:
    """One way per value of each quantity; ``measure`` takes a value and its quantity to seconds."""
    return [
        Way(str(value), (quantity,), partial(measure, value), "", 1, 1, SECONDS)
        for quantity, values in growth.items()
        for value in values
    ]


def measure_growth(value: int, quantity: str) -> float:
    """Seconds of the whole grid at one point of the figure, start of the workers included."""
    return seconds(*plan_growth(quantity, value))


def plan_growth(quantity: str, value: int) -> tuple[list[Run], int]:
    """Runs and workers at one point of the figure; every arm more has targets 8 tokens longer."""
    workers = os.cpu_count() or 1
    match quantity:
        case "training examples":
            return [replace(run, train=value // VERSIONS) for run in specs(workers)], workers
        case "test items":
            return [replace(run, items=value) for run in specs(workers)], workers
        case "prompt length in tokens":
            return [replace(run, length=value) for run in specs(workers)], workers
        case "seeds":
            return specs(value), workers
        case "arms":
            return [replace(Run(), target=2 + 8 * arm) for arm in range(value)], workers
        case _:
            return specs(), value


def draw(table: pd.DataFrame, folder: Path) -> None:
    """Write bench_growth.png and bench_growth.pdf from the rows of this part."""
    write_figure(growth_figure(table), folder / "bench_growth")


def write_figure(made: Figure, file: Path) -> None:
    """Write a figure as .png and .pdf, without date and version."""
    write_whole(file.with_suffix(".png"), render_figure(made, "png", {"Software": None}))
    write_whole(file.with_suffix(".pdf"), render_figure(made, "pdf", {"Producer": None, "CreationDate": None}))


@in_style()
def growth_figure(table: pd.DataFrame) -> Figure:
    """Seconds of a grid over each quantity: medians with the lowest and highest round.

    ``table``: rows of bench.csv, `task` the quantity and `way` its value.
    """
    figure = new_figure(
        3.6,
        f"Whole grids, start of the workers included. {NOTE} Bars: lowest to highest of "
        f"{table['rounds'].min()} rounds.",
    )
    grid = figure.subplots(2, 3)
    for axes, quantity in zip(grid.flat, GROWTH, strict=True):
        points = table[table["task"] == quantity].assign(x=lambda rows: rows["way"].astype(int)).sort_values("x")
        spread = [points["median"] - points["lowest"], points["highest"] - points["median"]]
        axes.errorbar(points["x"], points["median"], yerr=spread, marker="o", markersize=4, capsize=2, color=BLUE)
        axes.set_xlabel(quantity)
        axes.set_xticks(points["x"])
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("seconds")
    return fix_layout(figure)
