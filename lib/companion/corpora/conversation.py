"""A conversation: some turns, and the one reply that is going to be rated."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """One utterance; ``speaker`` is "B" for the side that gives the rated reply and "A" for the other side."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Conversation:
    """A context of one or more turns and the response to it.

    ``id`` is the source name and 12 hexadecimal digits of the sha256 of the text, so the same text has the same id on
    every machine. ``group`` is the unit (chat, question, document) that must never lie on both sides of a split.
    """

    id: str
    source: str
    group: str
    context: tuple[Turn, ...]
    response: str


def make_conversation(source: str, group: str, context: Iterable[Turn], response: str) -> Conversation:
    """Build a conversation with the id that its text asks for."""
    turns = tuple(context)
    text = json.dumps([[[turn.speaker, turn.text] for turn in turns], response], ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Conversation(f"{source}-{digest}", source, group, turns, response)


def compute_fingerprint(conversations: Iterable[Conversation]) -> str:
    """Give the sha256 (64 hexadecimal digits) of ids, groups, turns and responses, in the order given."""
    digest = hashlib.sha256()
    for item in conversations:
        turns = [[turn.speaker, turn.text] for turn in item.context]
        digest.update(json.dumps([item.id, item.source, item.group, turns, item.response]).encode())
    return digest.hexdigest()
