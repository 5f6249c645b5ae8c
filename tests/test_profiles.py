"""Profiles: every mistake in a file is one sentence that names the key."""

from pathlib import Path

import pandas as pd
import pytest

from companion import paths, profiles
from companion.errors import CompanionError
from companion.profiles import load_profile, load_settings, validate
from companion.studies.explanations.settings import ExplanationsSettings

NAMES = sorted(file.stem for file in (Path(profiles.__file__).parent / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_is_valid(name: str) -> None:
    profile = load_profile(name)
    settings = load_settings(profile, "explanations", ExplanationsSettings)
    assert profile.name == name
    assert set(settings.arms) >= {"base", "label", "explanation", "shuffled", "bag_of_words"}


def test_scales_grow() -> None:
    scales = [
        load_settings(load_profile(name), "explanations", ExplanationsSettings) for name in ("smoke", "quick", "cpu")
    ]
    assert scales[0].test_items < scales[1].test_items < scales[2].test_items
    assert len(scales[2].seeds) >= 6
    assert len(scales[2].arms) == 10
    assert len(scales[1].sources) == 6


def test_recipe_is_the_same_at_every_scale() -> None:
    recipes = [load_settings(load_profile(name), "explanations", ExplanationsSettings).recipe for name in NAMES]
    assert all(recipe == recipes[0] for recipe in recipes)


def test_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(CompanionError, match="no profile 'quikc'.*quick"):
        load_profile("quikc")


def test_unknown_study_names_the_known_ones() -> None:
    with pytest.raises(CompanionError, match="no study 'parity'.*explanations"):
        load_settings(load_profile("quick"), "parity", ExplanationsSettings)


@pytest.fixture
def content() -> dict:
    return dict(load_profile("quick").studies["explanations"])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("train_item", 4, "unknown key 'train_item'; did you mean 'train_items'"),
        ("zzz", 4, "unknown key 'zzz'; known keys are"),
        ("train_items", "16", "train_items: .*integer"),
        ("train_items", True, "train_items: .*integer"),
        ("train_items", 0, "train_items: .*greater than 0"),
        ("test_items", -3, "test_items: .*greater than 0"),
        ("arms", ["label", "explanaton"], "arms.1"),
        ("sources", ["faq", "fax"], "sources.1"),
        ("sources", ["faq"], "sources: .*at least 2"),
        ("axes", ["clarity"], "axes.0"),
        ("students", "per-axis", "students"),
        ("seeds", [0.5], "seeds.0"),
        ("equivalence_margin", 5, "equivalence_margin: .*less than 1"),
        ("recipe", {"learning_rat": 0.1}, "unknown key 'recipe.learning_rat'; did you mean 'learning_rate'"),
        ("seeds", [0, 0], "seeds: .*given twice"),
        ("arms", ["label", "label"], "arms: .*given twice"),
        ("arms", ["base", "explanation"], "arms: .*'label' is missing"),
        ("train_versions", 3, "train_versions: .*1 or 5"),
    ],
)
def test_mistakes_name_the_key(content: dict, key: str, value: object, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        validate(ExplanationsSettings, {**content, key: value}, "quick.yaml")


def test_misspelt_key_inside_the_recipe(content: dict) -> None:
    recipe = {**content["recipe"], "learning_rat": 0.1}
    with pytest.raises(CompanionError, match="'recipe.learning_rat'; did you mean 'learning_rate'"):
        validate(ExplanationsSettings, {**content, "recipe": recipe}, "quick.yaml")


def test_a_rate_that_falls_before_it_has_risen(content: dict) -> None:
    recipe = {**content["recipe"], "warmup_ratio": 0.6, "decay_ratio": 0.5}
    with pytest.raises(CompanionError, match="recipe: .*add up to more than 1"):
        validate(ExplanationsSettings, {**content, "recipe": recipe}, "quick.yaml")


def test_missing_key_is_named(content: dict) -> None:
    del content["seeds"]
    with pytest.raises(CompanionError, match="the key 'seeds' is missing"):
        validate(ExplanationsSettings, content, "quick.yaml")


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2", ""])
def test_file_that_is_no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    monkeypatch.setattr(paths, "profile_file", lambda name: file)
    with pytest.raises(CompanionError, match="broken.yaml"):
        load_profile("broken")


def test_the_recorded_choice_is_the_one_that_is_used() -> None:
    table = pd.read_csv(paths.results("cpu", "explanations") / "T0_tuning.csv")
    chosen = table[table["chosen"]].iloc[0]
    recipe = load_settings(load_profile("cpu"), "explanations", ExplanationsSettings).recipe
    assert (recipe.learning_rate, recipe.epochs, recipe.batch_size) == (
        chosen["learning_rate"],
        chosen["epochs"],
        chosen["batch_size"],
    )
