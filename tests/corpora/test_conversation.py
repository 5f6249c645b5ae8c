import dataclasses

import pytest

from companion.corpora.conversation import Turn, compute_fingerprint, make_conversation

CONTEXT = (Turn("A", "where is the lamp?"),)


def test_id_is_source_and_twelve_hexadecimal_digits_of_the_text():
    made = make_conversation("faq", "q1", CONTEXT, "on the table")
    assert made.id == make_conversation("faq", "other group", CONTEXT, "on the table").id
    source, digest = made.id.split("-")
    assert source == "faq"
    assert len(digest) == 12
    assert int(digest, 16) >= 0


@pytest.mark.parametrize(
    "other",
    [
        make_conversation("faq", "q1", CONTEXT, "on the tables"),
        make_conversation("faq", "q1", (Turn("B", "where is the lamp?"),), "on the table"),
        make_conversation("faq", "q1", (*CONTEXT, Turn("B", "")), "on the table"),
    ],
)
def test_any_change_of_text_changes_the_id(other):
    assert other.id != make_conversation("faq", "q1", CONTEXT, "on the table").id


def test_conversations_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_conversation("faq", "q1", CONTEXT, "on the table").response = "elsewhere"


def test_fingerprint_sees_order_and_group():
    one = make_conversation("faq", "q1", CONTEXT, "on the table")
    two = make_conversation("faq", "q2", CONTEXT, "under the table")
    moved = dataclasses.replace(one, group="q9")
    assert (
        len(
            {
                compute_fingerprint([one, two]),
                compute_fingerprint([two, one]),
                compute_fingerprint([moved, two]),
                compute_fingerprint([one]),
            }
        )
        == 4
    )


def test_odd_characters_have_an_id():
    assert make_conversation("faq", "q", (Turn("A", "\ud800 \x00 é"),), "𝔘").id.startswith("faq-")
