"""Exact nearest neighbours: this project's door, with ties and all, against plain numpy."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from companion.bench.turns import SECONDS, Way, forget_peak

SIZES = (10**3, 10**4)
"""Numbers of vectors; 10**5 would take minutes by both ways."""
WIDTH, DEPTH = 512, 10
BLOCK = 1024
"""Queries whose similarities numpy holds at a time."""
Vectors = NDArray[np.float32]
Search = Callable[[Vectors], NDArray[np.int64]]


def ways() -> list[Way]:
    """One thread each."""
    tasks = tuple(f"{DEPTH} nearest of {size:,} vectors of {WIDTH}" for size in SIZES)
    note = f"one matrix product for {BLOCK:,} queries, then argpartition"
    return [
        Way("companion", tasks, partial(measure, search_ours), "faiss, ties broken by chance", 1, 1, SECONDS),
        Way("numpy", tasks, partial(measure, search_numpy), note, 1, 1, SECONDS),
    ]


def measure(search: Search, task: str) -> float:
    """Seconds of one search, after a small one that is not timed."""
    vectors = make_vectors(int(task.split()[3].replace(",", "")))
    search(vectors[:100])
    forget_peak()
    start = time.perf_counter()
    search(vectors)
    return time.perf_counter() - start


def make_vectors(size: int) -> Vectors:
    """From a normal law."""
    return np.random.default_rng(0).normal(size=(size, WIDTH)).astype(np.float32)


def search_ours(vectors: Vectors) -> NDArray[np.int64]:
    """This project's function."""
    from companion.models.neighbours import find_neighbours

    return find_neighbours(vectors, DEPTH).indices


def search_numpy(vectors: Vectors) -> NDArray[np.int64]:
    """The same by cosine, nearest first."""
    scaled = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.concatenate([_search_block(scaled, start) for start in range(0, len(scaled), BLOCK)])


def _search_block(scaled: Vectors, start: int) -> NDArray[np.int64]:
    likeness = scaled[start : start + BLOCK] @ scaled.T
    rows = np.arange(len(likeness))
    likeness[rows, start + rows] = -np.inf
    first = np.argpartition(-likeness, DEPTH - 1, axis=1)[:, :DEPTH]
    order = np.argsort(-np.take_along_axis(likeness, first, axis=1), axis=1)
    return np.take_along_axis(first, order, axis=1)
