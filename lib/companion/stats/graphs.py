"""Made-up searches: random results, nearest neighbours of points, and results that favour popular items."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from companion.stats.retrieval import Integers, Retrieval

Graph = Literal["random", "near_low", "near_high", "hubs"]
GRAPHS: tuple[Graph, ...] = get_args(Graph)
Draw = Callable[[Integers], Integers]
"""New items, one for each of the rows."""
NOISE = 0.1
"""How far the items of a block lie apart, in standard deviations of all."""
DIMENSIONS = {"near_low": 2, "near_high": 100}
RECIPROCITY = {"near_low": 0.8, "near_high": 0.3}
"""About the share of ten nearest neighbours that are neighbours both ways."""


def make_retrieval(
    generator: np.random.Generator, graph: Graph, items: int, depth: int, blocks: Integers | None = None
) -> Retrieval:
    """Results of every item of a catalogue, itself left out.

    ``random``: each other item is as likely as any. ``near_low``, ``near_high``: nearest neighbours of points from a
    normal law in 2 and 100 dimensions; in many dimensions some items are near to very many. ``hubs``: items are drawn
    in proportion to a popularity with a heavy tail, and repeats are drawn again. Items of one of ``blocks`` (n,) have
    nearly one place, or one popularity.
    """
    block = np.arange(items) if blocks is None else blocks
    if graph in DIMENSIONS:
        places = generator.normal(size=(items, DIMENSIONS[graph]))[block]
        near = places if blocks is None else places + NOISE * generator.normal(size=places.shape)
        results = find_neighbours(near, depth)
    elif graph == "hubs":
        popularity = np.cumsum(generator.exponential(size=items)[block] ** 2)
        results = draw_different(
            items, depth, lambda rows: np.searchsorted(popularity, generator.random(len(rows)) * popularity[-1])
        )
    else:
        results = draw_different(items, depth, lambda rows: generator.integers(0, items, len(rows)))
    return Retrieval(results, items, np.arange(items))


def find_neighbours(points: NDArray[np.float64], depth: int) -> Integers:
    """(n, depth) nearest others of each point (n, d), nearest first."""
    from sklearn.neighbors import NearestNeighbors

    found: Integers = NearestNeighbors(n_neighbors=depth).fit(points).kneighbors(return_distance=False)
    return found


def draw_weighted(generator: np.random.Generator, weights: NDArray[np.float64], depth: int) -> Integers:
    """Draw ``depth`` others for each item without replacement, in proportion to its row of ``weights`` (n, n).

    The item whose exponential waiting time, at a rate of its weight, ends first is drawn first (Efraimidis and
    Spirakis 2006).
    """
    waits = generator.exponential(size=weights.shape) / weights
    np.fill_diagonal(waits, np.inf)
    first = np.argpartition(waits, depth - 1, axis=1)[:, :depth]
    order = np.argsort(np.take_along_axis(waits, first, axis=1), axis=1)
    return np.take_along_axis(first, order, axis=1)


def draw_different(items: int, depth: int, draw: Draw) -> Integers:
    """Draw ``depth`` different others for each item; what is drawn twice is drawn again."""
    results = draw(np.repeat(np.arange(items), depth)).reshape(items, depth)
    return redraw_repeats(results, np.ones(results.shape, dtype=bool), draw)


def redraw_repeats(results: Integers, drawn: NDArray[np.bool_], draw: Draw) -> Integers:
    """Draw again what is the query itself or found twice, until nothing is.

    Args:
        results: (n, depth), row i those of item i.
        drawn: (n, depth) the places that may be drawn again; the others are kept.
        draw: gives one new item for each row number.
    """
    results = results.copy()
    while (wrong := find_repeats(results, drawn)).any():
        rows = np.nonzero(wrong)[0]
        results[wrong] = draw(rows)
    return results


def find_repeats(results: Integers, drawn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Places that hold the query itself or an item found twice; of the two, a drawn one."""
    # Sorted by item and, among equal ones, what is kept first: every later one is a repeat.
    order = np.lexsort((drawn, results), axis=1)
    ordered = np.take_along_axis(results, order, axis=1)
    later = np.zeros(results.shape, dtype=bool)
    later[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    wrong = np.zeros(results.shape, dtype=bool)
    np.put_along_axis(wrong, order, later, axis=1)
    return (wrong | (results == np.arange(len(results))[:, None])) & drawn
