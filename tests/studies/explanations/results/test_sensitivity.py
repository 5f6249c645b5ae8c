from dataclasses import replace

import pandas as pd
from tests.studies.conftest import AXES, made_up

from companion.studies.explanations.results.results import Results
from companion.studies.explanations.results.sensitivity import compute_sensitivity

ACCURACY = {"base": 0.2, "label": 0.5, "explanation": 0.75, "shuffled": 0.5, "bag_of_words": 0.5}


def rows(results: Results) -> dict[str, dict[str, object]]:
    return {row["claim"]: row for row in compute_sensitivity(results).to_dict("records")}


def test_a_large_effect_hangs_on_nothing() -> None:
    row = rows(made_up(ACCURACY))["1a"]
    assert row["interval_says"] == row["on_learnt_axes"] == row["against_known_level"] == "supported"
    assert row["same_without_one_source"] == row["same_without_one_seed"] == "6 of 6"


def test_a_seed_that_carries_the_answer_is_seen() -> None:
    results = made_up(ACCURACY)
    predictions = results.predictions
    bad = (predictions["arm"] == "explanation") & (predictions["seed"] == 0)
    row = rows(replace(results, predictions=predictions.assign(correct=predictions["correct"].mask(bad, 0.0))))["1a"]
    assert row["interval_says"] == "undecided" and row["same_without_one_seed"] == "5 of 6"
    assert row["same_without_one_source"] == "6 of 6"


def test_known_levels_and_learnt_axes_are_used() -> None:
    results = made_up(ACCURACY)
    predictions = results.predictions
    swapped = predictions["arm"].map({"label": 1.0, "explanation": 0.0}).fillna(0.5)
    # noise, for an interval there must be some spread
    swapped = (swapped + predictions["correct"] / 100).clip(0, 1)
    found = rows(replace(results, predictions=predictions.assign(correct_level=swapped)))
    assert found["1a"]["against_known_level"] == "contradicted"
    assert pd.isna(found["1c"]["against_known_level"])
    unlearnt = made_up({**ACCURACY, "label": 0.1})
    assert all(pd.isna(row["on_learnt_axes"]) for row in rows(unlearnt).values())


def test_only_learnt_axes_count() -> None:
    results = made_up(ACCURACY)
    predictions = results.predictions
    off = (predictions["axis"] == AXES[0]) & (predictions["arm"] != "base")
    worse = predictions["correct"].mask(off & (predictions["arm"] == "label"), predictions["correct"] * 0.1)
    row = rows(replace(results, predictions=predictions.assign(correct=worse)))["1a"]
    assert row["on_learnt_axes"] == "supported"
