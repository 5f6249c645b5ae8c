"""Exact attention over a packed batch whose members share their first tokens.

A batch of sequences is laid out as ONE row ``[prefix, rest of 1, rest of 2, ...]``: the longest common prefix once,
then what is left of every sequence, with no padding. Norms, rotary embedding, projections and MLP work token by
token, so transformers' own modules handle such a row as it is; only attention has to know who may look at whom: this
module.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

NAME = "companion_packed"
MODEL_TYPES = frozenset({"llama", "mistral"})
"""Architectures on which the packed row is tested against the plain forward; others use a padded batch."""


@dataclass(frozen=True)
class Layout:
    """Who is who in a packed row: `prefix` tokens, then the rests of `batch` sequences.

    Inside attention each rest is padded to `longest`. `to_padded` (batch * longest,) names the rest token at each
    padded place (0 where `blank`), `to_packed` (rest tokens,) the padded place of each rest token, `blank` the places
    that hold nothing.
    """

    prefix: int
    batch: int
    longest: int
    to_padded: Tensor
    to_packed: Tensor
    blank: Tensor


@dataclass(frozen=True)
class Packed:
    """A packed batch: `ids` and `positions` (1, tokens), `layout`, and `starts`, the row of each rest's first token."""

    ids: Tensor
    positions: Tensor
    layout: Layout
    starts: tuple[int, ...]

    def rows(self, sequence: int, positions: Sequence[int]) -> list[int]:
        """Rows of the packed batch that hold these positions (at or after the prefix) of one sequence."""
        return [self.starts[sequence] + position - self.layout.prefix for position in positions]


def find_common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Number of first tokens that all sequences share."""
    first, last = min(map(tuple, sequences)), max(map(tuple, sequences))
    shared = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        shared += 1
    return shared


def make_layout(prefix: int, lengths: Sequence[int], device: torch.device | str = "cpu") -> Layout:
    """Index tensors for rests of these lengths (each at least 1) behind a shared prefix."""
    longest = max(lengths)
    sizes = torch.tensor(lengths, device=device)
    column = torch.arange(longest, device=device)
    real = (column < sizes[:, None]).flatten()
    first = torch.cumsum(sizes, 0) - sizes
    to_padded = (first[:, None] + column).flatten().masked_fill(~real, 0)
    return Layout(prefix, len(lengths), longest, to_padded, real.nonzero().flatten(), (~real).nonzero().flatten())


def pack(sequences: Sequence[Sequence[int]], shareable: int, device: torch.device | str = "cpu") -> Packed:
    """Lay sequences of token ids out as one row, sharing their common prefix up to `shareable` tokens.

    `shareable` must be below the length of the shortest sequence, so that every sequence keeps a row of its own.
    """
    prefix = min(find_common_prefix(sequences), shareable)
    rests = [list(sequence[prefix:]) for sequence in sequences]
    lengths = [len(rest) for rest in rests]
    ids = list(sequences[0][:prefix]) + [token for rest in rests for token in rest]
    positions = list(range(prefix)) + [prefix + place for length in lengths for place in range(length)]
    starts = tuple(prefix + sum(lengths[:number]) for number in range(len(lengths)))
    return Packed(
        ids=torch.tensor([ids], device=device),
        positions=torch.tensor([positions], device=device),
        layout=make_layout(prefix, lengths, device),
        starts=starts,
    )


class _Regroup(torch.autograd.Function):
    """Copy rows of a matrix by index; the gradient is a copy by the inverse index, with zeros at the rows of `blank`.

    Every row that matters is copied exactly once, so torch's slow add-at-index backward is not needed.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, take: Tensor, back: Tensor, blank: Tensor | None) -> Tensor:
        ctx.save_for_backward(back, blank)
        return rows.index_select(0, take)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        back, blank = ctx.saved_tensors
        gradient = gradients[0].contiguous().index_select(0, back)
        if blank is not None:
            gradient.index_fill_(0, blank, 0)
        return gradient, None, None, None


@lru_cache(maxsize=128)
def _causal(queries: int, keys: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Additive mask (queries, keys): the last query sees every key, each earlier one sees one key fewer."""
    return torch.full((queries, keys), float("-inf"), device=device).triu(keys - queries + 1).to(dtype)


def _causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention: queries (batch, groups, heads per group, queries, d), keys and values (batch, groups, keys, d).

    All heads of a group share one matrix product, so keys are never repeated; torch's fused CPU kernel has a backward
    several times slower than these plain products.
    """
    batch, groups, heads, queries, width = query.shape
    keys = key.shape[2]
    flat_query = query.reshape(batch * groups, heads * queries, width)
    scores = torch.bmm(flat_query, key.reshape(batch * groups, keys, width).transpose(1, 2))
    scores.view(-1, heads, queries, keys).add_(_causal(queries, keys, query.dtype, query.device))
    mixed = torch.bmm(torch.softmax(scores, -1), value.reshape(batch * groups, keys, width))
    return mixed.view(batch, groups, heads, queries, width)


def _tokens_first(states: Tensor) -> Tensor:
    """(1, heads, tokens, d) as (tokens, heads * d)."""
    return states[0].transpose(0, 1).flatten(1)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    layout: Layout,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention function for transformers' AttentionInterface: query, key, value (1, heads, tokens, d) of a packed row.

    Returns (1, tokens, heads, d), equal to causal attention of every sequence alone.

    Raises:
        ValueError: what it does not do: a mask, dropout, or a sequence longer than the sliding window.
    """
    if attention_mask is not None or dropout:
        raise ValueError("packed attention takes no mask and no dropout")
    longest = layout.prefix + layout.longest
    if sliding_window is not None and longest > sliding_window:
        raise ValueError(f"a sequence of {longest} tokens exceeds the window of {sliding_window}")
    groups, width = key.shape[1], key.shape[3]
    rows = [_tokens_first(states) for states in (query * scaling, key, value)]
    outputs = [] if layout.prefix == 0 else [_prefix_part(rows, layout.prefix, groups, width)]
    outputs.append(_rest_part(rows, layout, groups, width))
    return torch.cat(outputs).view(1, query.shape[2], -1, width), None


def _prefix_part(rows: list[Tensor], prefix: int, groups: int, width: int) -> Tensor:
    """Attention of the prefix over itself: (prefix, heads * d)."""
    query, key, value = (part[:prefix].view(1, prefix, groups, -1, width).permute(0, 2, 3, 1, 4) for part in rows)
    mixed = _causal_attention(query, key[:, :, 0], value[:, :, 0])
    return mixed.permute(0, 3, 1, 2, 4).reshape(prefix, -1)


def _rest_part(rows: list[Tensor], layout: Layout, groups: int, width: int) -> Tensor:
    """Attention of every rest over the prefix and over itself: (rest tokens, heads * d)."""
    shape = (layout.batch, layout.longest, groups, -1, width)
    padded = [_Regroup.apply(part[layout.prefix :], layout.to_padded, layout.to_packed, None) for part in rows]
    query, key, value = (part.view(shape).permute(0, 2, 3, 1, 4) for part in padded)
    key, value = (
        _behind_prefix(part[: layout.prefix].view(-1, groups, width), own[:, :, 0])
        for part, own in ((rows[1], key), (rows[2], value))
    )
    mixed = _causal_attention(query, key, value).permute(0, 3, 1, 2, 4).reshape(layout.batch * layout.longest, -1)
    packed: Tensor = _Regroup.apply(mixed, layout.to_packed, layout.to_padded, layout.blank)
    return packed


def _behind_prefix(prefix: Tensor, own: Tensor) -> Tensor:
    """Keys or values (batch, groups, longest, d) of the rests behind those of the prefix (prefix, groups, d)."""
    if len(prefix) == 0:
        return own
    shared = prefix.transpose(0, 1).expand(own.shape[0], -1, -1, -1)
    return torch.cat([shared, own], dim=2)


@contextmanager
def use_packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """While open, the model's attention is `packed_attention`; restored afterwards."""
    AttentionInterface.register(NAME, packed_attention)
    before = model.config._attn_implementation
    model.config._attn_implementation = NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before
