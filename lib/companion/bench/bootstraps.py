"""The nested bootstrap against the textbook resampling in plain numpy."""

import time
from collections.abc import Callable, Hashable
from functools import partial

import numpy as np

from companion.bench.turns import SECONDS, Way
from companion.stats.bootstrap import nested_bootstrap

CELLS, SEEDS, ITEMS, RESAMPLES = 18, 6, 300, 10_000
TASK = f"{RESAMPLES:,} bootstraps of {CELLS} cells x {SEEDS} seeds x {ITEMS} items"
BLOCK = 100
"""Resamples that are computed together without a loop."""


def ways() -> list[Way]:
    """One thread each; ours redraws every level's means by themselves, the textbook's whole tables."""
    note = "textbook: cells, seeds and items redrawn in every resample"
    loop, blocks = (partial(percentiles, means) for means in (one_at_a_time, many_at_a_time))
    return [
        Way("companion", (TASK,), companion, "each level redrawn by itself, calibrated", 1, 1, SECONDS),
        Way("numpy loop", (TASK,), loop, f"{note}, one at a time", 1, 1, SECONDS),
        Way("numpy in blocks", (TASK,), blocks, f"{note}, {BLOCK} at a time", 1, 1, SECONDS),
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


def percentiles(means: Callable[[np.ndarray, np.random.Generator, int], np.ndarray], _task: str) -> float:
    """Seconds of a textbook resampling, percentiles at the end."""
    values = np.stack(list(differences().values()))
    start = time.perf_counter()
    np.percentile(means(values, np.random.default_rng(1), RESAMPLES), [2.5, 97.5])
    return time.perf_counter() - start


def one_at_a_time(values: np.ndarray, draw: np.random.Generator, resamples: int) -> np.ndarray:
    """Means (resamples,) of (cells, seeds, items) values: cells, seeds and each chosen cell's items redrawn."""
    cells, seeds, items = values.shape
    means = np.empty(resamples)
    for number in range(resamples):
        rows, chosen = draw.integers(0, seeds, size=(seeds,)), draw.integers(0, cells, size=(cells,))
        means[number] = np.mean([values[cell][rows][:, draw.integers(0, items, items)].mean() for cell in chosen])
    return means


def many_at_a_time(values: np.ndarray, draw: np.random.Generator, resamples: int) -> np.ndarray:
    """The same distribution, in blocks without a loop over single resamples."""
    return np.concatenate([_block(values, draw) for _ in range(resamples // BLOCK)])


def _block(values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    cells, seeds, items = values.shape
    weights = (draw.integers(0, seeds, (BLOCK, seeds, 1)) == np.arange(seeds)).mean(1)
    over_seeds = np.tensordot(weights, values, (1, 1))
    chosen = np.take_along_axis(over_seeds, draw.integers(0, cells, (BLOCK, cells, 1)), 1)
    means: np.ndarray = np.take_along_axis(chosen, draw.integers(0, items, (BLOCK, cells, items)), 2).mean((1, 2))
    return means
