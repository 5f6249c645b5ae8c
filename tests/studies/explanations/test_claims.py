"""Verdicts follow the numbers: planted effects are supported or contradicted, none is undecided."""

import pytest
from tests.studies.explanations.conftest import made_up

from companion.show.claims import Claim
from companion.studies.explanations.claims import ledger, middle_third
from companion.studies.explanations.settings import ExplanationsSettings

EQUAL = {"base": 0.2, "label": 0.5, "explanation": 0.5, "shuffled": 0.5, "bag_of_words": 0.5}


def verdicts(
    settings: ExplanationsSettings, accuracy: dict[str, float], seeds: int = 6, sharper: float = 0.0
) -> dict[str, str]:
    claims = ledger(made_up(accuracy, seeds, sharper=sharper), settings)
    return {claim.id: claim.verdict for claim in claims}


def test_planted_gains_are_supported(tiny_settings: ExplanationsSettings) -> None:
    gains = {**EQUAL, "explanation": 0.75, "shuffled": 0.7, "bag_of_words": 0.6, "uniform_tokens": 0.5}
    found = verdicts(tiny_settings, gains, sharper=0.1)
    assert {id for id, verdict in found.items() if verdict == "supported"} >= {"1a", "1c", "2a", "2b", "2c", "2e"}
    assert {found[id] for id in ("3a", "3b", "3c", "3d")} == {"supported"}


def test_planted_losses_are_contradicted(tiny_settings: ExplanationsSettings) -> None:
    losses = {**EQUAL, "explanation": 0.3, "shuffled": 0.2, "bag_of_words": 0.3, "uniform_tokens": 0.5}
    found = verdicts(tiny_settings, losses, sharper=-0.1)
    assert {found[id] for id in ("1a", "1b", "1c", "2a", "2b", "2e", "3a", "3b", "3c", "3d")} == {"contradicted"}
    assert found["2d"] == "contradicted"
    assert found["2c"] == "undecided"


def test_shuffled_text_that_hurts_as_much_closes_no_gap(tiny_settings: ExplanationsSettings) -> None:
    assert verdicts(tiny_settings, {**EQUAL, "explanation": 0.3, "shuffled": 0.32})["2c"] == "undecided"


def test_a_verdict_on_arms_that_learnt_nothing_says_so(tiny_settings: ExplanationsSettings) -> None:
    found = {claim.id: claim for claim in ledger(made_up({**EQUAL, "explanation": 0.1}), tiny_settings)}
    assert "Not shown to beat the most frequent label" in found["1a"].note
    assert "label + explanation" in found["1a"].note
    assert "label only" not in found["1a"].note


def test_one_seed_decides_nothing(tiny_settings: ExplanationsSettings) -> None:
    found = verdicts(tiny_settings, {**EQUAL, "explanation": 0.9, "shuffled": 0.8}, seeds=1, sharper=0.1)
    assert set(found.values()) == {"undecided"}


def test_no_p_lies_below_the_smallest_possible(tiny_settings: ExplanationsSettings) -> None:
    for claim in ledger(made_up({**EQUAL, "explanation": 0.75, "uniform_tokens": 0.5}), tiny_settings):
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
    few = {claim.id: claim.verdict for claim in ledger(made_up(EQUAL, seeds=2, items=5), tiny_settings)}
    assert few["2d"] == "undecided"


def test_claims_of_arms_that_were_not_run_are_left_out(tiny_settings: ExplanationsSettings) -> None:
    found = verdicts(tiny_settings, {"label": 0.5, "explanation": 0.6})
    assert set(found) == {"1a", "1b", "1c", "3a", "3c", "3d"}


def test_no_verdict_without_an_interval_on_one_side(tiny_settings: ExplanationsSettings) -> None:
    for claim in ledger(made_up({**EQUAL, "explanation": 0.62}), tiny_settings):
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
    assert middle_third(layers) == expected
