"""The index page of a study: every figure, table, claim and executed notebook found in its folder."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from companion.errors import CompanionError
from companion.files import write_whole
from companion.show.html import fill_template
from companion.show.outputs import Output, natural_key, read_outputs

_PARTS = (("Claims", "claims"), ("Figures", "figure"), ("Tables", "table"))


def write_index(folder: Path, title: str, hint: str = "") -> Path:
    """Write ``index.html`` into ``folder`` and return its path.

    Figures, tables and claims are those with a sidecar (``outputs.py``); every other HTML page in the folder or below
    it is linked as an executed notebook. ``hint`` is the first line. Links are relative, so that the folder can be
    moved or published as it is.

    Raises CompanionError where there is nothing to show, a sidecar is damaged or the folder cannot be written.
    """
    outputs = read_outputs(folder)
    if not outputs:
        raise CompanionError(f"{folder} holds no figure and no table: make them before their page")
    parts = [(heading, [_entry(output) for output in outputs if output.kind == kind]) for heading, kind in _PARTS]
    shown = [(heading, entries) for heading, entries in parts if entries]
    page = fill_template("index", title=title, hint=hint, parts=shown, pages=_pages(folder, outputs))
    return write_whole(folder / "index.html", page)


def _entry(output: Output) -> dict[str, Any]:
    images = [file for file in output.files if file.endswith(".png")]
    return vars(output) | {"image": images[0] if images else "", "origin": output.provenance.footer()}


def _pages(folder: Path, outputs: list[Output]) -> list[tuple[str, str]]:
    """Relative link and name of every HTML page that is neither this one nor an output."""
    own = {folder / file for output in outputs for file in output.files} | {folder / "index.html"}
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.html") if path not in own]
    return [(quote(name), name.removesuffix(".html")) for name in sorted(names, key=natural_key)]
