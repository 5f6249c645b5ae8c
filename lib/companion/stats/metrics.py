"""Accuracy and reliability of rated items, from labels 1..k and their k probabilities (five in the paper's study).

Conventions: the prediction is the most probable label, ties go to the lower label; kappa is 0 where truth and
prediction are one and the same constant (nothing beyond chance can be shown); confidence when wrong (right) is nan
when no item is wrong (right); macro-F1 averages over the labels that occur as truth or prediction; log probabilities
are floored.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from companion.errors import CompanionError

FLOOR = 1e-12


def predicted_labels(probabilities: ArrayLike) -> NDArray[np.int64]:
    """Most probable label (n,) in 1..k of probabilities (n, k); ties go to the lower label."""
    best: NDArray[np.int64] = np.argmax(np.asarray(probabilities), axis=1) + 1
    return best


def item_measures(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """What each item says: predicted label, shares (0 or 1), distance in label steps, NLL in nats, Brier, confidence.

    Labels (n,) in 1..k, probabilities (n, k) with rows that sum to one. Raises CompanionError for arrays that do not
    fit this.
    """
    return pd.DataFrame(_measure_items(*_validate(labels, probabilities)))


def _measure_items(truth: NDArray[np.int64], probability: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """The columns of `item_measures`; a table of them costs more than all the rest where there are many cells."""
    prediction = predicted_labels(probability)
    distance = np.abs(prediction - truth)
    hit = np.eye(probability.shape[1])[truth - 1]
    return {
        "predicted": prediction,
        "correct": (distance == 0).astype(float),
        "within_one": (distance <= 1).astype(float),
        "absolute_error": distance.astype(float),
        "nll": -np.log(np.maximum((probability * hit).sum(axis=1), FLOOR)),
        "brier": ((probability - hit) ** 2).sum(axis=1),
        "confidence": probability.max(axis=1),
    }


def metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """All metrics of one cell, from `item_measures`, and with the same arguments and errors.

    Shares and probabilities are 0..1; mae and mse are in label steps; nll in nats; brier is the sum over the
    labels (0..2); ece has 15 equal-width bins and is biased upwards in small cells (with 60 items a perfectly
    calibrated model shows about 0.13), the more so the sharper the model: it does not compare arms that differ in
    sharpness.
    """
    truth, probability = _validate(labels, probabilities)
    items = _measure_items(truth, probability)
    right, counts = items["correct"] > 0, _count_confusions(truth, items["predicted"])
    return {
        "accuracy": float(items["correct"].mean()),
        "within_one": float(items["within_one"].mean()),
        "macro_f1": _macro_f1(counts),
        "mae": float(items["absolute_error"].mean()),
        "mse": float((items["absolute_error"] ** 2).mean()),
        "kappa": _kappa(counts),
        "nll": float(items["nll"].mean()),
        "brier": float(items["brier"].mean()),
        "ece": expected_calibration_error(truth, probability),
        "confidence_wrong": float(items["confidence"][~right].mean()) if not right.all() else np.nan,
        "confidence_right": float(items["confidence"][right].mean()) if right.any() else np.nan,
    }


def reliability_curve(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> pd.DataFrame:
    """Mean confidence, accuracy and count per equal-width confidence bin (low, high]; empty bins are left out.

    Confidence is the probability of the predicted label. Raises CompanionError for fewer than one bin.
    """
    if bins < 1:
        raise CompanionError(f"reliability_curve got bins={bins}: give one bin or more")
    return pd.DataFrame(_bin_by_confidence(*_validate(labels, probabilities), bins))


def _bin_by_confidence(
    truth: NDArray[np.int64], probability: NDArray[np.float64], bins: int
) -> dict[str, NDArray[Any]]:
    """The columns of `reliability_curve`."""
    confidence = probability.max(axis=1)
    right = predicted_labels(probability) == truth
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    return {
        "confidence": np.bincount(place, confidence, bins)[used] / count[used],
        "accuracy": np.bincount(place, right, bins)[used] / count[used],
        "count": count[used],
    }


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Count-weighted mean of |accuracy - confidence| over the bins of `reliability_curve` (Guo et al. 2017)."""
    curve = _bin_by_confidence(*_validate(labels, probabilities), bins)
    return float(np.average(np.abs(curve["accuracy"] - curve["confidence"]), weights=curve["count"]))


def _count_confusions(truth: NDArray[np.int64], prediction: NDArray[np.int64]) -> NDArray[np.float64]:
    """Items by truth and prediction; the two measures below equal scikit-learn's, in a fiftieth of its time."""
    size = int(max(truth.max(), prediction.max())) + 1
    return np.bincount(truth * size + prediction, minlength=size**2).reshape(size, size).astype(float)


def _macro_f1(counts: NDArray[np.float64]) -> float:
    there = counts.sum(axis=0) + counts.sum(axis=1)
    return float((2 * np.diag(counts)[there > 0] / there[there > 0]).mean())


def _kappa(counts: NDArray[np.float64]) -> float:
    """Quadratic weighted kappa."""
    place = np.arange(len(counts))
    weights = (place[:, None] - place) ** 2
    chance = float((weights * np.outer(counts.sum(axis=1), counts.sum(axis=0))).sum()) / counts.sum()
    return 1 - float((weights * counts).sum()) / chance if chance else 0.0


def _validate(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth = np.asarray(labels)
    probability = np.asarray(probabilities, dtype=float)
    if truth.ndim != 1 or len(truth) == 0 or probability.ndim != 2 or len(probability) != len(truth):
        raise CompanionError(f"labels {truth.shape}, probabilities {probability.shape}: give (n,) and (n, k), n >= 1")
    if not np.isin(truth, np.arange(1, probability.shape[1] + 1)).all():
        raise CompanionError(f"labels contain a value outside 1..{probability.shape[1]}: check the merged ratings")
    if not ((probability >= 0).all() and np.allclose(probability.sum(axis=1), 1.0, atol=1e-3)):
        raise CompanionError("probabilities are negative, missing or do not sum to one: renormalise over the labels")
    return truth.astype(np.int64), probability
