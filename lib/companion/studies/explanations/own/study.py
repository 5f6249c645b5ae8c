"""The study on a reader's own labelled texts: the same arms, engine, records and statistics."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from companion import paths
from companion.errors import CompanionError
from companion.files import write_whole
from companion.profiles import load_profile, load_settings, validate
from companion.runs.engine import Report
from companion.studies.commands import make_missing, show_progress
from companion.studies.explanations.data.dataset import Data
from companion.studies.explanations.own import dataset as own_dataset
from companion.studies.explanations.own.settings import TRAINING_SETTINGS, OwnSettings
from companion.studies.explanations.own.table import ROLES, Labelled, read_labelled
from companion.studies.explanations.results.training import compare_recipes, read_tuning
from companion.studies.explanations.settings import ExplanationsSettings, RecipeSettings
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.experiment import RunSpec, plan
from companion.studies.explanations.training.targets import PRIMARY
from companion.studies.registry import study_names
from companion.studies.study import run

SIZES = (800, 100, 400)
WITHOUT_EXPLANATIONS = ("label", "shuffled", "bag_of_words")


@dataclass(frozen=True)
class OwnStudy(ExplanationsStudy):
    """A comparison on own data.

    ``table`` (a file or a hub name, with its revision) is read by every command: results of another table, or of one
    that was changed since, are refused.
    """

    settings: OwnSettings  # type: ignore[assignment]  # all that the study asks of its settings is there
    table: str
    revision: str | None
    unit: ClassVar[str] = "group"
    elsewhere: ClassVar[str] = "give the comparison another name (--name)"

    @property
    def inputs(self) -> str:
        """What the data set is made from."""
        return "file and columns"

    @property
    def command(self) -> str:
        """What the user types to make what is missing."""
        return f"companion compare {self.table or 'DATA'} --name {self.folder.name} ... with the same options as before"

    @property
    def size(self) -> str:
        """What every note of a table or figure says of n."""
        test = self.data.items[self.data.items["split"] == "test"]
        return f"{len(test)} test items in {test['source'].nunique()} groups, {len(self.settings.seeds)} seeds"

    @property
    def training(self) -> str:
        """What the notes of the claims say of how much a student is trained, and on what."""
        if self.settings.explanation:
            return super().training
        return f"{super().training}; no reasons were given, so words of the texts, shuffled, stand for theirs"

    @property
    def trained_on(self) -> int:
        """Examples that each student sees, repeats counted."""
        return int((self.data.items["split"] == "train").sum()) * self.recipe.epochs

    @property
    def tuned(self) -> bool:
        """Whether there is more than one recipe to choose from."""
        grid = self.settings.tuning
        return len(grid.learning_rates) * len(grid.epochs) * len(grid.batch_sizes) > 1

    @cached_property
    def recipe(self) -> RecipeSettings:
        """The recipe with the lowest mean validation loss; the profile's own where only one is tried.

        Raises CompanionError where the recipes have not been compared yet.
        """
        if not self.tuned:
            return self.settings.recipe
        records = read_tuning(self)
        if not records:
            raise CompanionError(f"The recipes have not been compared on validation items yet; run '{self.command}'.")
        best = compare_recipes(self, records).sort_values("nll").iloc[0]
        chosen = {"epochs": int(best["epochs"]), "batch_size": int(best["batch_size"])}
        return replace(self.settings.recipe, learning_rate=float(best["learning_rate"]), **chosen)

    def specs(self) -> list[RunSpec]:
        """Specs of all runs, with the chosen recipe."""
        settings = replace(self.settings, recipe=self.recipe)
        return plan(settings, self.base, self.data.hash, self.version(RunSpec))  # type: ignore[arg-type]

    def data_settings(self) -> dict[str, Any]:
        """Settings that the data depend on."""
        names = [field.name for field in fields(self.settings) if field.name not in TRAINING_SETTINGS]
        return {name: json.loads(json.dumps(getattr(self.settings, name))) for name in names}

    def make_data(self, quiet: bool) -> Data:
        """Split the table's rows and write the prompts."""
        return self._built

    @cached_property
    def _labelled(self) -> Labelled:
        one = self.settings
        columns = {role: getattr(one, role) for role in ROLES}
        return read_labelled(self.table, columns, one.labels, self.revision)

    @cached_property
    def _built(self) -> Data:
        return own_dataset.build(self._labelled, self.settings, self.folder.name)

    def identity(self) -> dict[str, Any]:
        """What the facts depend on, the table among it."""
        return {**super().identity(), "table": self._labelled.digest}

    def frozen(self) -> dict[str, Any] | None:
        """The frozen facts, after the table was compared with the one that they were made from.

        Raises CompanionError as in `Study`, and where the table cannot be read or is not the one that the results are
        of.
        """
        frozen = super().frozen()
        # A folder older than the digest is known by its data set, which the table must still give.
        same = frozen is None or (
            frozen["table"] == self._labelled.digest if "table" in frozen else frozen["data"] == self._built.hash
        )
        if not same:
            raise CompanionError(
                f"{self.folder} holds the results of another table than {self.table} is now; {self.elsewhere}, or give "
                "the table that they were made from."
            )
        return frozen


def open_own(
    table: str,
    text: str = "text",
    label: str = "label",
    explanation: str = "",
    group: str = "",
    labels: str = "",
    question: str = "Which label fits?",
    revision: str = "",
    name: str = "",
    profile: str = "cpu",
    seeds: int = 5,
    arms: str = "",
    sizes: Sequence[int] = SIZES,
    text_words: int = 120,
) -> OwnStudy:
    """Open the comparison on one table; its results lie in ``figures/<profile>/<name>``.

    Args:
        table: CSV, TSV, JSON, JSON Lines or Parquet file, or owner/name of a hub data set.
        text, label, explanation, group: column names; an empty one is not there.
        labels: the labels in their order, separated by commas; needed where words have an order.
        name: of the results folder; that of the table without it.
        arms: separated by commas; without it ``base`` and the primary arms, or those of them that need no
            explanations.
        sizes: most rows to train on, to choose the recipe on, and to test on.

    Raises:
        CompanionError: no such profile, a bad setting or a name that is none for a folder.
    """
    folder = _folder_name(name, table)
    if seeds < 1:
        raise CompanionError(f"There must be at least 1 seed, not {seeds}; verdicts need four.")
    chosen = load_profile(profile)
    house = load_settings(chosen, ExplanationsStudy.name, ExplanationsSettings)
    compared = tuple(_split_names(arms)) or ("base", *(PRIMARY if explanation else WITHOUT_EXPLANATIONS))
    if not explanation and set(compared) - {"base", "label_token_matched", "uniform_tokens", *WITHOUT_EXPLANATIONS}:
        raise CompanionError("Without a column of explanations only label, shuffled and bag_of_words can be compared.")
    tuned = tuple(arm for arm in ("label", "explanation", "shuffled") if arm in compared)[:2]
    given = {
        "text": text,
        "label": label,
        "explanation": explanation,
        "group": group,
        "labels": _split_names(labels),
        "question": question,
        "arms": compared,
        "seeds": list(range(seeds)),
        **dict(zip(("train_items", "validation_items", "test_items"), sizes, strict=False)),
        "text_words": text_words,
        "data_seed": house.data_seed,
        "equivalence_margin": house.equivalence_margin,
        "recipe": asdict(house.recipe),
        "tuning": {**asdict(house.tuning), "arms": tuned},
    }
    settings = validate(OwnSettings, given, f"comparison {folder}")
    return OwnStudy(chosen, settings, paths.results(profile, folder), _find_table(table), revision or None)


def _folder_name(name: str, table: str) -> str:
    """The name given to the results, else that of the table."""
    folder = name or re.sub(r"\W+", "_", Path(table).stem)
    if not re.fullmatch(r"\w[\w-]{0,99}", folder) or folder == "notebooks":
        raise CompanionError(f"{folder!r} is no name for a results folder: use up to 100 letters, digits, _ and -.")
    if folder in study_names():
        raise CompanionError(f"{folder!r} is no name for a results folder: the paper's study goes by it.")
    return folder


def _find_table(table: str) -> str:
    """The table, or the one of that name beside the notebooks, wherever a notebook is run."""
    beside = paths.home() / "notebooks" / table
    return str(beside) if beside.is_file() and not Path(table).exists() else table


def _split_names(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def run_comparison(own: OwnStudy, quiet: bool = False) -> Report:
    """Choose the recipe on validation items, then make every record that is missing.

    Raises CompanionError where the table can't be read or has changed, or a run failed.
    """
    show_progress(quiet, own_dataset.describe_rows(own.data))
    if own.frozen() is None:
        # What is made from a reader's own table is kept out of commits, as caches are.
        write_whole(own.folder / ".gitignore", b"*\n")
    if own.tuned:
        show_progress(quiet, "First the learning rate is chosen on validation rows, then the arms are compared.")
        run(own, own.tuning_specs(), quiet).raise_if_failed()
    return make_missing(own, quiet)
