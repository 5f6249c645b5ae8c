"""Whether what was built in a folder is up to date: a note of the inputs' hash and of every output's checksum."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from companion.files import file_sha256, write_whole
from companion.origin import hash_code

STAMP = "built.json"
DATA_SUFFIXES = (".html", ".jinja", ".mplstyle", ".yaml")
OUTPUT_SUFFIXES = (".csv", ".md", ".tex", ".png", ".pdf", ".html", ".ipynb")


def write_stamp(folder: Path, inputs: str) -> None:
    """Note what the outputs of a folder were made from (`hash_inputs`) and their checksums."""
    stamp = {"inputs": inputs, "outputs": _outputs(folder)}
    write_whole(folder / STAMP, json.dumps(stamp, indent=1).encode())


def is_built(folder: Path, inputs: str) -> bool:
    """Whether the outputs of a folder were made from these inputs and are all as they were made."""
    return _read(folder).get("inputs") == inputs and not changed_outputs(folder)


def changed_outputs(folder: Path) -> list[Path]:
    """Outputs of the last build that are missing or differ."""
    now, then = _outputs(folder), _read(folder).get("outputs", {})
    return [folder / name for name in then if now.get(name) != then[name]]


def hash_inputs(files: Iterable[Path], parameters: str = "") -> str:
    """Hash of all that outputs are made from: library, data files and templates of it, these files, and parameters."""
    digest = hashlib.sha256(f"{parameters}\n{hash_code()}\n".encode())
    data = (file for file in Path(__file__).parents[1].rglob("*.*") if file.suffix in DATA_SUFFIXES)
    for file in [*sorted(data), *files]:
        digest.update(f"{file.name} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def _read(folder: Path) -> dict[str, Any]:
    """What the last build was made from and made; empty where there was none or its note is damaged."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return stamp if isinstance(stamp, dict) and isinstance(stamp.get("outputs"), dict) else {}


def _outputs(folder: Path) -> dict[str, str]:
    """Sha256 of every table, figure, page and executed notebook, by path below the folder."""
    made = [*folder.glob("*.*"), *(folder / "notebooks").glob("*.*")]
    files = sorted(file for file in made if file.suffix in OUTPUT_SUFFIXES)
    return {file.relative_to(folder).as_posix(): file_sha256(file) for file in files}
