"""Nested bootstrap of a mean paired difference: sources, then seeds, then items, calibrated for few units.

Three corrections make the plain nested percentile interval, which covers 74 to 91 % in such designs, honest:
  1. redrawn deviations grow by sqrt(n / (n - 1)) (Hesterberg 2015), since a resample of n units spreads too little;
  2. a level carries only its own variance: the spread between sources already contains their seeds and items, so each
     level's means are shrunk by what the levels below redraw anyway (Carpenter, Goldstein and Rasbash 2003);
  3. the interval is estimate +- t * (standard deviation of the replicates), with Satterthwaite's degrees of freedom;
     percentiles of two or three redrawn seeds take only a handful of values.
Seeds are crossed with sources, because one model is tested on all of them: row j is the same model everywhere.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.stats.estimate import NO_SPREAD, Estimate, from_error, satterthwaite

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Levels:
    """Centred means of each level, shrunk to the level's own variance, and the raw error variances for the degrees."""

    sources: Array
    seeds: Array
    items: list[Array]
    variances: Array
    degrees: Array


def nested_bootstrap(
    values: Mapping[Hashable, Array],
    generator: np.random.Generator,
    new_sources: bool = True,
    level: float = 0.95,
    resamples: int = 10_000,
) -> Estimate:
    """Mean difference over sources (equal weights), seeds and items, with its calibrated bootstrap interval.

    ``values[source]`` is (seeds, items): paired item differences; items may differ in number. ``new_sources=True``
    speaks about sources like these (unit: source), ``False`` about exactly these sources (unit: seed); one cell alone
    is a mapping of one source with ``new_sources=False``. With one seed the noise of seeds cannot be seen, and
    ``method`` says so. p is the t test of the same standard error. No spread at all: limits and p are nan.
    Coverage by simulation, 6 sources x 60 items, for 2 / 3 / 6 seeds: at least 92 / 94 / 94 % for new sources and
    86 / 92 / 94 % for fixed ones; the lowest values belong to large seed effects. Heavy tails of the source effects do
    no harm, strong skew does, as to any method with six units: 81 to 89 % when one source in seven is very different.
    Raises CompanionError for ragged seeds, fewer than two items, or new sources asked of a single source.
    """
    tables = _validate(values, new_sources)
    levels = _estimate_levels(tables, new_sources)
    replicates = _draw_replicates(levels, generator, resamples)
    error = float(replicates.std(ddof=1))
    mean = float(np.mean([table.mean() for table in tables]))
    if error <= NO_SPREAD * max(1.0, abs(mean)):
        error = 0.0
    degrees = float(satterthwaite(levels.variances[:, None], levels.degrees, np.array([error**2]))[0])
    # Shrinking the total against unshrunk parts can give fewer degrees than the poorest level has.
    degrees = max(degrees, float(levels.degrees.min()))
    low, high, p = from_error(mean, error, degrees, level)
    n, unit = (len(tables), "source") if new_sources else (len(tables[0]), "seed")
    return Estimate(mean, low, high, p, n, unit, _method(new_sources, len(tables[0]), resamples), level)


def _method(new_sources: bool, seeds: int, resamples: int) -> str:
    outer = "sources, " if new_sources else ""
    inner = "seeds, items" if seeds > 1 else "items (one seed: its noise is not in it)"
    return f"nested bootstrap of {outer}{inner}; t-calibrated, {resamples} resamples"


def _validate(values: Mapping[Hashable, Array], new_sources: bool) -> list[Array]:
    tables = [np.asarray(table, dtype=float) for table in values.values()]
    if any(table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2 for table in tables) or not tables:
        raise CompanionError("nested bootstrap needs a (seeds, items) table with two items or more for every source")
    if len({len(table) for table in tables}) > 1:
        raise CompanionError("sources have different numbers of seeds: finish the missing runs (row j is one model)")
    if not all(np.isfinite(table).all() for table in tables):
        raise CompanionError("nested bootstrap got a difference that is not finite: repeat the failed runs")
    if new_sources and len(tables) < 2:
        raise CompanionError("one source says nothing about new sources: pass new_sources=False or add a source")
    return tables


def _estimate_levels(tables: list[Array], new_sources: bool) -> _Levels:
    """Split the differences into sources, seeds and items, each with its own share of the variance only."""
    count, seeds = len(tables), len(tables[0])
    cells = np.stack([table.mean(axis=1) for table in tables])
    items = [table.mean(axis=0) - table.mean() for table in tables]
    item_noise = np.array([margin.var(ddof=1) / len(margin) for margin in items])
    # Variance of one model's mean over the items that is noise of single (seed, item) entries.
    entry_noise = float(np.mean([_interaction(table) / table.shape[1] for table in tables]))
    by_seed = cells.mean(axis=0) - cells.mean()
    by_source = cells.mean(axis=1) - cells.mean()
    mixed = max(0.0, _interaction(cells) - entry_noise) / seeds
    seed_part = _shrink(by_seed, entry_noise / count)
    source_part = _shrink(by_source, item_noise.mean() + mixed) if new_sources else np.zeros(count)
    variances = [_mean_variance(by_source) if new_sources else 0.0, _mean_variance(by_seed), *(item_noise / count**2)]
    degrees = [max(1, count - 1), max(1, seeds - 1), *(len(margin) - 1 for margin in items)]
    if new_sources:
        # the sources' own spread already contains the items' part
        variances, degrees = variances[:2], degrees[:2]
    return _Levels(source_part, seed_part, items, np.array(variances), np.array(degrees))


def _draw_replicates(levels: _Levels, generator: np.random.Generator, resamples: int) -> Array:
    """Redrawn deviations (resamples,) of the grand mean: one independent draw for every level."""
    total = _redraw(levels.sources, generator, resamples)
    total += _redraw(levels.seeds, generator, resamples)
    for margin in levels.items:
        total += _redraw(margin, generator, resamples) / len(levels.items)
    return total


def _redraw(centred: Array, generator: np.random.Generator, resamples: int) -> Array:
    """Means (resamples,) of n centred values redrawn with replacement, times sqrt(n / (n - 1))."""
    count = len(centred)
    if count < 2 or not centred.any():
        return np.zeros(resamples)
    picked = generator.integers(0, count, size=(resamples, count), dtype=np.int32)
    means: Array = centred[picked].mean(axis=1)
    return means * float(np.sqrt(count / (count - 1)))


def _shrink(centred: Array, noise: float) -> Array:
    """Centred means scaled so that their variance loses ``noise``, the part that other levels redraw; never below 0."""
    variance = centred.var(ddof=1) if len(centred) > 1 else 0.0
    if variance <= 0:
        return np.zeros_like(centred)
    scale = float(np.sqrt(max(0.0, 1.0 - noise / variance)))
    return centred * scale


def _mean_variance(centred: Array) -> float:
    return float(centred.var(ddof=1) / len(centred)) if len(centred) > 1 else 0.0


def _interaction(cells: Array) -> float:
    """Mean square of what sources and seeds (sources, seeds) do not explain additively; 0 where it has no freedom."""
    freedom = (cells.shape[0] - 1) * (cells.shape[1] - 1)
    if freedom == 0:
        return 0.0
    rest = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0) + cells.mean()
    return float((rest**2).sum() / freedom)
