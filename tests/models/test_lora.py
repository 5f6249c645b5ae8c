"""Adapters: saved files that plain PEFT reads, and a base that is left as it was."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from companion.errors import CompanionError
from companion.models.base import Base
from companion.models.batches import Sequence
from companion.models.finetune import Recipe, finetune
from companion.models.lora import (
    Student,
    attach_adapter,
    create_adapter,
    get_adapter_weights,
    load_adapter,
    merge,
    save_adapter,
)
from companion.models.score import score

Make = Callable[..., Base]
MakeSequences = Callable[..., list[Sequence]]


def test_saved_adapter_is_read_by_plain_peft(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe, tmp_path: Path
) -> None:
    base = make_base()
    student, _ = finetune(base, make_sequences(8, 3), recipe, seed=0)
    save_adapter(student, tmp_path / "adapter")
    assert {file.stat().st_mode & 0o444 for file in (tmp_path / "adapter").iterdir()} == {0o444}
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    plain = PeftModel.from_pretrained(copy.deepcopy(base.model), str(tmp_path / "adapter")).eval()
    prompt = [5, 9, 33, 2]
    with torch.no_grad():
        expected = plain(input_ids=torch.tensor([prompt])).logits[0, -1, [7, 8]].softmax(-1)
    found = score(student, [prompt], [7, 8], inside=False).probabilities[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)


def test_an_untrained_student_has_nothing_to_save(make_base: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no adapter"):
        save_adapter(Student(make_base()), tmp_path)


def test_same_seed_same_adapter_whatever_the_random_state(make_base: Make) -> None:
    base = make_base()
    drawn = []
    for seed in (3, 3, 4):
        torch.rand(seed)
        with create_adapter(base, 4, 8, seed) as wrapped:
            drawn.append(get_adapter_weights(wrapped))
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert not all(torch.equal(drawn[0][name], drawn[2][name]) for name in drawn[0])
    assert all(tensor.dtype == torch.float32 for tensor in drawn[0].values())


def test_the_adapter_comes_off_even_after_an_error(make_base: Make) -> None:
    base = make_base()
    names = list(base.model.state_dict())
    with pytest.raises(RuntimeError, match="stop"), create_adapter(base, 4, 8, 0):
        raise RuntimeError("stop")
    assert list(base.model.state_dict()) == names
    with attach_adapter(Student(base)) as model:
        assert model is base.model


def test_a_saved_adapter_is_read_back_whole(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe, tmp_path: Path
) -> None:
    base = make_base()
    student, _ = finetune(base, make_sequences(8, 3), recipe, seed=0)
    save_adapter(student, tmp_path / "adapter")
    found = load_adapter(base, tmp_path / "adapter")
    assert (found.rank, found.alpha) == (student.rank, student.alpha)
    assert set(found.weights) == set(student.weights)
    assert all(torch.equal(found.weights[name], student.weights[name]) for name in student.weights)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"base_model_name_or_path": "other"}, "belongs to other at 0, not to tiny-llama at 0"),
        ({"revision": "1"}, "belongs to tiny-llama at 1"),
        ({"target_modules": ["q_proj"]}, "no plain LoRA of all projections"),
        ({"r": None}, "holds no whole adapter"),
        (None, "holds no whole adapter"),
    ],
)
def test_an_adapter_that_does_not_fit_is_one_sentence(
    make_base: Make,
    make_sequences: MakeSequences,
    recipe: Recipe,
    tmp_path: Path,
    change: dict | None,
    sentence: str,
) -> None:
    base = make_base()
    student, _ = finetune(base, make_sequences(4, 3), recipe, seed=0)
    save_adapter(student, tmp_path)
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change) if change else "{")
    with pytest.raises(CompanionError, match=sentence):
        load_adapter(base, tmp_path)


def test_a_merged_model_says_what_the_student_says(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe
) -> None:
    base = make_base()
    student, _ = finetune(base, make_sequences(8, 3), recipe, seed=0)
    prompts = [[5, 9, 33, 2], [7, 7, 8]]
    expected = score(student, prompts, [7, 8, 9], inside=False).probabilities
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 1e-2)):
        model = merge(Student(make_base(), student.rank, student.alpha, student.weights), dtype)
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        merged = Student(Base("merged", "0", "0", model.float(), base.tokenizer))
        found = score(merged, prompts, [7, 8, 9], inside=False).probabilities
        np.testing.assert_allclose(found, expected, atol=tolerance)
    assert np.abs(score(Student(base), prompts, [7, 8, 9], inside=False).probabilities - expected).max() > 0.02
