"""Results of a search as numbers: which items were found for which query, and who is in which group."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from companion.errors import CompanionError
from companion.stats.mutual import PIECE, Shared, Side, find_shared

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Retrieval:
    """Who was found for whom, by rank.

    Attributes:
        results: (M, K) item numbers from 0 to ``items`` - 1, best first; -1 where a query has fewer results.
        items: N, the size of the catalogue.
        queries: (M,) item number of each query; ``None`` where queries are no items and have labels of their own.

    Raises:
        CompanionError: shapes or numbers that do not fit, an item found twice for one query, or a query among its own
            results.
    """

    results: Integers
    items: int
    queries: Integers | None = None

    def __post_init__(self) -> None:
        results, queries = self.results, self.queries
        if results.ndim != 2 or not results.size:
            raise CompanionError(f"results of shape {results.shape}: give a row of items for each query")
        if results.min() < -1 or results.max() >= self.items:
            raise CompanionError(f"a result is none of the {self.items} items: number them from 0, and -1 for none")
        if queries is not None:
            if queries.shape != (len(results),) or queries.min() < 0 or queries.max() >= self.items:
                raise CompanionError(f"a query is none of the {self.items} items, or there are more queries than rows")
            if (results == queries[:, None]).any():
                raise CompanionError("a query is among its own results: leave it out")
        ordered = np.sort(results, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise CompanionError("an item is found twice for one query: leave the second out")

    def leave_out(self, blocks: Integers) -> "Retrieval":
        """The same without results in the block of their query; ``blocks`` (N,) of the items, which are queries."""
        own = blocks[self.queries]
        return Retrieval(np.where(blocks[self.results] == own[:, None], -1, self.results), self.items, self.queries)

    @property
    def nodes(self) -> int:
        """Number of things that carry a label: the items or, where queries are no items, the queries."""
        return self.items if self.queries is not None else len(self.results)

    def edges(self, depth: int | None = None) -> tuple[Integers, Integers]:
        """Row of the query and number of the item of each result among the first ``depth`` (default: all)."""
        found = self.results[:, :depth]
        rows, ranks = np.nonzero(found >= 0)
        return rows, found[rows, ranks].astype(np.int64)

    def pieces(self, weights: NDArray[np.float64]) -> Iterator[tuple[Integers, Integers, NDArray[np.float64]]]:
        """Row of the query, item, and weight of each result that has one, some queries at a time.

        ``weights`` (K,) are those of the ranks.
        """
        depth = int(np.flatnonzero(weights)[-1]) + 1
        step = max(1, PIECE // depth)
        for start in range(0, len(self.results), step):
            part = self.results[start : start + step, :depth]
            rows, ranks = np.nonzero((part >= 0) & (weights[:depth] > 0))
            yield rows + start, part[rows, ranks].astype(np.int64), weights[ranks]

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """Symmetric (N, N) counts: how often one item is found for the other, in either direction.

        Raises:
            CompanionError: the queries are no items.
        """
        if self.queries is None:
            raise CompanionError("queries that are no items have no graph among items")
        rows, found = self.edges()
        ones = np.ones(len(rows))
        directed = sparse.coo_array((ones, (self.queries[rows], found)), shape=(self.items, self.items)).tocsr()
        return (directed + directed.T).tocsr()

    @cached_property
    def mutual(self) -> Shared:
        """Results that are returned the other way round, too; none where queries are no items."""
        sides = [] if self.queries is None else [Side(self.results, self.queries)]
        return find_shared(sides, self.items)

    @property
    def reciprocity(self) -> float:
        """Share of results that are returned the other way round, too.

        Raises:
            CompanionError: the queries are no items.
        """
        if self.queries is None:
            raise CompanionError("queries that are no items have no graph among items")
        return len(self.mutual.places) / int((self.results >= 0).sum())


@dataclass(frozen=True)
class Groups:
    """A label for each thing, as numbers.

    Attributes:
        codes: (n,) group from 0 to ``number`` - 1.
        number: G, how many groups there are.
    """

    codes: Integers
    number: int

    @property
    def sizes(self) -> Integers:
        """(G,) how many things are in each group."""
        return np.bincount(self.codes, minlength=self.number)

    @property
    def shares(self) -> NDArray[np.float64]:
        """(G,) share of things in each group."""
        return self.sizes / len(self.codes)


def make_groups(codes: ArrayLike) -> Groups:
    """Groups of whole numbers from 0 on.

    Raises:
        CompanionError: fewer than two groups, or codes that are no whole numbers from 0 on.
    """
    values = np.asarray(codes)
    if values.ndim != 1 or values.dtype.kind not in "iu" or not values.size or values.min() < 0:
        raise CompanionError("groups must be whole numbers from 0 on, one for each item")
    if len(np.unique(values)) < 2:
        raise CompanionError("all items are in one group: nothing can depend on it")
    return Groups(values.astype(np.int64), int(values.max()) + 1)
