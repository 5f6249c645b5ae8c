"""The statements of arXiv 2511.02044 in our own words, in the families of ``statements.yaml``, each tested together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

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


_STATEMENTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
ACCURACY, RELIABILITY, INSIDE = (
    tuple(Comparison(**one) for one in _STATEMENTS[name]) for name in ("accuracy", "reliability", "inside")
)
FAMILIES = (ACCURACY, RELIABILITY, INSIDE)


def select_comparisons(comparisons: Sequence[Comparison], arms: Iterable[str]) -> list[Comparison]:
    """Those of the comparisons that these arms allow; their number decides how wide the intervals are."""
    return [one for one in comparisons if {one.treated, one.control} <= set(arms)]
