"""What the commands do with any study: make records and figures, say what is there, verify, merge."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from companion import paths
from companion.errors import CompanionError
from companion.files import write_whole
from companion.runs import merge as merging
from companion.runs.engine import Report
from companion.runs.lock import folder_lock, is_locked
from companion.runs.progress import Look, format_statuses, watch
from companion.runs.spec import spec_id
from companion.runs.status import Status
from companion.runs.store import Store
from companion.show.outputs import check_outputs, read_outputs
from companion.show.page import write_index
from companion.studies import overview
from companion.studies.data import Data
from companion.studies.registry import open_study, studies_of, study_names
from companion.studies.stamp import changed_outputs, hash_inputs, is_built, write_stamp
from companion.studies.study import FACT_NAMES, Study, grids, recorded_versions, run, why_missing


def make_figures(profile: str, study: str = "", rerun: bool = False, quiet: bool = False) -> str:
    """Make every table, figure and page of the studies of a profile, then the overview; nothing is made twice.

    Without ``study`` all that the profile has are made. Returns a sentence for each study and one for the overview.
    Raises CompanionError where there are no notebooks, a run or a notebook of a study failed, or another process is
    building its folder; of several studies the others are finished first.
    """
    names = studies_of(profile, study)
    paths.overview_notebook()  # a folder that is no clone is told once, not by every study
    sentences, failed = _for_each(
        names, lambda name: build(open_study(name, profile, rerun), profile, rerun, quiet), quiet
    )
    try:
        sentences.append(overview.build(profile, rerun, quiet))
    except CompanionError as error:
        failed["overview"] = str(error)
    _raise_if_failed(names, failed)
    return "\n".join(sentences)


def make_records(profile: str, study: str = "", rerun: bool = False, quiet: bool = False) -> str:
    """Make the missing records of the studies of a profile; returns a sentence for each, raises as `make_figures`."""

    def make(name: str) -> str:
        one = open_study(name, profile, rerun)
        with folder_lock(one.folder):
            report = make_missing(one, quiet)
        return f"{name}: {len(report.done)} runs made, {len(report.skipped)} were there already."

    names = studies_of(profile, study)
    paths.home()
    sentences, failed = _for_each(names, make, quiet)
    _raise_if_failed(names, failed)
    return "\n".join(sentences)


def _for_each(names: Sequence[str], work: Callable[[str], str], quiet: bool) -> tuple[list[str], dict[str, str]]:
    """Sentences that ``work`` returns for each study, and the reason for each that failed; a single study raises."""
    sentences, failed = [], dict[str, str]()
    for name in names:
        try:
            sentences.append(work(name))
        except Exception as error:
            unforeseen = not isinstance(error, CompanionError)
            if len(names) == 1 or (unforeseen and os.environ.get("COMPANION_DEBUG")):
                raise
            failed[name] = f"{type(error).__name__}: {error} (--debug shows where)" if unforeseen else str(error)
            show_progress(quiet, f"{name} failed: {failed[name]}")
    return sentences, failed


def _raise_if_failed(names: Sequence[str], failed: Mapping[str, str]) -> None:
    if failed:
        finished = ", ".join(name for name in names if name not in failed) or "none"
        reasons = [f"  {name}: {reason}" for name, reason in failed.items()]
        lost = [name for name in names if name in failed]
        headline = f"{len(lost)} of {len(names)} studies failed (finished: {finished}):"
        raise CompanionError("\n".join([headline, *reasons]))


def build(study: Study, profile: str, rerun: bool, quiet: bool) -> str:
    """Records of one study, then its executed notebooks with every table and figure, then its page."""
    notebooks = paths.notebooks(study.name)
    with folder_lock(study.folder):
        make_missing(study, quiet)
        # The later ones take longer, so they begin first.
        return write_outputs(study, notebooks[::-1], {"profile": profile, "rerun": rerun}, study.title, quiet)


def write_outputs(study: Study, notebooks: list[Path], parameters: dict[str, Any], title: str, quiet: bool) -> str:
    """Execute the notebooks of a study, then write its page, unless all is up to date; returns one sentence."""
    inputs = _inputs(study, notebooks, parameters)
    if is_built(study.folder, inputs):
        return f"{study.folder}: everything is up to date."
    from companion.runs.notebooks import execute_all  # slow to import, and often there is nothing to do

    show_progress(quiet, f"{len(notebooks)} notebook{'s' * (len(notebooks) > 1)}, about a minute.")
    for name in execute_all(notebooks, study.folder / "notebooks", parameters, study.slots()):
        show_progress(quiet, f"notebook {name}")
    write_index(study.folder, title, overview.describe_run(study))
    write_stamp(study.folder, inputs)
    return f"{study.folder / 'index.html'} shows every table, figure and claim."


def make_missing(study: Study, quiet: bool) -> Report:
    """Make every record that is missing behind the tables; raises CompanionError as `run`, and where a run failed."""
    report = run(study, quiet=quiet)
    report.raise_if_failed()
    return report


def _inputs(study: Study, notebooks: Iterable[Path], parameters: Mapping[str, Any]) -> str:
    """Hash of all that the outputs of a study are made from beside the library.

    These are notebooks and their parameters (a table is known by the data), profile, data, and the records of the plan:
    those of other plans may lie in the same folder.
    """
    files = [*sorted(notebooks), paths.profile_file(study.profile.name), study.folder / "data" / "data.json"]
    records = map(study.store.path, _planned_ids(study))
    given = {name: value for name, value in parameters.items() if name != "table"}
    return hash_inputs([*files, *filter(Path.is_file, records)], json.dumps(given, sort_keys=True))


def _planned_ids(study: Study) -> list[str]:
    """Ids of all runs of a study, those behind its tables first."""
    return [spec_id(spec) for specs in (study.specs(), *study.other_specs().values()) for spec in specs]


def show_status(profile: str, study: str = "", rerun: bool = False) -> str:
    """Where every run is, as text; nothing is made."""
    opened = _opened(profile, study, rerun)
    parts = [why_missing(one) or format_status(one, grids(one)()) for one in opened]
    if len(opened) == 1:
        return parts[0]
    return "\n\n".join(f"{one.name}\n{part}" for one, part in zip(opened, parts, strict=True))


def follow_status(profile: str, study: str = "", rerun: bool = False) -> tuple[str, bool]:
    """Show the same live until nothing is left to do, or Ctrl-C; returns the last of it and whether a run failed."""
    opened = _opened(profile, study, rerun)
    looks: dict[str, Look] = {}

    def look() -> Sequence[Status]:
        for one in opened:
            if one.name not in looks and not why_missing(one):
                looks[one.name] = grids(one)
        return [status for each in looks.values() for status in each()]

    statuses = watch(look)
    return format_statuses(statuses), any(one.failures for one in statuses)


def _opened(profile: str, study: str, rerun: bool) -> list[Study]:
    return [open_study(name, profile, rerun) for name in studies_of(profile, study)]


def format_status(study: Study, statuses: Sequence[Status]) -> str:
    """The view of a study's runs, and the command that makes what is missing where nobody makes it."""
    idle = not any(one.live for one in statuses) and any(one.whole.waiting for one in statuses if not one.optional)
    return format_statuses(statuses) + idle * f"\n'{study.command}' makes what is missing."


def verify(profile: str, study: str = "", rerun: bool = False) -> tuple[list[Path], list[str]]:
    """Recompute every checksum of the studies of a profile, or of a comparison on own data named in their place.

    Returns the folders that were looked at, and every problem found, as sentences.
    """
    folder = paths.results(profile, study, rerun)
    if study not in study_names() and re.fullmatch(r"\w[\w.-]*", study) and folder.is_dir():
        return [folder], verify_folder(folder)
    opened = _opened(profile, study, rerun)
    return [one.folder for one in opened], [problem for one in opened for problem in verify_study(one)]


def verify_study(study: Study) -> list[str]:
    """Every problem found in data, records, tables and figures, as sentences; empty when all is whole."""
    if reason := why_missing(study):
        return [reason]
    try:
        expected = [spec_id(spec) for spec in study.specs()]
    except CompanionError as error:
        return [str(error)]
    begun = any(map(study.store.has, expected))
    problems = [*study.store.verify(expected if begun else ()), *check_outputs(study.folder)]
    if not begun and not is_locked(study.store.folder):
        problems.append(f"0 of {len(expected)} runs are recorded; '{study.command}' makes them.")
    return [*problems, *_describe_changes(study.folder, problems)]


def _describe_changes(folder: Path, problems: Sequence[str]) -> list[str]:
    """A sentence for each output of the last build that is missing or differs, unless a problem names it already."""
    others = [file for file in changed_outputs(folder) if not any(f"{file} " in one for one in problems)]
    return [f"{file} is missing or was changed: make the figures again" for file in others]


def verify_folder(folder: Path) -> list[str]:
    """The same for a folder of results from its files alone: the runs that its tables name must be there.

    Raises CompanionError where the folder holds no results, or its data or the origin of a table is damaged.
    """
    if Data.load(folder / "data") is None:
        raise CompanionError(f"{folder} holds no comparison; 'companion compare' makes one.")
    runs = {run_id for output in read_outputs(folder) for run_id in output.provenance.runs}
    problems = [*Store(folder / "records").verify(sorted(runs)), *check_outputs(folder)]
    return [*problems, *_describe_changes(folder, problems)]


def show_plan(profile: str, study: str = "", measure: bool = False) -> str:
    """What the studies of a profile take, as text."""
    return "\n\n".join(one.plan_page(measure) for one in _opened(profile, study, rerun=False))


def merge(profile: str, folders: Sequence[Path], study: str = "", rerun: bool = False) -> tuple[str, tuple[str, ...]]:
    """Copy the records of this profile that other machines made, after checking that they belong to one study.

    Args:
        folders: studies' folders (``figures/<profile>/<study>``), what contains them, or folders of records.
        study: whose; needed where the profile has several.

    Returns one sentence for the user, and one for each record that is damaged or contradicts the one at home. Raises
    CompanionError for a folder without records, or of a study with other settings, other data or another base model;
    nothing was copied then.
    """
    names = studies_of(profile, study)
    if len(names) > 1:
        raise CompanionError(f"The profile {profile!r} has several studies; name one of {', '.join(names)} (--study).")
    home = open_study(names[0], profile, rerun)
    records = [_find_records(folder, home) for folder in folders]
    others = [replace(home, folder=folder.parent) for folder in records]
    _first(home, others)  # before the lock, which makes the folder
    with folder_lock(home.folder):
        if (first := _first(home, others)) is not home:
            _adopt(home, first)
        merged = merging.merge(home.store, records, set(_planned_ids(home)))
    missing = [spec for spec in home.specs() if not home.store.has(spec_id(spec))]
    sentence = (
        f"{len(merged.copied)} records copied to {home.store.folder}, {merged.same} were there already, "
        f"{merged.others} belong to other runs and were left out; {len(missing)} of {len(home.specs())} runs are "
        f"missing{missing and f'; {home.command!r} makes them' or ''}."
    )
    return sentence, merged.problems


def _find_records(folder: Path, study: Study) -> Path:
    """The folder of records that a user means."""
    levels = ("figures", study.folder.parent.name, study.name, "records")
    for above in range(len(levels) + 1):
        found = folder.joinpath(*levels[above:])
        if Store(found).ids():
            return found
    raise CompanionError(f"{folder} holds no records; name the other machine's folder {'/'.join(levels[:-1])}.")


def _first(home: Study, others: Sequence[Study]) -> Study:
    """The study at home, or the first of the others where there is none at home, checked against the rest."""
    first, *rest = [study for study in (home, *others) if study.frozen()] or [home]
    if first.frozen() is None:
        raise CompanionError(f"Neither {home.folder} nor a folder named holds study.json; name a study's folder.")
    for other in rest:
        _refuse_unlike(first, other)
    return first


def _refuse_unlike(one: Study, other: Study) -> None:
    facts = one.frozen() or {}, other.frozen() or {}
    versions = [recorded_versions(fact, one.spec_classes) for fact in facts]
    if versions[0] != versions[1]:
        raise CompanionError(
            f"{other.folder} was made with other result versions than {one.folder} ({versions[1]} against "
            f"{versions[0]}), so their records can't stand in one study; nothing was copied."
        )
    for key in one.facts():
        here, there = (fact.get(key) for fact in facts)
        if here != there:
            raise CompanionError(
                f"{other.folder} was made with another {FACT_NAMES.get(key, key)} than {one.folder} ({there} against "
                f"{here}), so their records can't stand in one study; nothing was copied."
            )


def _adopt(home: Study, other: Study) -> None:
    """Begin the study at home with the plan and the numbers of another machine's."""
    data = home.data_class.load(other.folder / "data")
    if data is None:
        raise CompanionError(f"{other.folder / 'data'} is missing; copy it from the machine that made the records.")
    if data.hash != (other.frozen() or {})["data"]:
        raise CompanionError(f"{other.folder / 'data'} holds other data than its study.json names; copy both again.")
    data.save(home.folder / "data")
    write_whole(home.folder / "study.json", (other.folder / "study.json").read_bytes())


def show_progress(quiet: bool, line: str) -> None:
    """Print a line on the error stream."""
    if not quiet:
        print(line, file=sys.stderr, flush=True)
