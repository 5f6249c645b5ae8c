"""Inside the students: activation entropy by layer, and how peaked their output is."""

import numpy as np
import pandas as pd

from companion.stats import paired
from companion.stats.estimate import as_columns
from companion.studies.explanations.results.estimates import HIGHEST, clip_interval
from companion.studies.explanations.results.results import Results


def compute_layer_values(results: Results) -> pd.DataFrame:
    """F4: entropy by layer of each arm and seed (sources with equal weight)."""
    return _average_layers(results, ["arm", "measure", "layer", "seed"])


def compute_layer_differences(results: Results) -> pd.DataFrame:
    """F4's second figure: entropy of each trained arm minus ``label``, paired by source and seed."""
    means = _average_layers(results, ["arm", "measure", "layer", "source", "seed"])
    wide = means.pivot(index=["measure", "layer", "source", "seed"], columns="arm", values="value")
    rows = []
    for arm in [one for one in means["arm"].unique() if one not in ("label", "base")]:
        differences = (wide[arm] - wide["label"]).dropna().rename("value").reset_index()
        for (measure, layer), group in differences.groupby(["measure", "layer"], sort=False):
            table = group.pivot(index="source", columns="seed", values="value")
            estimate = paired.t_test(table.to_numpy())
            rows.append({"arm": arm, "measure": measure, "layer": layer, **as_columns(estimate)})
    return pd.DataFrame(rows)


def _average_layers(results: Results, keys: list[str]) -> pd.DataFrame:
    return results.layers.groupby(keys, sort=False)["value"].mean().reset_index()


def _average_sharpness(results: Results) -> pd.DataFrame:
    """F5's dots: mean of each sharpness measure per arm, seed and source over all items of that kind."""
    rows, right = results.predictions, results.predictions["correct"] > 0
    confidence = rows["confidence"]
    wide = rows.assign(confidence_right=confidence.where(right), confidence_wrong=confidence.where(~right))
    shown = ["output_entropy", "label_entropy", "peak_mass"]
    if results.unit == "source":  # many a group of a reader's own data has no item of one of the two kinds
        shown += ["confidence_right", "confidence_wrong"]
    means = wide.groupby(["arm", "seed", "source"], sort=False)[shown].mean()
    return means.reset_index().melt(["arm", "seed", "source"], var_name="measure").dropna()


def compute_sharpness(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F5: dots per seed, and crossed t intervals over sources and seeds; sources without a value are left out."""
    points = _average_sharpness(results)
    rows = []
    for (arm, measure), group in points.groupby(["arm", "measure"], sort=False):
        table = group.pivot(index="source", columns="seed", values="value").dropna()
        row = {"arm": arm, "measure": measure, "estimate": group["value"].mean(), "low": np.nan, "high": np.nan}
        if len(table) > 1:
            highest = np.log(results.labels) if measure == "label_entropy" else HIGHEST.get(str(measure), 1.0)
            row |= as_columns(clip_interval(paired.t_test(table), 0.0, highest))
        rows.append(row)
    dots = points.groupby(["arm", "seed", "measure"], sort=False)["value"].mean().reset_index()
    return dots, pd.DataFrame(rows)


def find_middle_third(layers: int) -> tuple[int, int]:
    """First and last layer of the middle third, counted from 1: 11 to 22 of 32 layers."""
    return layers // 3 + 1, -(-2 * layers // 3)
