from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.errors import CompanionError
from companion.runs.spec import from_json, spec_id, to_json

finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True)
class Recipe:
    rate: float
    name: str = "adam"


@dataclass(frozen=True)
class Spec:
    arm: str
    seed: int
    recipe: Recipe | None = None
    axes: tuple[str, ...] = ()
    inside: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    result_version: int = 1


@dataclass(frozen=True)
class Alone:
    rate: float
    name: str = "adam"
    result_version: int = 1


@dataclass(frozen=True)
class Other:
    rate: float
    name: str = "adam"
    result_version: int = 1


@dataclass
class Loose:
    seed: int
    result_version: int = 1


@dataclass(frozen=True)
class Anything:
    value: Any
    result_version: int = 1


specs = st.builds(
    Spec,
    arm=st.text(),
    seed=st.integers(),
    recipe=st.none() | st.builds(Recipe, rate=finite, name=st.text()),
    axes=st.lists(st.text(), max_size=3).map(tuple),
    inside=st.booleans(),
    extra=st.dictionaries(st.text(), plain, max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(specs)
def test_a_spec_reads_back_to_itself(spec):
    assert from_json(to_json(spec), Spec) == spec


@settings(max_examples=40, deadline=None)
@given(specs, specs)
def test_ids_are_equal_exactly_when_the_texts_are(one, other):
    assert (spec_id(one) == spec_id(other)) == (to_json(one) == to_json(other))
    if one == other:
        # Python takes True for 1 inside the untyped dict; everything else that is equal has one id.
        assert spec_id(replace(one, extra={})) == spec_id(replace(other, extra={}))


@settings(max_examples=40, deadline=None)
@given(specs, st.integers())
def test_every_field_counts(spec, seed):
    if seed != spec.seed:
        assert spec_id(replace(spec, seed=seed)) != spec_id(spec)


def test_the_id_is_the_same_on_every_machine():
    spec = Spec("label", 3, Recipe(2e-4), ("on_topic",), True, {"β": 1e-7, "a": [1, None]})
    assert to_json(spec) == (
        '{"class":"Spec","fields":{"arm":"label","axes":["on_topic"],"extra":{"a":[1,null],"\\u03b2":1e-07},'
        '"inside":true,"recipe":{"name":"adam","rate":0.0002},"seed":3},"result_version":1}'
    )
    assert spec_id(spec) == "f217b327e712b8a7"


def test_neither_the_order_of_keys_nor_the_sign_of_zero_counts():
    one, other = Spec("a", 1, extra={"x": 1, "y": 2}), Spec("a", 1, extra={"y": 2, "x": 1})
    assert spec_id(one) == spec_id(other)
    assert spec_id(Alone(0.0)) == spec_id(Alone(-0.0))


def test_class_and_result_version_count():
    assert spec_id(Other(1.0)) != spec_id(Alone(1.0))
    older = Alone(1.0, result_version=0)
    assert spec_id(older) != spec_id(Alone(1.0))
    with pytest.raises(CompanionError, match="has result version 0, the code 1; run again"):
        from_json(to_json(older), Alone)


def test_a_kind_of_run_must_say_its_version():
    with pytest.raises(CompanionError, match="The spec Recipe needs a field 'result_version: int = 1'"):
        spec_id(Recipe(1.0))


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), np.float64(1.5), np.int64(1), np.zeros(2), Path("x"), {1: "x"}, {1, 2}, b"x",
        object(), [1, (2, Path("x"))],
    ],
)  # fmt: skip
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(CompanionError, match=r"Anything\.value.* which JSON cannot hold"):
        spec_id(Anything(value))


@pytest.mark.parametrize(
    "spec", [Alone(1), Spec("a", True), Spec("a", 1, axes=["x"]), Spec("a", 1, extra={"x": (1, 2)}), Spec("a", "1")]
)
def test_a_value_of_another_type_than_declared_is_refused(spec):
    with pytest.raises(CompanionError, match="does not"):
        spec_id(spec)


@pytest.mark.parametrize("spec", [Loose(1), Recipe, {"seed": 1}, None])
def test_only_frozen_dataclasses_have_ids(spec):
    with pytest.raises(CompanionError, match="frozen dataclass"):
        spec_id(spec)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nonsense", "This is not a spec"),
        ("[]", "This is not a spec"),
        (to_json(Anything(1)), "is a Anything, not a Alone"),
        (to_json(Alone(1.0)).replace('"name":"adam",', ""), "fields have changed"),
        (to_json(Alone(1.0)).replace('"name"', '"title"'), "fields have changed"),
        (to_json(Alone(1.0)).replace("1.0", '"high"'), r"Alone\.rate does not fit"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(text, sentence):
    with pytest.raises(CompanionError, match=sentence):
        from_json(text, Alone)
