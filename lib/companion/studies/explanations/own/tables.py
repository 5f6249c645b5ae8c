"""Tables, figures and claims of a comparison on own data: intervals over groups and seeds, crossed.

One data set cannot say how sources differ, so the unit is the group of test items (see ``own_dataset``), and the t
intervals are those of the paper's study with groups in the place of sources (``stats.estimate.mean_error``).
"""

import pandas as pd

from companion.stats import paired
from companion.stats.estimate import Estimate
from companion.studies.explanations.data.dataset import SPLITS
from companion.studies.explanations.names import NAMES
from companion.studies.explanations.own.study import OwnStudy
from companion.studies.explanations.results import arms, estimates
from companion.studies.explanations.results.results import Results

ORDERED_ONLY = ("kappa", "mae", "within_one")
SHARPNESS = ("output_entropy", "label_entropy", "peak_mass")


def count_rows(own: OwnStudy) -> pd.DataFrame:
    """T1: rows of each split with each label, by the label's name."""
    items = own.data.items
    counts = items.groupby(["label", "split"]).size().unstack("split").reindex(columns=list(SPLITS)).fillna(0)
    names = own.data.facts["labels"]
    counts = counts.reindex(range(1, len(names) + 1), fill_value=0).astype(int)
    return (
        counts.add_prefix("n_").assign(label=names).reset_index(drop=True)[["label", *(f"n_{one}" for one in SPLITS)]]
    )


def describe_data(own: OwnStudy) -> str:
    """What was read, and how far context-free baselines get on the test rows."""
    facts, items = own.data.facts, own.data.items
    test = items[items["split"] == "test"]
    reached = shortcut_accuracy(test)
    unused = facts["rows_read"] - facts["dropped_without_explanation"] - len(items)
    return (
        f"{items['source'].nunique()} groups, {test['source'].nunique()} of them for the test, none in two splits. "
        f"{facts['rows_read']} rows were read, {facts['dropped_without_explanation']} had no explanation, "
        f"{facts['texts_cut']} texts are cut to {own.settings.text_words} words, {unused} rows are more than the sizes "
        "asked for. Right on the test rows, groups with equal weight: most frequent training label "
        f"{reached['majority']:.3f}, length alone {reached['length']:.3f}, words alone (logistic regression) "
        f"{reached['words_only']:.3f}."
    )


def shortcut_accuracy(test: pd.DataFrame) -> pd.Series:
    """Accuracy of each baseline on these items, groups with equal weight as for the students."""
    hits = test[list(estimates.SHORTCUTS)].eq(test["label"], axis=0)
    return hits.groupby(test["source"]).mean().mean()


def compare_arms(results: Results, ordered: bool) -> pd.DataFrame:
    """T4: every arm: accuracy and log loss, their differences to ``label``, and the other measures.

    p is that of the accuracy difference's t interval, Holm over the arms compared. macro F1, Brier, ECE, kappa, mae and
    within-one are means over rows and seeds; the last three only where the labels are ``ordered``.
    """
    table = pd.DataFrame([_arm_row(results, arm) for arm in NAMES.order("arm", results.predictions["arm"])])
    compared = table["arm"] != "label"
    table.loc[compared, "p_holm"] = paired.holm(table.loc[compared, "p"])
    shown = ["macro_f1", "brier", "ece", *(ORDERED_ONLY if ordered else ())]
    per_run = estimates.compute_metrics(results, ["arm", "seed"]).groupby("arm")[shown].mean()
    return table.merge(per_run, on="arm", sort=False)


def _arm_row(results: Results, arm: str) -> dict[str, object]:
    seeds = results.predictions.loc[results.predictions["arm"] == arm, "seed"].nunique()
    row: dict[str, object] = {"arm": arm, "n_seeds": seeds}
    for name, column in {"accuracy": "correct", "nll": "nll"}.items():
        row |= estimates.as_columns(estimate_level(results, arm, column), name)
    if arm == "label":
        return row
    accuracy, loss = (estimate_difference(results, arm, "label", column) for column in ("correct", "nll"))
    row |= estimates.as_columns(accuracy, "difference") | {"p": accuracy.p}
    return row | estimates.as_columns(loss, "nll_difference")


def estimate_level(results: Results, arm: str, column: str) -> Estimate:
    """Mean of a column in one arm over groups and seeds, its interval cut at what is possible."""
    rows = results.predictions[results.predictions["arm"] == arm].rename(columns={column: "difference"})
    estimate = paired.t_test(paired.source_by_seed(rows), results.unit)
    return estimates.clip_interval(estimate, 0.0, estimates.HIGHEST[column])


def estimate_difference(results: Results, treated: str, control: str, column: str) -> Estimate:
    """Mean paired difference of a column, treated minus control, over groups and seeds, its interval cut likewise."""
    table = paired.source_by_seed(estimates.pair_differences(results, treated, control, column))
    return estimates.clip_to_range(paired.t_test(table, results.unit), column)


def compute_arm_points(results: Results) -> pd.DataFrame:
    """F3's dots: accuracy of each arm and seed, groups with equal weight."""
    points = arms.compute_arm_points(results)
    return points[points["axis"] != "pooled"]


def compute_arm_intervals(results: Results) -> pd.DataFrame:
    """F3's intervals."""
    return (
        _compute_intervals(results, ["correct"])
        .drop(columns="measure")
        .assign(axis=results.predictions["axis"].iloc[0])
    )


def compute_baselines(results: Results) -> pd.DataFrame:
    """F3's dashed lines: accuracy of the baselines that need no language model."""
    items = results.items[results.items["split"] == "test"]
    reached = shortcut_accuracy(items).rename_axis("name").reset_index(name="value")
    return reached.assign(axis=items["axis"].iloc[0])


def compute_sharpness(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F5: mean output sharpness of each arm and seed, and its intervals."""
    means = results.predictions.groupby(["arm", "seed", "source"], sort=False)[list(SHARPNESS)].mean()
    dots = means.groupby(["arm", "seed"], sort=False).mean().reset_index().melt(["arm", "seed"], var_name="measure")
    return dots, _compute_intervals(results, SHARPNESS)


def _compute_intervals(results: Results, columns: tuple[str, ...] | list[str]) -> pd.DataFrame:
    rows = []
    for arm in results.predictions["arm"].unique():
        for column in columns:
            rows.append({"arm": arm, "measure": column, **estimates.as_columns(estimate_level(results, arm, column))})
    return pd.DataFrame(rows)
