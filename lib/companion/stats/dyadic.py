"""Intervals for join counts: results that share a query or an item are alike, which a bootstrap over queries misses.

The standard error is dyadic-robust (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015): each item's influence
gathers all results that it takes part in, as query or as result. Results are looked at some queries at a time, so that
what is needed beside them grows with the items alone and with the results that are returned both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from companion.stats.estimate import NO_SPREAD, Estimate, from_error
from companion.stats.mutual import Shared, Side, find_shared
from companion.stats.retrieval import Groups, Integers, Retrieval

Floats = NDArray[np.float64]
ROUNDING = 1e-13
"""Share of the summed squares below which sums that cancel are rounding noise."""


@dataclass(frozen=True)
class Pairs:
    """Results of a search with what is needed of their groups.

    Attributes:
        retrieval: the results.
        item_groups, query_groups: groups of all items, and of the M queries; the same groups where queries are items.
        blocks: things that count as one, such as all photographs of one model: of the N items or, where queries are no
            items, of the M queries; ``None``: each for itself.
        strata: inside which labels are exchanged, of the N items or, where queries are no items, of the M queries; the
            mean over relabellings is then that of these exchanges. ``None``: labels are exchanged freely.
    """

    retrieval: Retrieval
    item_groups: Groups
    query_groups: Groups
    blocks: Integers | None = None
    strata: Integers | None = None

    @property
    def apart(self) -> bool:
        """Whether queries are no items."""
        return self.retrieval.queries is None

    @property
    def labelled(self) -> Groups:
        """Groups of what carries a label: the items or, where they are others, the queries."""
        return self.query_groups if self.apart else self.item_groups

    @cached_property
    def side(self) -> Side:
        """The results as links between nodes: items or blocks, then queries that are no items."""
        own, units = self.retrieval.queries, self.units
        if own is None:
            asked = np.arange(len(self.retrieval.results)) if units is None else units
            return Side(self.retrieval.results, self.retrieval.items + asked)
        return Side(self.retrieval.results, own if units is None else units[own], units)

    @cached_property
    def units(self) -> Integers | None:
        """Number of the block of each thing that carries a label, from 0."""
        return None if self.blocks is None else np.unique(self.blocks, return_inverse=True)[1]

    @property
    def count(self) -> int:
        """Number of items and, where these are others, queries."""
        return self.retrieval.items + (len(self.retrieval.results) if self.apart else 0)

    @cached_property
    def shared(self) -> Shared:
        """Results that are not alone between their two nodes."""
        return self.retrieval.mutual if self.blocks is None else find_shared([self.side], self.count)


def estimate_centred(pairs: Pairs, weights: Floats, mean: float, level: float = 0.95) -> Estimate:
    """C less its mean over relabellings, with a dyadic-robust interval.

    Args:
        weights: (K,) weight of each rank; 1 for the first d and 0 beyond gives the depth d.
        mean: of C over relabellings (see `expected`); it is not zero, since a query is not among its own results.
    """
    found = _Linearised(pairs, weights, centred=True)
    return _make_estimate([found], pairs.shared, mean, level, "centred join count")


def estimate_excess(pairs: Pairs, weights: Floats, mean: float, level: float = 0.95) -> Estimate:
    """Delta, the share of results in the query's group beyond that of the catalogue, as `estimate_centred`."""
    found = _Linearised(pairs, weights, centred=False)
    return _make_estimate([found], pairs.shared, mean, level, "excess share")


def estimate_cell(pairs: Pairs, weights: Floats, cell: tuple[int, int], mean: float, level: float = 0.95) -> Estimate:
    """Share of results of one group for queries of another, ``cell``, beyond the product of its margins.

    C is the sum of these over the cells of one group each; otherwise as `estimate_centred`.
    """
    kernel = np.zeros((pairs.labelled.number,) * 2)
    kernel[cell] = 1.0
    found = _Linearised(pairs, weights, True, kernel)
    return _make_estimate([found], pairs.shared, mean, level, "centred share of a cell")


def estimate_change(new: Pairs, old: Pairs, weights: Floats, mean: float, level: float = 0.95) -> Estimate:
    """C of ``new`` less C of ``old``, less ``mean`` (the same over relabellings), as `estimate_centred`.

    Both are of the same items, groups and queries, so that what an item does to both is taken once: the error is that
    of the difference of the influences.
    """
    sides = [_Linearised(pairs, weights, centred=True) for pairs in (new, old)]
    shared = find_shared([new.side, old.side], new.count)
    return _make_estimate(sides, shared, mean, level, "difference of C")


def _make_estimate(sides: Sequence["_Linearised"], shared: Shared, mean: float, level: float, what: str) -> Estimate:
    """Of the first side or, where there are two, of the first less the second."""
    first, *others = sides
    influence = first.influence - others[0].influence if others else first.influence
    value = first.estimate - (others[0].estimate if others else 0.0) - mean
    squared = np.square(influence)
    squares, fourth = float(squared.sum()), float(np.square(squared, out=squared).sum())
    twice = _sum_pairs(sides, shared)
    # In small catalogues the difference can vanish; pairs of items without anything in common are the least it can be.
    variance = max(squares - twice, twice)
    effective = squares**2 / fourth if fourth else 1.0
    error = float(np.sqrt(variance)) if variance > NO_SPREAD**2 * max(1.0, value**2) else np.nan
    low, high, _ = from_error(value, error, max(effective - 1, 1.0), level)
    unit = "block" if first.pairs.blocks is not None else "query" if first.pairs.apart else "item"
    return Estimate(value, low, high, np.nan, len(influence), unit, f"{what}, dyadic-robust t", level)


def _sum_pairs(sides: Sequence["_Linearised"], shared: Shared) -> float:
    """Sum over pairs of nodes of the squared sum of their results' residuals.

    Most pairs have one result, whose square it is; what the others' sums make of it is added.
    """
    squares = total = sum(side.squares for side in sides)
    for places, starts in shared.runs():
        residuals = np.empty(len(places))
        offset = 0
        for sign, side in zip((1.0, -1.0), sides, strict=False):
            size = side.pairs.retrieval.results.size
            own = (places >= offset) & (places < offset + size)
            residuals[own] = sign * side.find_residuals(places[own].astype(np.int64) - offset)
            offset += size
        total += float(np.square(np.add.reduceat(residuals, starts)).sum() - np.square(residuals).sum())
    return total if total > ROUNDING * squares else 0.0


class _Linearised:
    """C, or Delta where it is not ``centred``, the influence of each node on it, and the residual of any result.

    Both are a mean over results less what the shares of margins make of it, e = mean of alpha_s' count x_t: s and t are
    the strata of query and result (s is t where queries are no items), alpha the groups' shares among who asks, and x
    their shares among what is returned (C) or in the catalogue (Delta). ``count`` (G, G) is 1 for a match and 0
    otherwise, unless it is given. So a result's residual is count less its mean for its strata, less what its query
    moves of alpha and, for C, what it moves of x itself, less the mean of all residuals.
    """

    def __init__(self, pairs: Pairs, weights: Floats, centred: bool, count: Floats | None = None) -> None:
        self.pairs, self._weights = pairs, weights
        groups, search = pairs.item_groups, pairs.retrieval
        number = groups.number
        self._count = np.eye(number) if count is None else count
        strata = np.zeros(len(pairs.labelled.codes), dtype=np.int64)
        if pairs.strata is not None:
            strata = np.unique(pairs.strata, return_inverse=True)[1]
        self._asking = strata if search.queries is None else strata[search.queries]
        self._finding = None if pairs.apart else strata
        size = int(strata.max()) + 1
        asked, found, value = np.zeros(size * number), np.zeros(size * number), 0.0
        cells = sparse.csr_array((size, size))
        for rows, items, values in search.pieces(weights):
            one, other = self._places(rows, items)
            mine, theirs = pairs.query_groups.codes[rows], groups.codes[items]
            asked += np.bincount(one * number + mine, values, len(asked))
            found += np.bincount(other * number + theirs, values, len(found))
            value += float(values @ self._count[mine, theirs])
            cells = cells + sparse.coo_array((values, (one, other)), shape=cells.shape).tocsr()
        self._total = float(cells.sum())
        self._asked, self._found = (_share(each.reshape(size, number)) for each in (asked, found))
        catalogue = np.tile(groups.shares, (size, 1))
        if self._finding is not None:
            sizes = np.bincount(strata * number + groups.codes, minlength=size * number).astype(float)
            catalogue = _share(sizes.reshape(size, number))
        result = self._found if centred else catalogue
        across, towards = (np.asarray(cells.sum(axis=axis), dtype=np.float64).ravel() for axis in (1, 0))
        # What a query's group moves of e in its stratum, and what a result's group does.
        self._by_query = _divide(np.asarray(cells @ (result @ self._count.T)), across)
        self._by_item = _divide(np.asarray(cells.T @ (self._asked @ self._count)), towards)
        chance = float((across[:, None] * self._asked * self._by_query).sum()) / self._total
        self.estimate = value / self._total - chance
        asking = (self._asked * self._by_query).sum(axis=1)
        finding = (self._found * self._by_item).sum(axis=1)
        # Of a result's residual: what is the same for all of its query's stratum, and of its own.
        self._less = asking, finding if centred else np.zeros(size)
        self._centred = centred
        expected = float((towards * finding).sum()) / self._total
        self._centre = value / self._total - expected
        self.squares, self.influence = self._gather()
        if not centred:
            pull = -towards[:, None] / self._total * self._by_item
            if self._finding is None:
                pull = pull.sum(axis=0, keepdims=True)
                strata, catalogue = np.zeros(len(groups.codes), dtype=np.int64), catalogue[:1]
            moved = pull - (pull * catalogue).sum(axis=1, keepdims=True)
            self.influence[: search.items] += moved[strata, groups.codes] / np.bincount(strata)[strata]
        if pairs.units is not None:
            nodes, first = np.arange(len(self.influence)), search.items if pairs.apart else 0
            nodes[first : first + len(pairs.units)] = first + pairs.units
            self.influence = np.bincount(nodes, self.influence).astype(np.float64)

    def _places(self, rows: Integers, items: Integers) -> tuple[Integers, Integers]:
        """Strata of the query and of the result."""
        one = self._asking[rows]
        return one, one if self._finding is None else self._finding[items]

    def _residuals(self, rows: Integers, items: Integers, values: Floats) -> Floats:
        asked, found = self.pairs.query_groups.codes[rows], self.pairs.item_groups.codes[items]
        one, other = self._places(rows, items)
        gaps: Floats = self._count[asked, found] - self._centre
        gaps -= self._by_query[one, asked] - self._less[0][one]
        if self._centred:
            gaps -= self._by_item[other, found] - self._less[1][other]
        towards = self._asked @ self._count
        for group in range(len(self._count)):
            gaps -= towards[one, group] * self._found[other, group]
        gaps *= values / self._total
        return gaps

    def find_residuals(self, places: Integers) -> Floats:
        """Residuals of the results at these places, row by row; 0 for one that has no weight."""
        rows, ranks = np.divmod(places, self.pairs.retrieval.results.shape[1])
        items = self.pairs.retrieval.results[rows, ranks].astype(np.int64)
        return self._residuals(rows, items, self._weights[ranks])

    def _gather(self) -> tuple[float, Floats]:
        """Sum of the squared residuals, and the sum of those of each item and query."""
        queries, items = self.pairs.retrieval.queries, self.pairs.retrieval.items
        squares, influence = 0.0, np.zeros(self.pairs.count)
        for rows, found, values in self.pairs.retrieval.pieces(self._weights):
            residuals = self._residuals(rows, found, values)
            squares += float(np.square(residuals).sum())
            np.add.at(influence, rows + items if queries is None else queries[rows], residuals)
            np.add.at(influence, found, residuals)
        return squares, influence


def _share(counts: Floats) -> Floats:
    """Shares of the groups in each stratum (S, G); 0 where there is nothing."""
    return _divide(counts, counts.sum(axis=1))


def _divide(sums: Floats, by: Floats) -> Floats:
    """Rows (S, G) divided by their own number (S,); 0 where it is 0."""
    return np.divide(sums, by[:, None], out=np.zeros(sums.shape), where=by[:, None] > 0)
