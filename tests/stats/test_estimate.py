import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.errors import CompanionError
from companion.stats.estimate import as_table, from_error, mean_error, satterthwaite


def test_mean_error_of_unit_means_is_the_usual_standard_error():
    values = np.array([0.1, 0.3, -0.2, 0.5])
    error = mean_error(values)
    assert error.mean[0] == pytest.approx(values.mean())
    assert np.sqrt(error.covariance[0, 0]) == pytest.approx(stats.sem(values))
    assert error.degrees == 3


def test_one_column_equals_a_vector():
    values = np.array([0.1, 0.3, -0.2])
    vector, column = mean_error(values), mean_error(values[:, None])
    assert vector.covariance == column.covariance
    assert vector.degrees == column.degrees


def test_table_adds_the_error_over_seeds():
    table = np.array([[0.0, 0.2], [0.1, 0.5], [0.3, 0.2]])
    error = mean_error(table)
    by_source, by_seed = stats.sem(table.mean(axis=1)) ** 2, stats.sem(table.mean(axis=0)) ** 2
    assert error.covariance[0, 0] == pytest.approx(by_source + by_seed)
    assert error.degrees == pytest.approx((by_source + by_seed) ** 2 / (by_source**2 / 2 + by_seed**2 / 1))
    assert "seeds" in error.covers


def test_pure_seed_effect_shows_only_in_the_table():
    table = np.tile([0.0, 0.1, 0.2], (6, 1))
    assert not mean_error(table.mean(axis=1)).spread
    assert mean_error(table).covariance[0, 0] == pytest.approx(stats.sem([0.0, 0.1, 0.2]) ** 2)


def test_joint_covariance_of_two_sets():
    generator = np.random.default_rng(0)
    one, two = generator.normal(size=(2, 6, 3))
    joint = mean_error(one, two).covariance
    both = mean_error(one + two).covariance[0, 0]
    assert joint.sum() == pytest.approx(both)
    assert np.array_equal(joint, joint.T)


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1e3), min_size=2, max_size=2), st.integers(1, 30), st.integers(1, 30))
def test_satterthwaite_lies_between_the_smaller_and_the_sum(parts, first, second):
    degrees = float(satterthwaite(np.array(parts)[:, None], [first, second])[0])
    assert min(first, second) - 1e-9 <= degrees <= first + second + 1e-9


def test_satterthwaite_of_nothing_is_the_smallest():
    assert satterthwaite([[0.0], [0.0]], [5, 2])[0] == 2


@pytest.mark.parametrize("error", [0.0, np.nan, np.inf])
def test_no_error_means_no_interval(error):
    assert np.isnan(from_error(0.1, error, 5, 0.95)).all()


@pytest.mark.parametrize("bad", [[], [1.0], np.zeros((2, 2, 2)), np.zeros((2, 0)), [1.0, np.nan], [np.inf, 0.0]])
def test_as_table_refuses(bad):
    with pytest.raises(CompanionError):
        as_table(bad)
