from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.studies.explanations.data.degrade import AXES
from companion.studies.explanations.data.phrases import CLOSINGS, EVIDENCE, VERDICTS
from companion.studies.explanations.data.wording import (
    QUOTED_WORDS,
    clean_quote,
    leaks_label,
    remove_leaks,
    write_explanation,
)

TABLES = {"verdicts": VERDICTS, "evidence": EVIDENCE, "closings": CLOSINGS}
DAMAGED = {
    "naturalness": {"swapped", "dropped", "doubled", "ending"},
    "comprehensiveness": {"filler"},
    "on_topic": {"foreign"},
}


def phrases(book):
    return {
        phrase
        for table in TABLES.values()
        for by_key in table[book].values()
        for options in by_key.values()
        for phrase in options
    }


def test_training_and_held_out_items_share_no_sentence():
    assert not phrases("train") & phrases("held_out")


@pytest.mark.parametrize("name", TABLES)
def test_both_books_cover_the_same_cases(name):
    train, held_out = TABLES[name]["train"], TABLES[name]["held_out"]
    assert set(train) == set(held_out) == set(AXES)
    for axis in AXES:
        assert set(train[axis]) == set(held_out[axis])


@pytest.mark.parametrize("axis", AXES)
def test_every_kind_of_damage_has_evidence(axis):
    assert set(EVIDENCE["train"][axis]) == DAMAGED[axis] | {"sound"}


def test_no_sentence_leaks_a_label():
    leaking = [phrase for book in ("train", "held_out") for phrase in phrases(book) if leaks_label(phrase)]
    assert not leaking


@pytest.mark.parametrize(("book", "axis"), list(product(("train", "held_out"), AXES)))
def test_any_combination_has_15_to_40_words(book, axis):
    lengths = {
        name: [len(phrase.split()) for options in table[book][axis].values() for phrase in options]
        for name, table in TABLES.items()
    }
    shortest = sum(min(found) for found in lengths.values())
    longest = sum(max(found) for found in lengths.values()) + QUOTED_WORDS - 1
    assert shortest >= 15
    assert longest <= 40


def test_severities_do_not_share_verdicts():
    for book, axis in product(VERDICTS, AXES):
        verdicts = [phrase for options in VERDICTS[book][axis].values() for phrase in options]
        assert len(verdicts) == len(set(verdicts))


@pytest.mark.parametrize(
    "text",
    ["I give it 4.", "Four out of a possible few", "a RATING", "low scores", "no points", "on a level", "grades"],
)
def test_leaks_are_seen(text):
    assert leaks_label(text)


@pytest.mark.parametrize("text", ["Someone wrote a foreword", "underrated operations", "pointless", "starting"])
def test_words_that_only_contain_a_leaking_word_are_allowed(text):
    assert not leaks_label(text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_a_quote_is_literal_short_and_does_not_leak(phrase):
    quote = clean_quote(phrase)
    assert len(quote.split()) <= QUOTED_WORDS
    assert quote in " ".join(phrase.replace('"', "").split())
    assert not leaks_label(quote)


def test_a_quote_leaves_out_words_that_leak():
    assert clean_quote('He said "well, for 3 days"') == "He said well, for"
    assert clean_quote("five red apples") == "red apples"
    assert clean_quote("5 of 5!") == "of"
    assert clean_quote("4") == ""


def test_leaking_sentences_are_taken_out():
    assert remove_leaks("It reads well. I rate it 4 of 5. Nothing is missing!") == "It reads well. Nothing is missing!"


def test_the_explanation_quotes_and_repeats_for_the_same_random_state():
    def write(split, seed):
        return write_explanation("naturalness", "strong", "swapped", "very was it", split, Random(seed))

    assert '"very was it"' in write("train", 0)
    assert write("train", 0) == write("train", 0)
    assert len({write("train", seed) for seed in range(30)}) > 5
    assert write("test", 0) == write("validation", 0) != write("train", 0)
