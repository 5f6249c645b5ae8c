"""What every study is: one profile's settings, a folder, a frozen plan, and records; a paper's own class says the rest.

Truth lies in the records; tables, figures and claims are views of them (see `publish`). Result versions belong to the
class of a spec: a study that was recorded with an older one keeps its ids, so that its tables can be made again, and
only new runs need the new version.
"""

import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from companion import paths
from companion.errors import CompanionError
from companion.files import write_whole
from companion.profiles import Profile
from companion.runs import ray_cluster, ray_engine
from companion.runs.engine import Report, Work, run_all
from companion.runs.progress import Look, Page
from companion.runs.spec import current_version, spec_id
from companion.runs.status import Grid, Status
from companion.runs.store import Store
from companion.show.names import Names
from companion.studies.data import Data

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")
"""What NVIDIA's driver puts there on Linux, and under Windows (WSL 2)."""
FACT_NAMES = {"data": "data set", "base": "base model"}


@dataclass(frozen=True)
class Study(ABC):
    """One profile's study; everything it knows lies under ``folder``.

    A paper's study is a subclass in ``studies/<name>/study.py``. It sets the class variables and says what its data,
    specs and work are; the rest is the same for all.

    Attributes:
        name: of the study: its folders, its section in a profile.
        paper: arXiv number.
        title: heading of its page.
        statement: what the paper says, in one sentence.
        main_figure: name of the figure that the overview shows.
        names: vocabulary of its tables and figures.
        settings_class: dataclass of its settings.
        spec_classes: the kinds of run, each a frozen dataclass with its own ``result_version``.
        data_class: how its inputs are kept as numbers.
        unit: over what the claims are tested.
        elsewhere: what a user does whose settings are not those of the recorded study.
    """

    profile: Profile
    settings: Any
    folder: Path
    name: ClassVar[str]
    paper: ClassVar[str]
    title: ClassVar[str]
    statement: ClassVar[str]
    main_figure: ClassVar[str]
    names: ClassVar[Names] = Names()
    settings_class: ClassVar[type]
    spec_classes: ClassVar[tuple[type, ...]]
    data_class: ClassVar[type[Data]] = Data
    unit: ClassVar[str] = "source"
    elsewhere: ClassVar[str] = "make it in a folder of its own with RERUN=1"

    @abstractmethod
    def specs(self) -> list[Any]:
        """Specs of all runs behind the tables, planned with `version` of their class."""

    @property
    @abstractmethod
    def work(self) -> Work:
        """Function of a module that makes arrays and facts of a record from a spec, see `runs.engine.run_all`."""

    @abstractmethod
    def group(self, spec: Any) -> str:
        """Name of the group in which a run is counted, such as its arm."""

    @property
    @abstractmethod
    def size(self) -> str:
        """Sizes (n) that every note of a table or figure states."""

    @abstractmethod
    def data_settings(self) -> dict[str, Any]:
        """Settings that the data depend on, as JSON gives them back; the recorded study is refused when they change."""

    @abstractmethod
    def make_data(self, quiet: bool) -> Data:
        """Read the inputs and make the data from them."""

    def other_specs(self) -> dict[str, list[Any]]:
        """Specs of runs that the tables do not need, such as a choice of settings, by the name of such runs."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Facts frozen beside the settings: all that specs need, so that they can be planned without the inputs."""
        return {"data": self.data.hash}

    def model_settings(self) -> dict[str, Any]:
        """Settings of the profile that the facts depend on, such as its model."""
        return {}

    def environment(self) -> dict[str, str]:
        """Environment variables for the workers: how a record is made, not what is in it."""
        return {}

    def input_files(self) -> list[Path]:
        """Files that a run reads beside its spec; `build_data` makes those that are missing."""
        return []

    def left_out(self) -> str:
        """One sentence about inputs that the settings name and the data lack; empty if there are none."""
        return ""

    def plan_page(self, measure: bool) -> str:
        """Cost of the profile as text; with ``measure`` a few steps are run here first."""
        specs = self.specs()
        return f"{self.profile.name}, {self.name}: {len(specs)} runs by {self.slots()} workers."

    @property
    def inputs(self) -> str:
        """What the data set is made from."""
        return "the installed packages"

    @property
    def store(self) -> Store:
        """Records of the runs."""
        return Store(self.folder / "records")

    @property
    def logs(self) -> Path:
        """Folder of the run logs; they hold times and are not part of the results."""
        return self.folder / "logs"

    @property
    def command(self) -> str:
        """Command that makes everything that is missing."""
        rerun = self.folder.parent.name.endswith(paths.RERUN_ENDING)
        return f"make figures PROFILE={self.profile.name}{' RERUN=1' if rerun else ''}"

    @cached_property
    def data(self) -> Any:
        """The data as numbers, built on first use and kept in ``folder/data``."""
        frozen = self.frozen()
        kept = self.data_class.load(self.folder / "data") if frozen else None
        if kept is not None and frozen is not None and kept.hash != frozen["data"]:
            raise CompanionError(
                f"{self.folder / 'data'} holds data set {kept.hash}, but study.json was frozen with {frozen['data']}; "
                "delete the folder data and run again."
            )
        if kept is None:
            kept = self.build_data()
            kept.save(self.folder / "data")
        return kept

    def build_data(self, quiet: bool = False) -> Data:
        """Make the data, and the files that runs read.

        Raises CompanionError as `make_data`, and where it is not the data set that the plan was frozen with.
        """
        built, frozen = self.make_data(quiet), self.frozen()
        if frozen and built.hash != frozen["data"]:
            raise CompanionError(
                f"The recorded study used data set {frozen['data']}, but {self.inputs} now give {built.hash}; "
                f"{self.elsewhere}."
            )
        return built

    def version(self, kind: type) -> int:
        """Result version of one kind of run: the recorded one, else the current one."""
        frozen = self.frozen()
        return recorded_versions(frozen, (kind,))[kind.__name__] if frozen else current_version(kind)

    def freeze(self) -> None:
        """Write the plan to ``study.json``, so that it can be read where neither inputs nor model are at hand."""
        if not self.frozen():
            facts = {**self.identity(), **self.facts()}
            text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
            write_whole(self.folder / "study.json", text.encode())

    def identity(self) -> dict[str, Any]:
        """What the facts depend on; other settings change which runs are planned, and records are kept by run."""
        versions = {kind.__name__: current_version(kind) for kind in self.spec_classes}
        model = self.model_settings()
        return {"settings": self.data_settings(), "profile_model": model, "result_versions": versions}

    def frozen(self) -> dict[str, Any] | None:
        """The frozen facts; nothing where there are none yet.

        Raises CompanionError where they are damaged, or were made with other data or another model.
        """
        file = self.folder / "study.json"
        if not file.exists():
            return None
        try:
            frozen: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            recorded_versions(frozen, self.spec_classes)
            frozen["data"]  # noqa: B018
            changes = _changes(frozen, self.identity())
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CompanionError(f"{file} is damaged; delete it and run again.") from error
        if changes:
            raise CompanionError(
                f"{self.folder} was made with other settings than profile {self.profile.name} has now "
                f"({'; '.join(changes)}); restore them, or {self.elsewhere}."
            )
        return frozen

    def slots(self) -> int:
        """Runs at a time: the profile's `workers`, but no more than this machine has processors if it has no GPU.

        The driver's device is looked for, because importing torch takes longer than all of `companion status`.
        """
        if ray_cluster.is_remote() or any(map(os.path.exists, GPU_DRIVERS)):
            return self.profile.workers
        return min(self.profile.workers, os.cpu_count() or 1)

    def checkpoints(self) -> dict[str, str]:
        """Environment variables that make workers keep checkpoints; none unless the profile asks for them."""
        minutes = self.profile.checkpoint_minutes
        if minutes is None:
            return {}
        return {paths.CHECKPOINTS_VARIABLE: str(self.store.checkpoints.resolve()), paths.MINUTES_VARIABLE: str(minutes)}


def recorded_versions(frozen: Mapping[str, Any], kinds: Sequence[type]) -> dict[str, int]:
    """Result versions that a study was recorded with; folders older than versions by kind of run have one for all."""
    if "result_version" in frozen:
        found = dict.fromkeys((kind.__name__ for kind in kinds), frozen["result_version"])
    else:
        found = {kind.__name__: frozen["result_versions"][kind.__name__] for kind in kinds}
    if not all(type(version) is int and version > 0 for version in found.values()):
        raise ValueError(f"result versions are whole numbers from 1, not {found}")
    return found


def _changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two identities, such as ``train_items was 3 and is 2``."""
    return [
        f"{name} was {then[part].get(name)!r} and is {now[part].get(name)!r}"
        for part in ("settings", "profile_model")
        for name in now[part] | then[part]
        if then[part].get(name) != now[part].get(name)
    ]


def run(study: Study, specs: Sequence[Any] | None = None, quiet: bool = False) -> Report:
    """Make every record that is missing, in local processes or on the cluster that ``$COMPANION_RAY`` names.

    Without ``specs`` the runs are those behind the tables. Raises CompanionError where the data cannot be rebuilt to
    what the plan was frozen with, where runs are missing of a study that was recorded with an older result version, and
    as `environment` and `runs.engine.run_all`.
    """
    if study.frozen() and (left_out := study.left_out()):
        warnings.warn(left_out, stacklevel=2)
    study.freeze()
    wanted = study.specs() if specs is None else specs
    ids = tuple(map(spec_id, wanted))
    if all(map(study.store.is_valid, ids)):
        return Report(done=(), skipped=ids, failed={})
    _refuse_older_versions(study)
    environment = study.environment() | study.checkpoints()
    files = study.input_files()
    make = partial(ray_engine.run_all, needed=files) if ray_cluster.get_cluster_address() else run_all
    if not all(file.exists() for file in files):
        study.build_data()
    return make(wanted, study.work, study.store, study.slots(), study.logs, quiet, environment, study.group)


def _refuse_older_versions(study: Study) -> None:
    for kind in study.spec_classes:
        then, now = study.version(kind), current_version(kind)
        if then != now:
            raise CompanionError(
                f"{study.folder} was recorded with result version {then}, this code makes {now}: its tables can be "
                f"made again from its records, but runs are missing; move the folder away, or {study.elsewhere}."
            )


def grids(study: Study) -> Look:
    """A function that tells where the runs are now, and those of other grids once they are begun."""
    store, logs, slots, what = study.store, study.logs, study.slots(), "runs"
    main = Grid(store, study.specs(), logs, study.group, slots, what)
    others = [
        Grid(store, specs, logs, study.group, slots, what, optional=True) for what, specs in study.other_specs().items()
    ]

    def look() -> list[Status]:
        begun = [
            status for status in (grid.get_status() for grid in others) if status.whole.waiting < status.whole.total
        ]
        return [main.get_status(), *begun]

    return look


def progress(study: Study) -> Page:
    """Where the runs are now, wherever they are made, to be shown in a notebook; counts alone when all are done."""
    return Page(grids(study)())


def why_missing(study: Study) -> str:
    """Why there is nothing to look at, empty where there is; to open data that are not there would build them."""
    if not (study.folder / "study.json").exists():
        return f"{study.folder} holds no study; '{study.command}' makes it."
    if not (study.folder / "data" / "data.json").exists():
        return f"{study.folder / 'data'} is missing; '{study.command}' makes it again."
    return ""
