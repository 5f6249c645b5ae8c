"""The paper's six data sets, each read from the files of its original release or from a pinned copy on the hub.

Nothing is filtered here but what can't be rated: the paper names no filter. HH-RLHF holds harmful text by design.
"""

import ast
import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from companion.corpora.conversation import Turn
from companion.corpora.filters import Raw, normalize_whitespace
from companion.corpora.malformed import warn_of_skipped_rows
from companion.corpora.readers import alternate_speakers
from companion.errors import CompanionError

Row = Mapping[str, Any]

STORY_WORDS = 380
"""About 512 tokens (papers, A.3: truncate the story to 512 tokens)."""

HISTORY_TURNS = 8
_HH_TURN = re.compile(r"\n\n(Human|Assistant):")
_CORNELL = " +++$+++ "


def convert_rows(
    place: str, numbered: Iterable[tuple[int, Any]], convert: Callable[[Any], Iterable[Raw]]
) -> Iterator[Raw]:
    """Convert row by row, leaving out what is malformed; warn at the end with its number and its first places.

    Raises:
        CompanionError: more than five rows and more than one in a hundred are malformed, or there is no valid row.
    """
    read, bad, reason = 0, list[int](), ""
    for number, row in numbered:
        read += 1
        try:
            yield from list(convert(row))
        except (KeyError, IndexError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
            bad.append(number)
            reason = reason or type(error).__name__
    if not read:
        raise CompanionError(f"{place} has no rows: download it again.")
    warn_of_skipped_rows(place, bad, read, f"are malformed, the first by a {reason}")


def read_numbered_lines(file: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Give the lines of a text file, plain or gzip, that are not blank, with their numbers from 1.

    Raises:
        CompanionError: the file is cut short, no gzip file or not in this encoding.
    """
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding=encoding) as lines:
            yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
        raise CompanionError(f"{file} is damaged ({type(error).__name__}): download it again.") from error


def split_hh_turns(text: str) -> list[Turn]:
    """Split one HH-RLHF transcript, whose turns open with blank line and speaker.

    Raises:
        ValueError: it doesn't open with a turn or doesn't end with a reply of the assistant.
    """
    before, *parts = _HH_TURN.split(text)
    turns = [
        Turn("A" if who == "Human" else "B", normalize_whitespace(said))
        for who, said in zip(parts[::2], parts[1::2], strict=True)
    ]
    if before.strip() or len(turns) < 2 or turns[-1].speaker != "B":
        raise ValueError("no transcript that ends with a reply")
    return turns


def convert_hh_row(row: Row, kept: str) -> Iterator[Raw]:
    """Give the chosen or the rejected reply of an HH-RLHF row; every question serves one of the two, drawn by its hash.

    So a pair never straddles a split, and the two data sets are independent samples.
    """
    replies = {name: split_hh_turns(row[name]) for name in ("chosen", "rejected")}
    opening = replies["chosen"][0].text
    if ("chosen", "rejected")[_hash_to_number(opening) % 2] == kept:
        *context, reply = replies[kept]
        yield Raw(opening, context, reply.text)


def convert_arena_row(row: Row) -> Iterator[Raw]:
    """Give the last reply of one side of an English Chatbot Arena battle; the side is drawn by the question's hash."""
    if row["language"] != "English":
        return
    side = ("conversation_a", "conversation_b")[_hash_to_number(row["question_id"]) % 2]
    turns = [Turn("A" if turn["role"] == "user" else "B", normalize_whitespace(turn["content"])) for turn in row[side]]
    if turns[-1].speaker != "B":
        raise ValueError("the battle does not end with a reply")
    yield Raw(row["question_id"], turns[:-1], turns[-1].text)


def convert_amazon_row(row: Row) -> Iterator[Raw]:
    """Give question and answer of an AmazonQA row: the release's (group: the product), or the hub's query and pos."""
    if "query" in row:
        question = row["query"] if isinstance(row["query"], str) else row["query"][0]
        yield from (
            Raw(question, [Turn("A", normalize_whitespace(question))], normalize_whitespace(answer))
            for answer in row["pos"]
        )
    else:
        yield Raw(row["asin"], [Turn("A", normalize_whitespace(row["question"]))], normalize_whitespace(row["answer"]))


def convert_coqa_row(row: Row) -> Iterator[Raw]:
    """Give every answer of a CoQA passage: context are the passage's first 380 words, four exchanges, the question.

    The release lists questions and answers as objects, the hub as columns.
    """
    story = Turn("passage", " ".join(row["story"].split()[:STORY_WORDS]))
    questions = [_read_field(one) for one in row["questions"]]
    answers = row["answers"]
    answers = answers["input_text"] if isinstance(answers, Mapping) else [_read_field(one) for one in answers]
    said: list[str] = []
    for question, answer in zip(questions, answers, strict=True):
        yield Raw(story.text, [story, *alternate_speakers([*said[-HISTORY_TURNS:], question])], answer)
        said += [question, answer]


def read_cornell(folder: Path) -> Iterator[Raw]:
    """Give the last utterance of every Cornell conversation as a reply to those before it; the group is the film.

    Raises:
        CompanionError: a file is missing or malformed.
    """
    for file in (folder / name for name in ("movie_lines.txt", "movie_conversations.txt")):
        if not file.is_file():
            raise CompanionError(f"{file} is missing: the corpus needs both, with the names of its release.")
    lines = dict(_read_cornell_lines(folder / "movie_lines.txt"))

    def reply(line: str) -> Iterator[Raw]:
        _, _, film, ids = line.rstrip("\n").split(_CORNELL)
        texts = [text for text in (lines[one] for one in ast.literal_eval(ids)) if text]
        if len(texts) > 1:
            yield Raw(film, alternate_speakers(texts[:-1]), texts[-1])

    file = folder / "movie_conversations.txt"
    return convert_rows(str(file), read_numbered_lines(file, "iso-8859-1"), reply)


def _read_cornell_lines(file: Path) -> Iterator[tuple[str, str]]:
    for _, line in read_numbered_lines(file, "iso-8859-1"):
        parts = line.rstrip("\n").split(_CORNELL)
        if len(parts) == 5:
            yield parts[0], normalize_whitespace(parts[4])


def _read_field(said: str | Row) -> str:
    return normalize_whitespace(said if isinstance(said, str) else said["input_text"])


def _hash_to_number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
