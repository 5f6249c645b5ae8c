"""The explanations study: what only arXiv 2511.02044 can say of its data, specs and runs."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from companion.runs.progress import make_progress_printer
from companion.show.names import Names
from companion.studies.base_model import backend_environment, base_facts, base_settings
from companion.studies.explanations.data import dataset, texts
from companion.studies.explanations.data.dataset import Data
from companion.studies.explanations.names import NAMES
from companion.studies.explanations.settings import CONTEXT_WORDS, ExplanationsSettings
from companion.studies.explanations.training.experiment import RunSpec, execute, plan, plan_tuning
from companion.studies.study import Study

DATA_SETTINGS = ("sources", "axes", "train_items", "train_versions", "validation_items", "test_items", "data_seed")


@dataclass(frozen=True)
class ExplanationsStudy(Study):
    """Students that rate conversations, fine-tuned with and without explanations."""

    settings: ExplanationsSettings
    name: ClassVar[str] = "explanations"
    paper: ClassVar[str] = "2511.02044"
    title: ClassVar[str] = "Regularization Through Reasoning: explanations in fine-tuning, re-run"
    statement: ClassVar[str] = (
        "A model fine-tuned on labels with explanations classifies better than one fine-tuned on labels alone, even "
        "where the explanations are shuffled or random words."
    )
    main_figure: ClassVar[str] = "F3_arms"
    names: ClassVar[Names] = NAMES
    settings_class: ClassVar[type] = ExplanationsSettings
    spec_classes: ClassVar[tuple[type, ...]] = (RunSpec,)
    data_class: ClassVar[type[Data]] = Data
    elsewhere: ClassVar[str] = "train in a folder of its own with RERUN=1"

    @property
    def size(self) -> str:
        """What every note of a table or figure says of n."""
        one, sources = self.settings, self.data.facts["sources"]
        return f"{len(sources)} sources, {len(one.seeds)} seeds, {one.test_items} test items a cell"

    @property
    def training(self) -> str:
        """What the notes of the claims say of how much a student is trained."""
        return f"each student is trained on {self.trained_on} examples"

    @property
    def trained_on(self) -> int:
        """Examples that each student sees, repeats counted."""
        one = self.settings
        axes = len(one.axes) if one.students == "joint" else 1
        return one.train_items * one.train_versions * len(self.data.facts["sources"]) * axes * one.recipe.epochs

    @cached_property
    def base(self) -> dict[str, Any]:
        """Facts of the frozen base model: model, revision, weights (sha256) and dtype."""
        frozen = self.frozen()
        return dict(frozen["base"]) if frozen else base_facts(self.profile)

    @property
    def work(self) -> Any:
        """Train and score one student."""
        return execute

    def group(self, spec: RunSpec) -> str:
        """The arm."""
        return spec.arm

    def specs(self) -> list[RunSpec]:
        """Specs of all runs."""
        return plan(self.settings, self.base, self.data.hash, self.version(RunSpec))

    def tuning_specs(self) -> list[RunSpec]:
        """Specs of the choice of recipe on validation items."""
        return plan_tuning(self.settings, self.base, self.data.hash, self.version(RunSpec))

    def other_specs(self) -> dict[str, list[Any]]:
        """The choice of recipe."""
        return {"tuning runs": self.tuning_specs()}

    def facts(self) -> dict[str, Any]:
        """Base model and data."""
        return {"base": self.base, **super().facts()}

    def model_settings(self) -> dict[str, Any]:
        """Settings of the base model."""
        return base_settings(self.profile)

    def environment(self) -> dict[str, str]:
        """The backend, see `backend_environment`."""
        return backend_environment(self.profile)

    def data_settings(self) -> dict[str, Any]:
        """Settings that the data depend on, as JSON gives them back."""
        one = self.settings
        settings = {name: json.loads(json.dumps(getattr(one, name))) for name in DATA_SETTINGS}
        # Younger settings are named where they are used, so that what was recorded before them stays the same.
        if one.context_words != CONTEXT_WORDS:
            settings["context_words"] = one.context_words
        if one.annotators:
            settings["annotators"] = [model.name for model in one.annotators.models]
        return settings

    def make_data(self, quiet: bool) -> Data:
        """Read the texts, degrade and rate them, as `dataset.build`."""
        return dataset.build(self.settings, on_progress=make_progress_printer(quiet))

    @property
    def inputs(self) -> str:
        """What the data set is made from."""
        return "the answers kept" if self.settings.annotators else "the installed packages"

    def input_files(self) -> list[Path]:
        """The texts, in the cache."""
        return [texts.get_texts_file(self.data.hash)]

    def left_out(self) -> str:
        """A study keeps the data it began with, also when a package that was missing then is there now."""
        there = {source["name"] for source in self.data.facts["sources"]}
        missing = [name for name in self.settings.sources if name not in there]
        if not missing:
            return ""
        return (
            f"{self.folder} was begun without {', '.join(missing)}, whose package was missing: install it, move that "
            "folder away and run again to have all sources"
        )

    def plan_page(self, measure: bool) -> str:
        """Runs, tokens, hours, memory and money."""
        from companion.studies.explanations.plan.page import page

        return page(self, measure)
