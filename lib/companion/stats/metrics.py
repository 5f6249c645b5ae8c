"""Accuracy and reliability of rated items, from labels 1..k and their k probabilities (five in the paper's study).

Conventions: the prediction is the most probable label, ties go to the lower label; kappa is 0 where truth and
prediction are one and the same constant (nothing beyond chance can be shown); confidence when wrong (right) is nan
when no item is wrong (right); macro-F1 averages over the labels that occur as truth or prediction; log probabilities
are floored.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import cohen_kappa_score, f1_score

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
    truth, probability = _validate(labels, probabilities)
    prediction = predicted_labels(probability)
    distance = np.abs(prediction - truth)
    hit = np.eye(probability.shape[1])[truth - 1]
    return pd.DataFrame(
        {
            "predicted": prediction,
            "correct": (distance == 0).astype(float),
            "within_one": (distance <= 1).astype(float),
            "absolute_error": distance.astype(float),
            "nll": -np.log(np.maximum((probability * hit).sum(axis=1), FLOOR)),
            "brier": ((probability - hit) ** 2).sum(axis=1),
            "confidence": probability.max(axis=1),
        }
    )


def metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """All metrics of one cell, from `item_measures`, and with the same arguments and errors.

    Shares and probabilities are 0..1; mae and mse are in label steps; nll in nats; brier is the sum over the
    labels (0..2); ece has 15 equal-width bins and is biased upwards in small cells (with 60 items a perfectly
    calibrated model shows about 0.13), the more so the sharper the model: it does not compare arms that differ in
    sharpness.
    """
    truth = np.asarray(labels)
    items = item_measures(truth, probabilities)
    prediction, right = items["predicted"].to_numpy(), items["correct"] > 0
    return {
        "accuracy": float(items["correct"].mean()),
        "within_one": float(items["within_one"].mean()),
        "macro_f1": float(f1_score(truth, prediction, average="macro")),
        "mae": float(items["absolute_error"].mean()),
        "mse": float((items["absolute_error"] ** 2).mean()),
        "kappa": _kappa(truth, prediction),
        "nll": float(items["nll"].mean()),
        "brier": float(items["brier"].mean()),
        "ece": expected_calibration_error(truth, probabilities),
        "confidence_wrong": float(items["confidence"][~right].mean()),
        "confidence_right": float(items["confidence"][right].mean()),
    }


def reliability_curve(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> pd.DataFrame:
    """Mean confidence, accuracy and count per equal-width confidence bin (low, high]; empty bins are left out.

    Confidence is the probability of the predicted label. Raises CompanionError for fewer than one bin.
    """
    truth, probability = _validate(labels, probabilities)
    if bins < 1:
        raise CompanionError(f"reliability_curve got bins={bins}: give one bin or more")
    confidence = probability.max(axis=1)
    right = predicted_labels(probability) == truth
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    return pd.DataFrame(
        {
            "confidence": np.bincount(place, confidence, bins)[used] / count[used],
            "accuracy": np.bincount(place, right, bins)[used] / count[used],
            "count": count[used],
        }
    )


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Count-weighted mean of |accuracy - confidence| over the bins of `reliability_curve` (Guo et al. 2017)."""
    curve = reliability_curve(labels, probabilities, bins)
    gaps = (curve["accuracy"] - curve["confidence"]).abs()
    return float(np.average(gaps, weights=curve["count"]))


def _kappa(truth: NDArray[np.int64], prediction: NDArray[np.int64]) -> float:
    if len(np.union1d(truth, prediction)) == 1:
        return 0.0
    known = np.arange(1, max(truth.max(), prediction.max()) + 1)
    return float(cohen_kappa_score(truth, prediction, labels=known, weights="quadratic"))


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
