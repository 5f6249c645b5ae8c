"""Rows written by us in each native format; the texts are our own."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from companion.corpora import native
from companion.corpora.conversation import Turn
from companion.corpora.filters import Raw
from companion.errors import CompanionError

CHOSEN = "\n\nHuman: Is tea\nhot?\n\nAssistant: Mostly.\n\nHuman: And iced tea?\n\nAssistant: No, it is cold."
REJECTED = "\n\nHuman: Is tea\nhot?\n\nAssistant: Mostly.\n\nHuman: And iced tea?\n\nAssistant: Yes."
BATTLE = {
    "question_id": "q1",
    "language": "English",
    "conversation_a": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi, I am A."}],
    "conversation_b": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi, I am B."}],
}
STORY = {
    "story": "Ann has a red boat. " * 200,
    "questions": [{"input_text": "What has Ann?"}, {"input_text": "Which colour?"}],
    "answers": [{"input_text": "a boat"}, {"input_text": "red"}],
}


def test_hh_turns_are_split_by_speaker():
    turns = native.split_hh_turns(CHOSEN)
    assert turns == [
        Turn("A", "Is tea hot?"),
        Turn("B", "Mostly."),
        Turn("A", "And iced tea?"),
        Turn("B", "No, it is cold."),
    ]


@pytest.mark.parametrize("text", ["", "Is tea hot?", "\n\nHuman: Is tea hot?", "Hm\n\nHuman: Tea?\n\nAssistant: Yes."])
def test_hh_text_that_is_no_transcript_is_refused(text: str):
    with pytest.raises(ValueError, match="no transcript"):
        native.split_hh_turns(text)


def test_hh_question_serves_one_of_the_two_data_sets():
    found = {
        name: [
            raw
            for number in range(200)
            for raw in native.convert_hh_row({"chosen": _hh(number, "good"), "rejected": _hh(number, "bad")}, name)
        ]
        for name in ("chosen", "rejected")
    }
    groups = {name: {raw.group for raw in raws} for name, raws in found.items()}
    assert not groups["chosen"] & groups["rejected"]
    assert len(groups["chosen"] | groups["rejected"]) == 200
    assert min(map(len, groups.values())) > 70
    assert {raw.response for raw in found["chosen"]} == {"good"}
    assert {raw.response for raw in found["rejected"]} == {"bad"}


def _hh(number: int, reply: str) -> str:
    return f"\n\nHuman: Question {number}?\n\nAssistant: {reply}"


def test_arena_gives_one_side_and_the_same_each_time():
    sides = {}
    for number in range(40):
        battle = BATTLE | {"question_id": f"q{number}"}
        (raw,) = native.convert_arena_row(battle)
        assert [raw] == list(native.convert_arena_row(battle))
        assert raw.group == f"q{number}" and raw.context == [Turn("A", "Hello?")]
        sides[raw.response] = sides.get(raw.response, 0) + 1
    assert set(sides) == {"Hi, I am A.", "Hi, I am B."} and min(sides.values()) > 8


def test_arena_leaves_out_other_languages():
    assert not list(native.convert_arena_row(BATTLE | {"language": "German"}))


def test_amazon_release_and_hub_rows():
    release = {"asin": "B1", "question": "Does it  fit?", "answer": "It does."}
    assert list(native.convert_amazon_row(release)) == [Raw("B1", [Turn("A", "Does it fit?")], "It does.")]
    hub = {"query": ["Does it fit?"], "pos": ["It does.", "No."]}
    assert [raw.response for raw in native.convert_amazon_row(hub)] == ["It does.", "No."]


def test_coqa_release_and_hub_rows_are_the_same():
    hub = STORY | {
        "questions": ["What has Ann?", "Which colour?"],
        "answers": {"input_text": ["a boat", "red"], "answer_start": [0, 1]},
    }
    release = list(native.convert_coqa_row(STORY))
    assert release == list(native.convert_coqa_row(hub))
    first, second = release
    assert len(first.context[0].text.split()) == native.STORY_WORDS
    assert first.context[1:] == [Turn("A", "What has Ann?")] and first.response == "a boat"
    assert [turn.text for turn in second.context[1:]] == ["What has Ann?", "a boat", "Which colour?"]
    assert [turn.speaker for turn in second.context[1:]] == ["A", "B", "A"]
    assert first.group == second.group


def test_coqa_with_fewer_answers_than_questions_is_malformed():
    with pytest.raises(ValueError, match="zip"):
        list(native.convert_coqa_row(STORY | {"answers": [{"input_text": "a boat"}]}))


def test_cornell_gives_the_last_line_of_each_talk(tmp_path: Path):
    _cornell(tmp_path, ["L1", "L2", "L3"], ["L3", "L4"])
    first, second = native.read_cornell(tmp_path)
    assert first == Raw("m0", [Turn("B", "Caf\xe9?"), Turn("A", "Closed.")], "Oh.")
    # of L3 and the empty L4 one line is left, which answers nothing
    assert second.response == "Oh." and second.context == [Turn("A", "Closed.")]


def _cornell(folder: Path, *talks: list[str]) -> None:
    said = {"L1": "Caf\xe9?", "L2": "Closed.", "L3": "Oh.", "L4": ""}
    lines = [f"{key} +++$+++ u0 +++$+++ m0 +++$+++ ANN +++$+++ {text}\n" for key, text in said.items()]
    (folder / "movie_lines.txt").write_text("".join(lines), encoding="iso-8859-1")
    (folder / "movie_conversations.txt").write_text(
        "".join(f"u0 +++$+++ u1 +++$+++ m0 +++$+++ {talk!r}\n" for talk in [*talks, ["L2", "L3", "L4"]])
    )


def test_numbered_lines_reads_gzip_and_skips_blank_lines(tmp_path: Path):
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(b"one\n\ntwo\n"))
    assert list(native.read_numbered_lines(file)) == [(1, "one\n"), (3, "two\n")]


@pytest.mark.parametrize("damage", [lambda data: data[:-12], lambda data: b"no gzip", lambda data: data[:12] + b"xx"])
def test_damaged_gzip_gets_a_sentence(tmp_path: Path, damage):
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(damage(gzip.compress(json.dumps(list(range(9999))).encode())))
    with pytest.raises(CompanionError, match="is damaged"):
        list(native.read_numbered_lines(file))


def _raws(number: int) -> Iterator[Raw]:
    if number < 0:
        raise KeyError("chosen")
    yield Raw(str(number), [Turn("A", "Why?")], "So.")


def test_malformed_rows_are_counted_and_told():
    rows = [(number, number) for number in range(1, 98)] + [(98, -1), (99, -1)]
    with pytest.warns(
        UserWarning, match=r"2 of 99 rows of file are malformed, the first by a KeyError \(rows 98, 99\)"
    ):
        assert len(list(native.convert_rows("file", rows, _raws))) == 97


@pytest.mark.parametrize("rows", [[(1, -1)], [(n, -1 if n < 7 else n) for n in range(1, 300)]])
def test_too_many_malformed_rows_are_an_error(rows: list[tuple[int, int]]):
    with pytest.raises(CompanionError, match="malformed"):
        list(native.convert_rows("file", rows, _raws))


def test_an_empty_file_is_an_error():
    with pytest.raises(CompanionError, match="has no rows"):
        list(native.convert_rows("file", [], _raws))
