"""Human names, colours and markers, handed in by each study, so that one thing looks the same in all of its outputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ARM_COLUMNS = ("arm", "treatment", "baseline")
"""Columns whose values are arms, that is what a study compares."""

_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
MEASURES: dict[str, str] = _TABLES["measures"]
"""Names of common statistics, with their units."""

HEADINGS: dict[str, str] = _TABLES["headings"]
"""Headings of columns that tables of any study may have."""


@dataclass(frozen=True)
class Style:
    """How one arm is called and drawn.

    Attributes:
        label: human name.
        colour: ``#RRGGBB``.
        marker: as matplotlib spells it.
        dash: as matplotlib spells it; without lengths the line is solid.
    """

    label: str
    colour: str
    marker: str
    dash: tuple[float, tuple[float, ...]] = (0, ())


@dataclass(frozen=True)
class Names:
    """The vocabulary of one study, as figures and tables show it.

    What has no entry is shown under its own name, with blanks for underscores; an arm without a style is neutral grey.

    Attributes:
        styles: label, colour, marker and dash of each arm, in drawing order.
        values: human names of the values of a column (axis, source, reference, ...), in drawing order. The key
            ``measure`` adds to `MEASURES`.
        headings: human names of columns, beside `HEADINGS` and the names of measures.
    """

    styles: Mapping[str, Style] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    headings: Mapping[str, str] = field(default_factory=dict)

    def style(self, arm: str) -> Style:
        """Style of an arm."""
        return self.styles.get(arm, Style(_plain(arm), "#444444", "o"))

    def name(self, column: str, value: str) -> str:
        """Human name of a value of a column."""
        if column in ARM_COLUMNS:
            return self.style(value).label
        known = self.values.get(column, {})
        shared = MEASURES if column == "measure" else {}
        return known.get(value) or shared.get(value) or _plain(value)

    def has_names(self, column: str) -> bool:
        """Whether values of this column are names to be replaced; others are shown as they are."""
        return column in (*ARM_COLUMNS, "measure") or column in self.values

    def order(self, column: str, values: Iterable[str]) -> list[str]:
        """The values without repeats: those with an entry in drawing order, then the others as they came."""
        present = list(dict.fromkeys(values))
        known = self.styles if column in ARM_COLUMNS else self.values.get(column, {})
        return [value for value in known if value in present] + [value for value in present if value not in known]

    def heading(self, column: str) -> str:
        """Heading of a column of a table."""
        tables = (self.headings, HEADINGS, self.values.get("measure", {}), MEASURES)
        return next((table[column] for table in tables if column in table), _plain(column))


def _plain(name: str) -> str:
    return name.replace("_", " ")
