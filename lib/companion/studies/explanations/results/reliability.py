"""Whether probabilities can be trusted: log loss, Brier score, calibration, and what greedy generation says."""

import numpy as np
import pandas as pd

from companion.stats import paired
from companion.stats.estimate import as_columns
from companion.stats.metrics import reliability_curve
from companion.studies.explanations.results.estimates import clip_interval, compute_metrics, estimate_level
from companion.studies.explanations.results.results import Results, probability_names


def compute_reliability(results: Results, resamples: int) -> pd.DataFrame:
    """T5: reliability of each arm: NLL and Brier with nested intervals; ECE as mean over axes and seeds."""
    ece = _ece_by_seed(results).groupby("arm").mean()
    rows = []
    for arm in results.predictions["arm"].unique():
        seeds = results.predictions.loc[results.predictions["arm"] == arm, "seed"].nunique()
        row: dict[str, object] = {"arm": arm, "n_seeds": seeds}
        for column in ("nll", "brier"):
            row |= as_columns(estimate_level(results, arm, column, resamples), column)
        rows.append(row | {"ece": float(ece[arm])} | _generation_row(results, arm))
    return pd.DataFrame(rows)


def _generation_row(results: Results, arm: str) -> dict[str, float]:
    """Share of greedy answers that open with a label, and how many of those give the label that scoring gives."""
    if results.generated.empty:
        return {}
    rows = results.generated[results.generated["arm"] == arm]
    parsed = rows[rows["generated"] > 0]
    agreed = float((parsed["generated"] == parsed["predicted"]).mean()) if len(parsed) else float("nan")
    return {"generation_parses": float((rows["generated"] > 0).mean()), "generation_agrees": agreed}


def _ece_by_seed(results: Results) -> pd.Series:
    """Expected calibration error by arm and seed: 15 bins on each axis's items, then the mean over axes (T5, F6)."""
    return compute_metrics(results, ["arm", "seed", "axis"]).groupby(["arm", "seed"])["ece"].mean()


def compute_calibration(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F6: reliability curves over all seeds, axes and sources, and T5's ECE with a t interval over seeds."""
    curves, errors = [], []
    by_seed = _ece_by_seed(results)
    for arm, rows in results.predictions.groupby("arm", sort=False):
        probability = rows[probability_names(results.labels)].to_numpy()
        curves.append(reliability_curve(rows["label"].to_numpy(), probability).assign(arm=arm))
        values = by_seed[arm].to_numpy()
        low, high = np.nan, np.nan
        if len(values) > 1:
            estimate = clip_interval(paired.t_test(values, unit="seed"), 0.0, 1.0)
            low, high = estimate.low, estimate.high
        errors.append({"arm": arm, "estimate": float(np.mean(values)), "low": low, "high": high})
    return pd.concat(curves, ignore_index=True), pd.DataFrame(errors)
