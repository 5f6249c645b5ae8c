"""Which arms learned to rate: those shown to beat the best constant answer, on all axes together or on one."""

from collections.abc import Sequence

import pandas as pd

from companion.stats import paired
from companion.stats.estimate import Estimate, as_columns
from companion.studies.explanations.names import NAMES
from companion.studies.explanations.results.estimates import clip_to_range
from companion.studies.explanations.results.results import Results


def learned_arms(results: Results) -> set[str]:
    """The trained arms that were shown to beat the most frequent training label, all axes together."""
    return {arm for arm in set(results.predictions["arm"]) - {"base"} if beats_rival(results, arm)}


def learned_axes(results: Results, arm: str) -> list[str]:
    """The axes on which the arm was shown to beat the most frequent training label."""
    return [axis for axis in results.predictions["axis"].unique() if beats_rival(results, arm, [axis])]


def beats_rival(results: Results, arm: str, axes: Sequence[str] = ()) -> bool:
    """Whether the arm is more accurate than the most frequent training label, over sources and seeds (95 %)."""
    return _gain_over_rival(results, arm, axes).low > 0


def _gain_over_rival(results: Results, arm: str, axes: Sequence[str] = ()) -> Estimate:
    """Accuracy above the rival's; axes are averaged over, all of them where none are named."""
    rows = results.predictions[results.predictions["arm"] == arm]
    rows = rows[rows["axis"].isin(axes)] if axes else rows
    rows = rows.merge(_rival_answers(results), on=["item", "axis"])
    gain = rows.assign(difference=rows["correct"] - (rows["rival"] == rows["label"]))
    return clip_to_range(paired.t_test(paired.source_by_seed(gain)), "correct")


def _rival_answers(results: Results) -> pd.DataFrame:
    """The constant answer that a student must beat: item, axis, rival.

    It is the most frequent training label. Groups of a reader's own data are of any size and weigh equally, so that
    another label can be right more often there: then it is the one that is so on the test groups.
    """
    items = results.items[results.items["split"] == "test"]
    if results.unit == "group":
        shares = pd.crosstab(items["source"], items["label"], normalize="index").mean()
        items = items.assign(majority=shares.index.to_numpy()[shares.to_numpy().argmax()])
    return items[["item", "axis", "majority"]].rename(columns={"majority": "rival"})


def rival_name(results: Results) -> str:
    """What the constant answer is called."""
    return "the best constant label" if results.unit == "group" else "the most frequent training label"


def compute_gains_over_rival(results: Results) -> pd.DataFrame:
    """T4's second table: how far each arm lies above the most frequent training label, on all axes and on each.

    A verdict needs an interval above zero (95 %) of the arm ahead.
    """
    every = list(results.predictions["axis"].unique())
    rows = []
    for arm in NAMES.order("arm", results.predictions["arm"]):
        row: dict[str, object] = {"arm": arm}
        for name, axes in [("pooled", every), *((axis, [axis]) for axis in every)]:
            row |= as_columns(_gain_over_rival(results, arm, axes), name)
        rows.append(row)
    return pd.DataFrame(rows)
