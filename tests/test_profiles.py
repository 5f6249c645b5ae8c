"""Profiles: every mistake in a file is one sentence that names the key."""

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from companion import paths, profiles
from companion.errors import CompanionError
from companion.profiles import load_profile, load_settings, validate
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.training.experiment import plan

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
    sizes = [len(scale.sources) * scale.test_items for scale in scales]
    assert sizes == sorted(set(sizes))
    assert len(scales[2].seeds) >= 6
    assert len(scales[2].arms) == 10
    assert len(scales[1].sources) == 6


@pytest.mark.parametrize("names", [("smoke", "quick", "cpu"), ("paper", "paper-t4")])
def test_recipe_is_the_same_at_every_scale(names: tuple[str, ...]) -> None:
    recipes = [load_settings(load_profile(name), "explanations", ExplanationsSettings).recipe for name in names]
    assert all(recipe == recipes[0] for recipe in recipes)


def test_the_paper_profile_has_the_paper_s_sizes_and_the_usual_qlora_recipe() -> None:
    profile = load_profile("paper")
    settings = load_settings(profile, "explanations", ExplanationsSettings)
    assert profile.model == "mistralai/Mistral-7B-v0.1" and re.fullmatch("[0-9a-f]{40}", profile.revision or "")
    assert (profile.dtype, profile.backend, settings.students) == ("nf4", "auto", "per_axis")
    sources = len(settings.sources)
    assert (sources, len(settings.axes), len(settings.arms), len(settings.seeds)) == (6, 3, 10, 4)
    assert settings.train_items + settings.test_items == 2500
    assert (sources * settings.train_items, sources * settings.test_items) == (10_002, 4_998)
    assert asdict(settings.recipe) == {
        "learning_rate": 2e-4,
        "epochs": 3,
        "batch_size": 16,
        "lora_rank": 16,
        "lora_alpha": 32,
        "warmup_ratio": 0.03,
        "decay_ratio": 0.97,
        "weight_decay": 0.0,
        "gradient_clip": 0.3,
        "max_length": 1024,
        "lora_dropout": 0.05,
        "tokens_at_once": None,
    }


def test_the_free_card_asks_the_same_question_of_less() -> None:
    large, small = (load_profile(name) for name in ("paper", "paper-t4"))
    assert [getattr(large, name) == getattr(small, name) for name in ("model", "revision", "dtype")] == [True] * 3
    large, small = (load_settings(one, "explanations", ExplanationsSettings) for one in (large, small))
    assert (large.sources, large.axes, large.students) == (small.sources, small.axes, small.students)
    assert set(small.arms) < set(large.arms) and set(small.seeds) < set(large.seeds)
    assert all(getattr(small, f"{part}_items") < getattr(large, f"{part}_items") for part in ("train", "test"))


@pytest.mark.parametrize("name", ["smoke", "quick", "cpu"])
def test_a_setting_that_is_left_out_changes_no_id(name: str) -> None:
    settings = load_settings(load_profile(name), "explanations", ExplanationsSettings)
    base = {"model": "m", "revision": None, "weights": "0", "dtype": "float32"}
    recipes = [spec.recipe for spec in plan(settings, base, "0") if spec.recipe]
    assert recipes and not any({"lora_dropout", "tokens_at_once"} & set(recipe) for recipe in recipes)


@pytest.mark.parametrize("name", NAMES)
def test_only_profiles_of_long_runs_keep_checkpoints(name: str) -> None:
    assert load_profile(name).checkpoint_minutes == (10 if name in ("paper", "paper-t4") else None)


def test_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(CompanionError, match="no profile 'quikc'.*quick"):
        load_profile("quikc")


def test_unknown_study_names_the_known_ones() -> None:
    with pytest.raises(CompanionError, match="no study 'paritee'; is 'parity' meant"):
        load_settings(load_profile("quick"), "paritee", ExplanationsSettings)


@pytest.fixture
def content() -> dict:
    return dict(load_profile("quick").studies["explanations"])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("train_item", 4, "unknown key 'train_item'; did you mean 'train_items'\\?$"),
        ("zzz", 4, "unknown key 'zzz'; known keys are annotators, arms, axes, "),
        ("learning_rate", 4, "unknown key 'learning_rate'; known keys are annotators, arms, axes, "),
        ("recipe", {"learning_rat": 0.1}, "unknown key 'recipe.learning_rat'; did you mean 'learning_rate'\\?$"),
        ("recipe", {}, "the key 'recipe.learning_rate' is missing"),
        ("train_items", "16", "train_items: .*integer"),
        ("train_items", True, "train_items: .*integer"),
        ("train_items", 0, "train_items: .*greater than 0, but it is 0"),
        ("equivalence_margin", "5e-2", "equivalence_margin: YAML takes 5e-2 for a text; write 0.05"),
        ("equivalence_margin", "1e-05", "equivalence_margin: YAML takes 1e-05 for a text; write 1.0e-05"),
        ("equivalence_margin", "wide", "equivalence_margin: .*valid number, but it is 'wide'"),
        ("data_seed", date(2024, 1, 2), "data_seed: .*valid integer, but it is '2024-01-02'"),
        ("arms", ["label", "explanaton"], "arms.1: "),
        ("students", ["joint"] * 9, r"students: input should be 'per_axis' or 'joint'\.$"),
    ],
)
def test_mistakes_name_the_key(content: dict, key: str, value: object, sentence: str) -> None:
    with pytest.raises(CompanionError, match=f"^quick.yaml: {sentence}"):
        validate(ExplanationsSettings, {**content, key: value}, "quick.yaml")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Write the file of a profile named ``mine``."""
    monkeypatch.setattr(paths, "profile_file", lambda name: tmp_path / "mine.yaml")
    return (tmp_path / "mine.yaml").write_bytes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"a: [1", "is not valid YAML in UTF-8: while parsing"),
        (b"a: " + b"[" * 5000, "is not valid YAML in UTF-8: maximum recursion depth"),
        (b"- 1\n- 2", "must be a list of 'key: value' lines"),
        (b"", "must be a list of 'key: value' lines"),
        (b"name: mine", "must not have the key 'name'"),
        ("# für".encode("latin-1"), "is not valid YAML in UTF-8: 'utf-8' codec"),
        (b"a:\n  b: 1\n  b: 2", "the key 'b' is given twice in .*line 3"),
    ],
)
def test_file_that_is_no_profile(write: Callable, text: bytes, sentence: str) -> None:
    write(text)
    with pytest.raises(CompanionError, match=rf"^The profile mine\.yaml .*{sentence}"):
        load_profile("mine")


def test_a_folder_in_place_of_the_file(write: Callable, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").mkdir()
    with pytest.raises(CompanionError, match="Is a directory"):
        load_profile("mine")


def test_a_misspelt_study_is_found(write: Callable) -> None:
    text = (Path(profiles.__file__).parent / "profiles" / "quick.yaml").read_text(encoding="utf-8")
    write(text.replace("explanations:", "explanaton:").encode())
    with pytest.raises(CompanionError, match="has no study 'explanations'; is 'explanaton' meant for it?"):
        load_settings(load_profile("mine"), "explanations", ExplanationsSettings)


def test_a_profile_is_named_without_its_ending_and_not_like_a_rerun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CompanionError, match=r"There is no profile 'quick\.yaml'; leave out \.yaml\."):
        load_profile("quick.yaml")
    (tmp_path / "cpu-rerun.yaml").touch()
    monkeypatch.setattr(paths, "PROFILES", tmp_path)
    with pytest.raises(CompanionError, match="The profile cpu-rerun needs another name"):
        load_profile("cpu-rerun")


def test_the_recorded_choice_is_the_one_that_is_used() -> None:
    table = pd.read_csv(paths.results("cpu", "explanations") / "T0_tuning.csv")
    chosen = table[table["chosen"]].iloc[0]
    recipe = load_settings(load_profile("cpu"), "explanations", ExplanationsSettings).recipe
    assert (recipe.learning_rate, recipe.epochs, recipe.batch_size) == (
        chosen["learning_rate"],
        chosen["epochs"],
        chosen["batch_size"],
    )
