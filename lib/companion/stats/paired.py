"""Paired comparisons of two arms: on items (McNemar), and on units such as sources (t, TOST, sign flips, signs).

A difference is always treated minus control. The unit of a claim over many data sets is the data set (Demsar 2006), so
`source_by_seed` averages over all other columns first; cells that share items or models are not independent.
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

    Averaging first makes the item the unit, so that one item judged on three axes does not count as three. Raises
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


@dataclass(frozen=True)
class McNemar:
    """Items that only the treated arm got right, items that only the control got right, and the exact two-sided p."""

    gained: int
    lost: int
    p: float


def mcnemar(treated_correct: ArrayLike, control_correct: ArrayLike) -> McNemar:
    """Exact binomial McNemar test (statsmodels) of two arms on the same items (n,), one model each.

    The noise of seeds is not in it. p is 1 without discordant items. Raises CompanionError unless both are equally
    long vectors of at least one item.
    """
    first = np.asarray(treated_correct, dtype=bool)
    second = np.asarray(control_correct, dtype=bool)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise CompanionError(f"McNemar needs the same items in both arms, got shapes {first.shape} and {second.shape}")
    table = np.bincount(2 * ~first + ~second, minlength=4).reshape(2, 2)
    gained, lost = int(table[0, 1]), int(table[1, 0])
    p = float(exact_mcnemar(table, exact=True).pvalue) if gained + lost else 1.0
    return McNemar(gained, lost, p)


def t_test(values: ArrayLike, unit: str = "source", level: float = 0.95) -> Estimate:
    """Mean difference with t interval and p; ``values`` is (units,) or (units, seeds), see `mean_error`.

    A vector of unit means asks "for new units, with these models"; the table asks "for new units and new seeds" and
    is the honest one where one model serves all units. No spread at all: limits and p are nan.
    """
    error = mean_error(values)
    mean, size = error.single
    low, high, p = from_error(mean, size, error.degrees, level)
    return Estimate(mean, low, high, p, len(as_table(values)), unit, f"t over {error.covers}", level)


def equivalence(values: ArrayLike, margin: float, unit: str = "source", alpha: float = 0.05) -> Estimate:
    """Schuirmann's TOST of |mean difference| < margin over units; values (units,) or (units, seeds), see `mean_error`.

    p equals that of statsmodels' ``DescrStatsW.ttost_mean`` for unit means and takes the crossed error for a table. The
    interval is the (1 - 2 alpha) one: it lies inside the margin exactly when p < alpha. No spread: limits and p are
    nan. Raises CompanionError unless the margin is positive and finite.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise CompanionError(f"equivalence margin is {margin}: give a positive number in the unit of the differences")
    error = mean_error(values)
    mean, size = error.single
    low, high, _ = from_error(mean, size, error.degrees, 1 - 2 * alpha)
    p = float(stats.t.sf((margin - abs(mean)) / size, error.degrees)) if size else np.nan
    return Estimate(mean, low, high, p, len(as_table(values)), unit, f"TOST over {error.covers}", 1 - 2 * alpha)


def sign_flip(values: ArrayLike) -> float:
    """Two-sided p of the exact sign-flip permutation test of unit differences (units,), all 2^n flips.

    Only symmetry of the differences is assumed; p cannot fall below `smallest_p`. scipy's ``permutation_test`` misses
    ties of rounded sums. Raises CompanionError above 20 units.
    """
    sample = as_table(values)
    if sample.shape[1] > 1 or len(sample) > MOST_UNITS:
        shape = np.shape(values)
        raise CompanionError(f"exact tests take one mean per unit and at most {MOST_UNITS} units, got shape {shape}")
    sums = np.zeros(1)
    for value in sample[:, 0]:
        sums = np.concatenate([sums, sums + value])
    # flipping a subset takes twice its sum off the total: flips as extreme as the data have sums <= 0 (or >= 0)
    rounding = NO_SPREAD * np.abs(sample).sum()
    tail = min((sums <= rounding).mean(), (sums >= -rounding).mean())
    return min(1.0, 2 * float(tail))


def smallest_p(units: int, family: int = 1) -> float:
    """Smallest two-sided p that sign flips (or signs) of so many units can reach, times the Holm family: 2^(1-n)."""
    return min(1.0, family * 2.0 ** (1 - units))


@dataclass(frozen=True)
class SignCount:
    """How many differences are above, at and below zero, and p of the two-sided sign test of the untied ones."""

    wins: int
    ties: int
    losses: int
    p: float


def sign_count(values: ArrayLike) -> SignCount:
    """Wins, ties (within 1e-12 of zero) and losses of differences (n,), and the exact sign test without the ties.

    The test takes the differences as independent; those of cells that share items or models are not, so their p is too
    small and only describes. Raises CompanionError for differences that are not finite.
    """
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise CompanionError(f"sign count needs a vector of finite differences, got shape {sample.shape}")
    wins = int((sample > NO_SPREAD).sum())
    losses = int((sample < -NO_SPREAD).sum())
    p = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return SignCount(wins, len(sample) - wins - losses, losses, p)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm-adjusted p-values (m,) (statsmodels); a nan stays nan but still counts as a member of the family."""
    raw = np.asarray(p_values, dtype=float)
    missing = np.isnan(raw)
    if not raw.size:
        return raw
    adjusted = np.array(multipletests(np.where(missing, 1.0, raw), method="holm")[1])
    return np.where(missing, np.nan, adjusted)
