import pytest

from companion.studies.explanations.results.reliability import compute_calibration, compute_reliability
from companion.studies.explanations.results.results import Results


def test_reliability_and_calibration_agree_on_the_made_up_confidence(planted: Results) -> None:
    table = compute_reliability(planted, 200).set_index("arm")
    assert table.loc["explanation", "nll"] < table.loc["label", "nll"]
    curve, ece = compute_calibration(planted)
    explanation = curve[curve["arm"] == "explanation"]
    assert explanation["confidence"].to_numpy() == pytest.approx([0.6])
    gap = abs(0.6 - explanation["accuracy"].iloc[0])
    assert ece.set_index("arm").loc["explanation", "estimate"] == pytest.approx(gap, abs=0.02)
