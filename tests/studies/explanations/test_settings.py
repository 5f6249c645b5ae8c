"""Settings that would fail only after hours of training are refused before, each in one sentence."""

from copy import deepcopy
from typing import Any

import pytest

from companion.errors import CompanionError
from companion.profiles import load_profile, load_settings, validate
from companion.studies.explanations.data.dataset import list_conversations
from companion.studies.explanations.settings import ExplanationsSettings


def refused(sentence: str, **changes: Any) -> None:
    """Change quick's settings; ``recipe__epochs`` is the key ``epochs`` of the recipe."""
    content = deepcopy(load_profile("quick").studies["explanations"])
    for name, value in changes.items():
        *parts, key = name.split("__")
        (content[parts[0]] if parts else content)[key] = value
    with pytest.raises(CompanionError) as caught:
        validate(ExplanationsSettings, content, "quick.yaml")
    assert str(caught.value) == f"quick.yaml: {sentence}."


@pytest.mark.parametrize("arm", ["label", "explanation"])
def test_the_arms_that_the_tables_compare_are_there(arm: str) -> None:
    arms = [one for one in ("base", "label", "explanation") if one != arm]
    refused(f"arms: the arm {arm!r} is missing, and the tables need it", arms=arms)


def test_nothing_is_given_twice() -> None:
    refused("seeds: a value is given twice", seeds=[0, 0])
    refused("arms: a value is given twice", arms=["label", "label"])


def test_sizes_are_enough_for_the_tables() -> None:
    refused("test_items: input should be greater than or equal to 2, but it is 1", test_items=1)
    borrows = "but a damaged reply borrows from another conversation of its source and split; make it 2 or more"
    refused(f"train_items is 1, {borrows}", train_items=1)
    refused(f"validation_items is 1, {borrows}", validation_items=1)
    refused("sources: tuple should have at least 2 items after validation, not 1", sources=["faq"])
    refused("train_versions: input should be 1 or 5, but it is 3", train_versions=3)


def test_generation_needs_as_many_test_items() -> None:
    refused("generation_items is 19, but a run has 18 test items", generation_items=19)
    refused("generation_items is 37, but a run has 36 test items", generation_items=37, students="joint")


def test_numbers_are_finite() -> None:
    infinite = float("inf")
    refused("recipe.gradient_clip: input should be a finite number, but it is inf", recipe__gradient_clip=infinite)
    refused("tuning.learning_rates.1: input should be less than 1, but it is 2", tuning__learning_rates=[0.0005, 2])


def test_a_rate_that_falls_before_it_has_risen() -> None:
    refused("recipe: warmup_ratio and decay_ratio add up to more than 1", recipe__warmup_ratio=0.9)


def test_versions_of_a_conversation_stay_in_one_batch() -> None:
    rest = "is no multiple of train_versions 5, which would tear the versions of a conversation apart"
    refused(f"batch_size 4 {rest}", train_versions=5, recipe__batch_size=4)
    refused(f"batch_size 8 {rest}", train_versions=5, tuning__batch_sizes=[5, 8])


@pytest.mark.parametrize(
    ("grid", "values", "key", "own"),
    [
        ("learning_rates", [0.001], "learning_rate", 0.0005),
        ("epochs", [2], "epochs", 1),
        ("batch_sizes", [10], "batch_size", 5),
    ],
)
def test_the_grid_has_the_recipe_itself(grid: str, values: list[float], key: str, own: float) -> None:
    refused(f"tuning must also try the {key} of the recipe, {own}", **{f"tuning__{grid}": values})


def test_annotators_are_three_models_told_apart() -> None:
    def models(*names: str) -> list[dict[str, Any]]:
        return [{"url": "http://localhost:8000/v1", "model": name} for name in names]

    three: dict[str, Any] = {"models": models("a", "b", "c"), "merger": "b", "cap": 5}
    refused(
        "annotators.models: tuple should have at least 3 items after validation, not 2",
        annotators=three | {"models": models("a", "b")},
    )
    refused(
        "annotators: two models go by the same name (a, b, a); three different ones must rate",
        annotators=three | {"models": models("a", "b", "a")},
    )
    refused("annotators: the merger 'd' is none of the models a, b, c", annotators=three | {"merger": "d"})
    refused("the key 'annotators.cap' is missing", annotators={"models": models("a", "b", "c"), "merger": "b"})
    known = "answer_price, answer_tokens, key_variable, model, parallel, prompt_price, retries, revision, timeout, url"
    refused(
        f"unknown key 'annotators.models.0.zzz'; known keys are {known}",
        annotators=three | {"models": [{"url": None, "zzz": "a"}, *models("b", "c")]},
    )
    refused(
        "train_versions is 5, but language models rate each conversation once; make it 1",
        train_versions=5,
        annotators=three,
    )


def test_a_key_never_stands_in_a_profile_nor_in_a_sentence() -> None:
    one = {"url": "http://localhost:8000/v1", "model": "a", "key_variable": "sk-secret"}
    others = [{"url": None, "model": name} for name in "bc"]
    refused(
        "annotators.models.0: key_variable must be the name of an environment variable, in capitals; never a key",
        annotators={"models": [one, *others], "merger": "b", "cap": 5},
    )


def test_a_data_set_and_its_stand_in_are_not_mixed() -> None:
    refused("sources: the paper's data sets and their stand-ins are both named; name one kind", sources=["faq", "coqa"])


@pytest.mark.parametrize("name", ["quick", "smoke", "cpu", "gpu"])
def test_the_sources_hold_what_each_offline_profile_asks_for(name: str) -> None:
    settings = load_settings(load_profile(name), "explanations", ExplanationsSettings)
    made = len(list_conversations(settings, "train"))
    assert made == len(settings.sources) * settings.train_items * settings.train_versions
