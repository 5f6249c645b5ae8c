"""Plans are complete and fair; answers are read strictly; entropies survive their compact form."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from companion.runs.spec import spec_id
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.training.experiment import (
    pack_entropies,
    parse_label,
    plan,
    plan_tuning,
    unpack_entropies,
)

BASE = {"model": "m", "revision": None, "weights": "w", "dtype": "float32"}


def test_plan_has_every_arm_axis_and_seed_once(tiny_settings: ExplanationsSettings) -> None:
    specs = plan(tiny_settings, BASE, "d")
    assert len({spec_id(spec) for spec in specs}) == len(specs) == 2 * (1 + 9 * 2)
    counts = Counter(spec.arm for spec in specs)
    assert counts.pop("base") == 2
    assert set(counts.values()) == {4}
    assert {spec.score_split for spec in specs} == {"test"}


def test_joint_students_are_one_per_arm_and_seed(tiny_settings: ExplanationsSettings) -> None:
    specs = plan(replace(tiny_settings, students="joint"), BASE, "d")
    assert len(specs) == 1 + 9 * 2
    assert {spec.axes for spec in specs} == {tiny_settings.axes}


def test_all_arms_share_one_recipe_and_base_has_none(tiny_settings: ExplanationsSettings) -> None:
    recipes = {spec.arm: spec.recipe for spec in plan(tiny_settings, BASE, "d")}
    assert recipes.pop("base") is None
    assert all(recipe == recipes["label"] for recipe in recipes.values())


def test_a_setting_that_is_not_given_changes_no_id(tiny_settings: ExplanationsSettings) -> None:
    without = plan(tiny_settings, BASE, "d")[-1]
    assert "lora_dropout" not in without.recipe
    dropping = replace(tiny_settings, recipe=replace(tiny_settings.recipe, lora_dropout=0.05))
    assert plan(dropping, BASE, "d")[-1].recipe == {**without.recipe, "lora_dropout": 0.05}
    whole = replace(tiny_settings, recipe=replace(tiny_settings.recipe, tokens_at_once=1200))
    assert plan(whole, BASE, "d")[-1].recipe == {**without.recipe, "tokens_at_once": 1200}


def test_entropies_are_stored_for_base_and_primary_arms_only(tiny_settings: ExplanationsSettings) -> None:
    inside = {spec.arm for spec in plan(tiny_settings, BASE, "d") if spec.inside}
    assert inside == {"base", "label", "explanation", "shuffled", "bag_of_words"}


def test_people_can_tell_runs_apart_by_name(tiny_settings: ExplanationsSettings) -> None:
    specs = plan(tiny_settings, BASE, "d") + plan_tuning(tiny_settings, BASE, "d")
    assert len({str(spec) for spec in specs}) == len(specs)
    assert str(specs[-1]).startswith("explanation, on_topic, seed ") and "rate 0.001" in str(specs[-1])
    assert "label, on_topic, seed 1" in map(str, plan(tiny_settings, BASE, "d"))
    joint = plan(replace(tiny_settings, students="joint"), BASE, "d")
    assert str(joint[-1]).split(", ")[1] == "naturalness+on_topic"


def test_tuning_never_touches_test_items(tiny_settings: ExplanationsSettings) -> None:
    specs = plan_tuning(tiny_settings, BASE, "d")
    grid = tiny_settings.tuning
    recipes = len(grid.learning_rates) * len(grid.epochs) * len(grid.batch_sizes)
    assert {spec.score_split for spec in specs} == {"validation"}
    assert len({spec_id(spec) for spec in specs}) == recipes * len(grid.arms) * len(grid.seeds) * 2
    assert not set(grid.seeds) & set(tiny_settings.seeds)


@pytest.mark.parametrize(
    "change", [{"data": "e"}, {"weights": "v"}, {"dtype": "bfloat16"}, {"seed": 9}, {"threads": 2}]
)
def test_whatever_changes_a_result_changes_the_id(tiny_settings: ExplanationsSettings, change: dict) -> None:
    spec = plan(tiny_settings, BASE, "d")[-1]
    assert spec_id(replace(spec, **change)) != spec_id(spec)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("3", 3),
        (" 5\nExplanation: 2", 5),
        ("1 2", 1),
        ("", 0),
        ("6", 0),
        ("10", 0),
        ("3rd", 0),
        ("four", 0),
        ("-2", 0),
        ("33333", 3),
        ("35", 0),
    ],
)
def test_answers_are_read_strictly(text: str, label: int) -> None:
    assert parse_label(text) == label


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.float32, (3, 4, 3), elements=st.floats(0, 1, width=32)))
def test_entropies_survive_packing(values: np.ndarray) -> None:
    packed = pack_entropies(values)
    assert {array.dtype.itemsize for array in packed.values()} == {2}
    found = unpack_entropies(packed)
    assert np.abs(found[:, :, [0, 2]] - values[:, :, [0, 2]]).max() <= 0.5 / 65535 + 1e-6
    assert np.allclose(found[:, :, 1], values[:, :, 1], rtol=1e-3, atol=1e-7)
