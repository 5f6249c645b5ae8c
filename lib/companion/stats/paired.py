"""Paired comparisons of two arms: on items (McNemar), and on units such as sources (t, sign flips, ranks, signs).

A difference is always treated minus control. The unit of a claim over many data sets is the data set (Demsar 2006), so
`source_by_seed` averages over axes first; the 18 cells (source x axis) share items and students and are not
independent.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar
from statsmodels.stats.multitest import multipletests

from companion.errors import CompanionError
from companion.stats.estimate import NO_SPREAD, Estimate, as_table, from_error, mean_error

MOST_UNITS = 20
COARSE_TESTS = ("sign_flip", "wilcoxon", "sign", "mcnemar")


def differences(frame: pd.DataFrame, treated: str, control: str) -> pd.DataFrame:
    """Treated minus control, matched on every column of ``frame`` other than ``arm`` and ``value``.

    ``frame`` is long: one row per arm and key (source, axis, seed, perhaps item). Returns the keys and ``difference``.
    Raises CompanionError when an arm is absent, a key occurs twice, or a row has no partner.
    """
    keys = [name for name in frame.columns if name not in ("arm", "value")]
    sides = [frame[frame["arm"] == arm].set_index(keys)["value"] for arm in (treated, control)]
    for arm, side in zip((treated, control), sides, strict=True):
        if side.empty:
            raise CompanionError(f"no rows of arm {arm!r} to compare: run it first")
        if side.index.has_duplicates:
            raise CompanionError(f"arm {arm!r} has two values for one {', '.join(keys)}: remove the repeats")
    if len(sides[0]) != len(sides[1]) or not sides[0].index.isin(sides[1].index).all():
        raise CompanionError(f"{treated!r} and {control!r} differ in their {', '.join(keys)}: finish the missing runs")
    return (sides[0] - sides[1].reindex(sides[0].index)).rename("difference").reset_index()


def source_by_seed(pairs: pd.DataFrame) -> pd.DataFrame:
    """Mean difference (sources, seeds) over axes and items, from `differences`; rows and columns sorted.

    Raises CompanionError when a source has fewer rows for one seed than for another: their means would not be alike.
    """
    return _by_seed(pairs, "source")


def items_by_source(pairs: pd.DataFrame) -> dict[Hashable, NDArray[np.float64]]:
    """Per source the differences (seeds, items), averaged over axes, from `differences` with an ``item`` column.

    Averaging first makes the item the unit, so that one item rated on three axes does not count as three. Raises
    CompanionError when an item lacks a seed or an axis.
    """
    groups = pairs.groupby("source", sort=True)
    return {source: _by_seed(group, "item").to_numpy(dtype=float).T for source, group in groups}


def _by_seed(pairs: pd.DataFrame, row: str) -> pd.DataFrame:
    """Mean difference (rows, seeds); a nan stays nan, it is not averaged away."""
    cells = pairs.groupby([row, "seed"])["difference"]
    sizes = cells.size().unstack("seed", fill_value=0)
    uneven = sizes.index[sizes.nunique(axis=1) > 1]
    if len(uneven):
        raise CompanionError(f"{row} {uneven[0]!r} lacks axes or items for some seed: finish the missing runs")
    return cells.mean(skipna=False).unstack("seed")


def mcnemar_counts(treated_correct: ArrayLike, control_correct: ArrayLike) -> NDArray[np.int64]:
    """Counts (2, 2) of items: rows treated right / wrong, columns control right / wrong.

    Raises CompanionError unless both are equally long vectors of at least one item.
    """
    first = np.asarray(treated_correct, dtype=bool)
    second = np.asarray(control_correct, dtype=bool)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise CompanionError(f"McNemar needs the same items in both arms, got shapes {first.shape} and {second.shape}")
    return np.bincount(2 * ~first + ~second, minlength=4).reshape(2, 2)


def mcnemar(treated_correct: ArrayLike, control_correct: ArrayLike, level: float = 0.95) -> Estimate:
    """Accuracy difference of two arms on the same items (n,), one student each; the noise of seeds is not in it.

    p is the exact binomial McNemar test (statsmodels; 1 without discordant items). The interval is Bonett and Price's
    (2012) adjusted Wald interval, which needs no discordant item; it can disagree with the exact p near the border.
    """
    table = mcnemar_counts(treated_correct, control_correct)
    gained, lost, items = int(table[0, 1]), int(table[1, 0]), int(table.sum())
    p = float(exact_mcnemar(table, exact=True).pvalue) if gained + lost else 1.0
    up, down = (gained + 1) / (items + 2), (lost + 1) / (items + 2)
    half = float(stats.norm.ppf(0.5 + level / 2)) * np.sqrt((up + down - (up - down) ** 2) / (items + 2))
    low, high = max(-1.0, up - down - half), min(1.0, up - down + half)
    return Estimate((gained - lost) / items, low, high, p, items, "item", "exact McNemar, Bonett-Price interval", level)


def t_test(values: ArrayLike, unit: str = "source", level: float = 0.95) -> Estimate:
    """Mean difference with t interval and p; ``values`` is (units,) or (units, seeds), see `mean_error`.

    A vector of unit means asks "for new units, with these students"; the table asks "for new units and new seeds" and
    is the honest one where one student serves all units. No spread at all: limits and p are nan.
    """
    error = mean_error(values)
    mean = float(error.mean[0])
    size = float(np.sqrt(error.covariance[0, 0])) if error.spread else 0.0
    low, high, p = from_error(mean, size, error.degrees, level)
    return Estimate(mean, low, high, p, len(as_table(values)), unit, f"t over {error.covers}", level)


def sign_flip(values: ArrayLike, unit: str = "source", level: float = 0.95) -> Estimate:
    """Mean of unit differences (units,) with the exact two-sided sign-flip permutation test, all 2^n flips.

    The interval inverts that very test (Hartigan 1969: limits are order statistics of the subset means), so it
    excludes 0 exactly when p <= 1 - level; it is infinite where n is too small to reach the level (n < 6 at 95 %).
    Only symmetry of the differences is assumed. Raises CompanionError above 20 units.
    """
    sample = _vector(values)
    units = len(sample)
    sums, sizes = np.zeros(1), np.zeros(1)
    for value in sample:
        sums = np.concatenate([sums, sums + value])
        sizes = np.concatenate([sizes, sizes + 1])
    # flipping a subset takes twice its sum off the total: flips as extreme as the data have sums <= 0 (or >= 0)
    rounding = NO_SPREAD * np.abs(sample).sum()
    tail = min((sums <= rounding).mean(), (sums >= -rounding).mean())
    means = np.sort(sums[1:] / sizes[1:])
    low, high = _order_limits(means, int(np.floor((1 - level) / 2 * 2**units + NO_SPREAD)))
    p = min(1.0, 2 * float(tail))
    return Estimate(float(sample.mean()), low, high, p, units, unit, "exact sign-flip permutation", level)


def wilcoxon(values: ArrayLike, unit: str = "source", level: float = 0.95) -> Estimate:
    """Pseudo-median of unit differences (units,) with the two-sided Wilcoxon signed-rank test (scipy).

    Zero differences are dropped from the test (scipy's default) and p is 1 when nothing else is left; with ties scipy
    permutes up to 13 units and uses the normal law above. The interval (Hodges and Lehmann) keeps the zeros.
    """
    sample = _vector(values)
    units = len(sample)
    p = float(stats.wilcoxon(sample).pvalue) if np.any(sample != 0) else 1.0
    row, column = np.triu_indices(units)
    walsh = np.sort((sample[row] + sample[column]) / 2)
    below = np.cumsum(_rank_sum_law(units))
    rank = int(np.searchsorted(below, (1 - level) / 2 + NO_SPREAD, side="right"))
    low, high = _order_limits(walsh, rank)
    method = "Wilcoxon signed-rank, Hodges-Lehmann interval"
    return Estimate(float(np.median(walsh)), low, high, p, units, unit, method, level)


@dataclass(frozen=True)
class SignCount:
    """How many differences are above, at and below zero, and the exact binomial test of the untied ones."""

    wins: int
    ties: int
    losses: int
    test: Estimate


def sign_count(values: ArrayLike, unit: str = "cell", level: float = 0.95) -> SignCount:
    """Wins, ties and losses of differences (n,), with the share of wins among the untied and the two-sided sign test.

    Ties (within 1e-12 of zero) are dropped from the test and reported. The test takes the differences as independent;
    the 18 cells are not: they share items and students, so their p is too small and only describes the paper's own
    count.
    """
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise CompanionError(f"sign count needs a vector of finite differences, got shape {sample.shape}")
    wins = int((sample > NO_SPREAD).sum())
    losses = int((sample < -NO_SPREAD).sum())
    untied = wins + losses
    method = "sign test, ties dropped"
    if untied == 0:
        return SignCount(0, len(sample), 0, Estimate(np.nan, np.nan, np.nan, 1.0, 0, unit, method, level))
    test = stats.binomtest(wins, untied)
    limits = test.proportion_ci(level)
    share = Estimate(wins / untied, limits.low, limits.high, float(test.pvalue), untied, unit, method, level)
    return SignCount(wins, len(sample) - untied, losses, share)


def smallest_p(test: str, n: int, family: int = 1) -> float:
    """Smallest two-sided p that ``test`` can reach with n units (McNemar: n discordant items), times the Holm family.

    Sign-flip, Wilcoxon, sign and McNemar tests end at 2^(1-n); a t test has no floor (0). Raises CompanionError for an
    unknown test or counts below one.
    """
    if test not in (*COARSE_TESTS, "t") or n < 1 or family < 1:
        known = (*COARSE_TESTS, "t")
        raise CompanionError(f"smallest_p got test={test!r}, n={n}, family={family}: use one of {known}, counts >= 1")
    return 0.0 if test == "t" else min(1.0, family * 2.0 ** (1 - n))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm-adjusted p-values (m,) (statsmodels); a nan stays nan but still counts as a member of the family."""
    raw = np.asarray(p_values, dtype=float)
    missing = np.isnan(raw)
    if not raw.size:
        return raw
    adjusted = np.array(multipletests(np.where(missing, 1.0, raw), method="holm")[1])
    return np.where(missing, np.nan, adjusted)


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    table = as_table(values)
    if table.shape[1] > 1 or len(table) > MOST_UNITS:
        shape = np.shape(values)
        raise CompanionError(f"exact tests take one mean per unit and at most {MOST_UNITS} units, got shape {shape}")
    return table[:, 0]


def _order_limits(ordered: NDArray[np.float64], rank: int) -> tuple[float, float]:
    """The rank-th smallest and largest of sorted values; infinite for rank 0, where the level is out of reach."""
    if rank < 1:
        return -np.inf, np.inf
    return float(ordered[rank - 1]), float(ordered[-rank])


def _rank_sum_law(units: int) -> NDArray[np.float64]:
    """Null law of the signed-rank sum, probabilities of 0..n(n+1)/2."""
    law = np.ones(1)
    for rank in range(1, units + 1):
        step = np.zeros(rank + 1)
        step[[0, rank]] = 0.5
        law = np.convolve(law, step)
    return law
