"""Do results track the group of the query? Counts of query and result in one group, over all relabellings at once.

The **centred join count** is C = S - e: S is the share of results in the query's group, and e is what the margins alone
make of it, the sum over groups of alpha phi, where alpha is the share of results whose query is in each group and phi
the share of results that are in it themselves. It is the numerator of assortativity and of Cohen's kappa. Like S it
grows with dependence, by b (1 - sum of alpha^2) when a share b of results is drawn from the query's group; unlike S it
does not move when popular items happen to be in one group, or when one group asks more often than others.

A query is not among its own results. So a query of group g finds g less often, by x (1 - phi_g), and other groups h
more often, by x phi_h, where x = phi_g / (n_g - phi_g) is what one of the n_g things of g has on average, and phi is
raised by what the queries themselves do not add to it. With this in e, C is near 0 without dependence whatever the
margins are, and its mean over relabellings need not be taken off.

Where labels are exchanged inside strata only, alpha are those of the query's stratum and phi those of the result's (of
the query's, where queries are no items), and e is the mean over results: what strata explain is no dependence. Where
things share a label in blocks, a result in the block of its query is a match whatever the labels are: leave it out of
the retrieval (`Retrieval.leave_out`); then n_g counts blocks.

Its p compares C divided by sqrt(V), where V = e + e^2 - sum of alpha phi (alpha + phi), the variance that C has with
these margins (Fleiss, Cohen and Everitt 1969), on average over pairs of strata. Popular groups make the margins of the
observed labels unlike those of relabellings; without this scale p would be too small.
Reconstruction of arXiv 1909.06429, whose full text was not available.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from companion.errors import CompanionError
from companion.stats.margins import Pairs, include_query, share_of_one
from companion.stats.relabelling import WORD, Exchange, Relabelling, Words, count_bits
from companion.stats.retrieval import Groups, Integers, Retrieval

BATCH = 16
"""Words of relabellings that are counted at a time, of up to ``MANY`` labels; of more, half as many."""
MANY = 2_000_000
FIRST = 8
"""Words of relabellings between two looks at whether the answer is clear."""
COUNTS = 2**21
"""Counts by stratum and group that are kept at a time."""
PILOT = 4 * WORD
"""Labellings, the observed one among them, that the spread of C at each depth is measured by where draws stop early."""
ROWS = 8192
"""Results that are counted at a time: what they need of memory stays in the processor's cache."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Joins:
    """Counts of one observed labelling (first row) and of its relabellings, for each of R runs of ranks and S strata.

    Attributes:
        matches: (draws, R) results in the group of their query.
        found: (draws, R, S, G) results in each group, by stratum of the result.
        asked: (draws, R, S, G) results whose query is in each group, by stratum of the query.
        cells: for each run (S, S) results by stratum of the query and of the result.
        labelled: (draws, S, G) items in each group.
        units: (draws, S, G) the same of blocks; ``None`` where a query may be among its own results.
        table: (draws, R, G, G) results by group of the query and of the item, where it was asked for.
    """

    matches: Integers
    found: Integers
    asked: Integers
    cells: list[sparse.csr_array]
    labelled: Integers
    units: Integers | None = None
    table: Integers | None = None

    def weigh(self, weights: Floats) -> "Weighted":
        """Sums over runs of ranks with ``weights`` (R,); a run without weight does not count."""
        matches, found, asked = (np.tensordot(each, weights, (1, 0)) for each in (self.matches, self.found, self.asked))
        table = None if self.table is None else np.tensordot(self.table, weights, (1, 0))
        cells = weights[0] * self.cells[0]
        for weight, each in zip(weights[1:], self.cells[1:], strict=True):
            cells = cells + weight * each
        return Weighted(matches, found, asked, cells, self.labelled, self.units, table)


@dataclass(frozen=True)
class Weighted:
    """Weighted counts: matches (draws,), found and asked (draws, S, G), cells (S, S), and the others as in `Joins`."""

    matches: Floats
    found: Floats
    asked: Floats
    cells: sparse.csr_array
    labelled: Integers
    units: Integers | None = None
    table: Floats | None = None

    @cached_property
    def total(self) -> float:
        """Weight of all results."""
        return float(self.cells.sum())

    @property
    def same_share(self) -> Floats:
        """S (draws,): share of results in the group of their query."""
        return self.matches / self.total

    @property
    def excess(self) -> Floats:
        """Delta (draws,): S less the share that draws from the catalogue, or from strata of it, would give."""
        return self.same_share - self._expect(centred=False)

    @cached_property
    def centred(self) -> Floats:
        """C (draws,): the centred join count."""
        return self.same_share - self._expect(centred=True)

    @cached_property
    def standardized(self) -> Floats:
        """(draws,): C in units of what the margins alone let it vary; 0 where they let it not vary at all."""
        asked, found = _share(self.asked), _share(self.found)
        variance = self._chance(asked, found) - self._chance(asked**2, found) - self._chance(asked, found**2)
        for group in range(asked.shape[2]):
            variance += self._chance(asked * asked[:, :, [group]], found * found[:, :, [group]])
        spread = np.sqrt(np.maximum(variance, 0))
        return np.divide(self.centred, spread, where=spread > 1e-6, out=np.zeros_like(spread))

    def _expect(self, centred: bool) -> Floats:
        """e (draws,), from who asks and the groups' shares among results or in the catalogue."""
        asked, shares = _share(self.asked), _share(self.found if centred else self.labelled)
        if self.units is None:
            return self._chance(asked, shares)
        one, inside = share_of_one(shares, self.units), self.cells.diagonal()
        absent = (asked * one * (1 - shares)).sum(axis=2) @ inside / self.total
        if centred:
            towards = np.maximum(np.asarray(self.cells.sum(axis=0)).ravel(), 1e-300)
            shares = shares + include_query(asked, shares, one, inside / towards)
        return self._chance(asked, shares) - absent

    def _chance(self, asked: Floats, found: Floats) -> Floats:
        """(draws,): mean over results of the sum of asked x found, those of their strata (draws, S, G)."""
        if self.cells.shape == (1, 1):
            return (asked * found).sum(axis=(1, 2))
        total = np.zeros(len(asked))
        for group in range(asked.shape[2]):
            total += ((self.cells.T @ asked[:, :, group].T).T * found[:, :, group]).sum(axis=1)
        return total / self.total

    @property
    def parity_distance(self) -> Floats:
        """(draws,): half the summed distance between the groups' shares among results and in the catalogue."""
        return 0.5 * np.abs(_share(self.found.sum(axis=1)) - _share(self.labelled.sum(axis=1))).sum(axis=1)

    @property
    def chi_square(self) -> Floats:
        """X2 (draws,): distance of the table from what its margins would give if query and result were independent."""
        table = self._need_table()
        expected = table.sum(axis=2, keepdims=True) * table.sum(axis=1, keepdims=True) / self.total
        gaps = np.divide((table - expected) ** 2, expected, out=np.zeros_like(table), where=expected > 0)
        return gaps.sum(axis=(1, 2))

    def kernel_mean(self, kernel: Floats) -> Floats:
        """(draws,): mean of a kernel (G, G) over results, such as minus the distance of two ordered groups.

        It is centred as C is, by what the margins would give if query and result were independent.
        """
        table = self._need_table() / self.total
        return np.tensordot(table, kernel, 2) - np.einsum("dgi,gh,djh->d", table, kernel, table)

    def largest_shift(self, coarse: Integers) -> Floats:
        """KS (draws,): largest distance of the results of one coarse group of queries from all results.

        Groups are ordered bins of a number; ``coarse`` (G,) says to which group of queries each bin belongs. The
        distance is between the two distribution functions, at the borders of the bins.
        """
        member = np.eye(int(coarse.max()) + 1)[coarse]
        rows = np.einsum("dgh,gc->dch", self._need_table(), member)
        gaps = np.cumsum(_share(rows) - _share(rows.sum(axis=1, keepdims=True)), axis=2)
        return np.abs(np.where(rows.sum(axis=2, keepdims=True) > 0, gaps, 0.0)).max(axis=(1, 2))

    def _need_table(self) -> Floats:
        if self.table is None:
            raise CompanionError("the whole table of groups was not counted: ask count_joins for it")
        return self.table


def _share(counts: NDArray[Any]) -> Floats:
    """Shares along the last axis; 0 where nothing was counted."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)


def count_joins(
    retrieval: Retrieval,
    groups: Groups,
    relabelling: Relabelling,
    draws: int,
    depths: Sequence[int] = (),
    item_groups: Groups | None = None,
    table: bool = False,
) -> Joins:
    """Count the observed labelling and at least ``draws`` relabellings, in whole batches.

    Args:
        retrieval: the results.
        groups: labels of the items or, where queries are no items, of the queries; these are relabelled.
        relabelling: draws for ``groups``.
        draws: number of relabellings asked for.
        depths: growing numbers of ranks; each run of ranks between two of them is counted by itself (default: all).
        item_groups: labels of the items where queries have labels of their own; they stay as they are.
        table: count every pair of groups, which takes (G - 1)^2 times as long.

    Raises:
        CompanionError: numbers of labels that do not fit the retrieval, or depths beyond its ranks.
    """
    _check(retrieval, groups, item_groups)
    ends = list(depths) or [retrieval.results.shape[1]]
    if sorted(set(ends)) != ends or ends[0] < 1 or ends[-1] > retrieval.results.shape[1]:
        raise CompanionError(
            f"there are {retrieval.results.shape[1]} ranks, so no depths {ends}: let them grow to that"
        )
    strata = _number_strata(relabelling.exchange.strata, retrieval.nodes)
    runs = [_Run(retrieval, strata, start, end) for start, end in zip([0, *ends], ends, strict=False)]
    parts: dict[str, list[Integers]] = {
        name: [] for name in ("matches", "found", "asked", "labelled", "units", "table")
    }
    units = _count_labels(*relabelling.units) if item_groups is None else None
    batch = _choose_batch(len(groups.codes), len(runs) * groups.number * (int(strata.max()) + 1))
    counted = 0
    while counted < draws + 1:
        labels = relabelling.draw(min(batch, -(-(draws + 1 - counted) // WORD)))
        size = labels.shape[2] * WORD
        results = labels if item_groups is None else _spread(item_groups, labels.shape[1])
        parts["matches"].append(np.stack([run.count_matches(labels, results) for run in runs], axis=1))
        # Numbers of labels stay as they are, unless these move between blocks of different sizes.
        labelled = np.broadcast_to(_count_labels(groups, strata), (size, int(strata.max()) + 1, groups.number))
        if relabelling.exchange.blocks is not None:
            labelled = _count_groups(labels, np.ones(len(labels), dtype=np.int64), groups.number, strata)
        parts["asked"].append(np.stack([run.count_asked(labels, labelled) for run in runs], axis=1))
        if item_groups is None:
            by_run = [_count_groups(labels, run.found, groups.number, strata) for run in runs]
        else:
            by_run = [np.broadcast_to(run.count_found(item_groups), labelled.shape) for run in runs]
            labelled = np.broadcast_to(item_groups.sizes, labelled.shape)
        parts["labelled"].append(labelled)
        if units is not None:
            parts["units"].append(np.broadcast_to(units, labelled.shape))
        parts["found"].append(np.stack(by_run, axis=1))
        if table:
            tables = [run.count_table(labels, results, groups.number) for run in runs]
            parts["table"].append(np.stack(tables, axis=1))
        counted += size
    whole = {name: np.concatenate(each) for name, each in parts.items() if each}
    found, asked, cells = whole["found"], whole["asked"], [run.cells for run in runs]
    counts = _complete(whole["table"], found.sum(axis=2), asked.sum(axis=2)) if table else None
    return Joins(whole["matches"], found, asked, cells, whole["labelled"], whole.get("units"), counts)


def _number_strata(strata: Integers | None, count: int) -> Integers:
    """Strata as numbers from 0 on; all 0 without."""
    return np.zeros(count, dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]


def _choose_batch(labels: int, counts: int) -> int:
    """Words of relabellings to be counted at a time, from what is needed of memory for one: labels and counts."""
    return max(1, min(BATCH if labels <= MANY else BATCH // 2, COUNTS // (counts * WORD)))


def _count_labels(groups: Groups, strata: Integers) -> Integers:
    """(S, G) things in each stratum and group."""
    count = int(strata.max()) + 1
    return np.bincount(strata * groups.number + groups.codes, minlength=count * groups.number).reshape(count, -1)


class _Run:
    """Some ranks of a retrieval: how often each item is found there, and how many results each query has.

    Attributes:
        found, asked: results of each item, and for each thing that carries a label.
        cells: (S, S) results by stratum of the query and of the result; of the query twice where it is no item.
    """

    def __init__(self, retrieval: Retrieval, strata: Integers, start: int, end: int) -> None:
        self._results, self._strata = retrieval.results[:, start:end], strata
        self._own = np.arange(len(self._results)) if retrieval.queries is None else retrieval.queries
        there = self._results >= 0
        self._full = bool(there.all())
        self.found = np.bincount(self._results[there], minlength=retrieval.items)
        self.asked = np.bincount(self._own, there.sum(axis=1), retrieval.nodes).astype(np.int64)
        count = int(strata.max()) + 1
        if count == 1:
            self.cells = sparse.csr_array([[float(there.sum())]])
            return
        rows, ranks = np.nonzero(there)
        one = strata[self._own[rows]]
        other = one if retrieval.queries is None else strata[self._results[rows, ranks]]
        self.cells = sparse.coo_array((np.ones(len(one)), (one, other)), shape=(count, count)).tocsr()

    def count_matches(self, labels: Words, results: Words) -> Integers:
        """Results in the group of their query, of each draw."""
        counts = np.zeros(labels.shape[2] * WORD, dtype=np.int64)
        for query, result in self._pieces(labels, results):
            differ = query ^ result
            unlike = differ[..., 0, :]
            for bit in range(1, labels.shape[1]):
                unlike = unlike | differ[..., bit, :]
            unlike = unlike.reshape(-1, labels.shape[2])
            counts += len(unlike) - count_bits(unlike)
        return counts

    def count_found(self, groups: Groups) -> Integers:
        """Results in each group of items that keep their labels, by stratum of the query (S, G)."""
        rows, ranks = np.nonzero(self._results >= 0)
        place = self._strata[self._own[rows]] * groups.number + groups.codes[self._results[rows, ranks]]
        return np.bincount(place, minlength=self.cells.shape[0] * groups.number).reshape(-1, groups.number)

    def count_asked(self, labels: Words, labelled: Integers) -> Integers:
        """Results by stratum and group of their query, from how many have each label where all ask alike."""
        least, most = int(self.asked.min()), int(self.asked.max())
        if least == most:
            return labelled * least
        return _count_groups(labels, self.asked, labelled.shape[2], self._strata)

    def count_table(self, labels: Words, results: Words, number: int) -> Integers:
        """Results by group of query and item, the first group of each left to `_complete`: (draws, G, G)."""
        counts = np.zeros((labels.shape[2] * WORD, number, number), dtype=np.int64)
        for query, result in self._pieces(labels, results):
            for group in range(1, number):
                asked = _choose(query, group)
                for other in range(1, number):
                    both = asked & _choose(result, other)
                    counts[:, group, other] += count_bits(both.reshape(-1, labels.shape[2]))
        return counts

    def _pieces(self, labels: Words, results: Words) -> Iterator[tuple[Words, Words]]:
        """Labels of queries and of their results, some at a time: (..., P, words), the first to be broadcast."""
        step = max(1, ROWS // self._results.shape[1])
        for start in range(0, len(self._results), step):
            part, own = self._results[start : start + step], self._own[start : start + step]
            if self._full:
                yield labels[own][:, None], results[part]
            else:
                row, rank = np.nonzero(part >= 0)
                yield labels[own[row]], results[part[row, rank]]


def _choose(labels: Words, group: int) -> Words:
    """Whether each label is of one group: (..., P, words) -> (..., words)."""
    chosen = labels[..., 0, :] if group & 1 else ~labels[..., 0, :]
    for bit in range(1, labels.shape[-2]):
        chosen = chosen & (labels[..., bit, :] if group >> bit & 1 else ~labels[..., bit, :])
    return chosen


def _complete(table: Integers, found: Integers, asked: Integers) -> Integers:
    """Fill in the first row and column of a table (draws, R, G, G) from its margins (draws, R, G)."""
    table[..., 1:, 0] = asked[..., 1:] - table[..., 1:, 1:].sum(axis=-1)
    table[..., 0, :] = found - table[..., 1:, :].sum(axis=-2)
    return table


def _check(retrieval: Retrieval, groups: Groups, item_groups: Groups | None) -> None:
    if (item_groups is None) != (retrieval.queries is not None):
        raise CompanionError("queries that are no items need labels of their own, beside those of the items")
    if len(groups.codes) != retrieval.nodes:
        raise CompanionError(f"{len(groups.codes)} labels do not fit {retrieval.nodes}: give one for each")
    if item_groups is not None and (len(item_groups.codes), item_groups.number) != (retrieval.items, groups.number):
        raise CompanionError("labels of queries and of items must have the same groups, and each item needs one")


def _spread(groups: Groups, bits: int) -> Words:
    """Fixed labels (n, P, 1) as words that are all ones or all zeros."""
    words = [np.where(groups.codes >> bit & 1, ~np.uint64(0), np.uint64(0)) for bit in range(bits)]
    return np.stack(words, axis=1)[:, :, None]


def _count_groups(labels: Words, times: Integers, number: int, strata: Integers) -> Integers:
    """How many rows are in each stratum and group, row i counted ``times[i]`` times: (draws, S, G).

    The times are split into powers of two.
    """
    order, sizes = np.argsort(strata, kind="stable"), np.bincount(strata)
    counts = np.zeros((labels.shape[2] * WORD, len(sizes), number), dtype=np.int64)
    for stratum, end in enumerate(np.cumsum(sizes)):
        for start in range(end - sizes[stratum], end, ROWS):
            rows = order[start : min(start + ROWS, end)] if len(sizes) > 1 else slice(start, start + ROWS)
            part, often = labels[rows], times[rows]
            chosen = [np.flatnonzero(often >> power & 1) for power in range(int(often.max()).bit_length())]
            for group in range(1, number):
                there = _choose(part, group)
                if chosen:
                    counts[:, stratum, group] += count_bits(*(there[each] for each in chosen))
            counts[:, stratum, 0] += often.sum()
    counts[:, :, 0] -= counts[:, :, 1:].sum(axis=2)
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


@dataclass(frozen=True)
class Drawn:
    """C of the observed labels (first row) and of relabellings, (draws + 1, D), with what follows from them.

    Attributes:
        p: (D,) one-sided: like attracts like. It compares standardized C (see the module).
        p_depths: (D,) the same, adjusted for all D by the largest over them.
        draws: (D,) relabellings behind each p.
        parity, p_parity: (D,) distance of all results from the shares of the catalogue, and its p; nan where the labels
            of the items stay as they are.
        parity_draws: relabellings behind each ``p_parity``.
        parity_mean: (D,) mean of the distance over them.
    """

    values: Floats
    p: Floats
    p_depths: Floats
    draws: Integers
    parity: Floats
    p_parity: Floats
    parity_draws: int
    parity_mean: Floats


def draw_joins(
    retrieval: Retrieval,
    groups: Groups,
    relabelling: Relabelling,
    runs: Sequence[int],
    weights: Floats,
    most: int = 9_999,
    enough: int | None = 20,
    item_groups: Groups | None = None,
) -> Drawn:
    """Relabel until the answer is clear at every depth, and at most ``most`` times.

    An answer is clear at the ``enough``-th relabelling as large as the observed labels, where p is exact, too (Besag
    and Clifford 1991); without ``enough``, or where ``most`` is below twice ``PILOT``, all ``most`` are made. The
    largest over depths is stopped in the same way: it is measured by the mean and spread of the first ``PILOT`` - 1
    relabellings, and counted among those after them, so that what it is measured by does not depend on what is counted.
    Distances from parity are then compared in the first batch alone, whose size no result decides.

    Args:
        runs, weights: growing numbers of ranks, and (D, len(runs)) weight of the ranks up to each (see `Joins.weigh`).

    Raises CompanionError as `count_joins`.
    """
    enough = None if most < 2 * PILOT else enough
    values, scaled, distances = (np.empty((0, len(weights))) for _ in range(3))
    strata = 1 if relabelling.exchange.strata is None else len(np.unique(relabelling.exchange.strata))
    # All at once, unless much is counted by stratum.
    size = FIRST * WORD if enough else max(WORD, min(most + 1, COUNTS // (strata * groups.number * len(runs))))
    while len(values) <= most and not (enough and _is_clear(scaled, enough)):
        joins = count_joins(retrieval, groups, relabelling, size - 1, runs, item_groups)
        weighed = [joins.weigh(each) for each in weights]
        values = np.concatenate([values, np.stack([each.centred for each in weighed], axis=1)])
        scaled = np.concatenate([scaled, np.stack([each.standardized for each in weighed], axis=1)])
        if not (enough and len(distances)):
            apart = np.stack([each.parity_distance for each in weighed], axis=1)
            distances = np.concatenate([distances, apart])[: most + 1]
    values, scaled = values[: most + 1], scaled[: most + 1]
    fixed = item_groups is not None
    parity_p = [np.nan if fixed else permutation_p(column) for column in distances.T]
    if enough is None:
        p, depths, draws = [permutation_p(column) for column in scaled.T], max_p(scaled), [most] * len(weights)
    else:
        stopped = [stop_early(column, enough) for column in scaled.T]
        p, draws = [each for each, _ in stopped], [used for _, used in stopped]
        depths = np.array([stop_early(column, enough)[0] for column in _largest(scaled).T])
    return Drawn(
        values,
        np.array(p),
        depths,
        np.array(draws),
        distances[0],
        np.array(parity_p),
        len(distances) - 1,
        np.full(len(weights), np.nan) if fixed else distances[1:].mean(axis=0),
    )


def relabel(pairs: Pairs, draws: int, generator: np.random.Generator) -> Drawn:
    """C at all ranks, of the labels as they are and of ``draws`` relabellings inside strata and blocks of ``pairs``.

    Raises CompanionError as `Relabelling`.
    """
    depth, fixed = pairs.retrieval.results.shape[1], pairs.item_groups if pairs.apart else None
    relabelling = Relabelling(pairs.labelled, Exchange(pairs.strata, pairs.blocks), generator)
    return draw_joins(pairs.retrieval, pairs.labelled, relabelling, [depth], np.ones((1, 1)), draws, None, fixed)


def _is_clear(values: Floats, enough: int) -> bool:
    if not len(values):
        return False
    counts = [_reached(column).sum() for each in (values, _largest(values)) for column in each.T]
    return min(counts) >= enough


def _largest(values: Floats) -> Floats:
    """Standardized C of the observed labels at each depth (first row), and the largest over depths of relabellings."""
    pilot = values[1:PILOT]
    spread = pilot.std(axis=0)
    # Rounded, so that what is as large stays so whatever it is measured by.
    scaled = np.round((values - pilot.mean(axis=0)) / np.where(spread > 0, spread, 1.0), 9)
    largest = scaled[PILOT:].max(axis=1)
    return np.concatenate([scaled[:1], np.repeat(largest[:, None], values.shape[1], axis=1)])


def stop_early(values: Floats, enough: int = 20) -> tuple[float, int]:
    """p of the first value among its relabellings up to the ``enough``-th as large as it, and the draws it took."""
    places = np.flatnonzero(_reached(values))
    if len(places) >= enough:
        stop = int(places[enough - 1]) + 1
        return enough / stop, stop
    return (len(places) + 1) / len(values), len(values) - 1


def _reached(values: Floats) -> NDArray[np.bool_]:
    return values[1:] >= values[0] - 1e-12
