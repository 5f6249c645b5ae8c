"""Rate conversations with exported students: one JSON line in, one JSON line out, as they come."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from companion.corpora.conversation import Conversation, Turn
from companion.errors import CompanionError
from companion.models.base import Base, get_label_token_ids, load_base, locate
from companion.models.forward import check_window
from companion.models.lora import Student, load_adapter
from companion.models.score import generate, score
from companion.show.text import format_number, one_line
from companion.studies.explanations.data.prompts import make_prompt
from companion.studies.explanations.data.texts import Example
from companion.studies.explanations.names import NAMES
from companion.studies.explanations.students.usage import USAGE, Usage, make_template, read_usage
from companion.studies.explanations.training.experiment import CLOSE, MAX_EXPLANATION_TOKENS, make_scoring_prompts
from companion.studies.explanations.training.targets import EXPLANATION_LEAD, LABEL_LEAD

AT_ONCE = 32
"""Lines of a file rated together; from a pipe each is rated as it comes."""

_SPEAKER = re.compile(r"\s*(\w[\w .-]{0,30}?)\s*:\s+(.*)")


@dataclass(frozen=True)
class Rater:
    """A student with what it wants to be asked, and the token of each label."""

    student: Student
    usage: Usage
    label_ids: list[int]


@dataclass(frozen=True)
class Line:
    """One line of the input, numbered from 1: a conversation, or why it is none; ``id`` is the user's own."""

    number: int
    conversation: Conversation | None
    id: Any = None
    fault: str = ""


def run(folder: Path, file: Path | None, explain: bool, base: str | None = None) -> int:
    """Rate the conversations of a file, or of standard input, onto standard output.

    JSON Lines give JSON Lines. Plain text, one turn a line behind the speaker's name, is one conversation; its rating
    is a table where the output is a terminal. Lines that cannot be rated are named on the error stream.

    Returns:
        How many lines could not be rated.

    Raises:
        CompanionError: no student in ``folder``, another base model, no such file, or nothing to read.
    """
    raters = load_raters(folder, base)
    if explain and all(rater.usage.explanation == "none" for rater in raters):
        raise CompanionError(f"Students of arm {raters[0].usage.arm} write no explanation: leave --explain out.")
    try:
        stream: IO[bytes] = sys.stdin.buffer if file is None else file.open("rb")
    except OSError as error:
        raise CompanionError(f"{file} cannot be read ({error.strerror}): name a file of JSON Lines or text.") from error
    with stream:
        return _rate_all(raters, stream, explain)


def _rate_all(raters: Sequence[Rater], stream: IO[bytes], explain: bool) -> int:
    first, lines = _first_line(stream)
    if not first:
        raise CompanionError("There is nothing to rate: give JSON Lines, or one turn a line, such as 'A: Hello.'")
    if not first.lstrip().startswith(b"{"):
        return _rate_text(raters, lines, explain)
    bad, total = 0, 0
    numbered = (_parse_line(number, content) for number, content in lines if content.strip())
    while some := list(islice(numbered, AT_ONCE if stream.seekable() else 1)):
        total += len(some)
        some = [_require_fitting(raters, line) for line in some]
        for line in some:
            if line.conversation is None:
                bad += 1
                print(f"line {line.number}: {line.fault}", file=sys.stderr)
        for found in rate(raters, [line for line in some if line.conversation is not None], explain):
            print(json.dumps(found, ensure_ascii=False), flush=True)
    if bad:
        print(f"{bad} of {total} lines could not be rated.", file=sys.stderr)
    return bad


def _first_line(stream: IO[bytes]) -> tuple[bytes, Iterator[tuple[int, bytes]]]:
    """The first line that is not blank, and all numbered lines from it on."""
    numbered = enumerate(stream, 1)
    for number, content in numbered:
        content = content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content
        if content.strip():
            return content, chain([(number, content)], numbered)
    return b"", iter(())


def _rate_text(raters: Sequence[Rater], lines: Iterator[tuple[int, bytes]], explain: bool) -> int:
    """One conversation in plain text; a fault of it is the user's mistake."""
    try:
        conversation = read_text([content.decode() for _, content in lines])
    except UnicodeDecodeError as error:
        raise CompanionError("The text is not in UTF-8: save it so.") from error
    line = _require_fitting(raters, Line(1, conversation))
    if line.fault:
        raise CompanionError(f"The conversation cannot be rated: {line.fault}")
    (found,) = rate(raters, [line], explain)
    if sys.stdout.isatty():
        show(found["ratings"], Console())
    else:
        print(json.dumps(found, ensure_ascii=False), flush=True)
    return 0


def load_raters(folder: Path, base: str | None = None) -> list[Rater]:
    """The students of a folder: its own adapter, or those of its subfolders; the base model is loaded once.

    Args:
        base: folder or hub name of the base model, where ``companion.json`` can only give its name.

    Raises:
        CompanionError: there is no student, they have different bases, or the base is not the one they were trained on.
    """
    places = [folder] if (folder / USAGE).is_file() else sorted(file.parent for file in folder.glob(f"*/{USAGE}"))
    if not places:
        raise CompanionError(f"{folder} holds no student (no {USAGE}): 'companion export' writes one.")
    usages = [read_usage(place) for place in places]
    if len({(one.model, one.weights, one.dtype) for one in usages}) > 1:
        raise CompanionError(f"The students in {folder} have different base models: rate with one of them at a time.")
    loaded = _load_base(usages[0], base)
    raters = []
    for place, usage in zip(places, usages, strict=True):
        if usage.lead != LABEL_LEAD or any(usage.prompts[axis] != make_template(axis) for axis in usage.prompts):
            raise CompanionError(f"The student in {place} was trained with other prompts than this version writes.")
        ids = get_label_token_ids(loaded.tokenizer, usage.lead, usage.codes)
        raters.append(Rater(load_adapter(loaded, place), usage, ids))
    return raters


def _load_base(usage: Usage, named: str | None) -> Base:
    """The base model of a student, found by its name or the user's, and by its weights."""
    model = named or usage.model
    if named is None and usage.model != "embedded" and usage.revision is None:
        raise CompanionError(f"The base model {usage.model} is a folder of its own: name it with --base FOLDER.")
    found = locate(model, usage.revision, usage.dtype)
    if found.sha256 != usage.weights:
        raise CompanionError(
            f"The student was trained on {usage.model} with weights {usage.weights[:12]}, but {model} has "
            f"{found.sha256[:12]}: name its own base model with --base."
        )
    return load_base(model, usage.revision, usage.dtype)


def _parse_line(number: int, content: bytes) -> Line:
    try:
        row = json.loads(content)
        conversation = read_row(row)
    except CompanionError as error:
        return Line(number, None, fault=str(error))
    except (ValueError, RecursionError):
        return Line(number, None, fault="it is no JSON in UTF-8.")
    return Line(number, conversation, row.get("id"))


def read_row(row: Any) -> Conversation:
    """A conversation from ``{"context": [{"speaker", "text"}, ...], "response"}`` or ``{"prompt", "response"}``.

    Raises:
        CompanionError: something is missing, empty or of another type.
    """
    if not isinstance(row, dict):
        raise CompanionError('it is no object with "context" (or "prompt") and "response".')
    turns = [{"speaker": "A", "text": row["prompt"]}] if "prompt" in row else row.get("context")
    if not isinstance(turns, list) or not turns:
        raise CompanionError('"context" must be a list of turns, or "prompt" a text.')
    context = []
    for turn in turns:
        speaker, text = (turn.get("speaker"), turn.get("text")) if isinstance(turn, dict) else (None, None)
        if not isinstance(speaker, str) or not isinstance(text, str) or not text.strip():
            raise CompanionError('each turn needs "speaker" and "text", both texts, or "prompt" must be a text.')
        context.append(Turn(speaker, text))
    response = row.get("response")
    if not isinstance(response, str) or not response.strip():
        raise CompanionError('"response" must be a text.')
    return Conversation("", "", "", tuple(context), response)


def read_text(lines: Sequence[str]) -> Conversation:
    """A conversation from lines such as ``A: Hello.``; a line without a speaker continues the turn before it.

    The last turn is the reply; its speaker is called B, as in training.

    Raises:
        CompanionError: the first line names no speaker, or there are fewer than two turns.
    """
    turns: list[Turn] = []
    for line in filter(str.strip, lines):
        if match := _SPEAKER.fullmatch(line.strip()):
            turns.append(Turn(match[1], match[2]))
        elif turns:
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].text} {line.strip()}")
        else:
            raise CompanionError("The first line names no speaker: write each turn as 'A: Hello.', or JSON Lines.")
    if len(turns) < 2:
        raise CompanionError("A conversation needs two turns or more, the last of them the reply to rate.")
    *context, reply = turns
    others = [name for name in dict.fromkeys(turn.speaker for turn in context) if name != reply.speaker]
    names = {reply.speaker: "B", **dict(zip(others, "ACDEFGHIJKLMNOPQRSTUVWXYZ", strict=False))}
    return Conversation("", "", "", tuple(Turn(names.get(one.speaker, "Z"), one.text) for one in context), reply.text)


def _require_fitting(raters: Sequence[Rater], line: Line) -> Line:
    """The line, or its fault where the conversation is longer than the model attends to."""
    if line.conversation is None:
        return line
    base = raters[0].student.base
    prompts = [make_prompt(line.conversation, axis) for rater in raters for axis in rater.usage.prompts]
    longest = max(len(base.tokenizer(prompt).input_ids) for prompt in prompts)
    try:
        check_window(base.model, longest + 2 * MAX_EXPLANATION_TOKENS)
    except CompanionError as error:
        return Line(line.number, None, line.id, str(error))
    return line


def rate(raters: Sequence[Rater], lines: Sequence[Line], explain: bool) -> list[dict[str, Any]]:
    """One answer a line: its number, its id if any, and by axis label, probabilities and, if asked for, explanation.

    ``expected`` is the mean of the labels under their probabilities, where the labels are numbers.
    """
    answers: list[dict[str, Any]] = [
        {"line": line.number, **({} if line.id is None else {"id": line.id}), "ratings": {}} for line in lines
    ]
    if not lines:
        return answers
    conversations = [line.conversation for line in lines if line.conversation is not None]
    for rater in raters:
        for axis in rater.usage.prompts:
            for answer, rating in zip(answers, _make_ratings(rater, axis, conversations, explain), strict=True):
                answer["ratings"][axis] = rating
    return answers


def _make_ratings(
    rater: Rater, axis: str, conversations: Sequence[Conversation], explain: bool
) -> list[dict[str, Any]]:
    student, usage = rater.student, rater.usage
    examples = [Example("", "", axis, make_prompt(one, axis), 0, "") for one in conversations]
    asked = make_scoring_prompts(usage.arm, student, examples)
    probabilities = score(student, asked.prompts, rater.label_ids, inside=False).probabilities
    best = probabilities.argmax(1).tolist()
    ratings = [_make_rating(usage.names, row.tolist(), place) for row, place in zip(probabilities, best, strict=True)]
    if explain and usage.explanation != "none":
        written = asked.written
        if written is None:
            given = [prompt + [rater.label_ids[place]] for prompt, place in zip(asked.prompts, best, strict=True)]
            answers = generate(student, given, MAX_EXPLANATION_TOKENS)
            written = [str(student.base.tokenizer.decode(tokens, skip_special_tokens=True)) for tokens in answers]
        for rating, text in zip(ratings, written, strict=True):
            rating["explanation"] = text.split(CLOSE)[0].strip().removeprefix(EXPLANATION_LEAD).strip()
    return ratings


def _make_rating(names: Sequence[str], probabilities: Sequence[float], best: int) -> dict[str, Any]:
    rating: dict[str, Any] = {"label": names[best]}
    # Labels that are words have no mean.
    with suppress(ValueError):
        rating["expected"] = round(sum(float(name) * one for name, one in zip(names, probabilities, strict=True)), 4)
    return rating | {"probabilities": {name: round(one, 6) for name, one in zip(names, probabilities, strict=True)}}


def show(ratings: dict[str, dict[str, Any]], console: Console) -> None:
    """Print the ratings of one conversation as a table, explanations below it; text of the model is only ever text."""
    names = list(next(iter(ratings.values()))["probabilities"])
    table = Table("axis", "label", "expected", *(f"p({one_line(name)})" for name in names))
    for axis, rating in ratings.items():
        expected = format_number(rating["expected"], 2) if "expected" in rating else ""
        shares = [format_number(one, 2) for one in rating["probabilities"].values()]
        table.add_row(NAMES.name("axis", axis), Text(rating["label"]), expected, *shares)
    console.print(table)
    for axis, rating in ratings.items():
        if "explanation" in rating:
            console.print(Text(f"{NAMES.name('axis', axis)}: {one_line(rating['explanation'])}"))
