"""Do results track the group of the query? Counts of query and result in one group, over all relabellings at once.

The **centred join count** is C = S - sum over groups of alpha phi: S is the share of results in the query's group,
alpha the share of results whose query is in each group, phi the share of results that are in it themselves. It is the
numerator of assortativity and of Cohen's kappa. Like S it grows with dependence, by b (1 - sum of alpha^2) when a share
b of results is drawn from the query's group; unlike S it does not move when popular items happen to be in one group, or
when one group asks more often than others. Where all items ask alike, alpha are the shares of the catalogue.

Its p compares C less its mean over relabellings, divided by sqrt(V), where V = e + e^2 - sum of alpha phi (alpha + phi)
and e = sum of alpha phi: the variance that C has with these margins (Fleiss, Cohen and Everitt 1969). Popular groups
make the margins of the observed labels unlike those of relabellings; without this scale p would be too small then.
Reconstruction of arXiv 1909.06429, whose full text was not available.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.stats.relabelling import WORD, Relabelling, Words, count_bits
from companion.stats.retrieval import Groups, Integers, Retrieval

BATCH = 16
"""Words of relabellings that are counted at a time, of up to ``MANY`` labels; of more, half as many."""
MANY = 2_000_000
FIRST = 8
"""Words of relabellings between two looks at whether the answer is clear."""
PILOT = 4 * WORD
"""Labellings, the observed one among them, that the spread of C at each depth is measured by where draws stop early."""
ROWS = 8192
"""Results that are counted at a time: what they need of memory stays in the processor's cache."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Joins:
    """Counts of one observed labelling (first row) and of its relabellings, for each of R runs of ranks.

    Attributes:
        matches: (draws, R) results in the group of their query.
        found: (draws, R, G) results in each group.
        asked: (draws, R, G) results whose query is in each group.
        edges: (R,) results.
        item_shares: (draws, G) shares of the groups among items.
        table: (draws, R, G, G) results by group of the query and of the item, where it was asked for.
    """

    matches: Integers
    found: Integers
    asked: Integers
    edges: Integers
    item_shares: Floats
    table: Integers | None = None

    def weigh(self, weights: Floats) -> "Weighted":
        """Sums over runs of ranks with ``weights`` (R,); a run without weight does not count."""
        matches, found, asked = (np.tensordot(each, weights, (1, 0)) for each in (self.matches, self.found, self.asked))
        table = None if self.table is None else np.tensordot(self.table, weights, (1, 0))
        return Weighted(matches, found, asked, float(self.edges @ weights), self.item_shares, table)


@dataclass(frozen=True)
class Weighted:
    """Weighted counts: matches (draws,), found and asked (draws, G), their total, shares and table as in `Joins`."""

    matches: Floats
    found: Floats
    asked: Floats
    total: float
    item_shares: Floats
    table: Floats | None = None

    @property
    def same_share(self) -> Floats:
        """S (draws,): share of results in the group of their query."""
        return self.matches / self.total

    @property
    def excess(self) -> Floats:
        """Delta (draws,): S less the share that draws from the catalogue would give, sum of alpha pi."""
        return self.same_share - (self.asked * self.item_shares).sum(axis=1) / self.total

    @property
    def centred(self) -> Floats:
        """C (draws,): the centred join count."""
        return self.same_share - (self.asked * self.found).sum(axis=1) / self.total**2

    def standardize(self, mean: float) -> Floats:
        """(draws,): C less its ``mean`` over relabellings, in units of what the margins alone let it vary."""
        return standardize(self.centred, self.asked / self.total, self.found / self.total, mean)

    @property
    def parity_distance(self) -> Floats:
        """(draws,): half the summed distance between the groups' shares among results and in the catalogue."""
        return 0.5 * np.abs(self.found / self.total - self.item_shares).sum(axis=1)

    @property
    def chi_square(self) -> Floats:
        """X2 (draws,): distance of the table from what its margins would give if query and result were independent."""
        table = self._need_table()
        expected = self.asked[:, :, None] * self.found[:, None, :] / self.total
        gaps = np.divide((table - expected) ** 2, expected, out=np.zeros_like(table), where=expected > 0)
        return gaps.sum(axis=(1, 2))

    def kernel_mean(self, kernel: Floats) -> Floats:
        """(draws,): mean of a kernel (G, G) over results, such as minus the distance of two ordered groups.

        It is centred as C is, by what the margins would give if query and result were independent.
        """
        apart = np.einsum("dg,gh,dh->d", self.asked, kernel, self.found) / self.total**2
        return np.tensordot(self._need_table(), kernel, 2) / self.total - apart

    def largest_shift(self, coarse: Integers) -> Floats:
        """KS (draws,): largest distance of the results of one coarse group of queries from all results.

        Groups are ordered bins of a number; ``coarse`` (G,) says to which group of queries each bin belongs. The
        distance is between the two distribution functions, at the borders of the bins.
        """
        member = np.eye(int(coarse.max()) + 1)[coarse]
        rows = np.einsum("dgh,gc->dch", self._need_table(), member)
        shares = np.divide(rows, rows.sum(axis=2, keepdims=True), out=np.zeros_like(rows), where=rows > 0)
        gaps = np.cumsum(shares - self.found[:, None, :] / self.total, axis=2)
        return np.abs(np.where(rows.sum(axis=2, keepdims=True) > 0, gaps, 0.0)).max(axis=(1, 2))

    def _need_table(self) -> Floats:
        if self.table is None:
            raise CompanionError("the whole table of groups was not counted: ask count_joins for it")
        return self.table


def standardize(centred: Floats, asked: Floats, found: Floats, mean: float) -> Floats:
    """C (draws,) less its mean, divided by sqrt(V) as the module says, from shares (draws, G); 0 where V is 0."""
    both = asked * found
    match = both.sum(axis=1)
    variance = match + match**2 - (both * (asked + found)).sum(axis=1)
    spread = np.sqrt(np.maximum(variance, 0))
    return np.divide(centred - mean, spread, where=spread > 1e-6, out=np.zeros_like(match))


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
    runs = [_Run(retrieval, start, end) for start, end in zip([0, *ends], ends, strict=False)]
    parts: dict[str, list[Integers]] = {name: [] for name in ("matches", "found", "asked", "labelled", "table")}
    batch = BATCH if len(groups.codes) <= MANY else BATCH // 2
    counted = 0
    while counted < draws + 1:
        labels = relabelling.draw(min(batch, -(-(draws + 1 - counted) // WORD)))
        size = labels.shape[2] * WORD
        results = labels if item_groups is None else _spread(item_groups, labels.shape[1])
        parts["matches"].append(np.stack([run.count_matches(labels, results) for run in runs], axis=1))
        # Numbers of labels stay as they are, unless these move between blocks of different sizes.
        labelled = np.broadcast_to(groups.sizes, (size, groups.number))
        if relabelling.exchange.blocks is not None:
            labelled = _count_groups(labels, np.ones(len(labels), dtype=np.int64), groups.number)
        parts["labelled"].append(labelled)
        if item_groups is None:
            found = [_count_groups(results, run.found, groups.number) for run in runs]
        else:
            found = [np.broadcast_to(run.count_found(item_groups), (size, groups.number)) for run in runs]
        parts["found"].append(np.stack(found, axis=1))
        parts["asked"].append(np.stack([run.count_asked(labels, labelled) for run in runs], axis=1))
        if table:
            tables = [run.count_table(labels, results, groups.number) for run in runs]
            parts["table"].append(np.stack(tables, axis=1))
        counted += size
    whole = {name: np.concatenate(each) for name, each in parts.items() if each}
    shares = whole["labelled"] / len(groups.codes)
    if item_groups is not None:
        shares = np.broadcast_to(item_groups.shares, shares.shape)
    edges = np.array([int(run.asked.sum()) for run in runs])
    counts = _complete(whole["table"], whole["found"], whole["asked"]) if table else None
    return Joins(whole["matches"], whole["found"], whole["asked"], edges, shares, counts)


class _Run:
    """Some ranks of a retrieval: how often each item is found there, and how many results each query has."""

    def __init__(self, retrieval: Retrieval, start: int, end: int) -> None:
        self._results = retrieval.results[:, start:end]
        self._own = np.arange(len(self._results)) if retrieval.queries is None else retrieval.queries
        there = self._results >= 0
        self._full = bool(there.all())
        self.found = np.bincount(self._results[there], minlength=retrieval.items)
        self.asked = np.bincount(self._own, there.sum(axis=1), retrieval.nodes).astype(np.int64)

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
        """Results in each group of items that keep their labels (G,)."""
        return np.bincount(groups.codes, self.found, groups.number).astype(np.int64)

    def count_asked(self, labels: Words, labelled: Integers) -> Integers:
        """Results by group of their query (draws, G), from how many nodes have each label where all ask alike."""
        least, most = int(self.asked.min()), int(self.asked.max())
        return labelled * least if least == most else _count_groups(labels, self.asked, labelled.shape[1])

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


def _count_groups(labels: Words, times: Integers, number: int) -> Integers:
    """How many rows are in each group, row i counted ``times[i]`` times: (draws, G).

    The times are split into powers of two.
    """
    counts = np.zeros((labels.shape[2] * WORD, number), dtype=np.int64)
    powers = range(int(times.max(initial=1)).bit_length())
    for start in range(0, len(labels), ROWS):
        part, often = labels[start : start + ROWS], times[start : start + ROWS]
        rows = [np.flatnonzero(often >> power & 1) for power in powers]
        for group in range(1, number):
            chosen = _choose(part, group)
            counts[:, group] += count_bits(*(chosen[each] for each in rows))
    counts[:, 0] = times.sum() - counts[:, 1:].sum(axis=1)
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
    means: Floats,
    most: int = 9_999,
    enough: int | None = 20,
    item_groups: Groups | None = None,
) -> Drawn:
    """Relabel until the answer is clear at every depth, and at most ``most`` times.

    An answer is clear at the ``enough``-th relabelling as large as the observed labels, where p is exact, too (Besag
    and Clifford 1991); without ``enough``, or where ``most`` is below twice ``PILOT``, all ``most`` are made. The
    largest over depths is stopped in the same way: it is measured by the mean and spread of the first ``PILOT`` - 1
    relabellings, and counted among those after them, so that what it is measured by does not depend on what is counted.
    Distances from parity are compared in the first batch alone, whose size no result decides.

    Args:
        runs, weights: growing numbers of ranks, and (D, len(runs)) weight of the ranks up to each (see `Joins.weigh`).
        means: (D,) mean of C over all relabellings (see `expected`).

    Raises CompanionError as `count_joins`.
    """
    enough = None if most < 2 * PILOT else enough
    values, scaled, distances = (np.empty((0, len(weights))) for _ in range(3))
    size = most + 1 if enough is None else FIRST * WORD
    while len(values) <= most and not (enough and _is_clear(scaled, enough)):
        joins = count_joins(retrieval, groups, relabelling, size - 1, runs, item_groups)
        weighed = [joins.weigh(each) for each in weights]
        values = np.concatenate([values, np.stack([each.centred for each in weighed], axis=1)])
        fresh = [each.standardize(float(mean)) for each, mean in zip(weighed, means, strict=True)]
        scaled = np.concatenate([scaled, np.stack(fresh, axis=1)])
        if not len(distances):
            distances = np.stack([each.parity_distance for each in weighed], axis=1)[: most + 1]
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
