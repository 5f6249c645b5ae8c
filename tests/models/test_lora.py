"""Adapters: saved files that plain PEFT reads, and a base that is left as it was."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from companion.models.base import Base
from companion.models.finetune import Recipe, Sequence, finetune
from companion.models.lora import Student, adapter_weights, attached, fresh_adapter, save_adapter
from companion.models.score import score

Make = Callable[..., Base]
MakeSequences = Callable[..., list[Sequence]]


def test_saved_adapter_is_read_by_plain_peft(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe, tmp_path: Path
) -> None:
    base = make_base()
    student, _ = finetune(base, make_sequences(8, 3), recipe, seed=0)
    save_adapter(student, tmp_path / "adapter")
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
        with fresh_adapter(base, 4, 8, seed) as wrapped:
            drawn.append(adapter_weights(wrapped))
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert not all(torch.equal(drawn[0][name], drawn[2][name]) for name in drawn[0])
    assert all(tensor.dtype == torch.float32 for tensor in drawn[0].values())


def test_the_adapter_comes_off_even_after_an_error(make_base: Make) -> None:
    base = make_base()
    names = list(base.model.state_dict())
    with pytest.raises(RuntimeError, match="stop"), fresh_adapter(base, 4, 8, 0):
        raise RuntimeError("stop")
    assert list(base.model.state_dict()) == names
    with attached(Student(base)) as model:
        assert model is base.model
