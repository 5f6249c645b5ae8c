"""Human names, colours and markers: one place, so that an arm looks the same in every figure and table."""

from collections.abc import Callable
from dataclasses import dataclass

from companion.corpora.originals import ORIGINALS
from companion.corpora.sources import SOURCES


@dataclass(frozen=True)
class ArmStyle:
    """How one arm is called and drawn: ``colour`` as #RRGGBB, ``marker`` and ``dash`` as matplotlib spells them.

    A dash without lengths is a solid line.
    """

    label: str
    colour: str
    marker: str
    dash: tuple[float, tuple[float, ...]] = (0, ())


# Colours are those of Okabe and Ito, filled up with Tol's muted set: all told apart with colour-blind eyes, and never
# by colour alone, since marker and dash differ too. The order is the order in every figure.
ARM_STYLES: dict[str, ArmStyle] = {
    "base": ArmStyle("base (no training)", "#666666", "X", (0, (1, 1))),
    "label": ArmStyle("label only", "#0072B2", "o"),
    "explanation": ArmStyle("label + explanation", "#D55E00", "s"),
    "shuffled": ArmStyle("label + shuffled words", "#009E73", "^", (0, (5, 1.5))),
    "bag_of_words": ArmStyle("label + bag of words", "#CC79A7", "D", (0, (3, 1, 1, 1))),
    "mismatched": ArmStyle("label + other item's text", "#E69F00", "v", (0, (5, 1.5))),
    "uniform_tokens": ArmStyle("label + random tokens", "#56B4E9", "P", (0, (3, 1, 1, 1))),
    "explanation_first": ArmStyle("explanation, then label", "#882255", "<", (0, (5, 1.5))),
    "label_token_matched": ArmStyle("label repeated", "#332288", ">", (0, (3, 1, 1, 1))),
    "label_weighted": ArmStyle("label weighted + explanation", "#999933", "h", (0, (1, 1))),
}

AXIS_NAMES: dict[str, str] = {
    "naturalness": "naturalness",
    "comprehensiveness": "comprehensiveness",
    "on_topic": "on-topic adherence",
    "pooled": "all axes",
}

MEASURE_NAMES: dict[str, str] = {
    "accuracy": "accuracy",
    "within_one": "share within one level",
    "macro_f1": "macro F1",
    "mae": "mean absolute error (levels)",
    "mse": "mean squared error (levels²)",
    "kappa": "quadratic kappa",
    "nll": "negative log-likelihood (nats)",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "output_entropy": "output entropy (nats)",
    "label_entropy": "label entropy (nats)",
    "peak_mass": "peak mass (probability)",
    "confidence_right": "confidence when right",
    "confidence_wrong": "confidence when wrong",
    "E1": "E1 activation entropy (share of maximum)",
    "E2": "E2 softmax entropy (share of maximum)",
    "E3": "E3 logit-lens entropy (share of maximum)",
    "label_loss": "loss at the label token (nats)",
    "rest_loss": "mean loss of the other tokens (nats)",
}

HEADINGS: dict[str, str] = {
    "id": "claim",
    "smallest_p": "smallest p possible",
    "p_holm": "p (Holm)",
    "n_items": "items",
    "n_seeds": "seeds",
    "n_sources": "sources",
    "effect_sd": "SD of effects",
    "mcnemar_better": "seeds clearly better",
    "mcnemar_worse": "seeds clearly worse",
    "gained": "items only treated right",
    "lost": "items only baseline right",
}

REFERENCE_NAMES: dict[str, str] = {
    "majority": "most frequent training label",
    "length": "length-only baseline",
    "words_only": "bag-of-words baseline",
}


def _plain(name: str) -> str:
    return name.replace("_", " ")


def arm_style(arm: str) -> ArmStyle:
    """The fixed style of ``arm``; an arm of another study gets its own name in neutral grey."""
    return ARM_STYLES.get(arm, ArmStyle(_plain(arm), "#444444", "o"))


def arm_name(arm: str) -> str:
    """The human name of ``arm``."""
    return arm_style(arm).label


def arm_order(arms: list[str]) -> list[str]:
    """``arms`` without repeats: known ones in the order of ``ARM_STYLES``, then the others as they came."""
    present = list(dict.fromkeys(arms))
    return [arm for arm in ARM_STYLES if arm in present] + [arm for arm in present if arm not in ARM_STYLES]


def axis_name(axis: str) -> str:
    """The human name of a rating axis; ``pooled`` is all of them together."""
    return AXIS_NAMES.get(axis, _plain(axis))


def axis_order(axes: list[str]) -> list[str]:
    """``axes`` without repeats: known ones in the order of ``AXIS_NAMES`` (pooled last), then the others."""
    present = list(dict.fromkeys(axes))
    return [axis for axis in AXIS_NAMES if axis in present] + [axis for axis in present if axis not in AXIS_NAMES]


def source_name(source: str) -> str:
    """The short label of a source, never without the data set of the paper it stands in for: ``faq (for AmazonQA)``."""
    if source in ORIGINALS:
        return ORIGINALS[source].title
    if source not in SOURCES:
        return source
    return f"{_plain(source)} (for {SOURCES[source].stands_in_for})"


def measure_name(measure: str) -> str:
    """The human name of a measure, with its unit."""
    return MEASURE_NAMES.get(measure, _plain(measure))


def reference_name(name: str) -> str:
    """The human name of a baseline that needs no language model."""
    return REFERENCE_NAMES.get(name, _plain(name))


def heading(column: str) -> str:
    """The heading a reader sees over a column of a table."""
    return HEADINGS.get(column) or MEASURE_NAMES.get(column) or AXIS_NAMES.get(column) or _plain(column)


# Columns whose values are names of ours, and how a reader sees them.
VALUE_NAMES: dict[str, Callable[[str], str]] = {
    "arm": arm_name,
    "treatment": arm_name,
    "baseline": arm_name,
    "axis": axis_name,
    "source": source_name,
    "measure": measure_name,
    "rule": _plain,
}
