"""Exact means of join counts over all relabellings: of the table of groups, of C and of Delta (see `joins`).

Strata, blocks and queries that are no items are all allowed: a mean only needs the probability that two things are in
one group, which is 1 inside a block, that of two labels drawn without replacement inside a stratum, and the product of
two shares between strata.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from companion.stats.dyadic import Pairs
from companion.stats.joins import Drawn, draw_joins
from companion.stats.relabelling import Exchange, Relabelling
from companion.stats.retrieval import Integers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Expected:
    """Means over relabellings.

    Attributes:
        table: (G, G) results by the group of their query (row) and their own.
        gaps: (G, G) share of all results in each cell less what the margins make of it, stratum by stratum.
        excess: Delta.
    """

    table: Floats
    gaps: Floats
    excess: float

    @property
    def centred(self) -> float:
        """C."""
        return float(np.trace(self.gaps))


def count_pairs(pairs: Pairs, weights: Floats) -> Floats:
    """(G, G) results by the group of their query (row) and their own; ``weights`` (K,) of the ranks."""
    number = pairs.labelled.number
    counted = np.zeros(number**2)
    asked, found = pairs.query_groups.codes, pairs.item_groups.codes
    for rows, items, values in pairs.retrieval.pieces(weights):
        counted += np.bincount(asked[rows] * number + found[items], values, number**2)
    return counted.reshape(number, number)


def expect_joins(pairs: Pairs, weights: Floats) -> Expected:
    """Means over the relabellings that blocks and strata of ``pairs`` allow; ``weights`` (K,) of the ranks."""
    return _expect_apart(pairs, weights) if pairs.apart else _expect_items(pairs, weights)


def relabel(pairs: Pairs, draws: int, generator: np.random.Generator) -> Drawn:
    """C at all ranks, of the labels as they are and of ``draws`` relabellings inside strata and blocks of ``pairs``.

    Raises CompanionError as `Relabelling`.
    """
    depth = pairs.retrieval.results.shape[1]
    mean = expect_joins(pairs, np.ones(depth)).centred
    relabelling = Relabelling(pairs.labelled, Exchange(pairs.strata, pairs.blocks), generator)
    fixed = pairs.item_groups if pairs.apart else None
    whole = np.ones((1, 1))
    return draw_joins(
        pairs.retrieval, pairs.labelled, relabelling, [depth], whole, np.array([mean]), draws, None, fixed
    )


def _expect_apart(pairs: Pairs, weights: Floats) -> Expected:
    """Queries that are no items carry the labels that move; what is found stays as it is."""
    units = _Units(pairs)
    number, found = pairs.labelled.number, np.zeros(len(units.shares) * pairs.labelled.number)
    for rows, items, values in pairs.retrieval.pieces(weights):
        found += np.bincount(units.stratum[rows] * number + pairs.item_groups.codes[items], values, len(found))
    by_stratum = found.reshape(-1, number)
    table = units.shares.T @ by_stratum
    total = table.sum()
    by_query = by_stratum.sum(axis=1) @ units.shares
    # What is found stays as it is, so that the margins make of it on average what the labels do.
    excess = np.trace(table) / total - by_query @ pairs.item_groups.shares / total
    return Expected(table, np.zeros((number, number)), float(excess))


def _expect_items(pairs: Pairs, weights: Floats) -> Expected:
    units, retrieval = _Units(pairs), pairs.retrieval
    count, number = units.shares.shape
    own = retrieval.queries
    assert own is not None
    table, within, apart = np.zeros((number, number)), np.zeros(count), np.zeros(count)
    asked, found = np.zeros(retrieval.items), np.zeros(retrieval.items)
    for rows, items, values in retrieval.pieces(weights):
        query = own[rows]
        one, other = units.stratum[query], units.stratum[items]
        twin, near = units.unit[query] == units.unit[items], one == other
        within += np.bincount(one[twin], values[twin], count)
        apart += np.bincount(one[near & ~twin], values[near & ~twin], count)
        across = sparse.coo_array((values[~near], (one[~near], other[~near])), shape=(count, count)).tocsr()
        table += units.shares.T @ (across @ units.shares)
        asked += np.bincount(query, values, retrieval.items)
        found += np.bincount(items, values, retrieval.items)
    inside = np.diag(within @ units.shares) + units.expect_pair(apart)
    table += inside
    edges = table.sum()
    # Results between two strata are on average what the margins make of them, so that these need not be looked at.
    near = (within + apart) / edges
    catalogue = 1 / np.bincount(units.stratum)[units.stratum]
    gaps = inside / edges - units.expect_product(asked, found, near)
    excess = np.trace(inside) / edges - np.trace(units.expect_product(asked, catalogue, near))
    return Expected(table, gaps, float(excess))


class _Units:
    """What keeps one label, single things or blocks, and the strata inside which labels move.

    Attributes:
        unit, stratum: of each thing that carries a label.
        sizes, shares: (strata, G) units in each group, and their shares.
    """

    def __init__(self, pairs: Pairs) -> None:
        groups, size = pairs.labelled, len(pairs.labelled.codes)
        self.unit: Integers = np.arange(size) if pairs.units is None else pairs.units
        self.stratum = np.zeros(size, dtype=np.int64)
        if pairs.strata is not None:
            self.stratum = np.unique(pairs.strata, return_inverse=True)[1]
        first = np.unique(self.unit, return_index=True)[1]
        self._place = self.stratum[first]
        count = int(self.stratum.max()) + 1
        cells = self._place * groups.number + groups.codes[first]
        self.sizes = np.bincount(cells, minlength=count * groups.number).reshape(count, -1).astype(float)
        self.shares = self.sizes / np.maximum(self.sizes.sum(axis=1, keepdims=True), 1)

    def expect_pair(self, times: Floats) -> Floats:
        """(G, G) mean groups of two units of one stratum, summed over strata, each counted ``times`` (strata,)."""
        total = self.sizes.sum(axis=1)
        times = times / np.maximum(total * (total - 1), 1)
        return (self.sizes * times[:, None]).T @ self.sizes - np.diag(times @ self.sizes)

    def expect_product(self, one: Floats, other: Floats, times: Floats) -> Floats:
        """(G, G) mean products of groups' shares of ``one`` and of ``other``, each stratum counted ``times``.

        The share of a group is its part of the sum of ``one`` (n,) over the things of the stratum.
        """
        by_unit = [np.bincount(self.unit, each, len(self._place)).astype(np.float64) for each in (one, other)]
        first, second = (np.bincount(self._place, each, len(self.shares)).astype(np.float64) for each in by_unit)
        twins = np.bincount(self._place, by_unit[0] * by_unit[1], len(self.shares)).astype(np.float64)
        both = first * second
        scale = np.divide(times, both, out=np.zeros_like(both), where=both > 0)
        return np.diag((scale * twins) @ self.shares) + self.expect_pair(scale * (both - twins))
