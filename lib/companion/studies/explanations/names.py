"""The names of this study: arms with their colours and markers, axes, sources, measures and baselines."""

from pathlib import Path

import yaml

from companion.corpora.originals import ORIGINALS
from companion.corpora.sources import SOURCES
from companion.show.names import Names, Style

_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
# A source is never shown without the data set of the paper that it stands in for.
_STAND_INS = {name: f"{name.replace('_', ' ')} (for {source.stands_in_for})" for name, source in SOURCES.items()}
_TITLES = {name: original.title for name, original in ORIGINALS.items()}

NAMES = Names(
    styles={
        arm: Style(look["label"], look["colour"], look["marker"], (0, tuple(look.get("dashes", ()))))
        for arm, look in _TABLES["arms"].items()
    },
    values={
        "axis": _TABLES["axes"],
        "source": _STAND_INS | _TITLES,
        "measure": _TABLES["measures"],
        "reference": _TABLES["references"],
        "rule": {},
    },
    headings=_TABLES["headings"] | _TABLES["axes"],
)
