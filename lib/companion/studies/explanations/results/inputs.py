"""What the study is made from: its design, its data, the merge rules, and how many of everything there are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from companion.show.figures import Stage
from companion.stats import paired
from companion.stats.estimate import as_columns
from companion.stats.power import Design, cell_error, design_error, equivalence_power, minimal_effect, smallest_margin
from companion.studies.explanations.data.annotate import merge_rules
from companion.studies.explanations.results import estimates
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.study import ExplanationsStudy

STAGES = [Stage(**one) for one in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))]
"""The boxes of F1."""

EFFECT_SDS = (0.02, 0.05)


def compute_design(settings: ExplanationsSettings, comparisons: int) -> pd.DataFrame:
    """What the design can find at 80 % power in a family of so many comparisons, before any result is looked at.

    ``minimal_effect`` is the smallest accuracy difference (between arms, all axes or one; of an arm to the most
    frequent label, which a verdict needs; of each single cell, for all of them to lie clearly above zero),
    ``smallest_margin`` the smallest margin within which two equally good arms can be shown to be so,
    ``power_at_margin`` the chance of that at the stated margin. Assumed, not estimated: on a third of the items exactly
    one arm is right, half of that noise is the same for every seed, and true effects vary between sources, and seeds,
    with the standard deviation ``effect_sd``.
    """
    one, axes = settings, len(settings.axes)
    rows: list[dict[str, object]] = []
    for name, count in {f"two arms, {axes} axes": axes, "two arms, one axis": 1}.items():
        for design in _designs(one, len(one.sources), count):
            error = design_error(design)
            found = {
                "minimal_effect": minimal_effect(*error, alpha=0.05 / comparisons),
                "smallest_effect_of_interest": one.smallest_effect,
                "smallest_margin": smallest_margin(*error),
                "equivalence_margin": one.equivalence_margin,
                "power_at_margin": equivalence_power(one.equivalence_margin, *error),
                "smallest_p": paired.smallest_p(design.sources, comparisons),
            }
            rows.append({"comparison": name, **_sizes(design), **found})
    for design in _designs(one, len(one.sources), axes):
        learnt = minimal_effect(*design_error(design))
        rows.append({"comparison": "arm to most frequent label", **_sizes(design), "minimal_effect": learnt})
    cells = len(one.sources) * axes
    for design in _designs(one, 1, 1):
        needed = minimal_effect(*cell_error(design), power=0.8 ** (1 / cells))
        rows.append({"comparison": f"each of {cells} cells", **_sizes(design), "minimal_effect": needed})
    return pd.DataFrame(rows)


def _designs(settings: ExplanationsSettings, sources: int, axes: int) -> list[Design]:
    seeds, items = len(settings.seeds), settings.test_items * axes
    return [Design(sources, seeds, items, 1 / 3, 0.5, effect_sd, effect_sd) for effect_sd in EFFECT_SDS]


def _sizes(design: Design) -> dict[str, float]:
    sizes = {"n_sources": design.sources, "n_seeds": design.seeds, "n_items": design.items}
    return {"effect_sd": design.source_sd, **sizes}


def describe_data(items: pd.DataFrame, sources: Sequence[dict[str, str]]) -> pd.DataFrame:
    """T1: per source and axis, sizes; on the test items shares of the labels and what context-free shortcuts reach.

    ``level_accuracy`` is what a rater would reach who knew the level; labels are merged from noisy ratings. Where no
    level is known it is missing, and ``rho_length`` is that of the label.
    """
    rows = []
    for source in sources:
        for axis in items["axis"].unique():
            cell = items[(items["source"] == source["name"]) & (items["axis"] == axis)]
            test = cell[cell["split"] == "test"]
            sizes = {f"n_{split}": int((cell["split"] == split).sum()) for split in ("train", "validation", "test")}
            shares = {f"label_{label}": float((test["label"] == label).mean()) for label in range(1, 6)}
            reached = {f"{name}_accuracy": float((test[name] == test["label"]).mean()) for name in estimates.SHORTCUTS}
            truth = test["level"] if has_known_levels(items) else test["label"]
            length = {"rho_length": float(test["words"].corr(truth, method="spearman"))}
            known = {"level_accuracy": float((truth == test["label"]).mean()) if has_known_levels(items) else np.nan}
            rows.append({"source": source["name"], "axis": axis, **sizes, **shares, **length, **reached, **known})
    return pd.DataFrame(rows)


def has_known_levels(items: pd.DataFrame) -> bool:
    """Whether replies were made worse by known amounts."""
    return bool(items["level"].notna().all())


def compare_merge_rules(study: ExplanationsStudy) -> pd.DataFrame:
    """T2: error of each merge rule against the known level, and the paired difference to the mean, over sources."""
    items = study.data.items[["item", "axis", "source", "split", "level"]]
    errors = merge_rules(study.data.ratings, items)
    test = errors.merge(items[["item", "axis", "source"]], on=["item", "axis"]).assign(seed=0)
    rows = []
    for rule, group in test.groupby("rule", sort=False):
        row: dict[str, object] = {"rule": rule}
        for measure in ("absolute_error", "squared_error"):
            values = group.rename(columns={measure: "difference"})
            estimate = estimates.bootstrap_differences(values, study.settings.resamples)
            row |= as_columns(estimates.clip_interval(estimate, 0, np.inf), measure)
            row |= _worse_than_mean(test, str(rule), measure, study.settings.resamples)
        rows.append(row)
    return pd.DataFrame(rows).assign(n_items=test["item"].nunique())


def _worse_than_mean(errors: pd.DataFrame, rule: str, measure: str, resamples: int) -> dict[str, float]:
    """Error of a merge rule minus that of the mean on the same items; nothing to compare for the mean."""
    name = f"{measure}_difference"
    if rule == "mean":
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    keys = ["rule", "axis", "source", "item", "seed", measure]
    arms = errors[keys].rename(columns={"rule": "arm", measure: "value"})
    estimate = estimates.bootstrap_differences(paired.differences(arms, rule, "mean"), resamples)
    return as_columns(estimate, name)


def count_stages(study: ExplanationsStudy) -> dict[str, int]:
    """F1's counts, from the data table and the plan."""
    items, specs = study.data.items, study.specs()
    of_split = items.groupby("split")["item"].nunique()
    rows = (items["split"] == "test").sum()
    trained = [arm for arm in study.settings.arms if arm != "base"]
    return {
        "sources": items["source"].nunique(),
        "texts": items["item"].str.rpartition("-")[0].nunique(),
        "train_items": int(of_split["train"]),
        "validation_items": int(of_split["validation"]),
        "test_items": int(of_split["test"]),
        "axes": items["axis"].nunique(),
        "ratings": len(study.data.ratings),
        "explanations": len(items),
        "arms": len(study.settings.arms),
        "targets": int((items["split"] == "train").sum()) * len(trained),
        "seeds": len(study.settings.seeds),
        "students": sum(spec.recipe is not None for spec in specs),
        "predictions": int(rows) * (len(study.settings.seeds) * len(trained) + ("base" in study.settings.arms)),
        "records": len(specs),
    }
