"""Exact nearest neighbours of vectors, with ties broken by chance and chosen items left out.

The search is faiss's brute force: every distance is computed. Items that are equally near (copies of a picture, vectors
of whole numbers) would otherwise come in the order of the catalogue, which can hide or make a pattern in what a search
returns; here a seed decides among them, and how often it had to is part of the result.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from companion.errors import CompanionError

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

TIE = 1e-6
"""Cosine distances whose difference is at most this are equal, and squared distances at most this times the largest
squared distance of an item from the middle: single precision tells them no better apart."""
ENTRIES, ROWS = 1_000_000, 4096
"""At most so many candidates and queries are held at a time (some 50 MB, and a copy of the queries)."""
SPARE = 16
"""Candidates beyond those needed, so that most ties at the last place are seen at once."""


@dataclass(frozen=True)
class Neighbours:
    """What was found.

    Attributes:
        indices: (M, k) item numbers, the nearest first.
        distances: (M, k): 1 - cosine (0 to 2), or Euclidean.
        tied: (M,) whether chance decided about the order of at least two of a query's results.
        drawn: (M,) whether chance decided which items a query's results are, as more were equally near than places
            were left.
    """

    indices: Integers
    distances: Floats
    tied: NDArray[np.bool_]
    drawn: NDArray[np.bool_]


def find_neighbours(
    vectors: NDArray, k: int, *, metric: str = "cosine", exclude: NDArray | None = None, seed: int = 0
) -> Neighbours:
    """For each vector its k nearest others.

    Args:
        vectors: (n, d).
        k: how many.
        metric: ``cosine`` or ``l2``.
        exclude: (n,) codes; an item of the query's own code (its design, its model) is never returned. A vector itself
            never is.
        seed: for ties.

    Raises:
        CompanionError: vectors that are not finite or have no direction (cosine only), another shape, or a vector for
            which there are fewer than k.
    """
    codes = np.arange(len(vectors)) if exclude is None else np.asarray(exclude)
    return search(vectors, vectors, k, metric=metric, codes=(codes, codes), seed=seed)


def search(
    queries: NDArray,
    items: NDArray,
    k: int,
    *,
    metric: str = "cosine",
    codes: tuple[NDArray, NDArray] | None = None,
    seed: int = 0,
) -> Neighbours:
    """For each query its k nearest items, where queries are vectors of their own.

    Args:
        queries: (M, d).
        items: (N, d).
        k: how many.
        metric: ``cosine`` or ``l2``.
        codes: (M,) of the queries and (N,) of the items; an item of the query's own code is never returned.
        seed: for ties.

    Raises:
        CompanionError: as ``find_neighbours``.
    """
    if metric not in ("cosine", "l2"):
        raise CompanionError(f"there is no metric {metric!r}: choose cosine or l2")
    wanted = _prepare(items, "item", metric)
    asked = wanted if queries is items else _prepare(queries, "query", metric)
    if asked.shape[1] != wanted.shape[1]:
        raise CompanionError(
            f"queries have {asked.shape[1]} numbers each and items {wanted.shape[1]}: give equally many"
        )
    numbers = _number_codes(codes, len(asked), len(wanted))
    left_out = _count_left_out(numbers, len(wanted))
    if k < 1 or (left_out + k > len(wanted)).any():
        row = int(left_out.argmax())
        raise CompanionError(
            f"{k} neighbours of query {row} are asked for, and there are {len(wanted) - left_out[row]} that may be "
            "returned: ask for at least 1 and at most so many"
        )
    if metric == "l2":  # distances stay, and single precision goes further around the middle
        centre = wanted.mean(axis=0, dtype=np.float64).astype(np.float32)
        asked, wanted = asked - centre, wanted - centre
    return _Search(asked, wanted, k, metric, numbers, seed).run(int(left_out.max()))


@dataclass(frozen=True)
class _Search:
    """One search, with vectors of length 1 where the metric is cosine."""

    queries: Floats
    items: Floats
    k: int
    metric: str
    codes: tuple[Integers, Integers] | None
    seed: int

    def run(self, most_left_out: int) -> Neighbours:
        count = len(self.queries)
        found = Neighbours(
            np.empty((count, self.k), dtype=np.int64),
            np.empty((count, self.k), dtype=np.float32),
            np.zeros(count, dtype=bool),
            np.zeros(count, dtype=bool),
        )
        rows, depth = np.arange(count), min(self.k + min(most_left_out, 256) + SPARE, len(self.items))
        while len(rows):
            chunk = max(1, min(ROWS, ENTRIES // depth))
            pieces = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
            rows = np.concatenate([self._fill(found, piece, depth) for piece in pieces])
            depth = min(2 * depth, len(self.items))
        return found

    def _fill(self, found: Neighbours, rows: Integers, depth: int) -> Integers:
        """Write the results of these queries, and return those for which more candidates are needed."""
        candidates, distances = self._measure(rows, depth)
        if self.codes is not None:
            distances[self.codes[1][candidates] == self.codes[0][rows][:, None]] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")
        candidates = np.take_along_axis(candidates, order, axis=1)
        distances = np.take_along_axis(distances, order, axis=1)
        group = self._group(distances)
        # What was left out is at the end now. A row is complete if an item was seen that is farther than the last
        # result and all its equals, or if there are no more.
        farthest = np.isfinite(distances).sum(axis=1) - 1
        ends = np.take_along_axis(group, np.maximum(farthest, 0)[:, None], axis=1)[:, 0]
        done = (farthest >= self.k - 1) & ((ends > group[:, self.k - 1]) | (depth == len(self.items)))
        tied = group[:, : self.k + 1][:, 1:] == group[:, : self.k + 1][:, :-1]
        for row in np.flatnonzero(done & tied.any(axis=1)):
            mixed = self._mix(candidates[row], group[row], int(rows[row]))
            candidates[row], distances[row] = candidates[row][mixed], distances[row][mixed]
        kept = rows[done]
        found.indices[kept] = candidates[done, : self.k]
        found.distances[kept] = self._convert(distances[done, : self.k])
        found.tied[kept] = tied[done].any(axis=1)
        found.drawn[kept] = tied[done, self.k - 1] if self.k < depth else False
        return rows[~done]

    def _group(self, distances: Floats) -> Integers:
        """Number of the tie that each of a query's sorted candidates is in; what is left out has ties of its own."""
        tie = TIE if self.metric == "cosine" else TIE * float(np.einsum("ij,ij->i", self.items, self.items).max())
        with np.errstate(invalid="ignore"):  # inf - inf
            apart = ~(np.diff(distances, axis=1) <= tie)
        return np.concatenate([np.zeros((len(distances), 1), dtype=np.int64), np.cumsum(apart, axis=1)], axis=1)

    def _measure(self, rows: Integers, depth: int) -> tuple[Integers, Floats]:
        import faiss

        inner = self.metric == "cosine"
        kind = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
        values, candidates = faiss.knn(self.queries[rows], self.items, depth, metric=kind)
        return candidates, 1 - values if inner else values

    def _mix(self, candidates: Integers, group: Integers, row: int) -> Integers:
        """An order of a query's candidates by distance and, inside a tie, by chance; the same for the same items."""
        keys = np.empty(len(candidates))
        keys[np.lexsort((candidates, group))] = np.random.default_rng([self.seed, row]).random(len(candidates))
        return np.lexsort((keys, group))

    def _convert(self, values: Floats) -> Floats:
        values = np.maximum(values, 0)
        return values if self.metric == "cosine" else np.sqrt(values)


def _prepare(vectors: NDArray, what: str, metric: str) -> Floats:
    """Single precision in rows, scaled to length 1 for cosine, after the checks."""
    if vectors.ndim != 2 or not vectors.size or vectors.dtype.kind not in "fiu":
        raise CompanionError(
            f"vectors of shape {vectors.shape} and type {vectors.dtype}: give a row of numbers for each"
        )
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if not (finite := np.isfinite(rows).all(axis=1)).all():
        raise CompanionError(f"the vector of {what} {int((~finite).argmax())} holds a number that is not finite")
    if metric != "cosine":
        return rows
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if not lengths.all():
        raise CompanionError(f"the vector of {what} {int(lengths.argmin())} is zero and has no direction: leave it out")
    return rows / lengths.astype(np.float32)[:, None]


def _number_codes(codes: tuple[NDArray, NDArray] | None, queries: int, items: int) -> tuple[Integers, Integers] | None:
    if codes is None:
        return None
    if codes[0].shape != (queries,) or codes[1].shape != (items,):
        raise CompanionError("the codes to exclude by are not one for each vector")
    _, numbers = np.unique(np.concatenate(codes), return_inverse=True)
    return numbers[:queries], numbers[queries:]


def _count_left_out(codes: tuple[Integers, Integers] | None, items: int) -> Integers:
    """Items of its own code, for each query."""
    if codes is None:
        return np.zeros(1, dtype=np.int64)
    return np.bincount(codes[1], minlength=int(max(part.max() for part in codes)) + 1)[codes[0]]
