"""All studies of a profile at a glance: what each paper says, this run's verdicts, and those of the recorded runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from companion import paths
from companion.errors import CompanionError
from companion.files import write_whole
from companion.profiles import recorded_profiles
from companion.runs.lock import folder_lock
from companion.show.claims import SYMBOLS, count_verdicts
from companion.show.html import fill_template
from companion.show.outputs import natural_key
from companion.studies.registry import studies_of, study_class, study_names
from companion.studies.stamp import hash_inputs, is_built, write_stamp
from companion.studies.study import Study

LOCK_SECONDS = 120.0
"""How long the page of a profile is waited for: another command may be writing it."""


@dataclass(frozen=True)
class Result:
    """What lies in one folder of results, ``figures/<profile>/<study>``; any of it may be missing."""

    profile: str
    folder: Path
    main_figure: str

    @cached_property
    def claims(self) -> pd.DataFrame:
        """The ledger, columns id, statement, verdict; no rows without one. Raises CompanionError if it is damaged."""
        file, columns = self.folder / "claims.csv", ["id", "statement", "verdict"]
        if not file.is_file():
            return pd.DataFrame(columns=columns)
        try:
            ledger = pd.read_csv(file, usecols=columns, dtype=str, keep_default_na=False)
            if not ledger["id"].is_unique or not set(ledger["verdict"]) <= set(SYMBOLS):
                raise ValueError("an id stands twice, or a verdict is none of ours")
            return ledger
        except (OSError, ValueError) as error:
            raise CompanionError(f"{file} is damaged; delete it and make the figures again.") from error

    @property
    def verdicts(self) -> dict[str, str]:
        """Claim to verdict, with its symbol."""
        pairs = zip(self.claims["id"], self.claims["verdict"], strict=True)
        return {claim: f"{SYMBOLS[verdict]} {verdict}" for claim, verdict in pairs}

    @property
    def decided(self) -> int:
        """How many claims are supported or contradicted."""
        return int((self.claims["verdict"] != "undecided").sum())

    def picture(self, name: str) -> Path | None:
        """A figure of this folder, if it is there."""
        file = self.folder / f"{name}.png"
        return file if file.is_file() else None


@dataclass(frozen=True)
class StudyOverview:
    """One study: what its class says, and its results, this profile's first, then the recorded ones."""

    study: type[Study]
    results: tuple[Result, ...]

    @property
    def clearest(self) -> Result:
        """The result that decides most; this run's where none decides more."""
        return max(self.results, key=lambda one: one.decided)

    @property
    def hint(self) -> str:
        """What this run can tell, in one sentence."""
        own, clearest = self.results[0], self.clearest
        if own.claims.empty:
            rerun = " RERUN=1" * own.profile.endswith(paths.RERUN_ENDING)
            command = f"make figures PROFILE={own.profile.removesuffix(paths.RERUN_ENDING)}{rerun}"
            return f"There is no result of profile {own.profile} yet; '{command}' makes it."
        counts = f"Profile {own.profile}: {count_verdicts(own.claims['verdict'])}."
        if own.decided or clearest is own:
            return counts
        return f"{counts} This run is too small to decide anything; the recorded run {clearest.profile} decides more."

    def table(self) -> pd.DataFrame:
        """Claims with the verdict of each result, as text."""
        ledgers = [one.claims for one in self.results if not one.claims.empty]
        statements: dict[str, str] = {}
        for ledger in reversed(ledgers):
            statements |= dict(zip(ledger["id"], ledger["statement"], strict=True))
        rows = [
            {"claim": name, "statement": statements[name]}
            | {one.profile: one.verdicts.get(name, "not run") for one in self.results}
            for name in sorted(statements, key=natural_key)
        ]
        return pd.DataFrame(rows, columns=["claim", "statement", *(one.profile for one in self.results)])


def read_overview(profile: str, rerun: bool = False) -> list[StudyOverview]:
    """Results of all studies of a profile, beside those of the recorded profiles.

    A study that cannot be opened is left out: the commands that open it say why. Raises CompanionError for no such
    profile or a damaged ledger.
    """
    label = profile + paths.RERUN_ENDING * rerun
    overviews = []
    for name in studies_of(profile):
        try:
            study = study_class(name)
        except CompanionError:
            continue
        overviews.append(_with_recorded(study, label, paths.results(profile, name, rerun)))
    return overviews


def describe_run(study: Study) -> str:
    """What the results of a study can tell, in one sentence; of a comparison on own data its verdicts."""
    label = study.folder.parent.name
    if study.folder.name == study.name:
        return _with_recorded(type(study), label, study.folder).hint
    return StudyOverview(type(study), (Result(label, study.folder, study.main_figure),)).hint


def _with_recorded(study: type[Study], label: str, folder: Path) -> StudyOverview:
    """Results of one folder, beside those of the recorded profiles that have some."""
    recorded = (name for name in recorded_profiles() if name != label)
    others = [Result(name, paths.results(name, study.name), study.main_figure) for name in recorded]
    own = Result(label, folder, study.main_figure)
    return StudyOverview(study, (own, *(one for one in others if not one.claims.empty)))


def build(profile: str, rerun: bool = False, quiet: bool = False) -> str:
    """Execute the overview notebook and write the page over all studies of a profile, unless both are up to date.

    Returns one sentence for the user. Raises CompanionError where the notebook is missing or fails, or the page cannot
    be written.
    """
    folder, notebook = paths.results(profile, rerun=rerun), paths.overview_notebook()
    with folder_lock(folder, LOCK_SECONDS):
        overviews = read_overview(profile, rerun)
        results = [result for one in overviews for result in one.results]
        names = ("claims.csv", "claims.png", "index.html")
        files = [result.folder / name for result in results for name in (*names, f"{result.main_figure}.png")]
        inputs = hash_inputs([notebook, *(file for file in files if file.is_file())])
        if not is_built(folder, inputs):
            from companion.runs.notebooks import execute_all  # slow to import, and often there is nothing to do

            list(execute_all([notebook], folder / "notebooks", {"profile": profile, "rerun": rerun}, 1))
            write_overview(folder, profile, overviews)
            write_stamp(folder, inputs)
    return f"{folder / 'index.html'} shows all studies."


def write_overview(folder: Path, profile: str, studies: Sequence[StudyOverview]) -> Path:
    """Write ``index.html`` over these studies into the folder of a profile and return its path.

    Links are relative, so that ``figures/`` can be moved or published as it is. Comparisons on own data, folders of
    results that belong to no study, are linked below. Raises CompanionError where the folder cannot be written.
    """
    others = sorted(file.parent for file in folder.glob("*/claims.csv") if file.parent.name not in study_names())
    page = fill_template(
        "overview",
        title=f"companion: all studies, profile {profile}",
        sections=[_section(one, folder) for one in studies],
        others=[(_link_page(other, folder), other.name) for other in others],
    )
    return write_whole(folder / "index.html", page)


def _section(one: StudyOverview, folder: Path) -> dict[str, Any]:
    """What the page shows of one study: this run's and the clearest pictures, and a link to every profile's page."""
    table, study = one.table(), one.study
    pictures = [
        (link(file, folder), f"{caption}, profile {result.profile}")
        for name, caption in (("claims", "Claims"), (study.main_figure, "Main figure"))
        for result in dict.fromkeys((one.results[0], one.clearest))
        if (file := result.picture(name))
    ]
    return {
        "title": study.title,
        "paper": study.paper,
        "statement": study.statement,
        "hint": one.hint,
        "table": [list(table.columns), *table.to_numpy().tolist()],
        "pictures": pictures,
        "pages": [
            (_link_page(result.folder, folder), result.profile) for result in one.results if not result.claims.empty
        ],
    }


def _link_page(results: Path, folder: Path) -> str:
    """Link to the page of a folder of results; to its claims where that page was not made here."""
    return link(results / ("index.html" if (results / "index.html").is_file() else "claims.html"), folder)


def link(file: Path, folder: Path) -> str:
    """Relative link to a file from a page in ``folder``."""
    return quote(Path(relpath(file, folder)).as_posix())
