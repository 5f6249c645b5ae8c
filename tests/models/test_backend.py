"""Which backend is chosen, every sentence of a mistake, what a run tells of its backend, and room on the GPU."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import MistralConfig

import companion.models.backend as backend
import companion.models.base as loader
import companion.models.finetune as training
from companion.errors import CompanionError
from companion.models.base import Base, describe_base, get_native_dtype
from companion.models.batches import Sequence
from companion.models.finetune import Recipe, count_fitting_tokens, finetune

Make = Callable[..., Base]
MakeSequences = Callable[..., list[Sequence]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool, bool], None]:
    def make(gpu: bool, unsloth: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(backend.importlib.util, "find_spec", lambda _: object() if unsloth else None)

    return make


@pytest.mark.parametrize(
    ("gpu", "installed", "wanted", "chosen"),
    [
        (False, True, "auto", "transformers"),
        (False, False, "auto", "transformers"),
        (True, True, "auto", "unsloth"),
        (True, False, "auto", "transformers"),
        (True, True, "unsloth", "unsloth"),
        (True, True, "transformers", "transformers"),
        (False, True, "transformers", "transformers"),
    ],
)
def test_choice(machine: Callable, gpu: bool, installed: bool, wanted: str, chosen: str) -> None:
    machine(gpu, installed)
    assert backend.choose_backend(wanted) == chosen


@pytest.mark.parametrize(
    ("gpu", "installed", "wanted", "sentence"),
    [
        (False, True, "unsloth", "needs a CUDA GPU and torch sees none here: write `backend: auto`"),
        (True, False, "unsloth", "not installed: run `pip install --no-deps -r no-deps.txt`"),
        (True, True, "vllm", "'vllm' is not known: use auto, unsloth or transformers"),
    ],
)
def test_mistakes_get_a_sentence(machine: Callable, gpu: bool, installed: bool, wanted: str, sentence: str) -> None:
    machine(gpu, installed)
    with pytest.raises(CompanionError, match=sentence):
        backend.choose_backend(wanted)


@pytest.mark.parametrize(("able", "dtype"), [(True, "bfloat16"), (False, "float16")])
def test_auto_on_a_gpu_asks_the_card(monkeypatch: pytest.MonkeyPatch, able: bool, dtype: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    assert get_native_dtype() == dtype


def test_nf4_needs_bitsandbytes(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(loader.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompanionError, match="nf4 needs bitsandbytes: run"):
        loader._load(loader.ModelLocation(tmp_path, "m", "0", "0", "nf4"))


def test_facts_of_a_run_on_a_cpu(make_base: Make) -> None:
    assert describe_base(make_base(dtype=torch.bfloat16)) == {
        "backend": "transformers",
        "device": "cpu",
        "compute": "bfloat16",
    }


def test_the_start_of_a_run_imports_nothing_that_unsloth_changes() -> None:
    code = (
        "import sys, companion.studies.explanations.training.experiment\n"
        "from companion.models import backend\n"
        "assert backend.start_backend() == 'transformers'\n"
        "print(*sorted(set(sys.modules) & {'transformers', 'peft', 'trl', 'unsloth'}))\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == []


def test_memory_becomes_tokens() -> None:
    mistral = MistralConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32)
    assert count_fitting_tokens(mistral, 5 * 2**30, 2) == 8192
    assert count_fitting_tokens(mistral, 5 * 2**30, 4) == 4096
    assert count_fitting_tokens(mistral, 1, 2) == 1
    # All 32 blocks keep what the one that is worked on holds: 180,224 numbers a token.
    assert count_fitting_tokens(mistral, 5 * 2**30, 2, checkpointed=False) == 256


def full_above(limit: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make a part of more than `limit` sequences run out of memory, after part of its gradient is there."""
    sizes: list[int] = []
    batch_loss = training.batch_loss

    def limited(model, head, sequences, size=None):
        sizes.append(len(sequences))
        loss, losses = batch_loss(model, head, sequences, size)
        if len(sequences) > limit:
            loss.backward()
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss, losses

    monkeypatch.setattr(training, "batch_loss", limited)
    return sizes


def test_a_batch_too_large_for_the_gpu_is_halved_until_it_fits(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = make_sequences(8, 3)
    expected, history = finetune(make_base(), sequences, recipe, seed=0)
    sizes = full_above(2, monkeypatch)
    found, halved = finetune(make_base(), sequences, recipe, seed=0)
    assert sizes[0] == 4 and max(sizes[-sum(halved.parts) + 2 :]) <= 2, "what fitted once is not tried again"
    assert history.parts.tolist() == [1] * 4 and min(halved.parts) >= 2
    np.testing.assert_allclose(halved.loss, history.loss, rtol=1e-4)
    assert expected.weights is not None and found.weights is not None
    for name, tensor in expected.weights.items():
        torch.testing.assert_close(found.weights[name], tensor, rtol=1e-2, atol=1e-4)


def test_one_sequence_too_large_for_the_gpu_gets_a_sentence(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_above(0, monkeypatch)
    with pytest.raises(CompanionError, match=r"ran out of memory during training \(cpu\): set `dtype: nf4`"):
        finetune(make_base(), make_sequences(8, 3), recipe, seed=0)


def test_float16_gradients_are_scaled_and_an_overflow_is_tried_again(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = make_sequences(8, 3)
    _, history = finetune(make_base(), sequences, recipe, seed=0)
    for first in (2.0**12, 2.0**40):
        monkeypatch.setattr(training, "FIRST_LOSS_SCALE", first)
        _, half = finetune(make_base(dtype=torch.float16), sequences, recipe, seed=0)
        np.testing.assert_allclose(half.loss, history.loss, rtol=0.02)
        assert half.examples_seen.tolist() == history.examples_seen.tolist()


def test_dropout_repeats_by_seed_and_is_off_in_use(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe
) -> None:
    sequences, dropping = make_sequences(8, 3), dataclasses.replace(recipe, lora_dropout=0.5)
    histories = []
    for seed, settings in ((0, dropping), (0, dropping), (1, dropping), (0, recipe)):
        torch.rand(3)
        histories.append(finetune(make_base(), sequences, settings, seed)[1].loss)
    assert np.array_equal(histories[0], histories[1])
    assert not np.array_equal(histories[0], histories[2])
    # B is zero at first, so that dropout shows from the second step on.
    assert histories[0][0] == pytest.approx(histories[3][0], rel=1e-5)
    assert not np.allclose(histories[0][1:], histories[3][1:], rtol=1e-5)
