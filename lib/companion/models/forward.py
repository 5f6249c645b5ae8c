"""Residual-stream rows of a batch: the one forward pass that training and scoring share."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from companion.errors import CompanionError
from companion.models.attention import MODEL_TYPES, pack, use_packed_attention


def check_window(model: PreTrainedModel, longest: int) -> None:
    """Refuse sequences of `longest` tokens that the model's context or sliding attention window does not cover whole.

    Raises:
        CompanionError: the limit and the length.
    """
    limit = get_context_window(model.config)
    if limit is not None and longest > limit:
        raise CompanionError(
            f"A sequence of {longest} tokens is longer than the {limit} this model attends to: "
            "shorten the prompts or targets."
        )


def get_context_window(config: PreTrainedConfig) -> int | None:
    """The most tokens of a sequence that a model attends to whole, by context and sliding window; None: no limit."""
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window")]
    return min((value for value in limits if value), default=None)


def supports_packed_rows(model: PreTrainedModel) -> bool:
    """Whether the shared prefix of a batch is computed once; other architectures get a padded batch, slower.

    Unsloth's own attention gets a padded batch too.
    """
    return model.config.model_type in MODEL_TYPES and not _unsloth_forward(model)


def _unsloth_forward(model: PreTrainedModel) -> bool:
    return bool(getattr(model, "unsloth_forward", False))


def prepare_attention(model: PreTrainedModel) -> AbstractContextManager[None]:
    """Return the context in which `compute_residual_rows` of this model must run."""
    return use_packed_attention(model) if supports_packed_rows(model) else nullcontext()


def compute_residual_rows(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]], every_block: bool
) -> list[Tensor]:
    """Outputs of the blocks, before the final norm, at the wanted positions of each sequence.

    `sequences` are token ids, `wanted` ascending positions per sequence, the earliest of each marking where the
    sequence may no longer be shared. Returns one (rows, d) tensor per block, or only the last block's, rows sequence
    by sequence.
    """
    if not supports_packed_rows(model):
        return _compute_padded_rows(model, sequences, wanted, every_block)
    batch = pack(sequences, min(positions[0] for positions in wanted), model.device)
    rows = [row for number, positions in enumerate(wanted) for row in batch.rows(number, positions)]
    inputs = {"input_ids": batch.ids, "position_ids": batch.positions, "use_cache": False, "layout": batch.layout}
    return _capture_rows(model, rows, every_block, partial(model.get_decoder(), **inputs))


def _compute_padded_rows(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]], every_block: bool
) -> list[Tensor]:
    """The plain way for any architecture: right padding and a mask, nothing shared."""
    longest = max(len(sequence) for sequence in sequences)
    padded = [list(sequence) + [0] * (longest - len(sequence)) for sequence in sequences]
    ids = torch.tensor(padded, device=model.device)
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=model.device)
    mask = (torch.arange(longest, device=model.device) < lengths[:, None]).long()
    rows = [number * longest + position for number, positions in enumerate(wanted) for position in positions]
    if _unsloth_forward(model):
        # Only the whole model's forward makes every attention library that Unsloth may use causal, and then padding on
        # the right needs no mask.
        run = partial(model, input_ids=ids, use_cache=False, logits_to_keep=1)
    else:
        run = partial(model.get_decoder(), input_ids=ids, attention_mask=mask, use_cache=False)
    return _capture_rows(model, rows, every_block, run)


def _capture_rows(
    model: PreTrainedModel, rows: list[int], every_block: bool, run: Callable[[], object]
) -> list[Tensor]:
    """Run the model and keep these rows of the outputs of its blocks."""
    layers = model.get_decoder().layers
    index = torch.tensor(rows, device=model.device)
    kept: list[Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        states = output if isinstance(output, Tensor) else output[0]
        kept.append(states.flatten(0, 1).index_select(0, index))

    hooks = [block.register_forward_hook(keep) for block in (layers if every_block else layers[-1:])]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return kept


def get_head_weight(model: PreTrainedModel) -> Tensor:
    """Output matrix (vocabulary, d) in fp32; bf16 logits near 20 would have a step of 0.125."""
    weight: Tensor = model.get_output_embeddings().weight
    return weight.detach().float()


def apply_final_norm(model: PreTrainedModel, rows: Tensor) -> Tensor:
    """The model's own final norm of (rows, d), computed in fp32."""
    norm: torch.nn.Module = model.get_decoder().norm
    result: Tensor = norm(rows.float())
    return result
