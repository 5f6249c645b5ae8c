"""All settings of the explanations study, as one frozen dataclass that a profile fills."""

from typing import Annotated, Literal, Self, TypeVar, get_args

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from companion.models.endpoint import Endpoint
from companion.profiles import STRICT, Count

Axis = Literal["naturalness", "comprehensiveness", "on_topic"]
TrainedArm = Literal[
    "label",
    "explanation",
    "shuffled",
    "bag_of_words",
    "mismatched",
    "uniform_tokens",
    "explanation_first",
    "label_token_matched",
    "label_weighted",
]
Arm = Literal["base", TrainedArm]
StandIn = Literal["assistant", "chat_high", "chat_low", "faq", "qa", "scripted"]
OriginalName = Literal["arena", "hh_chosen", "hh_rejected", "amazonqa", "coqa", "cornell"]
SourceName = Literal[StandIn, OriginalName]
MergeRule = Literal["mean", "median", "majority", "trimmed_mean"]
Item = TypeVar("Item")
CONTEXT_WORDS = 45
"""Words of context kept before the response unless told otherwise, over all turns; older words go first."""
N_ANNOTATORS = 3
"""Three models with four prompts give the twelve answers of which eight must be readable."""


def _each_once(values: tuple[Item, ...]) -> tuple[Item, ...]:
    """A value given twice would count as a replication that it is not."""
    if len(set(values)) < len(values):
        raise ValueError("a value is given twice")
    return values


def _of_one_kind(sources: tuple[SourceName, ...]) -> tuple[SourceName, ...]:
    """A data set and its stand-in would count as two sources, and only one of them has known levels."""
    if {source in get_args(OriginalName) for source in sources} == {True, False}:
        raise ValueError("the paper's data sets and their stand-ins are both named; name one kind")
    return sources


def _with_main_pair(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """The tables compare every arm with ``label``, and each cell's ``explanation`` with ``label``."""
    for arm in ("label", "explanation"):
        if arm not in arms:
            raise ValueError(f"the arm {arm!r} is missing, and the tables need it")
    return arms


Once = AfterValidator(_each_once)
Share = Annotated[float, Field(gt=0, lt=1)]
LearningRate = Share
Seed = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class RecipeSettings:
    """How every student is fine-tuned; the same for all arms (papers A.4, scaled to the profile's model).

    ``batch_size`` counts the examples of one optimiser step; how many are held at a time follows from the memory.
    ``lora_dropout`` is left out where there is none; ``tokens_at_once`` where 600 tokens are held at a time, on a CPU.
    """

    learning_rate: LearningRate
    epochs: Count
    batch_size: Count
    lora_rank: Count
    lora_alpha: Count
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)]
    decay_ratio: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    gradient_clip: Annotated[float, Field(gt=0)]
    max_length: Count
    lora_dropout: Share | None = None
    tokens_at_once: Count | None = None

    @model_validator(mode="after")
    def _warms_up_before_it_falls(self) -> Self:
        if self.warmup_ratio + self.decay_ratio > 1:
            raise ValueError("warmup_ratio and decay_ratio add up to more than 1")
        return self


@dataclass(frozen=True, config=STRICT)
class Tuning:
    """Grid of the one choice made on validation items: each of its recipes is tried with the arms and seeds below."""

    learning_rates: Annotated[tuple[LearningRate, ...], Field(min_length=1), Once]
    epochs: Annotated[tuple[Count, ...], Field(min_length=1), Once]
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1), Once]
    arms: Annotated[tuple[TrainedArm, ...], Field(min_length=1), Once]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), Once]


@dataclass(frozen=True, config=STRICT)
class Annotators:
    """Language models that rate in place of the simulated annotators (2511.02044, annotation: three models).

    Attributes:
        models: who rates; each gets the four prompts.
        merger: name of the one of them that condenses the twelve explanations to one.
        merge_rule: what makes one score of the twelve; ``companion gold report`` ranks the rules.
        cap: US dollars that all calls of the study may cost together, rating and merging.
    """

    models: Annotated[tuple[Endpoint, ...], Field(min_length=N_ANNOTATORS, max_length=N_ANNOTATORS)]
    merger: str
    cap: Annotated[float, Field(ge=0)]
    merge_rule: MergeRule = "mean"

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        names = [one.name for one in self.models]
        if len({one.file for one in self.models}) < len(names):
            raise ValueError(f"two models go by the same name ({', '.join(names)}); three different ones must rate")
        if self.merger not in names:
            raise ValueError(f"the merger {self.merger!r} is none of the models {', '.join(names)}")
        return self

    @property
    def merging(self) -> Endpoint:
        """The model that condenses."""
        return next(one for one in self.models if one.name == self.merger)


@dataclass(frozen=True, config=STRICT)
class ExplanationsSettings:
    """Settings of arXiv 2511.02044's study.

    Attributes:
        sources: offline stand-ins, or the paper's own data sets.
        students: ``per_axis`` trains one student per axis, ``joint`` one student with the axis named in the prompt.
        train_items, validation_items, test_items: conversations per source; each is rated on every axis.
        train_versions: differently degraded versions of each training conversation; with 5 each level is asked for
            once on every axis.
        data_seed: seed of split, degradations and annotators.
        seeds: training seeds, paired between the arms.
        generation_items: test items per run on which greedy generation is compared with scoring by one forward.
        equivalence_margin: accuracy difference below which two arms count as equally good, fixed before any result.
        smallest_effect: accuracy difference that would matter, shown beside the minimal detectable effect.
        resamples: bootstrap resamples behind each interval.
        context_words: words of the conversation before the reply that a student is shown, the last ones.
        annotators: language models that rate; without them simulated annotators do, who need known levels.
    """

    sources: Annotated[tuple[SourceName, ...], Field(min_length=2), Once, AfterValidator(_of_one_kind)]
    axes: Annotated[tuple[Axis, ...], Field(min_length=1), Once]
    arms: Annotated[tuple[Arm, ...], Once, AfterValidator(_with_main_pair)]
    students: Literal["per_axis", "joint"]
    train_items: Count
    train_versions: Literal[1, 5]
    validation_items: Count
    test_items: Annotated[int, Field(ge=2)]
    data_seed: Seed
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), Once]
    generation_items: Annotated[int, Field(ge=0)]
    equivalence_margin: Share
    smallest_effect: Share
    resamples: Count
    recipe: RecipeSettings
    tuning: Tuning
    context_words: Count = CONTEXT_WORDS
    annotators: Annotators | None = None

    @property
    def natural(self) -> bool:
        """Whether items are rated as they are: the paper's data sets by language models; all others are degraded."""
        return self.annotators is not None and self.sources[0] in get_args(OriginalName)

    @model_validator(mode="after")
    def _rates_each_conversation_once(self) -> Self:
        if self.annotators and self.train_versions > 1:
            raise ValueError(
                f"train_versions is {self.train_versions}, but language models rate each conversation once; make it 1"
            )
        return self

    @model_validator(mode="after")
    def _leaves_replies_to_borrow(self) -> Self:
        for name in ("train_items", "validation_items"):
            if getattr(self, name) < 2 and not self.natural:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but a damaged reply borrows from another conversation of its "
                    "source and split; make it 2 or more"
                )
        return self

    @model_validator(mode="after")
    def _generates_on_items_there_are(self) -> Self:
        there = len(self.sources) * self.test_items * (len(self.axes) if self.students == "joint" else 1)
        if self.generation_items > there:
            raise ValueError(f"generation_items is {self.generation_items}, but a run has {there} test items")
        return self

    @model_validator(mode="after")
    def _keeps_versions_in_one_batch(self) -> Self:
        for size in (self.recipe.batch_size, *self.tuning.batch_sizes):
            if size % self.train_versions:
                raise ValueError(
                    f"batch_size {size} is no multiple of train_versions {self.train_versions}, which would tear the "
                    "versions of a conversation apart"
                )
        return self

    @model_validator(mode="after")
    def _tries_its_own_recipe(self) -> Self:
        recipe, grid = self.recipe, self.tuning
        tried = {"learning_rate": grid.learning_rates, "epochs": grid.epochs, "batch_size": grid.batch_sizes}
        for name, values in tried.items():
            if getattr(recipe, name) not in values:
                raise ValueError(f"tuning must also try the {name} of the recipe, {getattr(recipe, name)}")
        return self
