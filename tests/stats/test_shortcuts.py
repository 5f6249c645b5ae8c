import numpy as np
import pytest

from companion.errors import CompanionError
from companion.stats.shortcuts import bag_of_words, length_only, majority, word_classifier

WORDS = ("river", "stone", "window", "garden", "paper", "summer", "market", "copper")


def texts(generator, lengths):
    return [" ".join(generator.choice(WORDS, size=length)) for length in lengths]


def test_majority_and_its_tie():
    assert majority([1, 2, 2, 5], 3).tolist() == [2, 2, 2]
    assert majority([4, 2], 1).tolist() == [2]


@pytest.mark.parametrize("shape", ["rising", "bent"])
def test_length_finds_length_of_any_shape(shape):
    generator = np.random.default_rng(70)
    lengths = generator.integers(1, 51, 400)
    step = (lengths - 1) // 10
    labels = step + 1 if shape == "rising" else np.abs(2 * step - 4) + 1
    sample = texts(generator, lengths)
    predicted = length_only(sample[:300], labels[:300], sample[300:])
    assert (predicted == labels[300:]).mean() > 0.75


def test_words_find_words_and_not_noise():
    generator = np.random.default_rng(71)
    labels = generator.integers(1, 6, 400)
    plain = texts(generator, np.full(400, 20))
    marked = [f"{text} {'indeed ' * label}" for text, label in zip(plain, labels, strict=True)]
    found = bag_of_words(marked[:300], labels[:300], marked[300:])
    blind = bag_of_words(plain[:300], labels[:300], plain[300:])
    assert (found == labels[300:]).mean() > 0.6
    assert (blind == labels[300:]).mean() < 0.35


def test_length_of_equal_texts_is_the_majority():
    assert length_only(["one two"] * 4, [5, 5, 5, 1], ["six ten", "a b"]).tolist() == [5, 5]


@pytest.mark.parametrize("shortcut", [length_only, bag_of_words])
def test_same_input_same_output_in_range(shortcut):
    generator = np.random.default_rng(72)
    sample, labels = texts(generator, generator.integers(5, 40, 120)), generator.integers(1, 6, 80)
    one = shortcut(sample[:80], labels, sample[80:])
    assert np.array_equal(one, shortcut(sample[:80], labels, sample[80:]))
    assert one.dtype == np.int64
    assert set(one) <= {1, 2, 3, 4, 5}


def test_one_letter_and_unseen_words_are_served():
    assert bag_of_words(["a b", "a", "b"], [1, 2, 3], ["zebra", ""]).shape == (2,)


@pytest.mark.parametrize("shortcut", [length_only, bag_of_words, word_classifier])
@pytest.mark.parametrize(("sample", "labels"), [([], []), (["a"], [0]), (["a"], [1.5]), (["a", "b"], [1])])
def test_bad_labels_are_refused(shortcut, sample, labels):
    with pytest.raises(CompanionError):
        shortcut(sample, labels, ["a"])


def test_ranks_beyond_five_and_single_labels_are_refused():
    with pytest.raises(CompanionError, match="1..5"):
        bag_of_words(["a"], [6], ["a"])
    with pytest.raises(CompanionError, match="one label"):
        word_classifier(["a", "b"], [2, 2], ["a"])


def test_words_tell_labels_that_have_no_order():
    texts = [f"{word} {number}" for number in range(20) for word in ("tea", "coffee", "milk")]
    labels = [1, 3, 2] * 20
    assert word_classifier(texts, labels, ["milk", "tea", "coffee"]).tolist() == [2, 1, 3]


def test_empty_texts_are_refused():
    with pytest.raises(CompanionError):
        bag_of_words(["", " "], [1, 2], ["a"])
