"""What the commands do: train, execute the notebooks, say what is there, verify."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from companion import paths
from companion.errors import CompanionError
from companion.files import file_sha256, write_whole
from companion.runs import merge as merging
from companion.runs.engine import Report
from companion.runs.lock import folder_lock, held
from companion.runs.progress import Look, text, watch
from companion.runs.spec import spec_id
from companion.runs.status import Status
from companion.runs.store import Store
from companion.show.outputs import check_outputs, read_outputs
from companion.show.page import write_index
from companion.studies.explanations import dataset
from companion.studies.explanations import study as studies
from companion.studies.explanations.annotate import MERGES
from companion.studies.explanations.language_annotators import Survey
from companion.studies.explanations.study import NAME, Study, open_study

STAMP = "built.json"
OUTPUT_SUFFIXES = (".csv", ".md", ".tex", ".png", ".pdf", ".html", ".ipynb")
TITLE = "Regularization Through Reasoning: explanations in fine-tuning, re-run"


def build(profile: str, rerun: bool = False, quiet: bool = False) -> str:
    """Records, then executed notebooks with every table and figure, then the index page; nothing is made twice.

    Returns:
        One sentence for the user.

    Raises:
        CompanionError: there are no notebooks, a run or a notebook failed, or another process is building the same
            folder.
    """
    study, notebooks = open_study(profile, rerun), paths.notebooks(NAME)
    with folder_lock(study.folder):
        _train(study, quiet)
        *others, overview = notebooks
        # The later ones take longer, so they begin first; the overview shows what the others made.
        return _write(study, [others[::-1], [overview]], {"profile": profile, "rerun": rerun}, TITLE, quiet)


def compare(quiet: bool = False, **options: Any) -> str:
    """The same for a reader's own table: records, the executed notebook ``your_data`` and the index page.

    Args:
        options: the arguments of ``own_study.open_own``.

    Returns:
        One sentence for the user.

    Raises:
        CompanionError: as ``own_study.open_own``, ``own_study.run`` and ``build``.
    """
    from companion.studies.explanations import own_study

    notebook = paths.own_notebook()
    if Path(options["table"]).is_file():
        # The notebook works in a folder of its own.
        options["table"] = str(Path(options["table"]).resolve())
    own = own_study.open_own(**options)
    if own.frozen() is None:
        own.build_data(quiet)  # before the lock, which makes the folder: what is wrong with the table leaves nothing
    with folder_lock(own.folder):
        own_study.run(own, quiet)
        return _write(own, [[notebook]], options, f"Labels with and without explanations: {own.folder.name}", quiet)


def _write(study: Study, parts: list[list[Path]], parameters: dict[str, Any], title: str, quiet: bool) -> str:
    """Execute the notebooks, part by part, then write index page and stamp, unless all are up to date."""
    notebooks = [notebook for part in parts for notebook in part]
    if _is_built(study, notebooks):
        return f"{study.folder}: everything is up to date."
    from companion.runs.notebooks import execute_all  # slow to import, and often there is nothing to do

    _show(quiet, f"{len(notebooks)} notebook{'s' * (len(notebooks) > 1)}, about a minute.")
    for part in parts:
        for name in execute_all(part, study.folder / "notebooks", parameters, study.slots()):
            _show(quiet, f"notebook {name}")
    write_index(study.folder, title)
    stamp = {"inputs": _inputs(study, notebooks), "outputs": _outputs(study)}
    write_whole(study.folder / STAMP, json.dumps(stamp, indent=1).encode())
    return f"{study.folder / 'index.html'} shows every table, figure and claim."


def train(profile: str, rerun: bool = False, quiet: bool = False) -> str:
    """Make the missing records of one study; returns one sentence."""
    study = open_study(profile, rerun)
    with folder_lock(study.folder):
        report = _train(study, quiet)
    return f"{len(report.done)} runs made, {len(report.skipped)} were there already."


def tune(profile: str, quiet: bool = False) -> str:
    """Run the tuning grid on validation items; write its table and return what a reader sees of it."""
    from companion.studies.explanations.publish import publish_tuning

    study = open_study(profile)
    with folder_lock(study.folder):
        studies.run(study, tuning=True, quiet=quiet).raise_if_failed()
        table = publish_tuning(study)
    return table if isinstance(table, str) else table.to_string(index=False)


def annotate(profile: str, quiet: bool = False) -> str:
    """Ask the language models all that is still unanswered and make the data set; returns where it stands.

    Raises:
        CompanionError: the annotators are simulated, the highest cost is above the cap, or a model can't be asked.
    """
    study = open_study(profile)
    survey = dataset.survey(study.settings)
    _show(quiet, _asked(survey))
    with folder_lock(study.folder):
        data = study.build_data(quiet)
        dataset.save(data, study.folder / "data")
    made = f"Data set {data.hash}: {len(data.items)} ratings kept, {data.facts['dropped_for_too_few_scores']} dropped."
    return f"{_asked(survey)}\n{made}\nThe answers are in {survey.folder}; they quote texts, so mind the licences."


def _asked(survey: Survey) -> str:
    lines = [
        f"{one.model}: {one.answered} of {one.questions} questions answered, {one.readable} readable, {one.refused} "
        f"refused; {one.prompt_tokens} + {one.answer_tokens} tokens, {one.dollars:.2f} US dollars."
        for one in survey.accounts()
    ]
    return "\n".join(lines)


def gold_export(profile: str, number: int) -> str:
    """Write the forms for two raters; returns where they are and what to do."""
    from companion.studies.explanations import gold

    study = open_study(profile)
    one = study.settings
    there = dataset.conversations(one, "train")
    chosen = gold.sample(list(there), number, one.data_seed)
    folder = gold.gold_folder(profile)
    gold.write_forms({item: there[item] for item in chosen}, one.axes, folder, one.data_seed)
    return (
        f"{folder} holds form_first.ipynb and form_second.ipynb with {number} items each. Let two people fill one each "
        f"and run it in that folder; 'companion gold report -p {profile}' then reads what they gave."
    )


def gold_report(profile: str) -> str:
    """Agreement of the raters and the error of each merge rule against them; a sentence where nobody has rated."""
    from companion.studies.explanations import gold

    study = open_study(profile)
    one = study.settings
    if (people := gold.rated(profile, one.axes)) is None:
        return gold.no_gold_set(profile)
    if lack := _lack(study):
        return lack
    rules = gold.rule_errors(study.data.ratings, people, one.data_seed)
    best = next(rule for rule in rules["rule"] if rule in MERGES)
    used = one.annotators.merge_rule if one.annotators else "mean"
    agreement = gold.agreement(people, one.data_seed)
    advice = f"The labels use the {used}; the rule nearest to people is {best}"
    advice += "." if used == best else f" (merge_rule: {best} in the profile's annotators takes it)."
    advice += " Small differences between rules are chance: no interval stands behind this order."
    return f"{agreement.to_string(index=False)}\n\n{rules.to_string(index=False)}\n\n{advice}"


def status(profile: str, rerun: bool = False) -> str:
    """Where every run is, and the choice of recipe, as text; nothing is made."""
    study = open_study(profile, rerun)
    return _lack(study) or _said(study, studies.looks(study)())


def follow(profile: str, rerun: bool = False) -> tuple[str, bool]:
    """Show the same live until nothing is left to do, or Ctrl-C.

    Returns:
        The last of it as text, and whether a run failed.
    """
    study = open_study(profile, rerun)
    look: Look | None = None

    def now() -> Sequence[Status]:
        nonlocal look
        if look is None and not _lack(study):
            look = studies.looks(study)
        return look() if look else []

    statuses = watch(now)
    return _said(study, statuses), any(one.failures for one in statuses)


def _said(study: Study, statuses: Sequence[Status]) -> str:
    idle = not any(one.live for one in statuses) and any(one.whole.waiting for one in statuses[:1])
    return text(statuses) + idle * f"\n'{study.command}' makes what is missing."


def verify(profile: str, rerun: bool = False) -> list[str]:
    """Every problem found in data, records, tables and figures, as sentences; empty when all is whole."""
    study = open_study(profile, rerun)
    if lack := _lack(study):
        return [lack]
    try:
        expected = [spec_id(spec) for spec in study.specs()]
    except CompanionError as error:
        return [str(error)]
    begun = any(map(study.store.has, expected))
    problems = [*study.store.verify(expected if begun else ()), *check_outputs(study.folder)]
    if not begun and not held(study.store.folder):
        problems.append(f"0 of {len(expected)} runs are recorded; '{study.command}' makes them.")
    others = [file for file in _changed_outputs(study) if not any(f"{file} " in problem for problem in problems)]
    return [*problems, *(f"{file} is missing or was changed: make the figures again" for file in others)]


def verify_own(folder: Path) -> list[str]:
    """The same for a comparison on own data, from its files alone: the runs that its tables name must be there.

    Raises:
        CompanionError: the folder holds no comparison, or its data or the origin of a table is damaged.
    """
    if dataset.load(folder / "data") is None:
        raise CompanionError(f"{folder} holds no comparison; 'companion compare' makes one.")
    runs = {run_id for output in read_outputs(folder) for run_id in output.provenance.runs}
    return [*Store(folder / "records").verify(sorted(runs)), *check_outputs(folder)]


def merge(profile: str, folders: Sequence[Path], rerun: bool = False) -> tuple[str, tuple[str, ...]]:
    """Copy the records of this profile that other machines made, after checking that they belong to one study.

    Args:
        folders: studies' folders (``figures/<profile>/explanations``), what contains them, or folders of records.

    Returns:
        One sentence for the user, and one for each record that is damaged or contradicts the one at home.

    Raises:
        CompanionError: a folder without records, or of a study with other settings, other data or another base model;
            nothing was copied then.
    """
    home = open_study(profile, rerun)
    records = [_records_in(folder, home) for folder in folders]
    others = [Study(home.profile, home.settings, folder.parent) for folder in records]
    _first(home, others)  # before the lock, which makes the folder
    with folder_lock(home.folder):
        if (first := _first(home, others)) is not home:
            _adopt(home, first)
        wanted = {spec_id(spec) for spec in (*home.specs(), *home.tuning_specs())}
        merged = merging.merge(home.store, records, wanted)
    missing = [spec for spec in home.specs() if not home.store.has(spec_id(spec))]
    sentence = (
        f"{len(merged.copied)} records copied to {home.store.folder}, {merged.same} were there already, "
        f"{merged.others} belong to other runs and were left out; {len(missing)} of {len(home.specs())} runs are "
        f"missing{missing and f'; {home.command!r} makes them' or ''}."
    )
    return sentence, merged.problems


def _records_in(folder: Path, study: Study) -> Path:
    """The folder of records that a user means."""
    levels = ("figures", study.folder.parent.name, NAME, "records")
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
    for what, key in (("data set", "data"), ("base model", "base")):
        here, there = (fact[key] for fact in facts)
        if here != there:
            raise CompanionError(
                f"{other.folder} was made with another {what} than {one.folder} ({there} against {here}), so their "
                "records can't stand in one study; nothing was copied."
            )


def _adopt(home: Study, other: Study) -> None:
    """Begin the study at home with the plan and the numbers of another machine's."""
    data = dataset.load(other.folder / "data")
    if data is None:
        raise CompanionError(f"{other.folder / 'data'} is missing; copy it from the machine that made the records.")
    dataset.save(data, home.folder / "data")
    write_whole(home.folder / "study.json", (other.folder / "study.json").read_bytes())


def _lack(study: Study) -> str:
    """Why there is nothing to look at, empty where there is; to open data that are not there would build them."""
    if not (study.folder / "study.json").exists():
        return f"{study.folder} holds no study; '{study.command}' makes it."
    if not (study.folder / "data" / "data.json").exists():
        return f"{study.folder / 'data'} is missing; '{study.command}' makes it again."
    return ""


def _train(study: Study, quiet: bool) -> Report:
    report = studies.run(study, quiet=quiet)
    report.raise_if_failed()
    return report


def _is_built(study: Study, notebooks: list[Path]) -> bool:
    return _stamp(study).get("inputs") == _inputs(study, notebooks) and not _changed_outputs(study)


def _stamp(study: Study) -> dict[str, Any]:
    """What the last build was made from and made; empty where there was none or its note is damaged."""
    try:
        stamp = json.loads((study.folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _outputs(study: Study) -> dict[str, str]:
    """Sha256 of every table, figure, page and executed notebook, by path below the study's folder."""
    made = [*study.folder.glob("*.*"), *(study.folder / "notebooks").glob("*.*")]
    files = sorted(file for file in made if file.suffix in OUTPUT_SUFFIXES)
    return {file.relative_to(study.folder).as_posix(): file_sha256(file) for file in files}


def _changed_outputs(study: Study) -> list[Path]:
    """Outputs of the last build that are missing or differ."""
    now, then = _outputs(study), _stamp(study).get("outputs", {})
    return [study.folder / name for name in then if now.get(name) != then[name]]


def _inputs(study: Study, notebooks: list[Path]) -> str:
    """Hash of all that the outputs are made from: library, notebooks, profile, data and records."""
    library = Path(__file__).parents[2]
    files = [*sorted(library.rglob("*.py")), *sorted(notebooks), paths.profile_file(study.profile.name)]
    files += [study.folder / "data" / "data.json", *sorted((study.folder / "records").glob("*.safetensors"))]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file_sha256(file)}\n".encode())
    return digest.hexdigest()


def _show(quiet: bool, line: str) -> None:
    if not quiet:
        print(line, file=sys.stderr, flush=True)
