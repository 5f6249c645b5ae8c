"""Synthetic frames of estimates, plausible in size and shape; no test reads their values."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from companion.show import figures, style, tables
from companion.show.names import Names, Style
from companion.show.provenance import Provenance

AXES = ("naturalness", "comprehensiveness", "on_topic")
SOURCES = ("assistant", "chat_high", "chat_low", "faq", "qa", "scripted")
PRIMARY = ("base", "label", "explanation", "shuffled", "bag_of_words")
ALL_ARMS = (*PRIMARY, "mismatched", "uniform_tokens", "explanation_first", "label_token_matched", "label_weighted")
NAMES = Names(
    styles={
        arm: Style(f"label for {arm[:12]}", f"#{place}07{place}B2", marker, (0, (1 + place, 1)))
        for place, (arm, marker) in enumerate(zip(ALL_ARMS, "XosD^vP<>h", strict=True))
    },
    values={
        "axis": {
            "naturalness": "naturalness",
            "comprehensiveness": "comprehensiveness",
            "on_topic": "on-topic adherence",
            "pooled": "all axes",
        },
        "source": {"faq": "faq (for AmazonQA)", "assistant": "assistant (for Chatbot Arena)"},
        "measure": {
            "output_entropy": "output entropy (nats)",
            "label_entropy": "label entropy (nats)",
            "peak_mass": "peak mass (probability)",
            "confidence_right": "confidence when right",
            "confidence_wrong": "confidence when wrong",
            "E1": "E1 activation entropy (share of maximum)",
            "E2": "E2 softmax entropy (share of maximum)",
            "label_loss": "loss at the label token (nats)",
        },
        "reference": {"majority": "most frequent training label"},
    },
    headings={"examples_seen": "training examples seen"},
)
SHARPNESS = ("output_entropy", "label_entropy", "peak_mass", "confidence_right", "confidence_wrong")


def around(random: np.random.Generator, centre: float, spread: float) -> dict[str, float]:
    """An estimate near ``centre`` with an interval around it."""
    estimate = centre + random.normal(0, spread / 3)
    return {"estimate": estimate, "low": estimate - spread, "high": estimate + spread}


def cells(sources: Sequence[str] = SOURCES, axes: Sequence[str] = AXES) -> pd.DataFrame:
    random = np.random.default_rng(1)
    rows = [
        {"source": source, "axis": axis, **around(random, 0.03, 0.06), "n_items": 120, "n_seeds": 6}
        for axis in axes
        for source in sources
    ]
    return pd.DataFrame(rows)


def summaries() -> pd.DataFrame:
    random = np.random.default_rng(2)
    labels = [*AXES, "all 18 cells (unit: source)"]
    return pd.DataFrame([{"label": label, **around(random, 0.03, 0.02)} for label in labels])


def arm_points(
    arms: Sequence[str], column: str, groups: Sequence[str], seeds: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values per arm, group and seed, and the interval of each arm and group."""
    random = np.random.default_rng(3)
    points, intervals = [], []
    for group in groups:
        for place, arm in enumerate(arms):
            centre = 0.3 + 0.02 * place
            values = centre + random.normal(0, 0.012, seeds)
            points += [{"arm": arm, column: group, "seed": seed, "value": value} for seed, value in enumerate(values)]
            mean = float(values.mean())
            intervals.append({"arm": arm, column: group, "estimate": mean, "low": mean - 0.02, "high": mean + 0.02})
    return pd.DataFrame(points), pd.DataFrame(intervals)


def references(axes: Sequence[str] = (*AXES, "pooled")) -> pd.DataFrame:
    values = {"majority": 0.21, "length": 0.24, "words_only": 0.31}
    return pd.DataFrame(
        [{"axis": axis, "name": name, "value": value} for axis in axes for name, value in values.items()]
    )


def layer_values(arms: Sequence[str] = PRIMARY, n_layers: int = 30, seeds: int = 3) -> pd.DataFrame:
    layer = np.arange(1, n_layers + 1)
    frames = []
    for measure, start, end in (("E1", 0.86, 0.95), ("E2", 0.98, 0.6), ("E3", 0.95, 0.2)):
        for place, arm in enumerate(arms):
            for seed in range(seeds):
                value = start + (end - start) * (layer / n_layers) ** 2 + 0.012 * place + 0.004 * seed
                frames.append(
                    pd.DataFrame({"layer": layer, "value": value, "arm": arm, "measure": measure, "seed": seed})
                )
    return pd.concat(frames, ignore_index=True)


def layer_differences(arms: Sequence[str] = PRIMARY[2:]) -> pd.DataFrame:
    values = layer_values(arms, seeds=1).rename(columns={"value": "estimate"}).drop(columns="seed")
    return values.assign(low=values["estimate"] - 0.01, high=values["estimate"] + 0.01)


def calibration_curve(arms: Sequence[str] = PRIMARY) -> tuple[pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(4)
    confidence = (np.arange(15) + 0.5) / 15
    frames, ece = [], []
    for place, arm in enumerate(arms):
        count = random.integers(1, 160, 15) * (confidence > 0.2)
        accuracy = np.clip(0.15 + 0.6 * confidence + random.normal(0, 0.05, 15), 0, 1)
        accuracy[count == 0] = np.nan
        frames.append(pd.DataFrame({"arm": arm, "confidence": confidence, "accuracy": accuracy, "count": count}))
        ece.append({"arm": arm, "estimate": 0.1 + 0.01 * place, "low": 0.08, "high": 0.16})
    return pd.concat(frames, ignore_index=True), pd.DataFrame(ece)


def learning_curves(arms: Sequence[str] = PRIMARY[1:]) -> pd.DataFrame:
    seen = np.arange(16, 721, 16)
    frames = []
    for measure, floor in (("label_loss", 1.3), ("rest_loss", 0.9)):
        for place, arm in enumerate(arms):
            if (measure, arm) == ("rest_loss", "label"):
                continue
            for seed in range(3):
                value = floor + 0.1 * place + 2 * np.exp(-seen / 120) + 0.05 * seed
                frame = pd.DataFrame({"examples_seen": seen, "value": value})
                frames.append(frame.assign(arm=arm, measure=measure, seed=seed))
    return pd.concat(frames, ignore_index=True)


def write_both(folder: Path) -> None:
    """Write a table and a figure, for a test that another process writes the same bytes."""
    origin = Provenance("explanations", "quick", ("a", "b"), "abc1234")
    tables.write_table(cells(), folder, "T3", "caption", "note", origin, NAMES)
    curves = figures.plot_curves(layer_values(), x="layer", names=NAMES, note="n = 6 \u00fc")
    style.save_figure(curves, folder, "F4", origin)
