"""Scores against the plain forward, entropies against scipy, generation against transformers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import entropy as scipy_entropy

from companion.errors import CompanionError
from companion.models.base import Base
from companion.models.batches import Sequence
from companion.models.finetune import Recipe, finetune
from companion.models.lora import Student, attach_adapter
from companion.models.score import compute_entropy, compute_layer_entropies, generate, score

LABELS = [17, 18, 19, 20, 21]
Make = Callable[..., Base]
MakeSequences = Callable[..., list[Sequence]]


@pytest.fixture
def student(make_base: Make, make_sequences: MakeSequences, recipe: Recipe, request: pytest.FixtureRequest) -> Student:
    base = make_base(getattr(request, "param", "llama"))
    return finetune(base, make_sequences(8, 3), recipe, seed=0)[0]


@pytest.fixture
def prompts(make_sequences: MakeSequences) -> list[list[int]]:
    return [list(one.prompt) for one in make_sequences(41, 12, seed=4)]


@pytest.mark.parametrize("student", ["llama", "mistral"], indirect=True)
def test_scores_equal_the_plain_forward(student: Student, prompts: list[list[int]]) -> None:
    scores = score(student, prompts, LABELS, inside=False)
    with attach_adapter(student) as model, torch.no_grad():
        plain = torch.stack([model(input_ids=torch.tensor([prompt])).logits[0, -1] for prompt in prompts])
    probabilities = plain.double().softmax(-1).numpy()
    labels = probabilities[:, LABELS]
    np.testing.assert_allclose(scores.probabilities, labels / labels.sum(1, keepdims=True), rtol=1e-3)
    np.testing.assert_allclose(scores.label_mass, labels.sum(1), rtol=1e-3)
    np.testing.assert_allclose(scores.peak, probabilities.max(1), rtol=1e-3)
    np.testing.assert_allclose(scores.entropy, scipy_entropy(probabilities, axis=1), rtol=1e-3)
    assert scores.layers is None
    assert scores.probabilities.dtype == np.float32


def test_batches_are_told_and_telling_changes_no_bit(student: Student, prompts: list[list[int]]) -> None:
    told = []
    scores = score(student, prompts, LABELS, inside=True, on_progress=lambda *one: told.append(one))
    plain = score(student, prompts, LABELS, inside=True)
    assert scores.layers is not None and plain.layers is not None
    assert scores.probabilities.tobytes() == plain.probabilities.tobytes()
    assert scores.layers.tobytes() == plain.layers.tobytes()
    assert generate(student, prompts, 2, lambda *one: told.append(one)) == generate(student, prompts, 2)
    assert told == [(32, 41), (41, 41)] * 2


def test_layers_hold_the_entropies_after_each_block(student: Student, prompts: list[list[int]]) -> None:
    scores = score(student, prompts, LABELS, inside=True)
    assert scores.layers is not None and scores.layers.shape == (len(prompts), 2, 3)
    np.testing.assert_allclose(scores.layers[:, -1, 2] * np.log(300), scores.entropy, rtol=1e-5)
    with attach_adapter(student) as model, torch.no_grad():
        first = torch.stack(
            [model(input_ids=torch.tensor([one]), output_hidden_states=True).hidden_states[1][0, -1] for one in prompts]
        )
        lens = torch.nn.functional.linear(model.model.norm(first), model.lm_head.weight)
    share = first.abs().double().numpy()
    np.testing.assert_allclose(scores.layers[:, 0, 0], scipy_entropy(share, axis=1) / np.log(64), rtol=1e-4)
    flat = first.double().softmax(-1).numpy()
    np.testing.assert_allclose(scores.layers[:, 0, 1], scipy_entropy(flat, axis=1) / np.log(64), rtol=1e-4)
    lensed = lens.double().softmax(-1).numpy()
    np.testing.assert_allclose(
        scores.layers[:, 0, 2], scipy_entropy(lensed, axis=1) / np.log(300), rtol=1e-3, atol=1e-5
    )


@settings(deadline=None)
@given(hnp.arrays(np.float32, (3, 7), elements=st.floats(-50, 50, width=32)))
def test_entropies_lie_between_certain_and_flat(values: np.ndarray) -> None:
    rows = torch.from_numpy(values)
    rows[0] = 0.0
    rows[0, 2] = 1.0
    rows[1] = 0.5
    found = compute_layer_entropies(rows, rows).numpy()
    assert (found >= -1e-6).all() and (found <= 1 + 1e-5).all()
    assert found[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert found[1] == pytest.approx(1.0, abs=1e-5)


def test_entropy_of_certainty_is_zero() -> None:
    certain = torch.tensor([[0.0, float("-inf"), float("-inf")]])
    assert compute_entropy(certain).tolist() == [0.0]


def test_an_untrained_student_is_the_base(make_base: Make, prompts: list[list[int]], recipe: Recipe) -> None:
    base = make_base()
    sequence = Sequence((1, 2), (3,), (0.0,), 0)
    unmoved = finetune(base, [sequence], recipe, seed=0)[0]
    one, other = (score(which, prompts, LABELS, inside=False) for which in (Student(base), unmoved))
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-5)


def test_scores_do_not_depend_on_earlier_calls(student: Student, prompts: list[list[int]], recipe: Recipe) -> None:
    before = score(student, prompts, LABELS, inside=True)
    score(Student(student.base), prompts[:3], LABELS, inside=False)
    generate(student, prompts[:2], 3)
    after = score(student, prompts, LABELS, inside=True)
    assert before.probabilities.tobytes() == after.probabilities.tobytes()
    assert before.layers is not None and after.layers is not None
    assert before.layers.tobytes() == after.layers.tobytes()


@pytest.mark.parametrize("student", ["llama", "mistral"], indirect=True)
def test_generate_equals_one_by_one(student: Student, prompts: list[list[int]]) -> None:
    prompts = prompts[:12]
    found = generate(student, prompts, 8)
    end = student.base.tokenizer.eos_token_id
    with attach_adapter(student) as model, torch.no_grad():
        for prompt, answer in zip(prompts, found, strict=True):
            ids = torch.tensor([prompt])
            result = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=8,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=end,
            )
            alone = result[0, len(prompt) :].tolist()
            assert answer == (alone[: alone.index(end)] if end in alone else alone)


def test_generate_stops_at_the_end_token(make_base: Make, recipe: Recipe) -> None:
    sequences = [Sequence((5, 6, number), (number, 0), (0.5, 0.5), 0) for number in (40, 50, 60, 70)] * 12
    student, _ = finetune(make_base(), sequences, replace(recipe, epochs=4, learning_rate=0.02), seed=0)
    assert generate(student, [[5, 6, 40], [5, 6, 60]], 6) == [[40], [60]]


def test_mistakes_get_a_sentence(make_base: Make) -> None:
    student = Student(make_base("mistral"))
    for prompts, part in [([], "empty"), ([[1], []], "empty"), ([[1] * 65], "longer than the 64")]:
        with pytest.raises(CompanionError, match=part):
            score(student, prompts, LABELS, inside=False)
    with pytest.raises(CompanionError, match="longer than the 64"):
        generate(student, [[1] * 60], 5)
