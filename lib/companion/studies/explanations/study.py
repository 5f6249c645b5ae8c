"""The explanations study of one profile: its frozen plan, its records and where they lie."""

import json
import os
import warnings
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

from companion import paths
from companion.errors import CompanionError
from companion.files import write_whole
from companion.profiles import Profile, load_profile, load_settings
from companion.runs import ray_cluster, ray_engine
from companion.runs.engine import Report, run_all
from companion.runs.progress import Look, Page, counted
from companion.runs.spec import RESULT_VERSION, spec_id
from companion.runs.status import Grid, Status
from companion.runs.store import Store
from companion.studies.explanations import dataset
from companion.studies.explanations.dataset import Data
from companion.studies.explanations.experiment import MINUTES_VARIABLE, RunSpec, execute, plan, plan_tuning
from companion.studies.explanations.prompts import CONTEXT_WORDS
from companion.studies.explanations.settings import ExplanationsSettings

NAME = "explanations"
ARM = attrgetter("arm")
GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg")
"""What NVIDIA's driver puts there on Linux, and under Windows (WSL 2)."""
DATA_SETTINGS = ("sources", "axes", "train_items", "train_versions", "validation_items", "test_items", "data_seed")


@dataclass(frozen=True)
class Study:
    """One profile's study; everything it knows lies under ``folder``."""

    profile: Profile
    settings: ExplanationsSettings
    folder: Path
    unit: ClassVar[str] = "source"
    elsewhere: ClassVar[str] = "train in a folder of its own with RERUN=1"

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
        """What the user types to make what is missing."""
        rerun = self.folder.parent.name.endswith(paths.RERUN_ENDING)
        return f"make figures PROFILE={self.profile.name}{' RERUN=1' if rerun else ''}"

    @property
    def size(self) -> str:
        """What every note of a table or figure says of n."""
        one, sources = self.settings, self.data.facts["sources"]
        return f"{len(sources)} sources, {len(one.seeds)} seeds, {one.test_items} test items a cell"

    @cached_property
    def data(self) -> Data:
        """The data set as numbers, built on first use and kept in ``folder/data``."""
        kept = dataset.load(self.folder / "data") if self.frozen() else None
        if kept is None:
            kept = self.build_data()
            dataset.save(kept, self.folder / "data")
        return kept

    def build_data(self, quiet: bool = False) -> Data:
        """Read the texts and make the data set from them; its texts are then in the cache.

        Raises:
            CompanionError: it is not the data set that the plan was frozen with, or as ``dataset.build``.
        """
        built, frozen = self._build(quiet), self.frozen()
        if frozen and built.hash != frozen["data"]:
            raise CompanionError(
                f"The recorded study used data set {frozen['data']}, but {self.texts} now give {built.hash}; "
                f"{self.elsewhere}."
            )
        return built

    @property
    def texts(self) -> str:
        """What the data set is made from."""
        return "the answers kept" if self.settings.annotators else "the installed packages"

    def _build(self, quiet: bool) -> Data:
        return dataset.build(self.settings, told=counted(quiet))

    @cached_property
    def base(self) -> dict[str, Any]:
        """Facts of the frozen base model: model, revision, weights (sha256) and dtype."""
        if frozen := self.frozen():
            return dict(frozen["base"])
        from companion.models.base import locate

        dtype = self.profile.dtype
        if dtype == "auto" and ray_cluster.elsewhere():
            # The machine where the command is typed may have no GPU where the nodes have.
            dtype = ray_cluster.ask("companion.models.base:native_dtype", self.profile.workers)
        found = locate(self.profile.model, self.profile.revision, dtype)
        named = {"model": self.profile.model, "revision": self.profile.revision}
        return {**named, "weights": found.sha256, "dtype": found.dtype}

    def specs(self) -> list[RunSpec]:
        """Specs of all runs."""
        return plan(self.settings, self.base, self.data.hash)

    def freeze(self) -> None:
        """Write the plan to ``study.json``, so that it can be read where neither texts nor model are at hand."""
        if not self.frozen():
            facts = {**self._identity(), "base": self.base, "data": self.data.hash}
            text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
            write_whole(self.folder / "study.json", text.encode())

    def environment(self) -> dict[str, str]:
        """What workers are told beside their specs: the backend.

        Raises:
            CompanionError: it cannot be had on this machine, or on a node of the cluster that makes the runs.
        """
        from companion.models import backend

        wanted = self.profile.backend
        if not ray_cluster.elsewhere():
            backend.choose(wanted)
        elif wanted == "unsloth":
            ray_cluster.ask("companion.models.backend:choose", self.profile.workers, wanted)
        return {backend.VARIABLE: wanted}

    def slots(self) -> int:
        """Runs at a time: the profile's `workers`, but no more than this machine has processors if it has no GPU.

        The driver's device is looked for, because importing torch takes longer than all of `companion status`.
        """
        if ray_cluster.elsewhere() or any(map(os.path.exists, GPU_DRIVERS)):
            return self.profile.workers
        return min(self.profile.workers, os.cpu_count() or 1)

    def checkpoints(self) -> dict[str, str]:
        """What workers are told so that they keep checkpoints in the store; nothing where the profile wants none."""
        minutes = self.profile.checkpoint_minutes
        if minutes is None:
            return {}
        return {paths.CHECKPOINTS_VARIABLE: str(self.store.checkpoints.resolve()), MINUTES_VARIABLE: str(minutes)}

    def tuning_specs(self) -> list[RunSpec]:
        """Specs of the choice of recipe on validation items."""
        return plan_tuning(self.settings, self.base, self.data.hash)

    def _data_settings(self) -> dict[str, Any]:
        """Settings that the data depend on, as JSON gives them back."""
        one = self.settings
        settings = {name: json.loads(json.dumps(getattr(one, name))) for name in DATA_SETTINGS}
        # Younger settings are named where they are used, so that what was recorded before them stays the same.
        if one.context_words != CONTEXT_WORDS:
            settings["context_words"] = one.context_words
        if one.annotators:
            settings["annotators"] = [model.name for model in one.annotators.models]
        return settings

    def _identity(self) -> dict[str, Any]:
        """What base and data depend on; other settings change which runs are planned, and records are kept by run."""
        settings = self._data_settings()
        model = {name: getattr(self.profile, name) for name in ("model", "revision", "dtype")}
        return {"settings": settings, "profile_model": model, "result_version": RESULT_VERSION}

    def frozen(self) -> dict[str, Any] | None:
        """The frozen facts of base and data; nothing where there are none yet.

        Raises:
            CompanionError: they are damaged, or were made with other data, another model or another result version.
        """
        file = self.folder / "study.json"
        if not file.exists():
            return None
        try:
            frozen: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            then = {key: frozen[key] for key in ("settings", "profile_model", "result_version", "base", "data")}
            changes = _changes(then, self._identity())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CompanionError(f"{file} is damaged; delete it and run again.") from error
        if then["result_version"] != RESULT_VERSION:
            raise CompanionError(
                f"{self.folder} was recorded with result version {then['result_version']}, this code makes "
                f"{RESULT_VERSION}; move the folder away or use a profile of another name."
            )
        if changes:
            raise CompanionError(
                f"{self.folder} was made with other settings than profile {self.profile.name} has now "
                f"({'; '.join(changes)}); restore them, or {self.elsewhere}."
            )
        return frozen


def _changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two identities, such as ``train_items was 3 and is 2``."""
    return [
        f"{name} was {then[part].get(name)!r} and is {now[part].get(name)!r}"
        for part in ("settings", "profile_model")
        for name in now[part] | then[part]
        if then[part].get(name) != now[part].get(name)
    ]


def open_study(profile: str, rerun: bool = False) -> Study:
    """The study at one scale.

    Args:
        profile: name of the profile.
        rerun: work in a folder of its own, beside the recorded one, so that both can be compared.

    Raises:
        CompanionError: no such profile, or a mistake in its file.
    """
    loaded = load_profile(profile)
    settings = load_settings(loaded, NAME, ExplanationsSettings)
    return Study(loaded, settings, paths.results(profile, NAME, rerun))


def run(study: Study, tuning: bool = False, quiet: bool = False) -> Report:
    """Make every record that is missing, in local processes or on the cluster that ``$COMPANION_RAY`` names.

    Raises:
        CompanionError: the texts cannot be rebuilt to what the plan was frozen with, or the profile's backend cannot be
            had on this machine, or the cluster cannot.
    """
    if study.frozen():
        _warn_of_sources_left_out(study)
    study.freeze()
    specs = study.tuning_specs() if tuning else study.specs()
    ids = tuple(map(spec_id, specs))
    if all(map(study.store.sound, ids)):
        return Report(done=(), skipped=ids, failed={})
    environment = study.environment() | study.checkpoints()
    needed = [dataset.texts_file(study.data.hash)]
    make = partial(ray_engine.run_all, needed=needed) if ray_cluster.address() else run_all
    if not dataset.has_texts(study.data.hash):
        study.build_data()
    return make(specs, execute, study.store, study.slots(), study.logs, quiet, environment, ARM)


def looks(study: Study) -> Look:
    """What tells again and again where the runs are, and those of the choice of recipe once they are begun."""
    store, logs, slots = study.store, study.logs, study.slots()
    runs = Grid(store, study.specs(), logs, ARM, slots)
    tuning = Grid(store, study.tuning_specs(), logs, ARM, slots, "tuning runs")

    def look() -> list[Status]:
        now, tuned = runs.look(), tuning.look()
        return [now, tuned] if tuned.whole.waiting < tuned.whole.total else [now]

    return look


def progress(study: Study) -> Page:
    """Where the runs are now, wherever they are made, to be shown in a notebook; counts alone when all are done."""
    return Page(looks(study)())


def _warn_of_sources_left_out(study: Study) -> None:
    """A study keeps the data it began with, also when a package that was missing then is there now."""
    there = {source["name"] for source in study.data.facts["sources"]}
    if left_out := [name for name in study.settings.sources if name not in there]:
        warnings.warn(
            f"{study.folder} was begun without {', '.join(left_out)}, whose package was missing: install it, move that "
            "folder away and run again to have all sources",
            stacklevel=2,
        )
