import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference

from companion.errors import CompanionError
from companion.stats.metrics import expected_calibration_error, metrics, predicted_labels, reliability_curve

ROWS = st.integers(1, 40)


@st.composite
def cells(draw):
    rows = draw(ROWS)
    labels = draw(hnp.arrays(np.int64, rows, elements=st.integers(1, 5)))
    weights = draw(hnp.arrays(np.float64, (rows, 5), elements=st.floats(0.0, 1.0)))
    weights[:, 0] += 1e-3
    return labels, weights / weights.sum(axis=1, keepdims=True)


def one_hot(labels):
    return np.eye(5)[np.asarray(labels) - 1]


def test_hand_made_cell():
    labels = np.array([1, 2, 5])
    probabilities = np.array([[0.6, 0.4, 0, 0, 0], [0.5, 0.2, 0.3, 0, 0], [0, 0.25, 0.75, 0, 0]])
    found = metrics(labels, probabilities)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["within_one"] == pytest.approx(2 / 3)
    assert found["mae"] == pytest.approx(1.0)
    assert found["mse"] == pytest.approx(5 / 3)
    assert found["nll"] == pytest.approx(-(np.log(0.6) + np.log(0.2) + np.log(1e-12)) / 3)
    assert found["brier"] == pytest.approx((0.32 + 0.98 + 1.625) / 3)
    assert found["confidence_right"] == pytest.approx(0.6)
    assert found["confidence_wrong"] == pytest.approx(0.625)
    assert found["ece"] == pytest.approx((0.4 + 0.5 + 0.75) / 3)
    # F1 of labels 1, 2, 3, 5: 2/3, 0, 0, 0
    assert found["macro_f1"] == pytest.approx(1 / 6)


@settings(max_examples=60, deadline=None)
@given(cells())
def test_bounds_and_brier_against_sklearn(cell):
    labels, probabilities = cell
    found = metrics(labels, probabilities)
    for name in ("accuracy", "within_one", "macro_f1", "ece"):
        assert 0.0 <= found[name] <= 1.0
    assert -1.0 <= found["kappa"] <= 1.0
    assert found["accuracy"] <= found["within_one"]
    assert found["mae"] <= found["mse"]
    split = [reference.brier_score_loss(labels == k, probabilities[:, k - 1], pos_label=True) for k in range(1, 6)]
    assert found["brier"] == pytest.approx(sum(split))


@settings(max_examples=30, deadline=None)
@given(cells())
def test_order_of_items_does_not_matter(cell):
    labels, probabilities = cell
    turned = metrics(labels[::-1], probabilities[::-1])
    for name, value in metrics(labels, probabilities).items():
        assert turned[name] == pytest.approx(value, nan_ok=True)


def test_kappa_equals_its_definition():
    generator = np.random.default_rng(3)
    labels = generator.integers(1, 6, 50)
    guesses = generator.integers(1, 6, 50)
    away = (labels[:, None] - guesses) ** 2
    assert metrics(labels, one_hot(guesses))["kappa"] == pytest.approx(1 - np.diag(away).mean() / away.mean())


def test_constant_predictions_are_defined_and_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = metrics([3, 3, 3], one_hot([3, 3, 3]))
        other = metrics([1, 3, 5], one_hot([3, 3, 3]))
        opposite = metrics([1, 1], one_hot([5, 5]))
    assert same["kappa"] == 0.0
    assert same["accuracy"] == 1.0
    assert np.isnan(same["confidence_wrong"])
    assert other["kappa"] == 0.0
    assert opposite["kappa"] == 0.0
    assert np.isnan(opposite["confidence_right"])


def test_ties_go_to_the_lower_label():
    assert predicted_labels([[0.2] * 5, [0, 0.5, 0, 0.5, 0]]).tolist() == [1, 2]


def test_reliability_bins_are_closed_above_and_empty_ones_left_out():
    probabilities = [[0.6, 0.4, 0, 0, 0], [0.61, 0.39, 0, 0, 0], [1, 0, 0, 0, 0]]
    curve = reliability_curve([1, 2, 1], probabilities, bins=5)
    assert curve["count"].tolist() == [1, 1, 1]
    assert curve["confidence"].tolist() == pytest.approx([0.6, 0.61, 1.0])
    assert curve["accuracy"].tolist() == [1.0, 0.0, 1.0]


@settings(max_examples=40, deadline=None)
@given(cells(), st.integers(1, 30))
def test_reliability_keeps_every_item_and_the_means(cell, bins):
    labels, probabilities = cell
    curve = reliability_curve(labels, probabilities, bins)
    assert curve["count"].sum() == len(labels)
    assert np.average(curve["confidence"], weights=curve["count"]) == pytest.approx(probabilities.max(axis=1).mean())
    assert np.average(curve["accuracy"], weights=curve["count"]) == pytest.approx(
        metrics(labels, probabilities)["accuracy"]
    )


def test_calibration_error_of_one_bin_is_the_overall_gap():
    probabilities = [[0.9, 0.1, 0, 0, 0], [0.7, 0.3, 0, 0, 0]]
    assert expected_calibration_error([1, 2], probabilities, bins=1) == pytest.approx(0.3)


def test_calibration_error_of_a_calibrated_model_is_biased_in_small_cells_only():
    generator = np.random.default_rng(11)

    def error(items):
        probabilities = generator.dirichlet(np.ones(5), items)
        labels = (probabilities.cumsum(axis=1) < generator.random((items, 1))).sum(axis=1).clip(max=4) + 1
        return expected_calibration_error(labels, probabilities)

    assert 0.10 < np.mean([error(60) for _ in range(200)]) < 0.17
    assert error(100_000) < 0.01


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([], np.zeros((0, 5))),
        ([1, 2], one_hot([1])),
        ([3], [[0.5, 0.5]]),
        ([1], [0.5, 0.5]),
        ([0], one_hot([1])),
        ([6], one_hot([1])),
        ([1], [[0.5, 0.1, 0.1, 0.1, 0.1]]),
        ([1], [[1.5, -0.5, 0, 0, 0]]),
        ([1], [[np.nan, 0, 0, 0, 1]]),
        ([1.5], one_hot([1])),
    ],
)
def test_bad_input_is_refused(labels, probabilities):
    with pytest.raises(CompanionError):
        metrics(labels, probabilities)


def test_no_bins_is_refused():
    with pytest.raises(CompanionError):
        reliability_curve([1], one_hot([1]), bins=0)
