from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.corpora.conversation import Turn, make_conversation
from companion.corpora.similarity import extract_words, make_shingles
from companion.corpora.sources import load_source
from companion.corpora.splits import LEAK_SIMILARITY, split
from companion.errors import CompanionError


def conversation(place, group=None, context=None, response=None):
    turns = [Turn("A", context or f"question {place}")]
    text = response or " ".join(f"{place}x{n}" for n in range(8))
    return make_conversation("faq", group or f"g{place}", turns, text)


def jaccard(one, other):
    left, right = make_shingles(one.response), make_shingles(other.response)
    return len(left & right) / len(left | right)


def question(item):
    return extract_words(" ".join(turn.text for turn in item.context))


@given(st.lists(st.integers(0, 12), min_size=40, max_size=60), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_sizes_are_met_and_groups_never_straddle(groups, seed):
    alone = range(100, 120)  # enough groups of one to fill both splits whatever the others are
    items = [conversation(place, group=f"g{group}") for place, group in enumerate([*groups, *alone])]
    drawn = split(items, {"train": 14, "test": 6}, seed)
    assert {name: len(part) for name, part in drawn.items()} == {"train": 14, "test": 6}
    assert not {item.group for item in drawn["train"]} & {item.group for item in drawn["test"]}
    assert len({item.id for part in drawn.values() for item in part}) == 20


def test_near_duplicates_and_equal_contexts_stay_together():
    base = "one two three four five six seven eight nine ten"
    items = [conversation(place) for place in range(20)]
    items += [conversation(20, response=base), conversation(21, response=f"{base} eleven")]
    items += [conversation(22, context="Same thing?"), conversation(23, context="same thing")]
    for seed in range(20):
        drawn = split(items, {"train": 12, "test": 12}, seed)
        where = {item.group: name for name, part in drawn.items() for item in part}
        assert where["g20"] == where["g21"]
        assert where["g22"] == where["g23"]


def test_depends_on_the_seed_but_not_on_the_order_given():
    items = [conversation(place) for place in range(30)]
    sizes = {"train": 10, "test": 10}
    assert split(items, sizes, 1) == split(items[::-1], sizes, 1)
    assert split(items, sizes, 1) != split(items, sizes, 2)


def test_asking_for_more_than_there_is_names_both_numbers():
    items = [conversation(place) for place in range(10)]
    with pytest.raises(CompanionError, match="11 conversations of faq are asked for but only 10 of its 10"):
        split(items, {"train": 8, "test": 3}, 0)
    with pytest.raises(CompanionError, match="an empty source"):
        split([], {"train": 1}, 0)


def test_one_group_cannot_feed_two_splits():
    items = [conversation(place, group="g") for place in range(10)]
    with pytest.raises(CompanionError, match="asked for but only 5"):
        split(items, {"train": 5, "test": 5}, 0)


def test_empty_splits_stay_empty():
    assert split([conversation(0)], {"train": 1, "test": 0}, 0)["test"] == []


@pytest.mark.parametrize("name,sizes", [("assistant", (90, 15, 36)), ("faq", (300, 50, 100)), ("qa", (200, 35, 80))])
def test_real_sources_divide_without_leaks(name, sizes):
    drawn = split(load_source(name), dict(zip(("train", "validation", "test"), sizes, strict=True)), 3)
    assert tuple(map(len, drawn.values())) == sizes
    for left, right in combinations(drawn.values(), 2):
        assert not {item.group for item in left} & {item.group for item in right}
        for one in left:
            for other in right:
                assert jaccard(one, other) < LEAK_SIMILARITY
                assert question(one) != question(other)
