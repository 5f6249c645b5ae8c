"""The command `companion audit`: files in; tables, figures and a page out, and a sentence for each attribute."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from companion import paths
from companion.errors import CompanionError
from companion.files import file_sha256, whole_folder, write_whole
from companion.origin import get_commit
from companion.show.provenance import Provenance
from companion.studies.commands import show_progress
from companion.studies.parity.own.asking import read_numbers
from companion.studies.parity.own.attributes import read_table
from companion.studies.parity.own.audit import audit, make_plan
from companion.studies.parity.own.formats import COMPRESSED, open_results
from companion.studies.parity.own.options import DEPTHS, Options
from companion.studies.registry import study_names
from companion.studies.stamp import hash_inputs, is_built, write_stamp

STATE = "audit.json"
SCHEMA = 2
FAILURES = ("dependence", "no-equivalence")


@dataclass(frozen=True)
class Files:
    """Paths of what is read; empty ones are not there."""

    results: str
    attributes: str
    query_attributes: str = ""
    qrels: str = ""
    baseline: str = ""

    def given(self) -> dict[str, Path]:
        """Those that are given; raises CompanionError for one that is no file."""
        found = {each.name: Path(getattr(self, each.name)) for each in fields(self) if getattr(self, each.name)}
        for role, file in found.items():
            if not file.is_file():
                raise CompanionError(f"There is no file {file}; give the path of the {role.replace('_', ' ')}.")
        return found


def find_file(name: str) -> Path:
    """The file of this name, or the one beside the notebooks, wherever a notebook is run."""
    beside = paths.home() / "notebooks" / name
    return beside if beside.is_file() and not Path(name).exists() else Path(name)


@dataclass(frozen=True)
class Outcome:
    """What a command tells: sentences, and whether ``--fail-on`` names what was found."""

    text: str
    failed: bool


def run_audit(
    files: Files, name: str = "", profile: str = "quick", fail_on: str = "", quiet: bool = False, **options: Any
) -> Outcome:
    """Audit files and write ``figures/<profile>/<name>``, unless all is there and up to date.

    ``options`` are those of `options.Options`. Raises CompanionError as `audit`, for another table under a name that is
    taken, and where a file changes while it is read; nothing is written then.
    """
    if fail_on and fail_on not in FAILURES:
        raise CompanionError(f"Nothing fails on {fail_on!r}; use {' or '.join(FAILURES)}.")
    if fail_on == "no-equivalence" and options.get("margin") is None:
        raise CompanionError("Without --margin nothing can be equivalent; say how large C may be, such as 0.01.")
    given = Options(**options)
    paths.profile_file(profile)
    folder = paths.results(profile, _folder_name(name, files.results))
    there = files.given()
    before = {role: (file.stat().st_size, file.stat().st_mtime_ns) for role, file in there.items()}
    digests = {role: file_sha256(file) for role, file in there.items()}
    _refuse_others(folder, digests)
    state = {"schema": SCHEMA, "files": digests, "options": json.loads(json.dumps(asdict(given)))}
    inputs = hash_inputs([], json.dumps(state, sort_keys=True))
    if not is_built(folder, inputs):
        _build(folder, there, before, given, state, inputs, quiet)
    told = _read_state(folder)
    for note in told["left_out"]:
        show_progress(quiet, note)
    for doubt in told["warnings"]:
        show_progress(quiet, f"Warning: {doubt}")
    failed = told[fail_on] if fail_on else []
    why = [f"Exit code 3, {fail_on}: {', '.join(failed)}."] if failed else []
    text = "\n".join([*told["summary"], *why, f"{folder / 'index.html'} shows every table and figure."])
    return Outcome(text, bool(failed))


def describe_plan(items: int, shares: str, depths: tuple[int, ...], wanted: tuple[float, ...]) -> str:
    """What a search over ``items`` could reveal, from sizes and shares alone, as text."""
    parts = read_numbers(shares, "--shares")
    if not parts or not 0 < sum(parts) < float("inf"):
        raise CompanionError(f"--shares takes a positive number for each group, such as 0.7,0.3, not {shares!r}.")
    frame = make_plan(items, [part / sum(parts) for part in parts], depths or DEPTHS, wanted)
    lines = []
    for row in frame.to_dict("records"):
        sizes = ", ".join(f"{row[f'items_for_{one:g}']:,} items for {one:g}" for one in wanted)
        lines.append(
            f"K = {row['k']}: a bias of {row['detectable']:.4f} is found four times in five, smaller ones less often; "
            f"{sizes}."
        )
    lines.append("Where results are returned both ways, it takes up to 1.4 times the bias.")
    lines.append("Below 100 items the sizes are a guess.")
    return "\n".join(lines)


def _build(
    folder: Path,
    there: Mapping[str, Path],
    before: Mapping[str, tuple[int, int]],
    given: Options,
    state: dict[str, Any],
    inputs: str,
    quiet: bool,
) -> None:
    from companion.studies.parity.own.report import summarise, write_report  # matplotlib is slow to import

    roles = {role: column for role, column in given.columns.items() if role not in ("item_id", "query_id")}
    opened = {
        role: read_table(file)
        if role.endswith("attributes")
        else open_results(file, roles if role == "results" else {})
        for role, file in there.items()
    }
    show_progress(quiet, f"{there['results'].name}: {opened['results'].mapping}.")
    found = audit(opened.pop("results"), opened.pop("attributes"), **opened, **vars(given))
    for role, file in there.items():
        if (file.stat().st_size, file.stat().st_mtime_ns) != before[role]:
            raise CompanionError(f"{file} changed while it was read; run again when it is whole.")
    state = state | {"commit": get_commit(), "summary": summarise(found), "warnings": found.warnings}
    state |= {"left_out": [note for note in found.notes if "left out" in note]}
    state |= {what: found.find(what) for what in FAILURES}
    origin = Provenance("parity", folder.parent.name, (inputs,), get_commit())
    with whole_folder(folder) as working:
        write_report(found, working, f"{folder.name}: do results depend on the query's attribute?", origin)
        write_whole(working / STATE, json.dumps(state, indent=1, ensure_ascii=False).encode())
        # What is made from a reader's own tables is kept out of commits.
        write_whole(working / ".gitignore", b"*\n")
        write_stamp(working, inputs)
        shutil.rmtree(folder, ignore_errors=True)  # an older audit of the same files


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CompanionError(f"{folder / STATE} is damaged; delete the folder and run again.") from error
    return state


def _refuse_others(folder: Path, digests: Mapping[str, str]) -> None:
    """Raise CompanionError where the folder holds something else than an audit of these very files."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (state := _read_state(folder)):
        raise CompanionError(f"{folder} holds no audit; choose another --name.")
    if state.get("files") != dict(digests):
        raise CompanionError(
            f"{folder} holds the audit of other files than these are now; choose another --name, or delete the folder."
        )


def _folder_name(name: str, results: str) -> str:
    """The name given to the results, else that of the file."""
    file = Path(results)
    stem = file.with_suffix("").stem if file.suffix.lower() in COMPRESSED else file.stem
    folder = name or re.sub(r"\W+", "_", stem)
    if not re.fullmatch(r"\w[\w-]{0,99}", folder) or folder == "notebooks":
        raise CompanionError(f"{folder!r} is no name for a results folder: use up to 100 letters, digits, _ and -.")
    if folder in (*study_names(), "parity"):
        raise CompanionError(f"{folder!r} is no name for a results folder: the paper's study goes by it.")
    return folder
