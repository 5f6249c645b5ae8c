"""The fast path against plain transformers + PEFT: loss, every gradient, batches, history, independence."""

import copy
import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor

import companion.models.finetune as subject
from companion.errors import CompanionError
from companion.models.base import Base
from companion.models.batches import Sequence, epoch_batches
from companion.models.finetune import History, Recipe, finetune
from companion.models.forward import get_head_weight, prepare_attention, supports_packed_rows
from companion.models.lora import TARGETS, Student, create_adapter
from companion.models.loss import batch_loss

Make = Callable[..., Base]
MakeSequences = Callable[..., list[Sequence]]


def randomise(model: torch.nn.Module) -> list[Tensor]:
    """Give every adapter matrix random values (B starts at zero, which would hide half of the gradients)."""
    draw = torch.Generator().manual_seed(5)
    adapters = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    for parameter in adapters:
        parameter.data = torch.randn(parameter.shape, generator=draw) * 0.2
    return adapters


def plain_loss(model: PeftModel, sequences: list[Sequence]) -> Tensor:
    """The objective written out: every example alone through the whole model."""
    total = torch.zeros(())
    for sequence in sequences:
        ids = torch.tensor([sequence.prompt + sequence.response])
        logs = model(input_ids=ids).logits[0, len(sequence.prompt) - 1 : -1].float().log_softmax(-1)
        losses = -logs[range(len(sequence.response)), list(sequence.response)]
        total = total + (losses * torch.tensor(sequence.weights)).sum()
    return total / len(sequences)


def plain_gradients(base: Base, sequences: list[Sequence]) -> tuple[float, list[Tensor]]:
    model = get_peft_model(copy.deepcopy(base.model), LoraConfig(r=4, lora_alpha=8, target_modules=list(TARGETS)))
    adapters = randomise(model)
    loss = plain_loss(model, sequences)
    loss.backward()
    return loss.item(), [parameter.grad.float() for parameter in adapters if parameter.grad is not None]


def fast_gradients(base: Base, sequences: list[Sequence]) -> tuple[float, list[Tensor]]:
    with create_adapter(base, 4, 8, 0) as wrapped, prepare_attention(base.model):
        adapters = randomise(wrapped)
        loss, _ = batch_loss(wrapped.base_model.model, get_head_weight(base.model), sequences)
        loss.backward()
        return loss.item(), [parameter.grad.float() for parameter in adapters if parameter.grad is not None]


@pytest.mark.parametrize("kind", ["llama", "mistral"])
@pytest.mark.parametrize(("count", "shared"), [(5, 0), (5, 17), (1, 9)])
def test_loss_and_gradients_equal_plain_peft(
    make_base: Make, make_sequences: MakeSequences, kind: str, count: int, shared: int
) -> None:
    base, sequences = make_base(kind), make_sequences(count, shared)
    loss, gradients = fast_gradients(base, sequences)
    plain, expected = plain_gradients(base, sequences)
    assert loss == pytest.approx(plain, rel=1e-5)
    assert len(gradients) == len(expected) == 2 * 2 * len(TARGETS)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())


def test_bf16_gradients_are_as_good_as_plain_bf16(make_base: Make, make_sequences: MakeSequences) -> None:
    sequences = make_sequences(6, 15)
    exact = torch.cat([part.flatten() for part in plain_gradients(make_base(), sequences)[1]])
    half = make_base(dtype=torch.bfloat16)

    def error(gradients: list[Tensor]) -> float:
        return ((torch.cat([part.flatten() for part in gradients]) - exact).norm() / exact.norm()).item()

    assert error(fast_gradients(half, sequences)[1]) < 1.3 * error(plain_gradients(half, sequences)[1]) < 0.3


def test_other_architectures_take_the_padded_way(make_base: Make, make_sequences: MakeSequences) -> None:
    base, sequences = make_base("qwen2"), make_sequences(4, 6)
    assert not supports_packed_rows(base.model)
    loss, gradients = fast_gradients(base, sequences)
    plain, expected = plain_gradients(base, sequences)
    assert loss == pytest.approx(plain, rel=1e-5)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())


def test_architectures_without_these_projections_are_refused(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe
) -> None:
    with pytest.raises(CompanionError, match="gpt_neox"):
        finetune(make_base("gpt_neox"), make_sequences(4, 6), recipe, seed=0)


def test_training_lowers_the_loss_and_leaves_the_base_alone(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe
) -> None:
    base, sequences = make_base(), make_sequences(16, 5)
    before = copy.deepcopy(base.model.state_dict())
    student, history = finetune(base, sequences, dataclasses.replace(recipe, epochs=6), seed=1)
    assert history.loss[-4:].mean() < 0.8 * history.loss[:4].mean()
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert student.weights is not None
    assert any(tensor.abs().max() > 0 for name, tensor in student.weights.items() if "lora_B" in name)


def test_history_counts_examples_and_splits_the_loss(
    make_base: Make, recipe: Recipe, make_sequences: MakeSequences
) -> None:
    sequences = [dataclasses.replace(one, weights=(1.0,) * len(one.response)) for one in make_sequences(7, 3)]
    _, history = finetune(make_base(), sequences, dataclasses.replace(recipe, epochs=1), seed=0)
    assert history.examples_seen.tolist() in ([4, 7], [3, 7])
    for step, batch in enumerate(epoch_batches(sequences, 4, 0, 0)):
        tokens = sum(len(sequences[number].response) for number in batch)
        rest = np.nan_to_num(history.rest_loss[step]) * (tokens - len(batch))
        total = history.label_loss[step] * len(batch) + rest
        assert history.loss[step] * len(batch) == pytest.approx(total, rel=1e-4)


def test_rest_loss_is_nan_without_other_tokens(make_base: Make, recipe: Recipe) -> None:
    _, history = finetune(make_base(), [Sequence((1, 2, 3), (4,), (1.0,), 0)], recipe, seed=0)
    assert np.isnan(history.rest_loss).all()


def test_batches_depend_on_groups_strata_and_seed_only(make_sequences: MakeSequences) -> None:
    sequences = grouped(make_sequences(23, 4), 1)
    other_arm = [Sequence((9, *one.prompt), (1, 2, 3) * 5, (1.0,) * 15, 0, one.group, one.stratum) for one in sequences]
    batches = epoch_batches(sequences, 4, seed=3, epoch=0)
    assert batches == epoch_batches(other_arm, 4, seed=3, epoch=0)
    assert sorted(number for batch in batches for number in batch) == list(range(23))
    assert batches != epoch_batches(sequences, 4, seed=4, epoch=0)
    assert batches != epoch_batches(sequences, 4, seed=3, epoch=1)


def grouped(sequences: list[Sequence], size: int) -> list[Sequence]:
    """The same sequences in groups of a size, each with a random label as its stratum."""
    labels = np.random.default_rng(0).choice(5, len(sequences), p=[0.1, 0.2, 0.4, 0.2, 0.1])
    return [
        dataclasses.replace(one, group=f"text {number // size}", stratum=f"label {label}")
        for number, (one, label) in enumerate(zip(sequences, labels, strict=True))
    ]


@pytest.mark.parametrize("size", [1, 5])
def test_running_shares_of_strata_stay_even(make_sequences: MakeSequences, size: int) -> None:
    sequences = grouped(make_sequences(200, 4), size)
    names = sorted({one.stratum for one in sequences})
    strata = np.array([names.index(one.stratum) for one in sequences])
    share = np.bincount(strata) / len(strata)

    def drift(order: list[int]) -> float:
        running = np.cumsum(np.eye(len(names))[strata[order]] - share, axis=0)
        return float((running**2).mean())

    chosen = [sum(epoch_batches(sequences, 5, seed, 0), []) for seed in range(5)]
    shuffled = [np.random.default_rng(seed).permutation(200).tolist() for seed in range(5)]
    assert np.mean([drift(order) for order in chosen]) < 0.7 * np.mean([drift(order) for order in shuffled])


def test_orders_of_two_seeds_are_not_alike(make_sequences: MakeSequences) -> None:
    sequences = grouped(make_sequences(300, 4), 5)
    places = [np.argsort(sum(epoch_batches(sequences, 5, seed, 0), [])) for seed in range(8)]
    assert np.abs(np.corrcoef(places)[np.triu_indices(8, 1)]).mean() < 0.4


def test_groups_stay_together(make_sequences: MakeSequences) -> None:
    sequences = grouped(make_sequences(30, 4), 3)
    batches = epoch_batches(sequences, 6, seed=0, epoch=0)
    assert all(len({sequences[number].group for number in batch}) == 2 for batch in batches)


def digest(student: Student, history: History) -> str:
    assert student.weights is not None
    parts = [tensor.numpy().tobytes() for _, tensor in sorted(student.weights.items())]
    parts += [array.tobytes() for array in dataclasses.asdict(history).values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_run_does_not_depend_on_what_ran_before(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe, dtype: torch.dtype
) -> None:
    sequences = make_sequences(10, 8)
    alone = digest(*finetune(make_base(dtype=dtype), sequences, recipe, seed=2))
    base = make_base(dtype=dtype)
    finetune(base, make_sequences(6, 3, seed=9), dataclasses.replace(recipe, lora_rank=2), seed=7)
    torch.rand(5)
    assert digest(*finetune(base, sequences, recipe, seed=2)) == alone
    assert digest(*finetune(base, sequences, recipe, seed=3)) != alone


def test_every_step_is_told_and_telling_changes_no_bit(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe
) -> None:
    sequences, told = make_sequences(10, 8), []
    student, history = finetune(make_base(), sequences, recipe, seed=2, on_progress=lambda *one: told.append(one))
    assert digest(student, history) == digest(*finetune(make_base(), sequences, recipe, seed=2))
    steps = len(history.loss)
    assert told[0][:3] == (0, steps, 0) and np.isnan(told[0][3])
    columns = zip(range(1, steps + 1), [steps] * steps, history.examples_seen, history.loss, strict=True)
    assert told[1:] == list(columns)


def test_seed_leaves_the_random_state_of_the_process(
    make_base: Make, make_sequences: MakeSequences, recipe: Recipe
) -> None:
    base = make_base()
    torch.manual_seed(42)
    expected = torch.rand(3)
    torch.manual_seed(42)
    finetune(base, make_sequences(4, 3), recipe, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_mistakes_get_a_sentence(make_base: Make, recipe: Recipe, make_sequences: MakeSequences) -> None:
    base = make_base("mistral")
    good = make_sequences(1, 3)[0]
    long = Sequence((1,) * 65, (2,), (1.0,), 0)
    for sequences, settings, part in [
        ([], recipe, "empty"),
        ([good, long], recipe, "sequence 1 has 66 tokens, more than max_length 64"),
        ([long], dataclasses.replace(recipe, max_length=100), "longer than the 64"),
        ([dataclasses.replace(good, weights=())], recipe, "one weight per response token"),
        ([dataclasses.replace(good, label_index=len(good.response))], recipe, "outside its response"),
    ]:
        with pytest.raises(CompanionError, match=part):
            finetune(base, sequences, settings, seed=0)


REPEAT = """
import sys, pathlib
sys.path.insert(0, str(pathlib.Path(sys.argv[1])))
import torch
from conftest import byte_tokenizer, tiny_model
from companion.models.base import Base
from companion.models.finetune import Recipe, Sequence, finetune
from companion.models.score import score
from test_finetune import digest
torch.set_num_threads(1)
base = Base("tiny", "0", "0", tiny_model("llama", torch.bfloat16), byte_tokenizer())
sequences = [Sequence(tuple(range(1, 20 + n)), (5 + n % 5, 7, 0), (0.4, 0.3, 0.3), 0) for n in range(12)]
student, history = finetune(base, sequences, Recipe(1e-2, 2, 4, 4, 8, 0.1, 0.3, 0.0, 1.0, 64), seed=1)
scores = score(student, [list(one.prompt) for one in sequences], [5, 6, 7, 8, 9], inside=True)
print(digest(student, history), scores.probabilities.tobytes().hex(), scores.layers.tobytes().hex())
"""


@pytest.mark.slow
def test_two_fresh_processes_agree_to_the_bit(request: pytest.FixtureRequest) -> None:
    command = [sys.executable, "-c", REPEAT, str(request.path.parent)]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))
    assert first and first == second


def test_a_batch_that_fits_is_computed_whole(
    make_base: Make, make_sequences: MakeSequences, recipe: subject.Recipe
) -> None:
    sequences = make_sequences(6, 8)
    tokens = sum(sequence.length for sequence in sequences)
    parts = []
    for at_once in (tokens, 40):
        chosen = dataclasses.replace(recipe, batch_size=6, epochs=1, tokens_at_once=at_once)
        parts += subject.finetune(make_base(), sequences, chosen, 0)[1].parts.tolist()
    assert parts[0] == 1 and parts[1] > 1


def test_a_batch_in_parts_has_the_gradient_of_the_whole(make_base: Make, make_sequences: MakeSequences) -> None:
    base, sequences, scaler = make_base(), make_sequences(5, shared=7), torch.amp.GradScaler("cpu", enabled=False)
    gradients = []
    for room in (10_000, 30):
        with create_adapter(base, 4, 8, seed=1) as wrapped, prepare_attention(base.model):
            randomise(wrapped)
            model = wrapped.base_model.model
            total, losses, parts = subject._backward(model, get_head_weight(model), sequences, room, scaler)
            found = [parameter.grad.clone() for parameter in wrapped.parameters() if parameter.requires_grad]
        gradients.append((total, losses, torch.cat([gradient.flatten() for gradient in found])))
    (whole, all_losses, one), (summed, part_losses, other) = gradients
    assert whole == pytest.approx(summed, rel=1e-5)
    assert torch.allclose(all_losses, part_losses, atol=1e-5)
    assert torch.allclose(one, other, atol=1e-6)
    assert parts > 1
