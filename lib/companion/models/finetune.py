"""Fine-tune LoRA adapters: exact gradients, on a CPU faster than stock trainers (README, Speed).

What makes it fast changes no result beyond rounding: prompts share their first tokens (`attention.py`), logits are
computed at response tokens only, and a batch has no padding. On a GPU the blocks' activations are computed again in the
backward pass where they are too many to be kept (gradient checkpointing), and Unsloth, where it holds the model, pads
its batches.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, get_wsd_schedule

from companion.errors import CompanionError
from companion.models.backend import explain_memory_errors
from companion.models.base import Base, describe_base
from companion.models.batches import Sequence, epoch_batches, split_batch
from companion.models.checkpoint import Checkpoint, Checkpoints, State
from companion.models.forward import check_window, get_head_weight, prepare_attention, supports_packed_rows
from companion.models.lora import Student, create_adapter, get_adapter_weights, unwrap_model
from companion.models.loss import batch_loss
from companion.origin import describe_origin, hash_code

TOKENS_AT_ONCE = 600
"""What a recipe that says nothing holds at a time; other parts give sums of other last bits, so it stays."""

FIRST_LOSS_SCALE = 2.0**12
"""Factor that keeps float16 gradients from vanishing; halved when they overflow."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one fine-tuning; `max_length` in tokens, prompt and response together.

    `batch_size` is the number of examples of one optimiser step, in however many parts memory makes them be computed.
    `tokens_at_once` are those whose activations are held at a time on a CPU, about 2.4 MB each on the embedded model: a
    batch that fits is computed whole. On a GPU its memory decides.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    lora_rank: int
    lora_alpha: int
    warmup_ratio: float
    decay_ratio: float
    weight_decay: float
    gradient_clip: float
    max_length: int
    lora_dropout: float = 0.0
    tokens_at_once: int = TOKENS_AT_ONCE


@dataclass(frozen=True)
class History:
    """One entry per optimiser step: examples seen so far, weighted loss, and mean negative log-likelihoods in nats.

    `label_loss` is taken over the label tokens of the batch, `rest_loss` over its other response tokens (NaN if none).
    `parts` says in how many parts the batch was computed.
    """

    examples_seen: NDArray[np.int64]
    loss: NDArray[np.float64]
    label_loss: NDArray[np.float64]
    rest_loss: NDArray[np.float64]
    parts: NDArray[np.int64]


ProgressCallback = Callable[[int, int, int, float], None]
"""Called with the steps done, the steps of the whole training, the examples seen and the last loss (NaN before any)."""


def finetune(
    base: Base,
    sequences: list[Sequence],
    recipe: Recipe,
    seed: int,
    checkpoint: Checkpoint | None = None,
    on_progress: ProgressCallback = lambda *_: None,
) -> tuple[Student, History]:
    """Train a fresh adapter on the response tokens of all sequences.

    Loss of a batch: sum over its examples and response tokens of weight * negative log-likelihood, divided by the
    number of examples (papers' objective: weights 1/|r|). AdamW, gradient clipping; the rate warms up linearly, stays,
    and falls linearly to zero over the last steps. The seed fixes the initial adapter and the batches, and both are the
    same for any targets of the same groups and strata. At one thread count on one kind of CPU the result is the same
    to the bit, whatever the process did before; on a GPU it is the same up to rounding. LoRA dropout is drawn from the
    seed too; tokens that a batch shares share their dropout.

    With a `checkpoint`, an interrupted training resumes from the last one that was written, if everything that decides
    its result is unchanged; adapter and history then equal those of an uninterrupted training, as exactly as above.
    `on_progress` is called before the first step and after each.

    Raises:
        CompanionError: nothing to train on, a malformed or too long sequence, or one too long for the GPU's memory.
    """
    _check(base, sequences, recipe)
    batches = [
        batch for epoch in range(recipe.epochs) for batch in epoch_batches(sequences, recipe.batch_size, seed, epoch)
    ]
    kept = Checkpoints(checkpoint, _hash_inputs(base, sequences, recipe, seed, checkpoint.run)) if checkpoint else None
    with create_adapter(base, recipe.lora_rank, recipe.lora_alpha, seed, recipe.lora_dropout) as wrapped:
        with torch.random.fork_rng(), explain_memory_errors("during training"):
            torch.manual_seed(seed)
            history = _train(wrapped, sequences, batches, recipe, kept, on_progress)
        weights = get_adapter_weights(wrapped)
    return Student(base, recipe.lora_rank, recipe.lora_alpha, weights), history


def _hash_inputs(base: Base, sequences: list[Sequence], recipe: Recipe, seed: int, run: str) -> str:
    """Digest of all that decides the result of a training: settings, examples, base, code, libraries and machine."""
    made_by = {**describe_origin(), **describe_base(base), "code": hash_code()}
    del made_by["commit"]  # changed code may have that of the code before it
    if base.model.device.type != "cpu":
        del made_by["processor"]  # a rented card comes with now this one, now that one
    settings = (run, recipe, seed, base.sha256, torch.get_num_threads(), sorted(made_by.items()))
    digest = hashlib.sha256(repr(settings).encode())
    for sequence in sequences:
        digest.update(repr(sequence).encode())
    return digest.hexdigest()


def _train(
    wrapped: PeftModel,
    sequences: list[Sequence],
    batches: list[list[int]],
    recipe: Recipe,
    kept: Checkpoints | None,
    on_progress: ProgressCallback,
) -> History:
    model = unwrap_model(wrapped)
    model.train()
    head = get_head_weight(model)
    largest = max(sum(sequences[number].length for number in batch) for batch in batches)
    again = model.device.type == "cuda" and largest > count_free_tokens(model, checkpointed=False)
    room = recipe.tokens_at_once if model.device.type == "cpu" else count_free_tokens(model, again)
    state = _create_state(model, recipe, len(batches), room)
    if kept:
        kept.resume(state)
    on_progress(len(state.steps), len(batches), *_get_progress(state))
    with prepare_attention(model), checkpoint_activations(model, again):
        for batch in batches[len(state.steps) :]:
            _step(model, head, [sequences[number] for number in batch], recipe, state)
            if kept:
                kept.save_state(state, last=len(state.steps) == len(batches))
            on_progress(len(state.steps), len(batches), *_get_progress(state))
    model.eval()
    return History(*(np.array(column) for column in zip(*state.steps, strict=True)))


def _get_progress(state: State) -> tuple[int, float]:
    return state.steps[-1][:2] if state.steps else (0, math.nan)


def _create_state(model: PreTrainedModel, recipe: Recipe, steps: int, room: int) -> State:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    warmup, decay = (math.ceil(ratio * steps) for ratio in (recipe.warmup_ratio, recipe.decay_ratio))
    schedule = get_wsd_schedule(optimizer, warmup, decay, steps, decay_type="linear")
    scaler = torch.amp.GradScaler(model.device.type, init_scale=FIRST_LOSS_SCALE, enabled=model.dtype == torch.float16)
    return State(parameters, optimizer, schedule, scaler, room)


def _step(model: PreTrainedModel, head: Tensor, batch: list[Sequence], recipe: Recipe, state: State) -> None:
    """One optimiser step, tried again as long as float16 gradients overflow; its entry of the history is added."""
    stepped = False
    while not stepped:
        loss, losses, parts, state.room = _backward_within_memory(model, head, batch, state.room, state.scaler)
        state.scaler.unscale_(state.optimizer)
        torch.nn.utils.clip_grad_norm_(state.parameters, recipe.gradient_clip)
        state.scaler.step(state.optimizer)
        stepped = not _update_loss_scale(state.scaler)
        state.optimizer.zero_grad(set_to_none=True)
    state.schedule.step()
    seen, _ = _get_progress(state)
    state.steps.append((seen + len(batch), loss, *_split_losses(batch, losses), parts))


def _update_loss_scale(scaler: torch.amp.GradScaler) -> bool:
    """Whether the last step was skipped because float16 gradients overflowed; the scale is then halved."""
    before = scaler.get_scale()
    scaler.update()
    if scaler.get_scale() < 1:
        raise CompanionError("The gradients overflow in float16 however they are scaled: lower the learning rate.")
    return scaler.get_scale() < before


@contextmanager
def checkpoint_activations(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """While open, and if `wanted`, activations inside the blocks are computed again in the backward pass.

    The last block keeps its own: its output must be part of the graph for `residual_rows`, and the backward pass begins
    with it anyway.
    """
    if not wanted:
        yield
        return
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.get_decoder().layers[-1].gradient_checkpointing = False
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def count_free_tokens(model: PreTrainedModel, checkpointed: bool) -> int:
    """Tokens whose activations are held at a time on a GPU: as many as fill half of its free memory."""
    free, _ = torch.cuda.mem_get_info()
    free += torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return count_fitting_tokens(model.config, free // 2, model.dtype.itemsize, checkpointed)


def count_fitting_tokens(config: PreTrainedConfig, memory: int, itemsize: int, checkpointed: bool = True) -> int:
    """Tokens whose activations fit `memory` bytes, as a power of two.

    The block being computed holds about 16 rows of the hidden width and 8 of the MLP's; so does every block without
    checkpoints, and with them every other one holds its input. A power of two, so that a little more or less free
    memory splits no batch differently.
    """
    worked_on = 16 * config.hidden_size + 8 * config.intermediate_size
    others = config.hidden_size if checkpointed else worked_on
    tokens = max(1, memory // ((worked_on + config.num_hidden_layers * others) * itemsize))
    return 1 << (tokens.bit_length() - 1)


def _backward_within_memory(
    model: PreTrainedModel, head: Tensor, batch: list[Sequence], room: int, scaler: torch.amp.GradScaler
) -> tuple[float, Tensor, int, int]:
    """`_backward` with as many tokens at once as the GPU turns out to hold; gives that number too.

    Raises:
        torch.OutOfMemoryError: not even one sequence at a time.
    """
    while True:
        try:
            loss, losses, parts = _backward(model, head, batch, room, scaler)
            return loss, losses, parts, room
        except torch.OutOfMemoryError:
            if len(split_batch(batch, supports_packed_rows(model), room)) == len(batch):
                raise
        model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        room //= 2


def _backward(
    model: PreTrainedModel, head: Tensor, batch: list[Sequence], room: int, scaler: torch.amp.GradScaler
) -> tuple[float, Tensor, int]:
    """Add the gradient of a batch to the adapter's, part by part; gives its loss, each token's, and the parts."""
    total, parts = 0.0, []
    for part in split_batch(batch, supports_packed_rows(model), room):
        loss, losses = batch_loss(model, head, part, len(batch))
        scaler.scale(loss).backward()
        total += loss.item()
        parts.append(losses)
    return total, torch.cat(parts), len(parts)


def _split_losses(sequences: list[Sequence], losses: Tensor) -> tuple[float, float]:
    """Mean negative log-likelihood of the label tokens, and of the others (NaN if there are none)."""
    label = np.zeros(len(losses), dtype=bool)
    start = 0
    for sequence in sequences:
        label[start + sequence.label_index] = True
        start += len(sequence.response)
    values = losses.double().cpu().numpy()
    return float(values[label].mean()), float(values[~label].mean()) if not label.all() else math.nan


def _check(base: Base, sequences: list[Sequence], recipe: Recipe) -> None:
    if not sequences:
        raise CompanionError("There is nothing to fine-tune on: the list of training sequences is empty.")
    for number, sequence in enumerate(sequences):
        if sequence.length > recipe.max_length:
            raise CompanionError(
                f"Training sequence {number} has {sequence.length} tokens, more than max_length {recipe.max_length}: "
                "shorten its prompt or target, or raise max_length."
            )
        if not sequence.prompt or len(sequence.weights) != len(sequence.response):
            raise CompanionError(f"Training sequence {number} needs a prompt and one weight per response token.")
        if not 0 <= sequence.label_index < len(sequence.response):
            raise CompanionError(
                f"Training sequence {number} has its label at {sequence.label_index}, outside its response."
            )
    check_window(base.model, max(sequence.length for sequence in sequences))
