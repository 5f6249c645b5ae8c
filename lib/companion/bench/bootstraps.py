"""The nested bootstrap against a plain loop over resamples."""

import time
from collections.abc import Hashable

import numpy as np

from companion.bench.turns import SECONDS, Way
from companion.stats.bootstrap import nested_bootstrap

CELLS, SEEDS, ITEMS, RESAMPLES = 18, 6, 300, 10_000
TASK = f"{RESAMPLES:,} bootstraps of {CELLS} cells x {SEEDS} seeds x {ITEMS} items"


def ways() -> list[Way]:
    """One thread each."""
    return [
        Way("companion", (TASK,), companion, "nested, levels separated and calibrated", 1, 1, SECONDS),
        Way(
            "numpy loop", (TASK,), loop, "nested: cells, seeds and items redrawn one resample at a time", 1, 1, SECONDS
        ),
    ]


def differences() -> dict[Hashable, np.ndarray]:
    """Paired differences (seeds, items) of every cell, with effects of cells and seeds."""
    draw = np.random.default_rng(0)
    cells, seeds = draw.normal(0.02, 0.03, CELLS), draw.normal(0, 0.02, SEEDS)
    return {cell: cells[cell] + seeds[:, None] + draw.normal(0, 0.5, (SEEDS, ITEMS)) for cell in range(CELLS)}


def companion(_task: str) -> float:
    """Seconds of this project's function."""
    values = differences()
    start = time.perf_counter()
    nested_bootstrap(values, np.random.default_rng(1), resamples=RESAMPLES)
    return time.perf_counter() - start


def loop(_task: str) -> float:
    """Seconds of the textbook loop, percentiles at the end."""
    values = np.stack(list(differences().values()))
    draw = np.random.default_rng(1)
    start = time.perf_counter()
    means = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        seeds = draw.integers(0, SEEDS, SEEDS)
        cells = draw.integers(0, CELLS, CELLS)
        means[number] = np.mean([values[cell][seeds][:, draw.integers(0, ITEMS, ITEMS)].mean() for cell in cells])
    np.percentile(means, [2.5, 97.5])
    return time.perf_counter() - start
