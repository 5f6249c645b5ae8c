"""The weighted loss of a batch at its response tokens, without whole logits in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from companion.models.batches import Sequence
from companion.models.forward import apply_final_norm, compute_residual_rows

ROWS_AT_ONCE = 256
"""Rows of logits held in memory at a time: 50 MB at a vocabulary of 49,152."""


def batch_loss(
    model: PreTrainedModel, head: Tensor, sequences: list[Sequence], size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Weighted loss of a batch (scalar, with gradient) and negative log-likelihood of each response token (tokens,).

    To be called inside `attention_for(model)`; `head` is `head_weight(model)`. `size` is that of the whole batch where
    `sequences` are a part of one: the losses of the parts then add up to that of the batch.
    """
    tokens = [sequence.prompt + sequence.response[:-1] for sequence in sequences]
    wanted = [range(len(sequence.prompt) - 1, len(row)) for sequence, row in zip(sequences, tokens, strict=True)]
    rows = apply_final_norm(model, compute_residual_rows(model, tokens, wanted, every_block=False)[0])
    targets = torch.tensor([token for sequence in sequences for token in sequence.response], device=model.device)
    weights = torch.tensor([weight for sequence in sequences for weight in sequence.weights], device=model.device)
    with allow_bf16_matmul(model.dtype == torch.bfloat16):
        loss, losses = _TargetLoss.apply(rows, head, targets, weights / (size or len(sequences)))
    return loss, losses


class _TargetLoss(torch.autograd.Function):
    """Weighted cross-entropy of (rows, d) under a frozen head, with the gradient computed in the same pass.

    Whole logits for all rows are never held at once. Returns (loss, negative log-likelihood per row).
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        losses, gradients = [], []
        for some, target, weight in zip(*(part.split(ROWS_AT_ONCE) for part in (rows, targets, weights)), strict=True):
            logits = some @ head.t()
            total = torch.logsumexp(logits, -1)
            losses.append(total - logits.gather(1, target[:, None])[:, 0])
            slope = logits.sub_(total[:, None]).exp_()
            slope[torch.arange(len(target), device=target.device), target] -= 1
            gradients.append(slope.mul_(weight[:, None]) @ head)
        likelihoods = torch.cat(losses)
        ctx.save_for_backward(torch.cat(gradients))
        ctx.mark_non_differentiable(likelihoods)
        return (likelihoods * weights).sum(), likelihoods

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None, None, None


@contextmanager
def allow_bf16_matmul(wanted: bool) -> Iterator[None]:
    """While open, oneDNN may multiply fp32 matrices in bf16 with fp32 sums and results (two to four times faster).

    For the training loss of a bf16 model only: its rows come from bf16 anyway, and the logits keep fp32 steps.
    """
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16" if wanted else before
    try:
        yield
    finally:
        settings.fp32_precision = before
