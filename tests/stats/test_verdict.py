import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.errors import CompanionError
from companion.stats.estimate import Estimate
from companion.stats.paired import equivalence
from companion.stats.verdict import verdict

LIMIT = st.floats(allow_nan=True, allow_infinity=True)


def interval(low, high):
    return Estimate(0.0, low, high, 0.5, 6, "source", "made by hand")


@pytest.mark.parametrize(
    ("low", "high", "claim", "threshold", "word"),
    [
        (0.01, 0.05, "greater", 0.0, "supported"),
        (-0.05, -0.01, "greater", 0.0, "contradicted"),
        (-0.01, 0.05, "greater", 0.0, "undecided"),
        (0.0, 0.05, "greater", 0.0, "undecided"),
        (-0.05, 0.0, "greater", 0.0, "undecided"),
        (0.01, 0.05, "greater", 0.02, "undecided"),
        (0.03, 0.05, "greater", 0.02, "supported"),
        (0.001, 0.01, "greater", 0.02, "contradicted"),
        (0.01, np.inf, "greater", 0.0, "supported"),
        (-np.inf, np.inf, "greater", 0.0, "undecided"),
        (-np.inf, -0.01, "greater", 0.0, "contradicted"),
        (np.nan, np.nan, "greater", 0.0, "undecided"),
        (0.01, np.nan, "greater", 0.0, "undecided"),
        (-0.05, -0.01, "less", 0.0, "supported"),
        (0.01, 0.05, "less", 0.0, "contradicted"),
        (-np.inf, -0.03, "less", 0.02, "supported"),
        (-0.01, 0.01, "equivalent", 0.02, "supported"),
        (-0.02, 0.01, "equivalent", 0.02, "undecided"),
        (0.03, 0.05, "equivalent", 0.02, "contradicted"),
        (-0.05, -0.03, "equivalent", 0.02, "contradicted"),
        (-0.05, 0.05, "equivalent", 0.02, "undecided"),
        (-np.inf, np.inf, "equivalent", 0.02, "undecided"),
        (np.nan, 0.01, "equivalent", 0.02, "undecided"),
        (0.01, np.nan, "equivalent", 0.02, "undecided"),
    ],
)
def test_edges(low, high, claim, threshold, word):
    assert verdict(interval(low, high), claim, threshold) == word


@settings(deadline=None)
@given(LIMIT, LIMIT, st.floats(0, 10))
def test_less_mirrors_greater(low, high, threshold):
    assert verdict(interval(low, high), "greater", threshold) == verdict(interval(-high, -low), "less", threshold)


@settings(deadline=None)
@given(st.floats(-1, 1), st.floats(0, 1), st.sampled_from(["greater", "less", "equivalent"]), st.floats(0.01, 0.5))
def test_a_wider_interval_never_decides_more(middle, half, claim, threshold):
    narrow = verdict(interval(middle - half, middle + half), claim, threshold)
    wide = verdict(interval(middle - 2 * half, middle + 2 * half), claim, threshold)
    assert wide in (narrow, "undecided")


@settings(deadline=None)
@given(st.lists(st.integers(-9, 9).map(lambda k: k / 100), min_size=3, max_size=8), st.floats(0.01, 0.2))
def test_agrees_with_tost(values, margin):
    found = equivalence(values, margin)
    assert (verdict(found, "equivalent", margin) == "supported") == (found.p < 0.05)


@pytest.mark.parametrize(
    ("claim", "threshold"),
    [("better", 0.0), ("greater", -0.1), ("greater", np.inf), ("less", np.nan), ("equivalent", 0.0)],
)
def test_unknown_claims_are_refused(claim, threshold):
    with pytest.raises(CompanionError):
        verdict(interval(0.1, 0.2), claim, threshold)
