"""The names of this study and of its tool: tests and groups with their looks, kinds of search, designs, headings."""

from pathlib import Path

import yaml

from companion.show.names import Names, Style

_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))

NAMES = Names(
    styles={
        test: Style(look["label"], look["colour"], look["marker"], (0, tuple(look.get("dashes", ()))))
        for test, look in _TABLES["tests"].items()
    },
    values={
        "graph": _TABLES["graphs"],
        "design": _TABLES["designs"],
        "catalogue": _TABLES["catalogues"],
        "variant": _TABLES["variants"],
        "situation": _TABLES["situations"],
        "exchange": _TABLES["exchanges"],
    },
    headings=_TABLES["headings"],
)
AUDIT_NAMES = Names(headings=_TABLES["audit"])
LOOKS = tuple(
    Style("", look["colour"], look["marker"], (0, tuple(look.get("dashes", ())))) for look in _TABLES["groups"]
)
"""Looks of groups, seeds or kinds of search, in their order."""
