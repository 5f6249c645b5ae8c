"""Put a known dependence on the query's group into results, and draw labels that strata or blocks explain."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from companion.stats.retrieval import Groups, Integers, Retrieval
from companion.studies.parity.simulation.graphs import draw_weighted, redraw_repeats

Kind = Literal["mixture", "tilt"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def inject_mixture(generator: np.random.Generator, retrieval: Retrieval, groups: Groups, strength: float) -> Retrieval:
    """Draw each result with probability ``strength`` from the query's own group instead, all its items alike.

    The expected excess share is ``strength`` (1 - sum of squared shares). A group smaller than the results of a query
    keeps what it had.
    """
    depth = retrieval.results.shape[1]
    large = groups.sizes[groups.codes] > depth
    drawn = (generator.random(retrieval.results.shape) < strength) & large[:, None]
    order, start = np.argsort(groups.codes, kind="stable"), np.cumsum(groups.sizes) - groups.sizes

    def draw(rows: Integers) -> Integers:
        own = groups.codes[rows]
        return order[start[own] + (generator.random(len(rows)) * groups.sizes[own]).astype(np.int64)]

    results = retrieval.results.copy()
    results[drawn] = draw(np.nonzero(drawn)[0])
    return Retrieval(redraw_repeats(results, drawn, draw), retrieval.items, retrieval.queries)


def inject_tilt(generator: np.random.Generator, values: NDArray[np.float64], strength: float, depth: int) -> Retrieval:
    """Draw results without replacement with weight exp(-strength |a_q - a_r| / sd(a)) of a number a (n,)."""
    distance = np.abs(np.subtract.outer(values, values)) / values.std()
    results = draw_weighted(generator, np.exp(-strength * distance), depth)
    return Retrieval(results, len(values), np.arange(len(values)))


def draw_groups(generator: np.random.Generator, shares: tuple[float, ...], count: int) -> Groups:
    """Labels whose numbers are as near to the shares as can be, in a random order; no group is empty."""
    borders = np.round(np.cumsum(shares) * count).astype(int)
    sizes = np.maximum(np.diff(borders, prepend=0), 1)
    sizes[np.argmax(sizes)] -= sizes.sum() - count
    return Groups(generator.permutation(np.repeat(np.arange(len(shares)), sizes)), len(shares))
