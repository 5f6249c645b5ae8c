import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from companion.errors import CompanionError
from companion.stats.paired import equivalence
from companion.stats.verdict import verdict

VALUES = st.lists(st.integers(-50, 50).map(lambda k: k / 100), min_size=3, max_size=8).filter(lambda v: len(set(v)) > 1)


@settings(deadline=None)
@given(VALUES, st.floats(0.01, 0.5))
def test_equals_statsmodels(values, margin):
    found = equivalence(values, margin)
    reference = DescrStatsW(np.array(values))
    assert found.p == pytest.approx(reference.ttost_mean(-margin, margin)[0])
    assert (found.low, found.high) == pytest.approx(reference.tconfint_mean(alpha=0.1))
    assert found.level == pytest.approx(0.9)


@settings(deadline=None)
@given(VALUES, st.floats(0.01, 0.5))
def test_the_interval_lies_inside_exactly_when_p_is_small(values, margin):
    found = equivalence(values, margin)
    assert (found.p < 0.05) == (-margin < found.low and found.high < margin)


def test_a_large_p_of_a_difference_is_not_equivalence():
    assert equivalence([0.3, -0.3, 0.2, -0.2, 0.25, -0.2], 0.05).p > 0.05


def test_no_spread_is_not_shown():
    found = equivalence(np.zeros(6), 0.05)
    assert verdict(found, "equivalent", 0.05) == "undecided"
    assert np.isnan([found.p, found.low, found.high]).all()


@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize(("source_sd", "seed_sd"), [(0.0, 0.0), (0.05, 0.0), (0.03, 0.03)])
def test_level_at_the_margin(simulate, seeds, source_sd, seed_sd):
    generator = np.random.default_rng(40)
    tables = [0.1 + simulate(generator, seeds, source_sd, seed_sd).mean(axis=2) for _ in range(400)]
    assert np.mean([equivalence(table, 0.1).p < 0.05 for table in tables]) <= 0.07


def test_power_rises_with_the_margin():
    samples = np.random.default_rng(41).normal(0, 0.05, (400, 6))
    power = [np.mean([equivalence(s, margin).p < 0.05 for s in samples]) for margin in (0.03, 0.06, 0.1)]
    assert power[0] < power[1] < power[2]
    assert power[2] > 0.9


@pytest.mark.parametrize("margin", [0, -0.1, np.nan, np.inf])
def test_margin_must_be_positive(margin):
    with pytest.raises(CompanionError):
        equivalence([0.1, 0.2, 0.3], margin)
