"""Put a known dependence on the query's group into results, and draw labels that strata or blocks explain."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from companion.stats.graphs import draw_weighted, redraw_repeats
from companion.stats.retrieval import Groups, Integers, Retrieval


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


@lru_cache
def match_tilt(strength: float, shares: tuple[float, ...], points: int = 400) -> float:
    """Strength of a tilt of normal numbers that moves C as much as a mixture of ``strength`` does, in expectation.

    Groups are ranges of the number, in the order of their shares. Large catalogues are assumed; the law is taken at
    ``points`` quantiles.
    """
    levels = (np.arange(points) + 0.5) / points
    values = norm.ppf(levels)
    distance = np.abs(np.subtract.outer(values, values))
    member = np.searchsorted(np.cumsum(shares)[:-1], levels)[:, None] == np.arange(len(shares))
    share = member.mean(axis=0)

    def miss(tilt: float) -> float:
        weight = np.exp(-tilt * distance)
        found = weight @ member / weight.sum(axis=1, keepdims=True)
        gain = (found * member).sum(axis=1).mean() - found.mean(axis=0) @ share
        return float(gain - strength * (1 - share @ share))

    return float(brentq(miss, 0.0, 100.0)) if strength else 0.0


def cut_into_groups(values: NDArray[np.float64], shares: tuple[float, ...]) -> Groups:
    """Groups of ``shares`` by the order of ``values`` (n,), the smallest first."""
    order = np.argsort(np.argsort(values))
    return Groups(np.repeat(np.arange(len(shares)), _round_sizes(shares, len(values)))[order], len(shares))


def draw_groups(generator: np.random.Generator, shares: tuple[float, ...], count: int) -> Groups:
    """Labels whose numbers are as near to the shares as can be, in a random order; no group is empty."""
    sizes = _round_sizes(shares, count)
    return Groups(generator.permutation(np.repeat(np.arange(len(shares)), sizes)), len(shares))


def _round_sizes(shares: tuple[float, ...], count: int) -> Integers:
    borders = np.round(np.cumsum(shares) * count).astype(int)
    sizes = np.maximum(np.diff(borders, prepend=0), 1)
    sizes[np.argmax(sizes)] -= sizes.sum() - count
    return sizes
