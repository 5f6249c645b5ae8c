"""All arms beside each other: accuracy, its difference to one of them, and other agreement."""

import numpy as np
import pandas as pd

from companion.stats import paired
from companion.stats.estimate import as_columns
from companion.studies.explanations.results import estimates
from companion.studies.explanations.results.results import Results


def compare_arms(results: Results, resamples: int) -> pd.DataFrame:
    """T4: every arm: accuracy, its difference to ``label`` over sources, and the other measures of agreement.

    p is the exact sign-flip test over sources; Holm runs over the arms of the table. macro F1 and kappa are means over
    axes and seeds of the pooled sources.
    """
    arms = list(results.predictions["arm"].unique())
    rows = [_arm_row(results, arm, resamples) for arm in arms]
    per_run = estimates.compute_metrics(results, ["arm", "axis", "seed"]).groupby("arm")[["macro_f1", "kappa"]].mean()
    table = pd.DataFrame(rows).merge(per_run, on="arm", sort=False)
    compared = table["arm"] != "label"
    table.loc[compared, "p_holm"] = paired.holm(table.loc[compared, "p"])
    return table


def _arm_row(results: Results, arm: str, resamples: int) -> dict[str, object]:
    rows = results.predictions[results.predictions["arm"] == arm]
    row: dict[str, object] = {"arm": arm, "n_seeds": rows["seed"].nunique()}
    row |= as_columns(estimates.estimate_level(results, arm, "correct", resamples), "accuracy")
    row |= _difference_to_label(results, arm, resamples)
    row |= {"accuracy_on_level": rows["correct_level"].mean()}
    return row | {"within_one": rows["within_one"].mean(), "mae": rows["absolute_error"].mean()}


def _difference_to_label(results: Results, arm: str, resamples: int) -> dict[str, float]:
    """Accuracy difference to ``label`` with interval and sign-flip p (Holm to come); none of ``label`` itself."""
    if arm == "label":
        return dict.fromkeys(("difference", "difference_low", "difference_high", "p", "p_holm"), np.nan)
    differences = estimates.pair_differences(results, arm, "label", "correct")
    estimate = estimates.clip_interval(estimates.bootstrap_differences(differences, resamples), -1.0, 1.0)
    p = paired.sign_flip(paired.source_by_seed(differences).mean(axis=1))
    return {**as_columns(estimate, "difference"), "p": p, "p_holm": np.nan}


def compute_arm_points(results: Results) -> pd.DataFrame:
    """F3's dots: accuracy of each arm and seed, per axis and, of several, pooled (sources with equal weight)."""
    by_cell = results.predictions.groupby(["arm", "axis", "seed", "source"], sort=False)["correct"].mean().reset_index()
    by_axis = by_cell.groupby(["arm", "axis", "seed"], sort=False)["correct"].mean().reset_index()
    pooled = by_axis.groupby(["arm", "seed"], sort=False)["correct"].mean().reset_index().assign(axis="pooled")
    parts = [by_axis, pooled] if by_axis["axis"].nunique() > 1 else [by_axis]
    return pd.concat(parts, ignore_index=True).rename(columns={"correct": "value"})


def compute_arm_intervals(results: Results, resamples: int | None = None) -> pd.DataFrame:
    """F3's intervals, see `estimate_level`: accuracy of each arm, per axis and, of several, pooled."""
    axes = list(results.predictions["axis"].unique())
    rows = []
    for arm in results.predictions["arm"].unique():
        for axis in (*axes, "pooled") if len(axes) > 1 else axes:
            estimate = estimates.estimate_level(results, arm, "correct", resamples, None if axis == "pooled" else axis)
            rows.append({"arm": arm, "axis": axis, **as_columns(estimate)})
    return pd.DataFrame(rows)


def compute_baselines(results: Results) -> pd.DataFrame:
    """F3's dashed lines: accuracy of the shortcuts per axis, and their mean over the axes."""
    axes = list(results.items["axis"].unique())
    reached = pd.DataFrame({axis: estimates.shortcut_accuracy(results.items, axis) for axis in axes}).assign(
        pooled=lambda frame: frame[axes].mean(axis=1)
    )
    return reached.rename_axis("name").reset_index().melt("name", var_name="axis")
