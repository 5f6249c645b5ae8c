import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.errors import CompanionError
from companion.stats.paired import t_test
from companion.stats.ratio import gap_closed

VALUES = st.lists(st.integers(-30, 60).map(lambda k: k / 100), min_size=12, max_size=12).map(np.array)


def arms(generator, seeds, gap, share):
    """Random - label and explanation - label (sources, seeds), which share the noise of the label arm."""
    label, part, whole = 0.03 * generator.standard_normal((3, 6, seeds)) + 0.02 * generator.standard_normal(
        (3, 1, seeds)
    )
    return share * gap + part - label, gap + whole - label


def test_exact_multiple_has_no_width():
    whole = np.array([0.1, 0.12, 0.09, 0.11, 0.1, 0.13])
    found = gap_closed(0.5 * whole, whole)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


@settings(deadline=None)
@given(VALUES)
def test_defined_exactly_when_the_gap_is_shown(values):
    part, whole = values[:6], values[6:]
    gap = t_test(whole)
    shown = gap.low > 0 or gap.high < 0
    found = gap_closed(part, whole)
    assert np.isfinite(found.estimate) == (shown and not np.isnan(t_test(part).p))
    if np.isfinite(found.estimate):
        assert found.low <= found.estimate <= found.high
    else:
        assert (found.low, found.high) == (-np.inf, np.inf)
        assert "undefined" in found.method


@settings(deadline=None)
@given(VALUES, st.floats(-1, 2))
def test_limits_are_the_ratios_that_a_t_test_accepts(values, ratio):
    part, whole = values[:6], values[6:] + 1.0
    found = gap_closed(part, whole)
    rest = t_test(part - ratio * whole)
    if np.isfinite(found.estimate) and not np.isnan(rest.p) and abs(rest.p - 0.05) > 1e-6:
        assert (found.low <= ratio <= found.high) == (rest.p >= 0.05)


def test_negative_gap_is_a_gap():
    generator = np.random.default_rng(2)
    part, whole = arms(generator, 6, 0.3, 0.5)
    assert gap_closed(-part, -whole) == gap_closed(part, whole)


@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize("gap", [0.0, 0.1, 0.3])
def test_coverage(seeds, gap):
    generator = np.random.default_rng(50)
    found = [gap_closed(*arms(generator, seeds, gap, 0.5)) for _ in range(500)]
    assert np.mean([each.low <= 0.5 <= each.high for each in found]) >= 0.945
    undefined = np.mean([np.isnan(each.estimate) for each in found])
    if gap == 0.0:
        assert undefined >= 0.93
    elif gap == 0.3 and seeds > 2:
        assert undefined <= 0.01


def test_no_spread_is_undefined_and_says_so():
    gap = np.array([0.1, 0.12, 0.09, 0.11, 0.1, 0.13])
    for found in (gap_closed(np.full(6, 0.1), np.full(6, 0.2)), gap_closed(np.zeros(6), gap)):
        assert np.isnan(found.estimate)
        assert "no spread" in found.method


def test_different_units_are_refused():
    with pytest.raises(CompanionError):
        gap_closed([0.1, 0.2], [0.1, 0.2, 0.3])
