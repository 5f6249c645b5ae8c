from hypothesis import given
from hypothesis import strategies as st

from companion.corpora.similarity import find_similar_pairs, make_shingles

TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join), max_size=12)


def jaccard(one, other):
    left, right = make_shingles(one), make_shingles(other)
    return len(left & right) / len(left | right) if left | right else 0.0


@given(TEXTS, st.sampled_from([0.2, 0.5, 0.7, 1.0]))
def test_finds_exactly_the_pairs_that_a_full_comparison_finds(texts, threshold):
    expected = {
        (earlier, later)
        for later in range(len(texts))
        for earlier in range(later)
        if jaccard(texts[earlier], texts[later]) >= threshold
    }
    assert set(find_similar_pairs(texts, threshold)) == expected


def test_case_and_punctuation_do_not_matter():
    assert make_shingles("The cat, sat DOWN!") == make_shingles("the cat sat down") != make_shingles("the cat sat up")


def test_short_and_empty_texts():
    assert make_shingles("Hello there") == {("hello", "there")}
    assert make_shingles(" ... ") == frozenset()
