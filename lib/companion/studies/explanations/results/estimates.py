"""Estimates behind every table and figure: paired differences, means with intervals, measures by group.

The unit over several data sets is the source (Demsar 2006): differences are paired by seed and item, averaged over
axes, then tested over sources.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from companion.stats import metrics, paired
from companion.stats.bootstrap import nested_bootstrap
from companion.stats.estimate import Estimate
from companion.studies.explanations.results.results import Results, probability_names

SHORTCUTS = ("majority", "length", "words_only")
RESAMPLING_SEED = 20251103


HIGHEST = {
    "correct": 1.0,
    "within_one": 1.0,
    "absolute_error": np.inf,
    "brier": 2.0,
    "nll": np.inf,
    "peak_mass": 1.0,
    "output_entropy": np.inf,
    "label_entropy": np.inf,
}
"""The most that a column of `Results.predictions` can be; the least is 0."""


def pair_differences(results: Results, treated: str, control: str, column: str) -> pd.DataFrame:
    """Differences treated - control of an item-level column, paired by axis, source, item and seed.

    An arm that was run with one seed (``base``) is compared with every seed of the other.
    """
    keys = ["axis", "source", "item", "seed"]
    frame = results.predictions[["arm", *keys, column]].rename(columns={column: "value"})
    sides = [frame[frame["arm"] == arm] for arm in (treated, control)]
    seeds = pd.DataFrame({"seed": sorted(set(sides[0]["seed"]) | set(sides[1]["seed"]))})
    wide = pd.concat(
        side if side["seed"].nunique() > 1 else side.drop(columns="seed").merge(seeds, how="cross") for side in sides
    )
    return paired.differences(wide, treated, control)


def bootstrap_differences(
    differences: pd.DataFrame, resamples: int, new_sources: bool = True, level: float = 0.95
) -> Estimate:
    """Nested bootstrap over sources, seeds and items of paired differences, axes averaged first; t limits."""
    generator = np.random.default_rng(RESAMPLING_SEED)
    tables = paired.items_by_source(differences)
    return nested_bootstrap(tables, generator, new_sources=new_sources, level=level, resamples=resamples)


def estimate_level(
    results: Results, arm: str, column: str, resamples: int | None = None, axis: str | None = None
) -> Estimate:
    """Mean of a column in one arm with an interval for new sources, cut at its possible range.

    The interval is that of the nested bootstrap; without ``resamples`` the t interval over sources and seeds, crossed.
    """
    rows = results.predictions[results.predictions["arm"] == arm]
    rows = (rows if axis is None else rows[rows["axis"] == axis]).rename(columns={column: "difference"})
    if resamples is None:
        estimate = paired.t_test(paired.source_by_seed(rows), results.unit)
    else:
        estimate = bootstrap_differences(rows, resamples)
    return clip_interval(estimate, 0.0, HIGHEST[column])


def clip_interval(estimate: Estimate, lowest: float, highest: float) -> Estimate:
    """The estimate with its interval cut at what is possible; a few seeds can make a t interval longer than that."""
    low, high = np.clip([estimate.low, estimate.high], lowest, highest)
    return replace(estimate, low=float(low), high=float(high))


def clip_to_range(estimate: Estimate, column: str) -> Estimate:
    """A difference of two means of a column, with its interval cut at what is possible."""
    highest = HIGHEST.get(column, np.inf)
    return clip_interval(estimate, -highest, highest)


def compute_metrics(results: Results, keys: Sequence[str]) -> pd.DataFrame:
    """Every measure of each group of predictions by these columns; one row per group."""
    rows = []
    for key, group in results.predictions.groupby(list(keys), sort=False):
        found = metrics.metrics(group["label"].to_numpy(), group[probability_names(results.labels)].to_numpy())
        row: dict[str, object] = dict(zip(keys, key, strict=True))
        rows.append(row | found)
    return pd.DataFrame(rows)


def shortcut_accuracy(items: pd.DataFrame, axis: str, source: str | None = None) -> dict[str, float]:
    """Accuracy of each context-free shortcut on the test items of an axis, or of one source on it."""
    test = items[(items["split"] == "test") & (items["axis"] == axis)]
    test = test if source is None else test[test["source"] == source]
    return {name: float((test[name] == test["label"]).mean()) for name in SHORTCUTS}
