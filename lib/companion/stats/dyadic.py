"""Intervals for join counts: results that share a query or an item are alike, which a bootstrap over queries misses.

The standard error is dyadic-robust (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015): each item's influence
gathers all results that it takes part in, as query or as result, and what its group's share in the catalogue moves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from companion.stats.estimate import Estimate, from_error
from companion.stats.joins import Joins
from companion.stats.retrieval import Groups, Integers, Retrieval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Results of a search with what is needed of their groups.

    Attributes:
        retrieval: the results.
        item_groups, query_groups: groups of all items, and of the M queries; the same groups where queries are items.
        blocks: (N,) things that count as one, such as all photographs of one model; ``None``: every item for itself.
    """

    retrieval: Retrieval
    item_groups: Groups
    query_groups: Groups
    blocks: Integers | None = None


def estimate_centred(pairs: Pairs, weights: Floats, mean: float, level: float = 0.95) -> Estimate:
    """C less its mean over relabellings, with a dyadic-robust interval.

    Args:
        weights: (K,) weight of each rank; 1 for the first d and 0 beyond gives the depth d.
        mean: of C over relabellings (see `join_moments`); it is not zero, since a query is not among its own results.
    """
    item, query = _shares(pairs)
    found, asked, values, which = _edges(pairs, weights)
    centre = float(item @ query)
    kernel = (found == asked) - item[asked] - query[found] + centre
    total = values.sum()
    found_share = np.bincount(found, values, len(item)) / total
    asked_share = np.bincount(asked, values, len(item)) / total
    # What a group's share in the catalogue moves: C falls by the shares of results and queries, and rises by pi itself.
    pull = query - asked_share, item - found_share
    return _estimate(pairs, kernel, values, which, pull, mean, level, "centred join count")


def estimate_excess(pairs: Pairs, weights: Floats, mean: float, level: float = 0.95) -> Estimate:
    """Delta, the share of results in the query's group beyond that of the catalogue, as `estimate_centred`."""
    item, query = _shares(pairs)
    found, asked, values, which = _edges(pairs, weights)
    kernel = (found == asked) - float(item @ query)
    return _estimate(pairs, kernel, values, which, (-query, -item), mean, level, "excess share")


def _shares(pairs: Pairs) -> tuple[Floats, Floats]:
    item = pairs.item_groups.shares
    return item, item if pairs.retrieval.queries is not None else pairs.query_groups.shares


def _edges(pairs: Pairs, weights: Floats) -> tuple[Integers, Integers, Floats, tuple[Integers, Integers]]:
    """Groups of result and query of each result, its weight, and the numbers of query and item as nodes."""
    results, queries = pairs.retrieval.results, pairs.retrieval.queries
    rows, ranks = np.nonzero((results >= 0) & (weights > 0))
    items = results[rows, ranks].astype(np.int64)
    source = rows + pairs.retrieval.items if queries is None else queries[rows]
    return pairs.item_groups.codes[items], pairs.query_groups.codes[rows], weights[ranks], (source, items)


def _estimate(
    pairs: Pairs,
    kernel: Floats,
    values: Floats,
    which: tuple[Integers, Integers],
    pull: tuple[Floats, Floats],
    mean: float,
    level: float,
    what: str,
) -> Estimate:
    """``pull`` is how the value moves with the groups' shares among items and, where they are apart, among queries."""
    total, items = float(values.sum()), pairs.retrieval.items
    estimate = float(kernel @ values) / total
    apart = pairs.retrieval.queries is None
    residual = (kernel - estimate) * values / total
    count = items + len(pairs.retrieval.results) if apart else items
    influence: Floats = np.bincount(which[0], residual, count).astype(np.float64)
    influence += np.bincount(which[1], residual, count)
    by_item = pull[0] if apart else pull[0] + pull[1]
    influence[:items] += _catalogue_term(by_item, pairs.item_groups)
    if apart:
        influence[items:] += _catalogue_term(pull[1], pairs.query_groups)
    nodes = np.arange(count)
    if pairs.blocks is not None:
        nodes[:items] = np.unique(pairs.blocks, return_inverse=True)[1]
        influence = np.bincount(nodes, influence).astype(np.float64)
    one, other = np.sort(np.stack([nodes[which[0]], nodes[which[1]]]), axis=0)
    pair = sparse.coo_array((residual, (one, other)), shape=(count, count)).tocsr()
    twice = float((pair.data**2).sum())
    # In small catalogues the difference can vanish; pairs of items without anything in common are the least it can be.
    variance = max(float((influence**2).sum()) - twice, twice)
    effective = float((influence**2).sum() ** 2 / (influence**4).sum())
    error = np.sqrt(variance) if variance > 0 else np.nan
    low, high, _ = from_error(estimate - mean, error, max(effective - 1, 1.0), level)
    unit = "query" if apart else "item" if pairs.blocks is None else "block"
    return Estimate(estimate - mean, low, high, np.nan, len(influence), unit, f"{what}, dyadic-robust t", level)


def _catalogue_term(pull: Floats, groups: Groups) -> Floats:
    """Influence of each thing through the share of its group."""
    return (pull[groups.codes] - float(pull @ groups.shares)) / len(groups.codes)


def null_mean(joins: Joins, weights: Floats) -> float:
    """Mean of C over the relabellings that were drawn; `join_moments` gives it exactly where labels move freely."""
    return float(joins.weigh(weights).centred[1:].mean())
