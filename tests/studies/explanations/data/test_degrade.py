from collections import Counter
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from companion.corpora.conversation import Turn, make_conversation
from companion.corpora.similarity import make_shingles
from companion.corpora.sources import SOURCES, load_sources
from companion.errors import CompanionError
from companion.studies.explanations.data import damage
from companion.studies.explanations.data.damage import draw_fillers, split_clauses
from companion.studies.explanations.data.degrade import (
    AXES,
    LEVELS,
    compute_topic_level,
    degrade,
    draw_balanced_levels,
    make_items,
)
from companion.studies.explanations.data.phrases import FILLERS

ALL = st.sampled_from(LEVELS)
LEVEL_SETS = st.fixed_dictionaries(dict.fromkeys(AXES, ALL))
WHOLE = dict.fromkeys(AXES, 5)
LETTERS = st.text(st.characters(exclude_categories=["Zs", "Cc", "Zl", "Zp"]), min_size=1, max_size=6)
REPLIES = st.lists(LETTERS, min_size=1, max_size=30).map(" ".join).filter(lambda text: bool(text.split()))


def conversation(response, group="own", source="faq"):
    return make_conversation(source, group, [Turn("A", f"what about {group}?")], response)


SENTENCES = (
    "The {0} lamp stands on the {0} table, near the window. It was made by a {0} smith; nobody knows when it broke."
)
POOL = [conversation(SENTENCES.format(name), name) for name in ("red", "green", "blue", "amber", "violet")]
OWN = conversation(
    "We open at nine in the morning, and we close at six. Dogs are welcome in the garden but not inside."
)


@pytest.fixture(scope="module")
def items():
    loaded = load_sources(SOURCES)
    return [item for found in loaded.values() for item in make_items(found[:300], "train", seed=11)]


# --- what may not change


@given(REPLIES, st.integers(0, 99))
def test_level_5_on_all_axes_gives_the_reply_back(reply, seed):
    made = degrade(conversation(reply), WHOLE, [], seed, FILLERS["train"])
    assert made.conversation == conversation(reply)
    assert made.levels == WHOLE


def test_level_5_keeps_even_odd_white_space():
    assert degrade(conversation(" a \n b "), WHOLE, [], 0, ["Well."]).conversation.response == " a \n b "


@settings(deadline=None)
@given(REPLIES, REPLIES, LEVEL_SETS, st.integers(0, 9))
def test_any_text_can_be_degraded_and_quoted(reply, other, levels, seed):
    made = degrade(conversation(reply), levels, [conversation(other, "other")], seed, FILLERS["test"])
    assert made.conversation.context == conversation(reply).context
    for operation in made.operations.values():
        assert 0 <= operation.share <= 1
        assert all(quote in made.conversation.response for quotes in operation.quotes.values() for quote in quotes)


@given(LEVEL_SETS, st.integers(0, 9))
def test_the_same_call_gives_the_same_item(levels, seed):
    assert degrade(OWN, levels, POOL, seed, FILLERS["train"]) == degrade(OWN, levels, POOL, seed, FILLERS["train"])


def test_another_seed_or_id_gives_another_item():
    levels = dict.fromkeys(AXES, 2)
    made = {degrade(OWN, levels, POOL, seed, FILLERS["train"]).conversation.response for seed in range(8)}
    assert len(made) > 4


def test_results_are_the_same_on_every_machine():
    # A change of these words changes every result: raise the result version with it.
    made = degrade(OWN, {"naturalness": 3, "comprehensiveness": 3, "on_topic": 3}, POOL, 7, FILLERS["train"])
    assert made.conversation.response == EXPECTED


EXPECTED = (
    "The green lamp lamp stands morning, the and we close at six. So it goes. Anyway. Some might see it otherwise."
)


# --- shares


@given(st.lists(st.sampled_from(["we", "go,", "and", "lamps", "end."]), min_size=1, max_size=60))
def test_clauses_lose_nothing_and_are_short(words):
    pieces = split_clauses(words)
    assert [word for piece in pieces for word in piece] == words
    assert all(len(piece) <= 8 for piece in pieces)
    assert all(len(piece) >= 3 for piece in pieces[:-1])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.floats(0, 1), st.integers(0, 99))
def test_the_subset_is_as_near_to_the_share_as_any(sizes, share, seed):
    target = share * sum(sizes)
    chosen = damage._choose_subset(sizes, target, Random(seed))
    every = [sum(part) for count in range(len(sizes) + 1) for part in combinations(sizes, count)]
    assert abs(sum(sizes[place] for place in chosen) - target) == pytest.approx(
        min(abs(total - target) for total in every)
    )


@given(st.integers(2, 90), st.sampled_from(sorted(FILLERS)), st.integers(0, 99))
def test_fillers_reach_the_length(length, split, seed):
    words = draw_fillers(length, FILLERS[split], Random(seed))
    assert abs(len(words) - length) <= 1
    assert " ".join(words).endswith(".")


def test_fillers_are_not_repeated_while_they_last():
    sentences = " ".join(draw_fillers(60, FILLERS["train"], Random(0))).split(". ")
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize(
    "axis,nominal,single", [("on_topic", 0, 0.2), ("comprehensiveness", 1, 0.25), ("naturalness", 0, 0.09)]
)
def test_realised_shares_are_near_the_nominal_ones(items, axis, nominal, single):
    shares = {"on_topic": damage.SWAPPED, "comprehensiveness": damage.KEPT, "naturalness": damage.DAMAGED}[axis]
    assert shares[5] == nominal
    for level in LEVELS:
        found = [item.operations[axis].share for item in items if item.levels[axis] == level]
        assert sum(found) / len(found) == pytest.approx(shares[level], abs=0.05)
        assert max(abs(share - shares[level]) for share in found) <= single


def test_a_topic_level_below_the_best_always_shows(items):
    for item in items:
        assert (item.operations["on_topic"].share > 0) == (item.levels["on_topic"] < 5)


@given(st.floats(0, 1))
def test_topic_level_falls_as_the_foreign_share_rises(share):
    level = compute_topic_level(share)
    assert level == 5 if share == 0 else level <= 4
    assert level == 1 if share == 1 else level >= 2
    assert compute_topic_level(share / 2) >= level


def test_one_axis_alone_is_damaged_alone():
    topic = degrade(OWN, WHOLE | {"on_topic": 1}, POOL, 0, FILLERS["train"])
    assert topic.conversation.response in {other.response for other in POOL}
    short = degrade(OWN, WHOLE | {"comprehensiveness": 2}, POOL, 0, FILLERS["train"])
    assert short.conversation.response.startswith("We open at nine in the morning")
    assert len(short.conversation.response.split()) == pytest.approx(len(OWN.response.split()), abs=1)
    unnatural = degrade(OWN, WHOLE | {"naturalness": 1}, POOL, 0, FILLERS["train"])
    assert unnatural.operations["comprehensiveness"].share == 1
    assert unnatural.operations["on_topic"].quotes["foreign"] == ()


def test_operations_say_what_was_done():
    made = degrade(OWN, {"naturalness": 2, "comprehensiveness": 3, "on_topic": 3}, POOL, 5, FILLERS["train"])
    topic, cut, damage = (made.operations[axis] for axis in ("on_topic", "comprehensiveness", "naturalness"))
    assert topic.quotes["foreign"] and topic.quotes["own"]
    assert cut.quotes["kept"] and cut.quotes["filler"]
    assert any(damage.quotes.values())


def test_foreign_words_come_from_the_pool_of_the_same_source_and_another_group():
    same_group = conversation("Nothing of this may ever be used here.", "own")
    other_source = conversation("Nor may anything of this be used.", "else", source="qa")
    pool = [same_group, other_source, POOL[0]]
    for seed in range(20):
        made = degrade(OWN, WHOLE | {"on_topic": 1}, pool, seed, FILLERS["train"])
        assert made.conversation.response == POOL[0].response
    with pytest.raises(CompanionError, match="no reply to another context"):
        degrade(OWN, WHOLE | {"on_topic": 1}, [same_group, other_source], 0, FILLERS["train"])


@given(st.sampled_from(["walked", "walking", "walks", "lamp.", "go", "Zürich,", "houses!"]), st.integers(0, 99))
def test_a_wrong_ending_changes_the_word_and_keeps_its_punctuation(word, seed):
    changed = damage._change_ending(word, Random(seed))
    assert changed != word
    assert changed[:2] == word[:2]
    assert changed[-1] == word[-1] or word[-1].isalpha()


# --- the draw of levels


@given(st.integers(1, 120), st.integers(0, 99))
def test_levels_are_balanced_at_every_count(count, seed):
    rows = draw_balanced_levels(count, Random(seed))
    assert len(rows) == count
    for axis in AXES:
        counts = Counter(row[axis] for row in rows)
        assert max(counts.values()) - min(counts[level] for level in LEVELS) <= 1


@given(st.integers(0, 999))
def test_every_25_items_have_each_pair_of_levels_once(seed):
    rows = draw_balanced_levels(50, Random(seed))
    for block in (rows[:25], rows[25:]):
        for one, other in combinations(AXES, 2):
            assert len({(row[one], row[other]) for row in block}) == 25


def test_all_125_triples_occur():
    triples = {tuple(row.values()) for seed in range(40) for row in draw_balanced_levels(25, Random(seed))}
    assert len(triples) == 125


# --- whole splits


def test_items_keep_order_and_context_and_are_balanced_within_each_source(items):
    by_source = Counter((item.conversation.source, axis, item.levels[axis]) for item in items for axis in AXES)
    for name in SOURCES:
        for axis in ("naturalness", "comprehensiveness"):
            counts = [by_source[name, axis, level] for level in LEVELS]
            assert max(counts) - min(counts) <= 1
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert item.id.startswith(item.conversation.id)
        assert item.id.endswith("-" + "".join(str(item.levels[axis]) for axis in AXES))


def test_length_predicts_no_axis(items):
    assert len(items) >= 1000
    words = [len(item.conversation.response.split()) for item in items]
    whole = {one.id: len(one.response.split()) for part in load_sources(SOURCES).values() for one in part}
    growth = [count / whole[item.conversation.id] for count, item in zip(words, items, strict=True)]
    for axis in AXES:
        levels = [item.levels[axis] for item in items]
        assert abs(spearmanr(words, levels).statistic) < 0.1
        assert abs(spearmanr(growth, levels).statistic) < 0.1


def test_every_quote_stands_in_its_response(items):
    for item in items:
        for operation in item.operations.values():
            assert all(quote in item.conversation.response for quotes in operation.quotes.values() for quote in quotes)


def test_degraded_axes_can_be_quoted_from_the_final_response(items):
    damaged = [item for item in items if item.levels["naturalness"] <= 3]
    assert all(any(item.operations["naturalness"].quotes.values()) for item in damaged)
    cut = [item for item in items if item.levels["comprehensiveness"] <= 3]
    assert all(item.operations["comprehensiveness"].quotes["filler"] for item in cut)
    swapped = [item for item in items if item.levels["on_topic"] == 1]
    assert all(item.operations["on_topic"].quotes["foreign"] for item in swapped)


def test_order_of_conversations_does_not_matter():
    given_order = make_items([*POOL, OWN], "test", 3)
    reversed_order = make_items([OWN, *POOL[::-1]], "test", 3)
    assert given_order == reversed_order[::-1]
    assert [item.conversation.id for item in given_order] == [one.id for one in (*POOL, OWN)]
    assert given_order != make_items([*POOL, OWN], "test", 4)


def test_training_fillers_share_no_wording_with_the_others():
    assert FILLERS["validation"] == FILLERS["test"]
    train, held_out = (frozenset().union(*map(make_shingles, FILLERS[split])) for split in ("train", "test"))
    assert not set(FILLERS["train"]) & set(FILLERS["test"])
    assert not train & held_out


@pytest.mark.parametrize("split", ["train", "test"])
def test_fillers_have_all_short_lengths(split):
    assert set(range(1, 8)) <= {len(text.split()) for text in FILLERS[split]}


# --- mistakes


@pytest.mark.parametrize("levels", [{}, WHOLE | {"on_topic": 0}, WHOLE | {"fluency": 3}, {"on_topic": 3}])
def test_wrong_levels_are_refused(levels):
    with pytest.raises(CompanionError, match="give 1 to 5 for each of naturalness"):
        degrade(OWN, levels, POOL, 0, FILLERS["train"])


def test_an_empty_response_is_refused():
    with pytest.raises(CompanionError, match="is empty"):
        degrade(conversation("  "), WHOLE, POOL, 0, FILLERS["train"])


def test_an_unknown_split_is_refused():
    with pytest.raises(CompanionError, match="no split named 'dev': use one of train, validation, test"):
        make_items([OWN], "dev", 0)


def test_five_versions_ask_for_each_level_once_on_every_axis():
    items = make_items([*POOL, OWN], "train", 0, versions=5)
    assert len({item.id for item in items}) == len(items) == 30
    for start in range(0, 30, 5):
        block = items[start : start + 5]
        assert len({item.conversation.id for item in block}) == 1
        for axis in ("naturalness", "comprehensiveness"):
            assert sorted(item.levels[axis] for item in block) == list(LEVELS)
