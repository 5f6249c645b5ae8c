"""Verdicts follow the numbers: planted effects are supported or contradicted, none is undecided."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.studies.conftest import AXES, SOURCES, made_up

from companion.show.claims import Claim
from companion.stats import paired
from companion.stats.verdict import verdict
from companion.studies.explanations.results.claims import (
    compute_source_differences,
    decide_claims,
    describe_learning,
    explain_undecided,
)
from companion.studies.explanations.results.inside import find_middle_third
from companion.studies.explanations.results.learned import compute_gains_over_rival, learned_axes
from companion.studies.explanations.results.results import Results
from companion.studies.explanations.settings import ExplanationsSettings

EQUAL = {"base": 0.2, "label": 0.5, "explanation": 0.5, "shuffled": 0.5, "bag_of_words": 0.5}


def verdicts(
    settings: ExplanationsSettings, accuracy: dict[str, float], seeds: int = 6, sharper: float = 0.0
) -> dict[str, str]:
    claims = decide_claims(made_up(accuracy, seeds, sharper=sharper), settings)
    return {claim.id: claim.verdict for claim in claims}


def test_planted_gains_are_supported(tiny_settings: ExplanationsSettings) -> None:
    gains = {**EQUAL, "explanation": 0.75, "shuffled": 0.7, "bag_of_words": 0.6, "uniform_tokens": 0.5}
    found = verdicts(tiny_settings, gains, sharper=0.1)
    assert {id for id, verdict in found.items() if verdict == "supported"} >= {"1a", "1c", "2a", "2b", "2c", "2e"}
    assert {found[id] for id in ("3a", "3b", "3c", "3d")} == {"supported"}


def test_planted_losses_are_contradicted(tiny_settings: ExplanationsSettings) -> None:
    losses = {"label": 0.6, "explanation": 0.4, "shuffled": 0.3, "bag_of_words": 0.4, "uniform_tokens": 0.7}
    found = verdicts(tiny_settings, losses, sharper=-0.1)
    assert {found[id] for id in ("1a", "1b", "1c", "2a", "2b", "2e", "3a", "3b", "3c", "3d")} == {"contradicted"}
    assert found["2d"] == "contradicted"
    assert found["2c"] == "undecided"


def claims(settings: ExplanationsSettings, results: Results) -> dict[str, Claim]:
    return {claim.id: claim for claim in decide_claims(results, settings)}


def test_shuffled_text_that_hurts_as_much_closes_no_gap(tiny_settings: ExplanationsSettings) -> None:
    found = claims(tiny_settings, made_up({**EQUAL, "explanation": 0.3, "shuffled": 0.32}))["2c"]
    assert found.verdict == "undecided"
    assert np.isnan(found.estimate), "a ratio of two losses must not be shown as a share"


def test_a_verdict_on_arms_that_learnt_nothing_says_so(tiny_settings: ExplanationsSettings) -> None:
    results = made_up({**EQUAL, "explanation": 0.1}, sharper=-0.1)
    found = claims(tiny_settings, results)
    assert found["1a"].verdict == found["1b"].verdict == "contradicted", "label only, which is ahead, did learn"
    assert "beat the most frequent training label, all axes together: label + explanation." in describe_learning(
        results
    )
    assert found["3a"].verdict == "undecided"
    assert "alone says contradicted" in found["3a"].note


def test_an_arm_ahead_that_has_not_learnt_decides_nothing(tiny_settings: ExplanationsSettings) -> None:
    behind = {"base": 0.1, "label": 0.05, "explanation": 0.15, "shuffled": 0.15, "uniform_tokens": 0.05}
    found = claims(tiny_settings, made_up(behind, sharper=0.1))
    assert {claim.verdict for claim in found.values()} == {"undecided"}
    assert "alone says supported" in found["1a"].note
    assert "alone says supported" in found["2e"].note


def test_equal_arms_on_axes_that_taught_nothing_are_not_equivalent(tiny_settings: ExplanationsSettings) -> None:
    """A gap on the one axis that was learnt must not be thinned out by two axes at the level of the majority."""
    shown = made_up({**EQUAL, "label": 0.6, "explanation": 0.9, "shuffled": 0.8}, items=200)
    dull = made_up({**EQUAL, "label": 0.2, "explanation": 0.2, "shuffled": 0.2}, items=200)
    found = claims(tiny_settings, joined(shown, dull))["2d"]
    assert found.estimate == pytest.approx(-0.1, abs=0.02)
    assert found.verdict == "contradicted"
    assert "naturalness." in found.note


def joined(first: Results, others: Results) -> Results:
    """The first axis of one, the other axes of the other."""
    parts = [
        frame[frame["axis"].isin(axes)]
        for frame, axes in ((first.predictions, AXES[:1]), (others.predictions, AXES[1:]))
    ]
    return replace(first, predictions=pd.concat(parts, ignore_index=True))


def test_cells_of_an_axis_that_nobody_learnt_do_not_contradict(tiny_settings: ExplanationsSettings) -> None:
    """Label alone at the level of the majority is no better rater than explanations that fell below it."""
    collapsed = made_up({"base": 0.2, "label": 0.2, "explanation": 0.0}, items=200)
    results = joined(collapsed, made_up({"base": 0.2, "label": 0.6, "explanation": 0.6}, items=200))
    found = claims(tiny_settings, results)["1b"]
    assert found.verdict == "undecided"
    assert "clearly below: 5; 0 and 0 of them" in found.note
    assert learned_axes(results, "label") == learned_axes(results, "explanation") == list(AXES[1:])


def test_a_share_of_the_gap_needs_shuffled_students_that_learnt(tiny_settings: ExplanationsSettings) -> None:
    fallen = made_up({"base": 0.2, "label": 0.02, "explanation": 0.32, "shuffled": 0.2}, items=80)
    found = claims(tiny_settings, fallen)["2c"]
    assert found.low > 0.5
    assert found.verdict == "undecided"
    assert "not shown to have learned: label + shuffled words" in found.note


def test_arms_that_equal_label_alone_are_no_evidence_of_equivalence(tiny_settings: ExplanationsSettings) -> None:
    same = {**EQUAL, "label": 0.998, "explanation": 0.999, "shuffled": 0.998}
    found = claims(tiny_settings, made_up(same))["2d"]
    assert found.verdict == "undecided"
    assert "equal arms say nothing" in found.note


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_fewer_than_four_seeds_decide_nothing(tiny_settings: ExplanationsSettings, seeds: int) -> None:
    found = verdicts(tiny_settings, {**EQUAL, "explanation": 0.9, "shuffled": 0.8}, seeds=seeds, sharper=0.1)
    assert set(found.values()) == {"undecided"}
    assert explain_undecided(made_up(EQUAL, seeds=seeds)) == "Nothing is decided: fewer than 4 seeds."
    assert explain_undecided(made_up(EQUAL, seeds=4)) == ""


def test_agreement_counts_units_on_the_claimed_side(tiny_settings: ExplanationsSettings) -> None:
    found = claims(tiny_settings, made_up({**EQUAL, "explanation": 0.8}))
    assert found["1a"].agreement == "6 of 6 sources, 6 of 6 seeds"
    assert found["1b"].agreement == "18 of 18 cells"
    lower = claims(tiny_settings, made_up({**EQUAL, "explanation": 0.2}))
    assert lower["1a"].agreement == "0 of 6 sources, 0 of 6 seeds"
    assert lower["1c"].agreement == "0 of 6 sources, 0 of 6 seeds"


def test_source_differences_average_to_the_estimates(tiny_settings: ExplanationsSettings) -> None:
    results = made_up({**EQUAL, "explanation": 0.8, "uniform_tokens": 0.5})
    table, found = compute_source_differences(results), claims(tiny_settings, results)
    assert list(table["source"]) == sorted(SOURCES)
    for name in table.columns.drop("source"):
        assert table[name].mean() == pytest.approx(found[name].estimate), name


def test_a_family_without_effects_rarely_decides_anything(tiny_settings: ExplanationsSettings) -> None:
    """Under correlated sources and seeds the chance of any false verdict among the accuracy claims is 5 %."""
    random = np.random.default_rng(12)
    false = 0
    for _ in range(300):
        label = random.normal(0, 0.03, (6, 1)) + random.normal(0, 0.03, (1, 6)) + random.normal(0, 0.03, (6, 6))
        arms = random.normal(0, 0.03, (4, 6, 1)) + random.normal(0, 0.03, (4, 1, 6)) + random.normal(0, 0.03, (4, 6, 6))
        estimates = [paired.t_test(arm - label, level=1 - 0.05 / 4) for arm in arms]
        false += any(verdict(estimate, "greater") != "undecided" for estimate in estimates)
    assert 0 < false / 300 <= 0.07


def test_no_p_lies_below_the_smallest_possible(tiny_settings: ExplanationsSettings) -> None:
    for claim in decide_claims(made_up({**EQUAL, "explanation": 0.75, "uniform_tokens": 0.5}), tiny_settings):
        assert not claim.p < claim.smallest_p - 1e-12, claim.id


def test_every_cell_needs_its_own_interval(tiny_settings: ExplanationsSettings) -> None:
    assert verdicts(tiny_settings, {**EQUAL, "explanation": 0.97})["1b"] == "supported"
    assert verdicts(tiny_settings, {**EQUAL, "explanation": 0.58})["1b"] == "undecided"


def test_no_effect_is_undecided_and_no_gap_is_undefined(tiny_settings: ExplanationsSettings) -> None:
    found = verdicts(tiny_settings, EQUAL)
    assert {found[id] for id in ("1a", "1b", "2a", "2b", "2c", "3a", "3c", "3d")} == {"undecided"}


def test_equal_arms_are_shown_to_be_equivalent_only_with_enough_data(tiny_settings: ExplanationsSettings) -> None:
    exact = {**EQUAL, "explanation": 0.999, "shuffled": 0.998}
    assert verdicts(tiny_settings, exact)["2d"] == "supported"
    assert claims(tiny_settings, made_up(EQUAL, items=5))["2d"].verdict == "undecided"


def test_claims_of_arms_that_were_not_run_are_left_out(tiny_settings: ExplanationsSettings) -> None:
    found = verdicts(tiny_settings, {"label": 0.5, "explanation": 0.6})
    assert set(found) == {"1a", "1b", "1c", "3a", "3c", "3d"}


def test_no_verdict_without_an_interval_on_one_side(tiny_settings: ExplanationsSettings) -> None:
    for claim in decide_claims(made_up({**EQUAL, "explanation": 0.62}), tiny_settings):
        if claim.id in ("1b", "2c", "2d"):
            continue
        side = 1 if _greater(claim) else -1
        low, high = sorted((side * claim.low, side * claim.high))
        expected = "supported" if low > 0 else "contradicted" if high < 0 else "undecided"
        assert claim.verdict == expected, claim.id


def _greater(claim: Claim) -> bool:
    return claim.id not in ("1c", "2e", "3c")


@pytest.mark.parametrize(("layers", "expected"), [(32, (11, 22)), (30, (11, 20)), (3, (2, 2)), (6, (3, 4))])
def test_middle_third(layers: int, expected: tuple[int, int]) -> None:
    assert find_middle_third(layers) == expected


def test_the_table_of_what_was_learnt_agrees_with_the_gate() -> None:
    results = made_up({**EQUAL, "label": 0.2, "explanation": 0.9})
    table = compute_gains_over_rival(results).set_index("arm")
    note = describe_learning(results)
    assert table.loc["explanation", "pooled_low"] > 0 and table.loc["label", "pooled_low"] <= 0
    assert table.loc["explanation", "pooled"] == pytest.approx(0.7, abs=0.03), (
        "the made-up majority label is right in 0.2"
    )
    assert "all axes together: label only." in note
    assert (table[[f"{axis}_low" for axis in AXES]].loc["explanation"] > 0).all()
