"""Tables, figures and claims of a comparison on own data: intervals over groups and seeds, crossed.

One data set cannot say how sources differ, so the unit is the group of test items (see ``own_dataset``), and the t
intervals are those of the paper's study with groups in the place of sources (``stats.estimate.mean_error``).
"""

import pandas as pd

from companion.stats import paired
from companion.stats.estimate import Estimate, as_columns
from companion.studies.explanations.names import NAMES
from companion.studies.explanations.own.study import OwnStudy
from companion.studies.explanations.results import estimates
from companion.studies.explanations.results.results import Results

ORDERED_ONLY = ("kappa", "mae", "within_one")


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
        row |= as_columns(estimates.estimate_level(results, arm, column), name)
    if arm == "label":
        return row
    accuracy, loss = (estimate_difference(results, arm, "label", column) for column in ("correct", "nll"))
    row |= as_columns(accuracy, "difference") | {"p": accuracy.p}
    return row | as_columns(loss, "nll_difference")


def estimate_difference(results: Results, treated: str, control: str, column: str) -> Estimate:
    """Mean paired difference of a column, treated minus control, over groups and seeds, its interval cut likewise."""
    table = paired.source_by_seed(estimates.pair_differences(results, treated, control, column))
    return estimates.clip_to_range(paired.t_test(table, results.unit), column)


def compute_baselines(results: Results) -> pd.DataFrame:
    """F3's dashed lines: accuracy of the baselines that need no language model."""
    items = results.items[results.items["split"] == "test"]
    reached = shortcut_accuracy(items).rename_axis("name").reset_index(name="value")
    return reached.assign(axis=items["axis"].iloc[0])
