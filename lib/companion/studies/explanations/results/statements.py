"""The statements of arXiv 2511.02044 in our own words, in the families that are tested together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from companion.stats.verdict import Claim as Side

MIDDLE_ENTROPY = "E1"
UNITS = {
    "correct": "accuracy",
    "nll": "nats",
    MIDDLE_ENTROPY: "share of maximum",
    "output_entropy": "nats",
    "peak_mass": "probability",
}
"""Units of the differences, by column."""


@dataclass(frozen=True)
class Comparison:
    """A claim that one arm lies above (or below) another in a column's mean; ``E1`` is that of the middle layers."""

    id: str
    treated: str
    control: str
    column: str
    side: Side
    statement: str


ACCURACY = (
    Comparison(
        id="1a",
        treated="explanation",
        control="label",
        column="correct",
        side="greater",
        statement="Training on labels with explanations rates more accurately than training on labels alone.",
    ),
    Comparison(
        id="2a",
        treated="shuffled",
        control="label",
        column="correct",
        side="greater",
        statement="Training on labels with shuffled explanations rates more accurately than training on labels alone.",
    ),
    Comparison(
        id="2b",
        treated="bag_of_words",
        control="label",
        column="correct",
        side="greater",
        statement="Training on labels with a bag of explanation words rates more accurately than on labels alone.",
    ),
    Comparison(
        id="2e",
        treated="uniform_tokens",
        control="explanation",
        column="correct",
        side="less",
        statement="Training with explanations of uniformly random tokens rates less accurately than with true ones.",
    ),
)


RELIABILITY = (
    Comparison(
        id="1c",
        treated="explanation",
        control="label",
        column="nll",
        side="less",
        statement="Training with explanations gives probabilities with a lower log loss (nats) than labels alone.",
    ),
)


INSIDE = (
    Comparison(
        id="3a",
        treated="explanation",
        control="label",
        column=MIDDLE_ENTROPY,
        side="greater",
        statement="Explanations raise the activation entropy (E1) of the middle layers above that of labels alone.",
    ),
    Comparison(
        id="3b",
        treated="shuffled",
        control="label",
        column=MIDDLE_ENTROPY,
        side="greater",
        statement="Shuffled explanations raise the activation entropy (E1) of the middle layers above labels alone.",
    ),
    Comparison(
        id="3c",
        treated="explanation",
        control="label",
        column="output_entropy",
        side="less",
        statement="Students trained with explanations have a lower output entropy (nats) than on labels alone.",
    ),
    Comparison(
        id="3d",
        treated="explanation",
        control="label",
        column="peak_mass",
        side="greater",
        statement="Students trained with explanations put a higher peak mass on one token than on labels alone.",
    ),
)


def select_comparisons(comparisons: Sequence[Comparison], arms: Iterable[str]) -> list[Comparison]:
    """Those of the comparisons that these arms allow; their number decides how wide the intervals are."""
    return [one for one in comparisons if {one.treated, one.control} <= set(arms)]
