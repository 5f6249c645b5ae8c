"""Intervals for join counts: results that share a query or an item are alike, which a bootstrap over queries misses.

The standard error is dyadic-robust (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015): each item's influence
gathers all results that it takes part in, as query or as result. Results are looked at some queries at a time, so that
what is needed beside them grows with the items alone and with the results that are returned both ways.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from companion.stats.estimate import NO_SPREAD, Estimate, from_error
from companion.stats.margins import Margins, Pairs, divide
from companion.stats.mutual import Shared, find_shared
from companion.stats.retrieval import Integers

Floats = NDArray[np.float64]
ROUNDING = 1e-13
"""Share of the summed squares below which sums that cancel are rounding noise."""


def estimate_centred(pairs: Pairs, weights: Floats, level: float = 0.95) -> Estimate:
    """C with a dyadic-robust interval; ``weights`` (K,) of the ranks, 1 for the first d and 0 beyond is the depth d."""
    return _make_estimate([_Linearised(pairs, weights, centred=True)], pairs.shared, level, "centred join count")


def estimate_excess(pairs: Pairs, weights: Floats, level: float = 0.95) -> Estimate:
    """Delta, the share of results in the query's group beyond that of the catalogue, as `estimate_centred`."""
    return _make_estimate([_Linearised(pairs, weights, centred=False)], pairs.shared, level, "excess share")


def estimate_cell(pairs: Pairs, weights: Floats, cell: tuple[int, int], level: float = 0.95) -> Estimate:
    """Share of results of one group for queries of another, ``cell``, beyond what the margins make of it.

    C is the sum of these over the cells of one group each; otherwise as `estimate_centred`.
    """
    kernel = np.zeros((pairs.labelled.number,) * 2)
    kernel[cell] = 1.0
    return _make_estimate([_Linearised(pairs, weights, True, kernel)], pairs.shared, level, "centred share of a cell")


def estimate_change(new: Pairs, old: Pairs, weights: Floats, level: float = 0.95) -> Estimate:
    """C of ``new`` less C of ``old``, as `estimate_centred`.

    Both are of the same items, groups and queries, so that what an item does to both is taken once: the error is that
    of the difference of the influences.
    """
    sides = [_Linearised(pairs, weights, centred=True) for pairs in (new, old)]
    return _make_estimate(sides, find_shared([new.side, old.side], new.count), level, "difference of C")


def _make_estimate(sides: Sequence["_Linearised"], shared: Shared, level: float, what: str) -> Estimate:
    """Of the first side or, where there are two, of the first less the second."""
    first, *others = sides
    influence = first.influence - others[0].influence if others else first.influence
    value = first.estimate - (others[0].estimate if others else 0.0)
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

    Both are a mean over results less what the margins make of it, e = mean of alpha_s' count x_t: s and t are
    the strata of query and result (s is t where queries are no items), alpha the groups' shares among who asks, and x
    their shares among what is returned (C) or in the catalogue (Delta). ``count`` (G, G) is 1 for a match and 0
    otherwise, unless it is given. So a result's residual is count less its mean for its strata, less what its query
    moves of alpha and, for C, what it moves of x itself, less the mean of all residuals. That a query is not among its
    own results is part of the estimate, not of what moves it.
    """

    def __init__(self, pairs: Pairs, weights: Floats, centred: bool, count: Floats | None = None) -> None:
        self.pairs, self._weights, self._centred = pairs, weights, centred
        margins = Margins(pairs, weights)
        self._count = np.eye(pairs.labelled.number) if count is None else count
        self._total, self._asked, self._found = margins.total, margins.asked, margins.found
        result = margins.found if centred else margins.catalogue
        self.estimate = float((self._count * (margins.table / margins.total - margins.expect(centred))).sum())
        # What a query's group moves of e in its stratum, and what a result's group does.
        self._by_query = divide(np.asarray(margins.cells @ (result @ self._count.T)), margins.across)
        self._by_item = divide(np.asarray(margins.cells.T @ (self._asked @ self._count)), margins.towards)
        # Of a result's residual: what is the same for all of its query's stratum, and of its own.
        self._less = (self._asked * self._by_query).sum(axis=1), (self._found * self._by_item).sum(axis=1)
        expected = float((margins.towards * self._less[1]).sum()) / self._total
        self._centre = float((self._count * margins.table).sum()) / self._total - expected
        self.squares, self.influence = self._gather()
        if not centred:
            self.influence[: pairs.retrieval.items] += self._move_catalogue(margins)
        if pairs.units is not None:
            nodes, first = np.arange(len(self.influence)), pairs.retrieval.items if pairs.apart else 0
            nodes[first : first + len(pairs.units)] = first + pairs.units
            self.influence = np.bincount(nodes, self.influence).astype(np.float64)

    def _move_catalogue(self, margins: Margins) -> Floats:
        """Influence of each item through the share of its group in the catalogue, or in its stratum of it."""
        pull, shares = -margins.towards[:, None] / self._total * self._by_item, margins.catalogue
        strata, codes = self.pairs.strata_numbers, self.pairs.item_groups.codes
        if self.pairs.apart:
            pull, shares, strata = pull.sum(axis=0, keepdims=True), shares[:1], np.zeros(len(codes), dtype=np.int64)
        moved = pull - (pull * shares).sum(axis=1, keepdims=True)
        influence: Floats = moved[strata, codes] / np.bincount(strata)[strata]
        return influence

    def _residuals(self, rows: Integers, items: Integers, values: Floats) -> Floats:
        asked, found = self.pairs.query_groups.codes[rows], self.pairs.item_groups.codes[items]
        one, other = self.pairs.places(rows, items)
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
