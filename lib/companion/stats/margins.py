"""Results with their groups, and what the margins alone make of them: who asks, and what is returned."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from companion.stats.mutual import Shared, Side, find_shared
from companion.stats.retrieval import Groups, Integers, Retrieval

Floats = NDArray[np.float64]


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

    @cached_property
    def strata_numbers(self) -> Integers:
        """Stratum of each thing that carries a label, from 0; all 0 without strata."""
        count = len(self.labelled.codes)
        return (
            np.zeros(count, dtype=np.int64) if self.strata is None else np.unique(self.strata, return_inverse=True)[1]
        )

    def places(self, rows: Integers, items: Integers) -> tuple[Integers, Integers]:
        """Stratum of the query and of each result; that of the query twice where it is no item."""
        strata, queries = self.strata_numbers, self.retrieval.queries
        one = strata[rows if queries is None else queries[rows]]
        return one, one if queries is None else strata[items]


class Margins:
    """Margins of the results, by stratum.

    Attributes:
        table: (G, G) results by the group of their query (row) and their own.
        total: weight of all results.
        cells: (S, S) results by stratum of the query and of the result.
        across, towards: (S,) its sums by stratum of the query, and of the result.
        asked, found: (S, G) groups' shares among who asks, and among what is returned.
        catalogue: (S, G) their shares in the catalogue.
    """

    def __init__(self, pairs: Pairs, weights: Floats) -> None:
        number, strata = pairs.labelled.number, pairs.strata_numbers
        size = int(strata.max()) + 1
        asked, found, table = np.zeros(size * number), np.zeros(size * number), np.zeros(number**2)
        self.cells = sparse.csr_array((size, size))
        for rows, items, values in pairs.retrieval.pieces(weights):
            one, other = pairs.places(rows, items)
            mine, theirs = pairs.query_groups.codes[rows], pairs.item_groups.codes[items]
            asked += np.bincount(one * number + mine, values, len(asked))
            found += np.bincount(other * number + theirs, values, len(found))
            table += np.bincount(mine * number + theirs, values, len(table))
            self.cells = self.cells + sparse.coo_array((values, (one, other)), shape=(size, size)).tocsr()
        self.table, self.total = table.reshape(number, number), float(table.sum())
        self.asked, self.found = (_shares(each.reshape(size, number)) for each in (asked, found))
        self.across, self.towards = (np.asarray(self.cells.sum(axis=axis), dtype=np.float64).ravel() for axis in (1, 0))
        self.catalogue, self._units = np.tile(pairs.item_groups.shares, (size, 1)), None
        if not pairs.apart:
            codes = pairs.item_groups.codes
            self.catalogue = _shares(_count(strata, codes, size, number))
            first = np.arange(len(codes)) if pairs.units is None else np.unique(pairs.units, return_index=True)[1]
            self._units = _count(strata[first], codes[first], size, number)

    def expect(self, centred: bool = True) -> Floats:
        """(G, G) share of all results in each cell if query and result were independent; see `joins`.

        From the groups' shares among what is returned, or in the catalogue where it is not ``centred``. In the first
        case the rows and columns sum up to those of the results.
        """
        shares = self.found if centred else self.catalogue
        if self._units is None:
            return np.asarray(self.asked.T @ (self.cells @ shares)) / self.total
        one, inside = share_of_one(shares, self._units), self.cells.diagonal()
        absent = (inside / self.total)[:, None] * self.asked * one
        expected: Floats = absent.T @ shares - np.diag(absent.sum(axis=0))
        if centred:
            shares = shares + include_query(self.asked, shares, one, inside / np.maximum(self.towards, 1e-300))
        return expected + self.asked.T @ np.asarray(self.cells @ shares) / self.total

    @cached_property
    def centred(self) -> float:
        """C."""
        return float(np.trace(self.table / self.total - self.expect()))

    @cached_property
    def room(self) -> float:
        """What a bias of 1 adds to C: 1 less the squared shares of who asks, on average over strata of results."""
        asking = divide(np.asarray(self.cells.T @ self.asked), self.towards)
        return float(1 - (self.towards * np.square(asking).sum(axis=1)).sum() / self.total)


def share_of_one(shares: Floats, units: NDArray[Any]) -> Floats:
    """x, what one thing of a group has, by the share of its group and the number of its things (see `joins`)."""
    rest = units - shares
    return np.divide(shares, rest, out=np.zeros_like(shares), where=rest > 1e-9)


def include_query(asked: Floats, found: Floats, one: Floats, inside: Floats) -> Floats:
    """What is to be added to the shares among results (..., S, G), since queries are not among their own results.

    ``one`` is x of `share_of_one`, ``inside`` (S,) the share of a stratum's results whose query is in it too.
    """
    absent = asked * one
    return inside[:, None] * (absent - found * absent.sum(axis=-1, keepdims=True))


def _count(strata: Integers, codes: Integers, size: int, number: int) -> Floats:
    return np.bincount(strata * number + codes, minlength=size * number).reshape(size, number).astype(np.float64)


def _shares(counts: Floats) -> Floats:
    """Shares of the groups in each stratum (S, G); 0 where there is nothing."""
    return divide(counts, counts.sum(axis=1))


def divide(sums: Floats, by: Floats) -> Floats:
    """Rows (S, G) divided by their own number (S,); 0 where it is 0."""
    return np.divide(sums, by[:, None], out=np.zeros(sums.shape), where=by[:, None] > 0)
