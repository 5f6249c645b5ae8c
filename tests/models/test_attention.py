"""Packed rows: layout arithmetic, and attention equal to causal attention of every sequence alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.models.attention import find_common_prefix, make_layout, pack, packed_attention

token_lists = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=5)


@given(token_lists)
def test_common_prefix_is_shared_by_all_and_longest(sequences: list[list[int]]) -> None:
    shared = find_common_prefix(sequences)
    assert all(sequence[:shared] == sequences[0][:shared] for sequence in sequences)
    assert shared == min(map(len, sequences)) or len({sequence[shared] for sequence in sequences}) > 1


@given(token_lists)
def test_every_token_keeps_its_place(sequences: list[list[int]]) -> None:
    batch = pack(sequences, min(map(len, sequences)) - 1)
    prefix = batch.layout.prefix
    for number, sequence in enumerate(sequences):
        own = range(prefix, len(sequence))
        rows = [*range(prefix), *batch.rows(number, own)]
        assert batch.ids[0, rows].tolist() == sequence
        assert batch.positions[0, rows].tolist() == list(range(len(sequence)))
    assert batch.ids.shape[1] == prefix + sum(len(sequence) - prefix for sequence in sequences)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 5), st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from([(4, 4), (4, 2), (3, 1)])
)
def test_equal_to_attention_of_each_sequence_alone(prefix: int, lengths: list[int], heads: tuple[int, int]) -> None:
    torch.manual_seed(0)
    total, width, groups = prefix + sum(lengths), 8, heads[1]
    query, key, value = (
        torch.randn(1, number, total, width, dtype=torch.double, requires_grad=True)
        for number in (heads[0], groups, groups)
    )
    layout = make_layout(prefix, lengths)
    got, _ = packed_attention(torch.nn.Identity(), query, key, value, None, 0.3, layout)
    upstream = torch.randn_like(got)
    gradients = torch.autograd.grad(got, (query, key, value), upstream)
    expected = torch.zeros_like(got)
    start = prefix
    for length in lengths:
        rows = [*range(prefix), *range(start, start + length)]
        alone = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, rows], key[:, :, rows], value[:, :, rows], is_causal=True, scale=0.3, enable_gqa=True
        )
        expected = expected.index_copy(1, torch.tensor(rows), alone.transpose(1, 2))
        start += length
    torch.testing.assert_close(got, expected)
    for one, other in zip(gradients, torch.autograd.grad(expected, (query, key, value), upstream), strict=True):
        torch.testing.assert_close(one, other)


def test_refuses_what_it_does_not_do() -> None:
    states = torch.randn(1, 1, 5, 4)
    layout = make_layout(2, [1, 2])
    with pytest.raises(ValueError, match="window of 3"):
        packed_attention(torch.nn.Identity(), states, states, states, None, 1.0, layout, sliding_window=3)
    with pytest.raises(ValueError, match="no dropout"):
        packed_attention(torch.nn.Identity(), states, states, states, None, 1.0, layout, dropout=0.1)
