import numpy as np
import pytest
from graphs import decode
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.errors import CompanionError
from companion.stats import relabelling
from companion.stats.relabelling import Exchange, Relabelling, count_bits
from companion.stats.retrieval import Groups, make_groups

FREE = Exchange()


def drawn(groups: Groups, exchange: Exchange = FREE, words: int = 2, seed: int = 0) -> np.ndarray:
    return decode(Relabelling(groups, exchange, np.random.default_rng(seed)).draw(words))


@pytest.fixture(params=["shuffled", "shifted"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "shifted":
        monkeypatch.setattr(relabelling, "SHUFFLED", 0)
        monkeypatch.setattr(relabelling, "PIECE", 3)
    return request.param


@given(st.integers(1, 200), st.integers(1, 3), st.integers(0, 9))
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


def test_every_order_is_as_likely_as_any_other() -> None:
    labels = drawn(make_groups([0, 1, 2]), words=100)
    counts = np.unique(labels, axis=1, return_counts=True)[1]
    assert len(counts) == 6 and counts.min() > 900 and counts.max() < 1250


@pytest.mark.parametrize(
    ("codes", "exchange", "sentence"),
    [
        ([0, 1, 1], Exchange(blocks=np.zeros(3, int)), "all items are in one block"),
        ([0, 1, 1], Exchange(blocks=np.array([0, 0, 1])), "block number 0 has two labels"),
        ([0, 1, 1], Exchange(np.array([0, 0, 1]), np.array([0, 1, 1])), "block number 1 has two strata"),
        ([0, 1, 1], Exchange(np.array([0, 1, 1])), "constant inside every stratum"),
    ],
)
def test_what_cannot_be_exchanged_is_refused(codes: list, exchange: Exchange, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        drawn(make_groups(codes), exchange)
