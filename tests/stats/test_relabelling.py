import itertools

import numpy as np
import pytest
from graphs import decode
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.stats import relabelling
from companion.stats.joins import relabel
from companion.stats.margins import Pairs
from companion.stats.relabelling import Exchange, Relabelling, count_bits, split_by_size
from companion.stats.retrieval import Groups, Retrieval, make_groups

FREE = Exchange()


def drawn(groups: Groups, exchange: Exchange = FREE, words: int = 2, seed: int = 0) -> np.ndarray:
    return decode(Relabelling(groups, exchange, np.random.default_rng(seed)).draw(words))


@pytest.fixture(params=["shuffled", "long keys", "shifted"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "long keys":
        monkeypatch.setattr(relabelling, "SPARE", 0)
    if request.param == "shifted":
        monkeypatch.setattr(relabelling, "SHUFFLED", 0)
        monkeypatch.setattr(relabelling, "PIECE", 3)
    return request.param


@given(st.integers(1, 900), st.integers(1, 3), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_bits_are_counted_as_they_are(rows: int, words: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 2**63, (rows, words), dtype=np.uint64)
    plain = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little").sum(axis=0)
    assert (count_bits(bits) == plain).all()


def test_no_rows_have_no_bits() -> None:
    assert (count_bits(np.empty((0, 2), dtype=np.uint64)) == 0).all()


def test_the_first_draw_is_the_labels_and_every_draw_keeps_their_numbers(kind: str) -> None:
    groups = make_groups(np.random.default_rng(1).integers(0, 5, 41))
    labels = drawn(groups)
    assert (labels[:, 0] == groups.codes).all()
    assert all((np.bincount(each, minlength=5) == groups.sizes).all() for each in labels.T)
    assert len(np.unique(labels, axis=1).T) > 30


def test_only_the_very_first_draw_is_the_labels() -> None:
    groups = make_groups(np.random.default_rng(1).integers(0, 2, 60))
    draws = Relabelling(groups, Exchange(), np.random.default_rng(0))
    assert (decode(draws.draw(1))[:, 0] == groups.codes).all()
    assert (decode(draws.draw(1))[:, 0] != groups.codes).any()


def test_labels_stay_in_their_stratum(kind: str) -> None:
    generator = np.random.default_rng(2)
    groups, strata = make_groups(generator.integers(0, 3, 50)), generator.integers(0, 4, 50)
    labels = drawn(groups, Exchange(strata=strata))
    for stratum in range(4):
        inside = strata == stratum
        wanted = np.bincount(groups.codes[inside], minlength=3)
        assert all((np.bincount(each[inside], minlength=3) == wanted).all() for each in labels.T)


def test_a_block_keeps_one_label(kind: str) -> None:
    generator = np.random.default_rng(3)
    blocks = generator.integers(0, 12, 60)
    codes = generator.integers(0, 2, 12)[blocks]
    strata = (np.arange(12) % 3)[blocks]
    labels = drawn(make_groups(codes), Exchange(strata, blocks))
    assert (labels[:, 0] == codes).all()
    assert all(len(np.unique(each[blocks == block])) == 1 for each in labels.T for block in np.unique(blocks))
    assert len(np.unique(labels, axis=1).T) > 5


@pytest.mark.parametrize("codes", [[0, 1, 2], [0, 0, 1, 1], [2, 0, 2]])
def test_every_order_is_as_likely_as_any_other(codes: list[int]) -> None:
    labels = drawn(Groups(np.array(codes), 3), words=100)
    counts = np.unique(labels, axis=1, return_counts=True)[1]
    assert len(counts) == len(set(itertools.permutations(codes)))
    assert stats.chisquare(counts).pvalue > 0.001


def test_orders_whose_random_numbers_tie_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rolls = np.random.default_rng(5)
    # A die instead of 2^32 numbers: without a second draw, ties would favour the first label or the smaller one.
    monkeypatch.setattr(
        relabelling, "_draw_keys", lambda size, draws, *_: rolls.integers(0, 6, (draws, size), dtype=np.uint32) << 8
    )
    for codes in ([0, 1, 1], [0, 1, 2]):
        labels = drawn(make_groups(codes), words=100)
        counts = np.unique(labels, axis=1, return_counts=True)[1]
        assert len(counts) == len(set(itertools.permutations(codes)))
        assert stats.chisquare(counts).pvalue > 0.001


def test_blocks_are_split_by_size_where_there_are_many_of_each() -> None:
    generator = np.random.default_rng(6)
    sizes = generator.permutation(np.repeat([1, 2, 3, 9], [50, 10, 30, 20]))
    blocks = np.repeat(np.arange(110), sizes)
    part = split_by_size(blocks)
    found = {frozenset(sizes[blocks[part == each]].tolist()) for each in np.unique(part)}
    assert found == {frozenset([1]), frozenset([2, 3]), frozenset([9])}
    halves = split_by_size(blocks, (np.arange(110) % 2)[blocks])
    assert len(np.unique(halves)) == 6
    assert (split_by_size(np.arange(60) // 3) == 0).all()
    apart = split_by_size(np.repeat(np.arange(5), [5, 9, 10, 19, 20]))
    assert apart.tolist() == [0] * 14 + [1] * 29 + [2] * 20


def test_blocks_whose_size_goes_with_the_label_hold_the_level() -> None:
    """Photographs of one person find each other; eight of twelve women have twelve, and two of forty men."""
    sex = np.repeat([0, 1], [12, 40])
    size = np.repeat([12, 3, 12, 3], [8, 4, 2, 38])
    person, rates = np.repeat(np.arange(52), size), []
    for strata in (split_by_size(person), None):
        generator, small = np.random.default_rng(7), []
        for _ in range(200):
            scores = generator.random((len(person), len(person))) + (person[:, None] == person)
            np.fill_diagonal(scores, -1.0)
            search = Retrieval(np.argsort(-scores, axis=1)[:, :4], len(person), np.arange(len(person)))
            groups = make_groups(sex[person])
            small.append(relabel(Pairs(search, groups, groups, person, strata), 99, generator).p[0] <= 0.05)
        rates.append(np.mean(small))
    assert rates[0] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200) and rates[1] > 0.2, rates
