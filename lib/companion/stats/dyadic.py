"""Intervals for join counts: results that share a query or an item are alike, which a bootstrap over queries misses.

The standard error is dyadic-robust (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015): each item's influence
gathers all results that it takes part in, as query or as result, and what its group's share in the catalogue moves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from companion.stats.estimate import NO_SPREAD, Estimate, from_error
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
    return _make_estimate(_linearise_centred(pairs, weights), mean, level, "centred join count")


def estimate_excess(pairs: Pairs, weights: Floats, mean: float, level: float = 0.95) -> Estimate:
    """Delta, the share of results in the query's group beyond that of the catalogue, as `estimate_centred`."""
    item, query = _shares(pairs)
    found, asked, values, which = _edges(pairs, weights)
    kernel = (found == asked) - float(item @ query)
    return _make_estimate(_linearise(pairs, kernel, values, which, (-query, -item)), mean, level, "excess share")


def estimate_change(new: Pairs, old: Pairs, weights: Floats, mean: float, level: float = 0.95) -> Estimate:
    """C of ``new`` less C of ``old``, less ``mean`` (the same over relabellings), as `estimate_centred`.

    Both are of the same items, groups and queries, so that what an item does to both is taken once: the error is that
    of the difference of the influences.
    """
    now, then = (_linearise_centred(pairs, weights) for pairs in (new, old))
    change = _Linearised(
        now.estimate - then.estimate, now.influence - then.influence, now.residuals - then.residuals, now.unit
    )
    return _make_estimate(change, mean, level, "difference of C")


@dataclass(frozen=True)
class _Linearised:
    """An estimate, the influence of each node on it, and the residuals of each pair of nodes."""

    estimate: float
    influence: Floats
    residuals: sparse.csr_array
    unit: str


def _make_estimate(found: _Linearised, mean: float, level: float, what: str) -> Estimate:
    squares, fourth = float((found.influence**2).sum()), float((found.influence**4).sum())
    twice = float((found.residuals.data**2).sum())
    # In small catalogues the difference can vanish; pairs of items without anything in common are the least it can be.
    variance = max(squares - twice, twice)
    effective = squares**2 / fourth if fourth else 1.0
    value = found.estimate - mean
    error = float(np.sqrt(variance)) if variance > NO_SPREAD**2 * max(1.0, value**2) else np.nan
    low, high, _ = from_error(value, error, max(effective - 1, 1.0), level)
    return Estimate(value, low, high, np.nan, len(found.influence), found.unit, f"{what}, dyadic-robust t", level)


def _linearise_centred(pairs: Pairs, weights: Floats) -> _Linearised:
    item, query = _shares(pairs)
    found, asked, values, which = _edges(pairs, weights)
    kernel = (found == asked) - item[asked] - query[found] + float(item @ query)
    total = values.sum()
    found_share = np.bincount(found, values, len(item)) / total
    asked_share = np.bincount(asked, values, len(item)) / total
    # What a group's share in the catalogue moves: C falls by the shares of results and queries, and rises by pi itself.
    return _linearise(pairs, kernel, values, which, (query - asked_share, item - found_share))


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


def _linearise(
    pairs: Pairs, kernel: Floats, values: Floats, which: tuple[Integers, Integers], pull: tuple[Floats, Floats]
) -> _Linearised:
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
    residuals = sparse.coo_array((residual, (one, other)), shape=(count, count)).tocsr()
    unit = "query" if apart else "item" if pairs.blocks is None else "block"
    return _Linearised(estimate, influence, residuals, unit)


def _catalogue_term(pull: Floats, groups: Groups) -> Floats:
    """Influence of each thing through the share of its group."""
    return (pull[groups.codes] - float(pull @ groups.shares)) / len(groups.codes)
