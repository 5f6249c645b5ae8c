"""Counts of one attribute among results: observed, expected, and over relabellings."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.stats.joins import Drawn, draw_joins
from companion.stats.margins import Margins, Pairs
from companion.stats.relabelling import Exchange, Relabelling, split_by_size
from companion.stats.retrieval import Groups, Integers, Retrieval
from companion.studies.parity.own.attributes import Attribute
from companion.studies.parity.own.results import Ranking

LARGE = 100_000
"""Labels above which relabellings are drawn until the answer is clear, instead of all of them."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One attribute with the results among which it is counted; items and queries without it are left out.

    Attributes:
        groups: of what is relabelled: the items or, where queries are no items, the queries.
        item_groups: of the items where these are not relabelled, else ``None``.
        left_out: number of items and of queries without the attribute, and of results of or for one.
        in_block: number of results in the block of their query, which are left out too.
    """

    name: str
    labels: tuple[str, ...]
    retrieval: Retrieval
    groups: Groups
    item_groups: Groups | None
    exchange: Exchange
    left_out: tuple[int, int, int] = (0, 0, 0)
    in_block: int = 0

    @property
    def queries(self) -> Groups:
        """Groups of the M queries."""
        own = self.retrieval.queries
        return self.groups if own is None else Groups(self.groups.codes[own], self.groups.number)

    @property
    def items(self) -> Groups:
        """Groups of the N items."""
        return self.groups if self.item_groups is None else self.item_groups

    @cached_property
    def pairs(self) -> Pairs:
        """What an interval is made from."""
        return Pairs(self.retrieval, self.items, self.queries, self.exchange.blocks, self.exchange.strata)

    def against_rest(self, group: int) -> "Case":
        """One group against all others together."""
        one, other = (
            None if each is None else Groups((each.codes == group).astype(np.int64), 2)
            for each in (self.groups, self.item_groups)
        )
        assert one is not None
        return Case(self.name, ("others", self.labels[group]), self.retrieval, one, other, self.exchange)

    def only(self, keep: NDArray[np.bool_]) -> "Case":
        """The results (M, K) that are to be kept, among the same items and queries."""
        results = np.where(keep, self.retrieval.results, -1)
        retrieval = Retrieval(results, self.retrieval.items, self.retrieval.queries)
        return Case(self.name, self.labels, retrieval, self.groups, self.item_groups, self.exchange)


def make_case(ranking: Ranking, item: Attribute, query: Attribute | None, exchange: Exchange) -> Case:
    """``query`` is ``None`` where queries are items; ``exchange`` is of all that may be relabelled.

    Raises CompanionError where no result, or only one group, is left, and as `Retrieval`.
    """
    known = item.codes >= 0
    number = np.where(known, np.cumsum(known) - 1, -1).astype(np.int32)
    asked = item.codes[ranking.queries] if query is None else query.codes[ranking.queries]
    rows = asked >= 0
    results = ranking.results if known.all() and rows.all() else number[ranking.results[rows]]
    if not known.all() or not rows.all():
        results[ranking.results[rows] < 0] = -1
    if not (results >= 0).any():
        raise CompanionError(f"No result has {item.name!r} on both sides; nothing can be counted.")
    labelled = Groups(item.codes[known], len(item.labels))
    # Queries that are no items carry the labels, so they are numbered by their place in the results.
    groups = labelled if query is None else Groups(asked[rows], len(item.labels))
    exchanged = np.flatnonzero(known) if query is None else ranking.queries[rows]
    queries = number[ranking.queries[rows]] if query is None else None
    strata, blocks = (None if each is None else each[exchanged] for each in (exchange.strata, exchange.blocks))
    left = (int((~known).sum()), int((~rows).sum()), int((ranking.results >= 0).sum() - (results >= 0).sum()))
    # Whole numbers of 32 bits are enough, and half the memory.
    whole = retrieval = Retrieval(cast(Integers, results), int(known.sum()), cast(Integers | None, queries))
    if blocks is not None:
        by_size = split_by_size(blocks, strata)
        strata = by_size if strata is not None or by_size.any() else None
        retrieval = whole if query is not None else whole.leave_out(blocks)
        if not (retrieval.results >= 0).any():
            raise CompanionError("Every result is in the block of its query, and would match whatever the labels are.")
    return Case(
        item.name,
        item.labels,
        retrieval,
        groups,
        None if query is None else labelled,
        Exchange(strata, blocks),
        left,
        int((whole.results >= 0).sum() - (retrieval.results >= 0).sum()),
    )


def rank_weights(depths: tuple[int, ...], kind: str) -> Floats:
    """(len(depths), K) weight of each rank for each depth; ``log2`` discounts as DCG does, 1 / log2(rank + 1)."""
    ranks = np.arange(1, depths[-1] + 1)
    discount = 1 / np.log2(ranks + 1) if kind == "log2" else np.ones(len(ranks))
    return np.stack([np.where(ranks <= depth, discount, 0.0) for depth in depths])


def draw_counts(case: Case, depths: tuple[int, ...], kind: str, draws: int, seed: Sequence[int]) -> Drawn:
    """Relabel up to ``draws`` times; two calls with one seed and the same groups draw the same labels.

    Up to ``LARGE`` labels all draws are made. Above, they stop when twenty are as large as the observed one at every
    depth. Raises CompanionError as `Relabelling`.
    """
    relabelling = Relabelling(case.groups, case.exchange, np.random.default_rng(seed))
    weights = rank_weights(depths, kind)
    # Ranks of one weight are counted together.
    runs = depths if kind == "none" else tuple(range(1, depths[-1] + 1))
    enough = None if len(case.groups.codes) <= LARGE else 20
    by_run = weights[:, np.array(runs) - 1]
    return draw_joins(case.retrieval, case.groups, relabelling, runs, by_run, draws, enough, case.item_groups)


def measure_hubs(case: Case, weights: Floats, number: int = 10) -> tuple[float, float]:
    """Share of the results, and of C, of the ``number`` items that are returned most."""
    shares = Margins(case.pairs, weights).table
    shares /= shares.sum()
    asking, found_shares = shares.sum(axis=1), shares.sum(axis=0)
    degree, carried = np.zeros(case.retrieval.items), np.zeros(case.retrieval.items)
    for rows, items, values in case.retrieval.pieces(weights):
        asked, found = case.queries.codes[rows], case.items.codes[items]
        each = (asked == found) - found_shares[asked] - asking[found] + float(asking @ found_shares)
        np.add.at(degree, items, values)
        np.add.at(carried, items, each * values)
    popular = np.argsort(degree)[-number:]
    whole = float(carried.sum())
    return float(degree[popular].sum() / degree.sum()), float(carried[popular].sum()) / whole if whole else 0.0
