"""Before and after: how much more results track the query's group than those of another search, with an interval."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from companion.stats.dyadic import Pairs
from companion.stats.estimate import Estimate, from_error

Floats = NDArray[np.float64]


def estimate_change(new: Pairs, old: Pairs, weights: Floats, mean: float, level: float = 0.95) -> Estimate:
    """C of ``new`` less C of ``old``, less ``mean`` (the same over relabellings), with a dyadic-robust t interval.

    Both are of the same items, groups and queries, so that what an item does to both is taken once. The error is that
    of `stats.dyadic`, of the difference of the influences.

    Args:
        weights: (K,) weight of each rank.
    """
    parts = [_influence(pairs, weights) for pairs in (new, old)]
    (now, moves, mine), (then, moved, theirs) = parts
    estimate, influence, pair = now - then, moves - moved, mine - theirs
    twice = float((pair.data**2).sum())
    variance = max(float((influence**2).sum()) - twice, twice)
    fourth = float((influence**4).sum())
    degrees = float((influence**2).sum() ** 2 / fourth) - 1 if fourth else 1.0
    error = np.sqrt(variance) if variance > 0 else np.nan
    low, high, _ = from_error(estimate - mean, error, max(degrees, 1.0), level)
    return Estimate(
        estimate - mean, low, high, np.nan, len(influence), "item", "difference of C, dyadic-robust t", level
    )


def _influence(pairs: Pairs, weights: Floats) -> tuple[float, Floats, sparse.csr_array]:
    """C, the influence of each node, and the residual of each pair of nodes."""
    retrieval, number = pairs.retrieval, pairs.retrieval.items
    apart = retrieval.queries is None
    item, query = pairs.item_groups.shares, (pairs.query_groups if apart else pairs.item_groups).shares
    rows, ranks = np.nonzero((retrieval.results >= 0) & (weights > 0))
    items, values = retrieval.results[rows, ranks], weights[ranks] / weights[ranks].sum()
    asked, found = pairs.query_groups.codes[rows], pairs.item_groups.codes[items]
    kernel = (found == asked) - item[asked] - query[found] + float(item @ query)
    estimate = float(kernel @ values)
    residual = (kernel - estimate) * values
    source = rows + number if apart else retrieval.queries[rows]  # type: ignore[index]
    count = number + len(retrieval.results) * apart
    influence: Floats = np.bincount(source, residual, count) + np.bincount(items, residual, count).astype(float)
    # What a group's share among items and among queries moves.
    by_item = query - np.bincount(asked, values, len(item))
    by_query = item - np.bincount(found, values, len(item))
    first = by_item if apart else by_item + by_query
    influence[:number] += (first[pairs.item_groups.codes] - float(first @ item)) / number
    if apart:
        influence[number:] += (by_query[pairs.query_groups.codes] - float(by_query @ query)) / len(retrieval.results)
    nodes = np.arange(count)
    if pairs.blocks is not None:
        nodes[:number] = np.unique(pairs.blocks, return_inverse=True)[1]
        influence = np.bincount(nodes, influence).astype(float)
    one, other = np.sort(np.stack([nodes[source], nodes[items]]), axis=0)
    return estimate, influence, sparse.coo_array((residual, (one, other)), shape=(count, count)).tocsr()
