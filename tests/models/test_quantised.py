"""4-bit weights by bitsandbytes, for real, on a CPU: the same weights in ordinary linears, and the guarded gradient."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import companion.models.base as loader
from companion.models.base import Base, describe_base, is_quantised, load_base, locate
from companion.models.batches import Sequence
from companion.models.forward import get_head_weight, prepare_attention
from companion.models.lora import Student, create_adapter, unwrap_model
from companion.models.loss import batch_loss
from companion.models.score import score

bitsandbytes = pytest.importorskip("bitsandbytes")
Make = Callable[..., Base]
MakeSequences = Callable[..., list[Sequence]]


@pytest.fixture
def folder(make_base: Make, tmp_path: Path) -> Path:
    base = make_base("llama for 4 bits", torch.bfloat16)
    base.model.save_pretrained(tmp_path / "model")
    base.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def quantised(folder: Path, compute: str, monkeypatch: pytest.MonkeyPatch) -> Base:
    monkeypatch.setattr(loader, "get_native_dtype", lambda: compute)
    return load_base(str(folder), dtype="nf4")


def dequantised(base: Base, like: Base) -> Base:
    """`like` with the weights that the 4-bit base stands for."""
    ordinary = dict(like.model.named_modules())
    for name, module in base.model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            weight = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            ordinary[name].weight.data.copy_(weight)
    return like


def gradients(base: Base, sequences: list[Sequence], evaluate: bool = False) -> Tensor:
    """Gradients of random adapters, if wanted after an evaluation without gradients."""
    draw = torch.Generator().manual_seed(5)
    with create_adapter(base, 4, 8, 0) as wrapped, prepare_attention(base.model):
        model = unwrap_model(wrapped)
        adapters = sorted((name, one) for name, one in model.named_parameters() if "lora_" in name)
        for _, parameter in adapters:
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.2
        if evaluate:
            with torch.no_grad():
                batch_loss(model.eval(), get_head_weight(model), sequences)
        loss, _ = batch_loss(model.train(), get_head_weight(model), sequences)
        loss.backward()
        return torch.cat([parameter.grad.float().flatten() for _, parameter in adapters])


def error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def test_nf4_names_the_16_bit_files_and_says_how_it_computes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = locate(str(folder), dtype="nf4")
    assert found.dtype == "nf4" and found.sha256 == locate(str(folder), dtype="bfloat16").sha256
    base = quantised(folder, "bfloat16", monkeypatch)
    linears = [module for module in base.model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    assert len(linears) == 2 * 7 and is_quantised(base.model)
    assert {module.weight.quant_type for module in linears} == {"nf4"}
    assert all(module.weight.quant_state.nested for module in linears)
    assert {module.compute_dtype for module in linears} == {torch.bfloat16}
    assert describe_base(base).keys() == {"backend", "device", "compute", "bitsandbytes"}


def test_gradients_and_scores_are_those_of_the_dequantised_weights(
    folder: Path, make_base: Make, make_sequences: MakeSequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = make_sequences(5, 7)
    base = quantised(folder, "float32", monkeypatch)
    same = dequantised(base, make_base("llama for 4 bits"))
    same.model.get_input_embeddings().weight.data.copy_(base.model.get_input_embeddings().weight)
    assert error(gradients(base, sequences), gradients(same, sequences)) < 1e-4
    prompts = [list(sequence.prompt) for sequence in sequences]
    one, other = (score(Student(which), prompts, [5, 6, 7], inside=True) for which in (base, same))
    assert abs(one.probabilities - other.probabilities).max() < 1e-4


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_training_after_an_evaluation_keeps_its_gradient(
    folder: Path, make_sequences: MakeSequences, monkeypatch: pytest.MonkeyPatch, compute: str
) -> None:
    sequences = make_sequences(5, 7)
    base = quantised(folder, compute, monkeypatch)
    expected = gradients(base, sequences)
    assert error(gradients(base, sequences, evaluate=True), expected) < 1e-5


def test_the_guard_guards_against_something(
    folder: Path, make_sequences: MakeSequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = make_sequences(5, 7)
    monkeypatch.setattr(loader, "keep_trainable_layout", lambda model: None)
    base = quantised(folder, "bfloat16", monkeypatch)
    linears = [module for module in base.model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    if not any(module.support_avx512bf16_for_cpu for module in linears):
        pytest.skip("this processor has no units for which bitsandbytes repacks")
    expected = gradients(base, sequences)
    assert error(gradients(base, sequences, evaluate=True), expected) > 0.1
