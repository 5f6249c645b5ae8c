"""Do results track the group of the query? Counts of query and result in one group, over all relabellings at once.

The **centred join count** is C = mean over results of k(a_q, a_r) with k(g, h) = 1[g = h] - pi_g - rho_h + sum pi rho,
where pi are the shares of the groups among the items and rho those among the queries' own labels (where queries are
items the two are the same shares). Like the plain share S of results in the query's group it grows with dependence, by
b (1 - s0) when a share b of results is drawn from the query's group; unlike S it does not move when popular items
happen to be in one group. Reconstruction of arXiv 1909.06429, whose full text was not available.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.stats.relabelling import WORD, Exchange, Relabelling, Words, count_bits
from companion.stats.retrieval import Groups, Integers, Retrieval

BATCH = 8
"""Words of relabellings that are counted at a time: a row of bits is one cache line."""
ROWS = 8192
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Joins:
    """Counts of one observed labelling (first row) and of its relabellings, for each of R runs of ranks.

    Attributes:
        matches: (draws, R) results in the group of their query.
        found: (draws, R, G) results in each group.
        asked: (draws, R, G) results whose query is in each group.
        edges: (R,) results.
        item_shares, query_shares: (draws, G) shares of the groups among items and among the queries' labels.
    """

    matches: Integers
    found: Integers
    asked: Integers
    edges: Integers
    item_shares: Floats
    query_shares: Floats

    def keep(self, draws: int) -> "Joins":
        """The first so many draws, the observed labelling among them."""
        counted = (self.matches, self.found, self.asked)
        shares = (self.item_shares, self.query_shares)
        return Joins(*(each[:draws] for each in counted), self.edges, *(each[:draws] for each in shares))

    def weigh(self, weights: Floats) -> "Weighted":
        """Sums over runs of ranks with ``weights`` (R,); a run without weight does not count."""
        parts = (np.tensordot(each, weights, (1, 0)) for each in (self.matches, self.found, self.asked))
        return Weighted(*parts, float(self.edges @ weights), self.item_shares, self.query_shares)


@dataclass(frozen=True)
class Weighted:
    """Weighted counts: matches (draws,), found and asked (draws, G), their total, and shares as in `Joins`."""

    matches: Floats
    found: Floats
    asked: Floats
    total: float
    item_shares: Floats
    query_shares: Floats

    @property
    def same_share(self) -> Floats:
        """S (draws,): share of results in the group of their query."""
        return self.matches / self.total

    @property
    def excess(self) -> Floats:
        """Delta (draws,): S less the share that a draw from the catalogue would give, sum of pi rho."""
        return self.same_share - (self.item_shares * self.query_shares).sum(axis=1)

    @property
    def centred(self) -> Floats:
        """C (draws,): the centred join count."""
        pulled = (self.query_shares * self.found).sum(axis=1) + (self.item_shares * self.asked).sum(axis=1)
        return self.same_share - pulled / self.total + (self.item_shares * self.query_shares).sum(axis=1)

    @property
    def parity_distance(self) -> Floats:
        """(draws,): half the summed distance between the groups' shares among results and in the catalogue."""
        return 0.5 * np.abs(self.found / self.total - self.item_shares).sum(axis=1)


def count_joins(
    retrieval: Retrieval,
    groups: Groups,
    relabelling: Relabelling,
    draws: int,
    depths: Sequence[int] = (),
    item_groups: Groups | None = None,
) -> Joins:
    """Count the observed labelling and at least ``draws`` relabellings, in whole batches.

    Args:
        retrieval: the results.
        groups: labels of the items or, where queries are no items, of the queries; these are relabelled.
        relabelling: draws for ``groups``.
        draws: number of relabellings asked for.
        depths: growing numbers of ranks; each run of ranks between two of them is counted by itself (default: all).
        item_groups: labels of the items where queries have labels of their own; they stay as they are.

    Raises:
        CompanionError: numbers of labels that do not fit the retrieval, or depths beyond its ranks.
    """
    _check(retrieval, groups, item_groups)
    ends = list(depths) or [retrieval.results.shape[1]]
    if sorted(set(ends)) != ends or ends[0] < 1 or ends[-1] > retrieval.results.shape[1]:
        raise CompanionError(
            f"there are {retrieval.results.shape[1]} ranks, so no depths {ends}: let them grow to that"
        )
    runs = [retrieval.results[:, start:end] for start, end in zip([0, *ends], ends, strict=False)]
    batches: list[tuple[Integers, ...]] = []
    while sum(len(batch[0]) for batch in batches) < draws + 1:
        remaining = draws + 1 - sum(len(batch[0]) for batch in batches)
        words = min(BATCH, -(-remaining // WORD))
        batches.append(_count_batch(retrieval, runs, groups, relabelling.draw(words), item_groups))
    matches, found, asked, moved = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    edges = np.array([(run >= 0).sum() for run in runs])
    shares = moved / len(groups.codes)
    fixed = shares if item_groups is None else np.broadcast_to(item_groups.shares, shares.shape)
    return Joins(matches, found, asked, edges, fixed, shares)


def _check(retrieval: Retrieval, groups: Groups, item_groups: Groups | None) -> None:
    if (item_groups is None) != (retrieval.queries is not None):
        raise CompanionError("queries that are no items need labels of their own, beside those of the items")
    if len(groups.codes) != retrieval.nodes:
        raise CompanionError(f"{len(groups.codes)} labels do not fit {retrieval.nodes}: give one for each")
    if item_groups is not None and (len(item_groups.codes), item_groups.number) != (retrieval.items, groups.number):
        raise CompanionError("labels of queries and of items must have the same groups, and each item needs one")


def _count_batch(
    retrieval: Retrieval, runs: Sequence[Integers], groups: Groups, labels: Words, item_groups: Groups | None
) -> tuple[Integers, ...]:
    """Matches (draws, R), found and asked (draws, R, G), and labels of each group (draws, G) of one batch."""
    draws, number = labels.shape[2] * WORD, groups.number
    matches = np.zeros((len(runs), draws), dtype=np.int64)
    found, asked = (np.zeros((len(runs), number, draws), dtype=np.int64) for _ in range(2))
    results = labels if item_groups is None else _spread(item_groups, labels.shape[1])
    own = np.arange(len(retrieval.results)) if retrieval.queries is None else retrieval.queries
    for place, run in enumerate(runs):
        step = max(1, ROWS // run.shape[1])
        for start in range(0, len(run), step):
            row, rank = np.nonzero(run[start : start + step] >= 0)
            query = labels[own[start + row]]
            result = results[run[start + row, rank]]
            matches[place] += len(row) - count_bits(np.bitwise_or.reduce(query ^ result, axis=1))
            found[place] += _count_groups(result, number, draws)
            asked[place] += _count_groups(query, number, draws)
    everyone = _count_groups(labels, number, draws)
    return matches.T, found.transpose(2, 0, 1), asked.transpose(2, 0, 1), everyone.T


def _spread(groups: Groups, bits: int) -> Words:
    """Fixed labels (n, P, 1) as words that are all ones or all zeros."""
    words = [np.where(groups.codes >> bit & 1, ~np.uint64(0), np.uint64(0)) for bit in range(bits)]
    return np.stack(words, axis=1)[:, :, None]


def _count_groups(labels: Words, number: int, draws: int) -> Integers:
    """How many rows are in each group: (G, draws); labels of one word stand for all draws."""
    counts = np.empty((number, draws), dtype=np.int64)
    for group in range(1, number):
        chosen = labels[:, 0] if group & 1 else ~labels[:, 0]
        for bit in range(1, labels.shape[1]):
            chosen = chosen & (labels[:, bit] if group >> bit & 1 else ~labels[:, bit])
        counts[group] = np.resize(count_bits(chosen), draws)
    counts[0] = len(labels) - counts[1:].sum(axis=0)
    return counts


def permutation_p(values: Floats, alternative: str = "greater") -> float:
    """p of the first value among itself and its relabellings; ``alternative`` is greater, less or two-sided.

    Two-sided doubles the smaller tail, at most 1. The observed labelling counts as one of its relabellings, which
    keeps the level exact (Phipson and Smyth 2010).
    """
    tolerance = 1e-9 * max(1.0, float(np.abs(values).max()))
    above, below = (values >= values[0] - tolerance).mean(), (values <= values[0] + tolerance).mean()
    tails = {"greater": above, "less": below, "two-sided": min(1.0, 2 * min(above, below))}
    if alternative not in tails:
        raise CompanionError(f"no test is {alternative!r}: use {', '.join(tails)}")
    return float(tails[alternative])


def max_p(values: Floats) -> Floats:
    """p of each column (draws, m), adjusted for all m by the largest standardized value (Westfall and Young 1993)."""
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    largest = scaled.max(axis=1)
    return (largest[:, None] >= scaled[0] - 1e-9).mean(axis=0)


def sequential_p(
    retrieval: Retrieval,
    groups: Groups,
    exchange: Exchange,
    generator: np.random.Generator,
    enough: int = 20,
    most: int = 9_999,
) -> tuple[float, int]:
    """p of C that stops at the ``enough``-th relabelling as large as the observed one, and the draws it took.

    Besag and Clifford (1991): exact, and quick where nothing is to be found. Raises CompanionError as `count_joins`.
    """
    relabelling = Relabelling(groups, exchange, generator)
    observed, seen, reached = np.nan, 0, 0
    while seen < most:
        batch = count_joins(retrieval, groups, relabelling, BATCH * WORD - 1).weigh(np.ones(1)).centred
        draws = batch if seen else batch[1:]
        observed = batch[0] if not seen else observed
        draws = draws[: most - seen]
        as_large = np.flatnonzero(draws >= observed - 1e-12)
        if reached + len(as_large) >= enough:
            stop = seen + int(as_large[enough - reached - 1]) + 1
            return enough / stop, stop
        seen, reached = seen + len(draws), reached + len(as_large)
    return (reached + 1) / (most + 1), most
