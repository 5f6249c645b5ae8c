"""Writing of outputs: each file whole or not at all, each set with a JSON page of its origin beside it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from companion.errors import CompanionError
from companion.files import file_sha256, write_whole
from companion.show.provenance import Provenance

SIDECAR = ".provenance.json"


@dataclass(frozen=True)
class Legend:
    """What is said about an output.

    ``kind`` is figure, table or claims. ``table`` is what a reader sees of a table, headings first, else empty.
    """

    kind: str
    caption: str
    note: str = ""
    table: Sequence[list[str]] = ()


@dataclass(frozen=True, kw_only=True)
class Output(Legend):
    """One output as its sidecar tells it; ``files`` maps file name to SHA-256."""

    name: str
    provenance: Provenance
    files: dict[str, str]


def write_output(
    folder: Path, name: str, contents: Mapping[str, bytes], legend: Legend, provenance: Provenance
) -> tuple[Path, ...]:
    """Write ``<name>.<ending>`` for each ending in ``contents``, then ``<name>.provenance.json``.

    Returns the paths in the order of ``contents``, without the sidecar. The sidecar holds the legend, study, profile,
    commit, every run id and the SHA-256 of each file. Raises CompanionError for a ``name`` that is more than a plain
    file name and where the folder cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise CompanionError(f"{name!r} is no name for an output: use letters, digits, dot, dash and underscore only")
    paths = tuple(write_whole(folder / f"{name}.{ending}", content) for ending, content in contents.items())
    sums = [hashlib.sha256(content).hexdigest() for content in contents.values()]
    sidecar = {
        "name": name,
        **vars(legend),
        "study": provenance.study,
        "profile": provenance.profile,
        "commit": provenance.commit,
        "digest": provenance.digest,
        "runs": sorted(provenance.runs),
        "files": dict(zip([path.name for path in paths], sums, strict=True)),
    }
    text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / f"{name}{SIDECAR}", text.encode())
    return paths


def read_output(sidecar: Path) -> Output:
    """The output that ``sidecar`` describes; raises CompanionError where it is damaged."""
    try:
        page = json.loads(sidecar.read_text(encoding="utf-8"))
        said = {key: page[key] for key in ("name", "kind", "caption", "note", "table")}
        said["provenance"] = {key: page[key] for key in ("study", "profile", "runs", "commit")}
        said["files"] = {Path(file).name: checksum for file, checksum in page["files"].items()}
        return TypeAdapter(Output).validate_python(said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CompanionError(f"{sidecar} is damaged: delete it and make the figures again") from error


def read_outputs(folder: Path) -> list[Output]:
    """All outputs of ``folder``, by name, numbers in natural order (F2 before F10)."""
    outputs = [read_output(path) for path in folder.glob(f"*{SIDECAR}")]
    return sorted(outputs, key=lambda output: natural_key(output.name))


def natural_key(name: str) -> list[tuple[int, str]]:
    """A sort key that reads runs of digits as numbers."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    # A number is ordered by its length, then by its digits: int() refuses thousands of them.
    return [(1 + len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (0, part) for part in parts]


def check_outputs(folder: Path) -> list[str]:
    """What is wrong with the outputs of ``folder``, one sentence each; an empty list when all checksums hold."""
    problems = []
    for sidecar in sorted(folder.glob(f"*{SIDECAR}")):
        try:
            output = read_output(sidecar)
        except CompanionError as error:
            problems.append(str(error))
            continue
        for path, checksum in ((folder / file, checksum) for file, checksum in output.files.items()):
            if not path.is_file():
                problems.append(f"{path} is missing: make the figures again")
            elif file_sha256(path) != checksum:
                problems.append(f"{path} was changed after it was made: make the figures again")
    return problems
