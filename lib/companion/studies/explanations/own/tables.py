"""Tables, figures and claims of a comparison on own data: intervals over groups and seeds, crossed.

One data set cannot say how sources differ, so the unit is the group of test items (see ``own_dataset``), and the t
intervals are those of the paper's study with groups in the place of sources (``stats.estimate.mean_error``).
"""

import pandas as pd

from companion.show.claims import claims_view, write_claims
from companion.show.names import arm_order
from companion.stats import paired
from companion.stats.estimate import Estimate
from companion.studies.explanations.data.dataset import SPLITS
from companion.studies.explanations.own.study import OwnStudy
from companion.studies.explanations.results import analysis
from companion.studies.explanations.results.claims import ledger, shared_note
from companion.studies.explanations.results.results import Results

ORDERED_ONLY = ("kappa", "mae", "within_one")
SHARPNESS = ("output_entropy", "label_entropy", "peak_mass")


def data_table(own: OwnStudy) -> pd.DataFrame:
    """T1: rows of each split with each label, by the label's name."""
    items = own.data.items
    counts = items.groupby(["label", "split"]).size().unstack("split").reindex(columns=list(SPLITS)).fillna(0)
    names = own.data.facts["labels"]
    counts = counts.reindex(range(1, len(names) + 1), fill_value=0).astype(int)
    return (
        counts.add_prefix("n_").assign(label=names).reset_index(drop=True)[["label", *(f"n_{one}" for one in SPLITS)]]
    )


def data_note(own: OwnStudy) -> str:
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
    hits = test[list(analysis.SHORTCUTS)].eq(test["label"], axis=0)
    return hits.groupby(test["source"]).mean().mean()


def arm_table(results: Results, ordered: bool) -> pd.DataFrame:
    """T4: every arm: accuracy and log loss, their differences to ``label``, and the other measures.

    p is that of the accuracy difference's t interval, Holm over the arms compared. macro F1, Brier, ECE, kappa, mae and
    within-one are means over rows and seeds; the last three only where the labels are ``ordered``.
    """
    arms = arm_order(list(results.predictions["arm"].unique()))
    table = pd.DataFrame([_arm_row(results, arm) for arm in arms])
    compared = table["arm"] != "label"
    table.loc[compared, "p_holm"] = paired.holm(table.loc[compared, "p"])
    shown = ["macro_f1", "brier", "ece", *(ORDERED_ONLY if ordered else ())]
    per_run = analysis.run_metrics(results, ["arm", "seed"]).groupby("arm")[shown].mean()
    return table.merge(per_run, on="arm", sort=False)


def _arm_row(results: Results, arm: str) -> dict[str, object]:
    seeds = results.predictions.loc[results.predictions["arm"] == arm, "seed"].nunique()
    row: dict[str, object] = {"arm": arm, "n_seeds": seeds}
    row |= _limits("accuracy", level(results, arm, "correct")) | _limits("nll", level(results, arm, "nll"))
    if arm == "label":
        return row
    accuracy, loss = (difference(results, arm, "label", column) for column in ("correct", "nll"))
    return row | _limits("difference", accuracy) | {"p": accuracy.p} | _limits("nll_difference", loss)


def _limits(name: str, estimate: Estimate) -> dict[str, object]:
    return {name: estimate.estimate, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def level(results: Results, arm: str, column: str) -> Estimate:
    """Mean of a column in one arm over groups and seeds, its interval cut at what is possible."""
    rows = results.predictions[results.predictions["arm"] == arm].rename(columns={column: "difference"})
    return analysis.within(paired.t_test(paired.source_by_seed(rows), results.unit), 0.0, analysis.HIGHEST[column])


def difference(results: Results, treated: str, control: str, column: str) -> Estimate:
    """Mean paired difference of a column, treated minus control, over groups and seeds, its interval cut likewise."""
    table = paired.source_by_seed(analysis.pairs(results, treated, control, column))
    return analysis.possible(paired.t_test(table, results.unit), column)


def accuracy_points(results: Results) -> pd.DataFrame:
    """F3's dots: accuracy of each arm and seed, groups with equal weight."""
    points = analysis.arm_points(results)
    return points[points["axis"] != "pooled"]


def accuracy_intervals(results: Results) -> pd.DataFrame:
    """F3's intervals."""
    return _intervals(results, ["correct"]).drop(columns="measure").assign(axis=results.predictions["axis"].iloc[0])


def accuracy_references(results: Results) -> pd.DataFrame:
    """F3's dashed lines: accuracy of the baselines that need no language model."""
    items = results.items[results.items["split"] == "test"]
    reached = shortcut_accuracy(items).rename_axis("name").reset_index(name="value")
    return reached.assign(axis=items["axis"].iloc[0])


def sharpness(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F5: mean output sharpness of each arm and seed, and its intervals."""
    means = results.predictions.groupby(["arm", "seed", "source"], sort=False)[list(SHARPNESS)].mean()
    dots = means.groupby(["arm", "seed"], sort=False).mean().reset_index().melt(["arm", "seed"], var_name="measure")
    return dots, _intervals(results, SHARPNESS)


def _intervals(results: Results, columns: tuple[str, ...] | list[str]) -> pd.DataFrame:
    rows = []
    for arm in results.predictions["arm"].unique():
        for column in columns:
            found = level(results, arm, column)
            rows.append(
                {"arm": arm, "measure": column, "estimate": found.estimate, "low": found.low, "high": found.high}
            )
    return pd.DataFrame(rows)


def publish_claims(own: OwnStudy, results: Results) -> pd.DataFrame:
    """Write the claims ledger of the comparison as csv, md, tex and HTML; returns what a reader sees of it."""
    claims = ledger(results, own.settings)  # type: ignore[arg-type]  # it reads resamples and margin
    note = (
        f"{own.size}; each student is trained on {own.trained_on} examples. One data set: verdicts speak of texts like "
        "these and of this much training, not of other data. They need four seeds and four groups, and the arm ahead "
        "(3a to 3d: both) must be shown to beat the best constant label. Each family, and 2c, 2d alone, errs in about "
        f"5 % of such comparisons. {shared_note(results)}"
    )
    if not own.settings.explanation:
        note += " No reasons were given: words of the text itself, shuffled, stand for the words of explanations."
    write_claims(claims, own.folder, note, results.provenance)
    return claims_view(claims)
