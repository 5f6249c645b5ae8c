"""The nested bootstrap against a plain loop over resamples, and against rliable where it can be imported."""

import importlib
import time
from collections.abc import Hashable
from typing import Any

import numpy as np

from companion.bench.turns import SECONDS, Way
from companion.stats.bootstrap import nested_bootstrap

CELLS, SEEDS, ITEMS, RESAMPLES = 18, 6, 300, 10_000
TASK = f"{RESAMPLES:,} bootstraps of {CELLS} cells x {SEEDS} seeds x {ITEMS} items"


def ways() -> list[Way]:
    """One thread each."""
    found = [
        Way("companion", (TASK,), companion, "nested, levels separated and calibrated", 1, 1, SECONDS),
        Way(
            "numpy loop", (TASK,), loop, "nested: cells, seeds and items redrawn one resample at a time", 1, 1, SECONDS
        ),
    ]
    if not why_not_rliable():
        found.append(Way("rliable", (TASK,), rliable, "seeds within cells only, no items", 1, 1, SECONDS))
    return found


def why_not_rliable() -> str:
    """Why rliable cannot be used here, "" where it can."""
    try:
        _library()
    except Exception as error:  # it breaks in many ways with newer pandas
        return f"{type(error).__name__}: {error}"
    return ""


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


def _library() -> Any:
    """rliable, which is no dependency of this project."""
    return importlib.import_module("rliable.library")


def rliable(_task: str) -> float:
    """Seconds of rliable's interval of the mean over (seeds, cells)."""
    scores = np.stack([table.mean(axis=1) for table in differences().values()], axis=1)
    start = time.perf_counter()
    _library().get_interval_estimates({"arm": scores}, lambda array: np.array([array.mean()]), reps=RESAMPLES)
    return time.perf_counter() - start
