"""Search results to test on: random, nearest neighbours in few and in many dimensions, and with popular items."""

import numpy as np

from companion.stats.retrieval import Retrieval


def random_results(generator: np.random.Generator, items: int, depth: int) -> Retrieval:
    """Every other item is as likely as any."""
    scores = generator.random((items, items))
    return take_nearest(scores, depth)


def near_results(generator: np.random.Generator, items: int, depth: int, dimensions: int) -> Retrieval:
    """Nearest neighbours of points from a normal law; in many dimensions some are near to all (hubs)."""
    points = generator.normal(size=(items, dimensions))
    squares = (points**2).sum(axis=1)
    return take_nearest(squares[:, None] + squares - 2 * points @ points.T, depth)


def popular_results(generator: np.random.Generator, items: int, depth: int) -> Retrieval:
    """Some items are found by nearly everyone."""
    pull = generator.exponential(size=items) ** 2
    return take_nearest(generator.exponential(size=(items, items)) / pull, depth)


def take_nearest(distances: np.ndarray, depth: int) -> Retrieval:
    """The ``depth`` nearest others of each item, nearest first."""
    np.fill_diagonal(distances, np.inf)
    found = np.argpartition(distances, depth, axis=1)[:, :depth]
    order = np.take_along_axis(distances, found, axis=1).argsort(axis=1)
    return Retrieval(np.take_along_axis(found, order, axis=1), len(distances), np.arange(len(distances)))


def decode(words: np.ndarray) -> np.ndarray:
    """(n, P, words) as labels (n, draws)."""
    bits = [
        np.unpackbits(np.ascontiguousarray(words[:, bit]).view(np.uint8), axis=1, bitorder="little")
        for bit in range(words.shape[1])
    ]
    return sum(each.astype(int) << bit for bit, each in enumerate(bits))
