"""The names of this study: tests with their colours and markers, kinds of search, designs and headings."""

from pathlib import Path

import yaml

from companion.show.names import Names, Style

_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))

NAMES = Names(
    styles={
        test: Style(look["label"], look["colour"], look["marker"], (0, tuple(look.get("dashes", ()))))
        for test, look in _TABLES["tests"].items()
    },
    values={"graph": _TABLES["graphs"], "design": _TABLES["designs"]},
    headings=_TABLES["headings"],
)
