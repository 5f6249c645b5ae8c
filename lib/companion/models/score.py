"""Read label probabilities, entropies and answers off a student."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from companion.errors import CompanionError
from companion.models.backend import explain_memory_errors
from companion.models.forward import (
    apply_final_norm,
    check_window,
    compute_residual_rows,
    get_head_weight,
    prepare_attention,
)
from companion.models.lora import Student, attach_adapter

BATCH = 32

ProgressCallback = Callable[[int, int], None]
"""Called after each batch with the prompts done and all of them."""


@dataclass(frozen=True)
class Scores:
    """What a student says at the last prompt token of n prompts.

    `probabilities` (n, labels): over the label tokens, summing to 1. Over the whole vocabulary: `entropy` (n,) in
    nats, `peak` (n,) the highest probability, `label_mass` (n,) what all labels hold together. `layers` (n, blocks,
    3): E1, E2, E3 after each block, each divided by its maximum; None if not asked for. All float32.
    """

    probabilities: NDArray[np.float32]
    entropy: NDArray[np.float32]
    peak: NDArray[np.float32]
    label_mass: NDArray[np.float32]
    layers: NDArray[np.float32] | None


def score(
    student: Student,
    prompts: list[list[int]],
    label_ids: list[int],
    inside: bool,
    on_progress: ProgressCallback = lambda *_: None,
) -> Scores:
    """One forward pass over prompts (token ids) that end right before the label token; final norm and head in fp32.

    With `inside`, also the entropies of `compute_layer_entropies` at every block, for about 40 % more time. Prompts are
    batched by length, so that the last bits of a result can depend on the other prompts of the call, never on
    earlier calls.

    Raises:
        CompanionError: no prompts, an empty one, one longer than the model attends to, or too little GPU memory.
    """
    _check(student, prompts)
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    parts = []
    with (
        explain_memory_errors("while labels were scored"),
        attach_adapter(student) as model,
        prepare_attention(model),
        torch.inference_mode(),
    ):
        head = get_head_weight(model)
        for start in range(0, len(order), BATCH):
            chosen = [prompts[number] for number in order[start : start + BATCH]]
            parts.append(_score_batch(model, head, chosen, label_ids, inside))
            on_progress(start + len(chosen), len(order))
    back = np.argsort(order)
    probabilities, entropies, peaks, masses, *layers = (
        np.concatenate(column)[back] for column in zip(*parts, strict=True)
    )
    return Scores(probabilities, entropies, peaks, masses, layers[0] if inside else None)


def compute_layer_entropies(rows: Tensor, logits: Tensor) -> Tensor:
    """E1, E2, E3, each within [0, 1], as (n, 3), of residual rows (n, d) and their logit-lens logits (n, vocabulary).

    E1: entropy of |h_i| / sum_j |h_j|. E2: of softmax(h). E3: of softmax(W norm(h)). Each is divided by its maximum
    (log d, log d, log vocabulary), so that 0 is certain and 1 is flat (definitions of the explanations study's
    entropy analyses).
    """
    share = torch.nn.functional.normalize(rows.float().abs(), p=1, dim=-1).log()
    spreads = (share, torch.log_softmax(rows.float(), -1), torch.log_softmax(logits, -1))
    return torch.stack([compute_entropy(spread) / math.log(spread.shape[-1]) for spread in spreads], dim=-1)


def compute_entropy(log_probabilities: Tensor) -> Tensor:
    """Entropy in nats of each row of log-probabilities; -inf, a probability of zero, adds nothing."""
    return -(log_probabilities.exp() * log_probabilities.clamp(min=torch.finfo(log_probabilities.dtype).min)).sum(-1)


def generate(
    student: Student, prompts: list[list[int]], max_new_tokens: int, on_progress: ProgressCallback = lambda *_: None
) -> list[list[int]]:
    """Greedy continuations, at most `max_new_tokens` tokens each, ended before the end-of-sequence token.

    transformers' own generation with a key-value cache, prompts of like length left-padded together.

    Raises:
        CompanionError: as in `score`.
    """
    _check(student, prompts, max_new_tokens)
    tokenizer = student.base.tokenizer
    end = tokenizer.eos_token_id
    pad = end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    settings = GenerationConfig(max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=end, pad_token_id=pad)
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    answers: list[list[int]] = [[] for _ in prompts]
    memory = explain_memory_errors("while answers were written")
    with memory, attach_adapter(student) as model, give_contiguous_rows(model), torch.inference_mode():
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            continued = _generate_batch(model, [prompts[number] for number in chosen], settings)
            for number, tokens in zip(chosen, continued, strict=True):
                answers[number] = tokens[: tokens.index(end)] if end in tokens else tokens
            on_progress(start + len(chosen), len(order))
    return answers


@contextmanager
def give_contiguous_rows(model: PreTrainedModel) -> Iterator[None]:
    """Hand the head contiguous rows: for a slice of a batch torch would copy the whole matrix once per row."""
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
    try:
        yield
    finally:
        hook.remove()


def _generate_batch(model: PreTrainedModel, prompts: list[list[int]], settings: GenerationConfig) -> list[list[int]]:
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[settings.pad_token_id] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    result: Tensor = cast(Any, model).generate(
        input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=settings
    )
    continued: list[list[int]] = result[:, longest:].tolist()
    return continued


def _score_batch(
    model: PreTrainedModel, head: Tensor, prompts: list[list[int]], label_ids: Sequence[int], inside: bool
) -> list[NDArray[np.float32]]:
    """The arrays of `Scores` for one batch, `layers` only if asked for."""
    wanted = [[len(prompt) - 1] for prompt in prompts]
    blocks = compute_residual_rows(model, prompts, wanted, every_block=inside)
    logs = torch.log_softmax(apply_final_norm(model, blocks[-1]) @ head.t(), -1)
    labels = logs[:, label_ids]
    found = [labels.softmax(-1), compute_entropy(logs), logs.amax(-1).exp(), labels.exp().sum(-1)]
    if inside:
        each = [compute_layer_entropies(rows, apply_final_norm(model, rows) @ head.t()) for rows in blocks[:-1]]
        found.append(torch.stack([*each, compute_layer_entropies(blocks[-1], logs)], dim=1))
    return [part.cpu().numpy() for part in found]


def _check(student: Student, prompts: list[list[int]], extra: int = 0) -> None:
    if not prompts or not all(prompts):
        raise CompanionError("There is nothing to score: the list of prompts is empty or holds an empty prompt.")
    check_window(student.base.model, max(len(prompt) for prompt in prompts) + extra)
