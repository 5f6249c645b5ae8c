import pytest

from companion.corpora.conversation import Turn, make_conversation
from companion.corpora.filters import (
    Raw,
    clean,
    has_code,
    is_profane,
    names_a_person,
    normalize_whitespace,
    select_recent_turns,
)

LONG = "the lamp stands on the old table near the window of this quiet room"


def raws(*responses, context="where is the lamp?"):
    return [Raw(f"g{place}", [Turn("A", context)], response) for place, response in enumerate(responses)]


def kept(*responses, personal=False, limit=100, **options):
    return {item.response for item in clean("faq", raws(*responses, **options), personal, limit)}


def test_white_space_is_tidied():
    assert normalize_whitespace(" a\n b\t c ") == "a b c"


@pytest.mark.parametrize("words,fits", [(11, False), (12, True), (80, True), (81, False)])
def test_response_has_12_to_80_words(words, fits):
    response = " ".join(f"word{place}" for place in range(words))
    assert kept(response) == ({response} if fits else set())


@pytest.mark.parametrize(
    "context,fits", [("where is", False), ("where is it", True), ("w " * 80, True), ("w " * 81, False)]
)
def test_context_has_3_to_80_words(context, fits):
    assert bool(kept(LONG, context=context)) == fits


@pytest.mark.parametrize("text", ["see https://x.y", "def main(x)", "a == b", "{x}", "mail me: a@b", "801-555-1234"])
def test_code_and_contacts_are_seen(text):
    assert has_code(text)
    assert not kept(f"{LONG} {text}")


@pytest.mark.parametrize(
    "text", ["Bring the print (large) at 10:30; thanks.", "I define it so", "import duties of 5 %"]
)
def test_plain_text_is_not_code(text):
    assert not has_code(text)


@pytest.mark.parametrize("text,profane", [("Damn it", True), ("SHITTY", True), ("glass of cocktail in class", False)])
def test_profanity(text, profane):
    assert is_profane(text) == profane


@pytest.mark.parametrize(
    "text,named",
    [
        ("Hi, I'm Zork", True),
        ("my name is on the list", True),
        ("ask jessica", True),
        ("I'm fine and you will see", False),
        ("Zork likes it", False),
    ],
)
def test_names_are_caught_as_far_as_the_docstring_says(text, named):
    assert names_a_person(text) == named


def test_names_matter_in_personal_chats_only():
    assert kept(f"{LONG} says Jessica", personal=False)
    assert not kept(f"{LONG} says Jessica", personal=True)


def test_recent_keeps_the_last_turn_and_four_before_it():
    turns = [Turn("A", str(place)) for place in range(9)]
    assert [turn.text for turn in select_recent_turns(turns)] == ["4", "5", "6", "7", "8"]


def test_recent_drops_old_turns_that_are_too_long_together():
    turns = [Turn("A", "w " * 60), Turn("B", "w " * 40), Turn("A", "w " * 40)]
    assert select_recent_turns(turns) == tuple(turns[1:])


def test_near_duplicates_are_dropped_once():
    assert len(kept(LONG, LONG.upper() + "!", f"{LONG} too", "x " + " ".join(f"y{n}" for n in range(12)))) == 2


def test_at_most_ten_of_a_group():
    same_group = [Raw("g", [Turn("A", "where is it?")], f"{n} " * 12) for n in range(30)]
    assert len(clean("faq", same_group, False, 100)) == 10


def test_the_limit_keeps_a_fixed_subset_whatever_the_order():
    responses = [" ".join(f"{place}x{word}" for word in range(12)) for place in range(30)]
    found = raws(*responses)
    few = clean("faq", found, False, 7)
    assert len(few) == 7
    assert few == clean("faq", found[::-1], False, 7) == clean("faq", found, False, 100)[:7]
    assert few[0] == make_conversation("faq", few[0].group, few[0].context, few[0].response)
