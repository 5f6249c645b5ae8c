"""Intervals for join counts: results that share a query or an item are alike, which a bootstrap over queries misses.

The standard error is dyadic-robust (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015): each item's influence
gathers all results that it takes part in, as query or as result, and, where labels are exchanged inside strata only,
what its group's share in its stratum moves. Results are looked at some queries at a time, so that what is needed beside
them grows with the items alone and with the results that are returned both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

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

    Both are the mean over results of k(g, h) = 1[g = h] - x_g - y_h, g the group of the query and h that of the result,
    and a constant. For C, x are the groups' shares among results and y those among who asks, and since C is centred by
    both, what an item moves of them cancels. For Delta, x are the shares of the catalogue, which move, and y is 0. In
    the place of 1[g = h] another ``count`` (G, G) can stand.

    Where labels are exchanged inside strata, what matters is the estimate less its mean over relabellings. Between the
    strata s and t of query and result that is p_s' k p_t, where k has the means of x and y, so a result's residual is
    its kernel less this, less the mean of all residuals; and p_s moves with the labels of a stratum.
    """

    def __init__(self, pairs: Pairs, weights: Floats, centred: bool, count: Floats | None = None) -> None:
        self.pairs, self._weights = pairs, weights
        number = pairs.item_groups.number
        count = np.eye(number) if count is None else count
        strata = None if pairs.strata is None else _Strata(pairs, pairs.strata)
        counted = np.zeros((number, number))
        for rows, items, values in pairs.retrieval.pieces(weights):
            cells = pairs.query_groups.codes[rows] * number + pairs.item_groups.codes[items]
            counted += np.bincount(cells, values, counted.size).reshape(counted.shape)
            if strata:
                strata.add(rows, items, values)
        self._total = float(counted.sum())
        shares = counted / self._total
        asked, found, catalogue = shares.sum(axis=1), shares.sum(axis=0), pairs.item_groups.shares
        self.estimate = float((count * shares).sum() - asked @ count @ (found if centred else catalogue))
        none = np.zeros(number)
        self._kernel = _make_kernel(count, asked, found) if centred else _make_kernel(count, none, catalogue)
        self._centre = float((self._kernel * shares).sum())
        self._strata = strata
        expected = asked
        if strata:
            expected, by_result = (each / self._total for each in strata.margins)
            kernel = _make_kernel(count, expected, by_result) if centred else self._kernel
            self._centre -= strata.use(kernel) / self._total
        self.squares, self.influence = self._gather()
        if strata:
            moved = strata.pull(self._total)
            self.influence[len(self.influence) - len(moved) :] += moved
        if not centred:
            # The mean over relabellings falls with the catalogue's shares, too; without strata it is a constant.
            pull = (expected - asked if strata else -asked) @ count
            self.influence[: pairs.retrieval.items] += _catalogue_term(pull, pairs.item_groups)
        if pairs.units is not None:
            nodes, first = np.arange(len(self.influence)), pairs.retrieval.items if pairs.apart else 0
            nodes[first : first + len(pairs.units)] = first + pairs.units
            self.influence = np.bincount(nodes, self.influence).astype(np.float64)

    def _residuals(self, rows: Integers, items: Integers, values: Floats) -> Floats:
        asked, found = self.pairs.query_groups.codes[rows], self.pairs.item_groups.codes[items]
        gaps: Floats = self._kernel[asked, found] - self._centre
        if self._strata:
            gaps -= self._strata.expect(rows, items)
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


def _make_kernel(count: Floats, asked: Floats, found: Floats) -> Floats:
    """(G, G) count less its means over the shares of results and of who asks, by group of query (row) and result."""
    kernel: Floats = count - (count @ found)[:, None] - (asked @ count)[None, :]
    return kernel


def _catalogue_term(pull: Floats, groups: Groups) -> Floats:
    """Influence of each thing through the share of its group."""
    moved: Floats = (pull - float(pull @ groups.shares)) / len(groups.codes)
    return moved[groups.codes]


class _Strata:
    """What a kernel is on average when labels are exchanged inside strata, and what shares in strata do to that.

    Items that keep their labels while those of queries are exchanged are a stratum for each group. All results are
    added before a kernel is used.
    """

    def __init__(self, pairs: Pairs, strata: Integers) -> None:
        groups, number = pairs.labelled, pairs.labelled.number
        self._place = np.unique(strata, return_inverse=True)[1]
        self._codes, self._apart = groups.codes, pairs.apart
        count = int(self._place.max()) + 1
        sizes = np.bincount(self._place * number + groups.codes, minlength=count * number).reshape(count, number)
        self._sizes = sizes.sum(axis=1).astype(float)
        self._shares = sizes / self._sizes[:, None]
        queries = pairs.retrieval.queries
        self._asked = self._place if queries is None else self._place[queries]
        self._found: Integers = pairs.item_groups.codes if queries is None else self._place
        self._results: Floats = np.eye(number) if queries is None else self._shares
        self._weights = np.zeros(count), np.zeros(len(self._results))
        self._ends = np.zeros((count, number)), np.zeros((len(self._results), number))
        self._inside = np.zeros(count)

    def add(self, rows: Integers, items: Integers, values: Floats) -> None:
        """Count some results by stratum."""
        one, other = self._asked[rows], self._found[items]
        for place, weights in zip((one, other), self._weights, strict=True):
            weights += np.bincount(place, values, len(weights))
        for group in range(self._shares.shape[1]):
            self._ends[0][:, group] += np.bincount(one, values * self._results[other, group], len(self._ends[0]))
            self._ends[1][:, group] += np.bincount(other, values * self._shares[one, group], len(self._ends[1]))
        if not self._apart:
            near = one == other
            self._inside += np.bincount(one[near], values[near], len(self._inside))

    @property
    def margins(self) -> tuple[Floats, Floats]:
        """Results by the group of their query, and by their own, on average over relabellings."""
        return self._weights[0] @ self._shares, self._weights[1] @ self._results

    def use(self, kernel: Floats) -> float:
        """Take a kernel, and sum its means over all results."""
        self._kernel, self._towards = kernel, self._shares @ kernel
        # Two results inside a stratum have two different labels of it.
        square = (self._towards * self._shares).sum(axis=1)
        own = self._shares @ np.diag(kernel)
        self._less = (square - own) / np.maximum(self._sizes - 1, 1)
        return float((self._ends[0] * self._towards).sum() + self._inside @ self._less)

    def expect(self, rows: Integers, items: Integers) -> Floats:
        """Mean of the kernel over relabellings, of each result."""
        one, other = self._asked[rows], self._found[items]
        mean = np.zeros(len(rows))
        for group in range(len(self._kernel)):
            mean += self._towards[one, group] * self._results[other, group]
        if not self._apart:
            near = np.flatnonzero(one == other)
            mean[near] += self._less[one[near]]
        return mean

    def pull(self, total: float) -> Floats:
        """Influence of each thing through the share of its group in its stratum."""
        pull = self._ends[0] @ self._kernel.T
        if not self._apart:
            pull = pull + self._ends[1] @ self._kernel
        moved = ((pull * self._shares).sum(axis=1)[:, None] - pull) / (total * self._sizes[:, None])
        influence: Floats = moved[self._place, self._codes]
        return influence
