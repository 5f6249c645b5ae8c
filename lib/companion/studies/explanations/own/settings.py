"""Settings of a comparison on a reader's own data."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from companion.profiles import STRICT, Count
from companion.studies.explanations.settings import Arm, Once, RecipeSettings, Seed, Share, Tuning

AXIS = "label"
"""The one axis of a reader's own data."""

TRAINING_SETTINGS = ("arms", "seeds", "equivalence_margin", "recipe", "tuning")
"""Settings that the data do not depend on; they depend on all others."""


def _with_labels_alone(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    if "label" not in arms or len(arms) < 2:
        raise ValueError("arms need 'label' and at least one other to compare it with")
    return arms


@dataclass(frozen=True, config=STRICT)
class OwnSettings:
    """Settings of a comparison on own data; recipe, tuning and margin are those of a profile.

    Attributes:
        text, label, explanation, group: names of the columns; the last two may be empty.
        labels: the labels in their order; empty for the order that ``read_labelled`` finds.
        question: asked after the text and the labels, right before the answer.
        train_items, validation_items, test_items: most rows of each split; never above 60, 10 and 30 % of all.
        text_words: words of a text that are shown.
        data_seed: seed of the split.
    """

    text: str
    label: str
    explanation: str
    group: str
    labels: tuple[str, ...]
    question: str
    arms: Annotated[tuple[Arm, ...], Once, AfterValidator(_with_labels_alone)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), Once]
    train_items: Count
    validation_items: Count
    test_items: Count
    text_words: Count
    data_seed: Seed
    equivalence_margin: Share
    recipe: RecipeSettings
    tuning: Tuning
    sources: ClassVar = ()
    axes: ClassVar = (AXIS,)
    students: ClassVar = "per_axis"
    generation_items: ClassVar = 0
