"""What makes a conversation fit to be rated; every rule is a plain pattern, and says what it cannot catch."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import yaml

from companion.corpora.conversation import Conversation, Turn, make_conversation
from companion.corpora.similarity import find_similar_pairs

PREVIOUS_TURNS = 4
DUPLICATE_SIMILARITY = 0.7
LARGEST_GROUP = 10

_WORDS = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
_PROFANE, _GIVEN_NAMES = (frozenset(_WORDS[kind].split()) for kind in ("profane", "given_names"))
_LETTERS = re.compile(r"[a-z]+")
_CODE = re.compile(
    r"```|https?:|www\.|</|/>|[{}\\]|==|->|\(\)|;\s*$|\w\.(com|org|net)\b"
    r"|\b(def|printf?)\(|\bdef \w+\(|\bsudo \w|#include"
)
_CONTACT = re.compile(r"@\w|#\w|\b\d{3}[-. ]\d{3,4}\b")
_PROFANE_STEMS = ("fuck", "fuk", "shit", "masturbat", "genital", "blowjob", "motherf")
_INTRODUCTION = re.compile(
    r"\b(my|your|ur|his|her|their|first|last|full) name\b|\bname'?s\b|\bname is\b|\bnamed\b"
    r"|\b(i'?m|i am|this is|call me|called) (?-i:[A-Z])(?-i:[a-z]+)\b",
    re.IGNORECASE,
)


class Raw(NamedTuple):
    """What a reader finds: the group that must stay together, all turns so far, and the reply."""

    group: str
    context: Sequence[Turn]
    response: str


@dataclass(frozen=True)
class Limits:
    """Least and most words of a response and of the context kept, and the most turns kept before the last one."""

    response_words: tuple[int, int] = (12, 80)
    context_words: tuple[int, int] = (3, 80)
    previous_turns: int = PREVIOUS_TURNS


DEGRADABLE = Limits()


def normalize_whitespace(text: str) -> str:
    """Collapse all white space to single spaces."""
    return " ".join(text.split())


def has_code(text: str) -> bool:
    """Tell whether text looks like program code, markup, a web address or a way to contact somebody."""
    return bool(_CODE.search(text) or _CONTACT.search(text))


def is_profane(text: str) -> bool:
    """Tell whether text has a common English swear word or sexual word; misspellings and other languages pass."""
    lower = text.lower()
    return any(stem in lower for stem in _PROFANE_STEMS) or not _PROFANE.isdisjoint(_LETTERS.findall(lower))


def names_a_person(text: str) -> bool:
    """Tell whether text introduces a person or has one of about 350 common given names, capitalised or not.

    Rare names, surnames alone and nicknames are not caught, so a chat that passes is less personal, not anonymous.
    """
    return bool(_INTRODUCTION.search(text)) or not _GIVEN_NAMES.isdisjoint(_LETTERS.findall(text.lower()))


def select_recent_turns(turns: Sequence[Turn], limits: Limits = DEGRADABLE) -> tuple[Turn, ...]:
    """Keep the last turn and those before it, as long as neither their number nor their words pass the limits."""
    kept: list[Turn] = []
    total = 0
    for turn in reversed(turns):
        total += len(turn.text.split())
        if kept and (total > limits.context_words[1] or len(kept) > limits.previous_turns):
            break
        kept.insert(0, turn)
    return tuple(kept)


def has_fit_length(raw: Raw, limits: Limits = DEGRADABLE) -> bool:
    """Tell whether response and context, once shortened, have as many words as the limits ask for."""
    least, most = limits.response_words
    if not least <= len(raw.response.split()) <= most:
        return False
    words = sum(len(turn.text.split()) for turn in select_recent_turns(raw.context, limits))
    return limits.context_words[0] <= words <= limits.context_words[1]


def is_fit_to_show(conversation: Conversation, personal: bool) -> bool:
    """Tell whether no turn holds code, contacts or profanity nor, where chats are personal, names."""
    text = "\n".join([*(turn.text for turn in conversation.context), conversation.response])
    return not (has_code(text) or is_profane(text) or (personal and names_a_person(text)))


def get_comparison_text(conversation: Conversation) -> str:
    """Give the text by which repetitions are found: the response, after the last turn where it is a short answer.

    Thousands of questions are answered by yes; the answer alone does not make them the same item.
    """
    response = conversation.response
    if len(response.split()) >= DEGRADABLE.response_words[0]:
        return response
    return f"{conversation.context[-1].text} {response}"


def drop_duplicates(conversations: list[Conversation]) -> list[Conversation]:
    """Drop every conversation that nearly repeats an earlier kept one (Jaccard of word triples >= 0.7)."""
    dropped: set[int] = set()
    for earlier, later in find_similar_pairs(
        [get_comparison_text(item) for item in conversations], DUPLICATE_SIMILARITY
    ):
        if earlier not in dropped:
            dropped.add(later)
    return [item for place, item in enumerate(conversations) if place not in dropped]


def limit_per_group(conversations: Iterable[Conversation]) -> Iterator[Conversation]:
    """Keep the first ten of each group, so that one long chat or one much-answered question cannot fill a split."""
    seen: Counter[str] = Counter()
    for item in conversations:
        seen[item.group] += 1
        if seen[item.group] <= LARGEST_GROUP:
            yield item


def clean(source: str, raws: Iterable[Raw], personal: bool, limit: int) -> list[Conversation]:
    """Filter what a reader found; return at most ``limit`` conversations fit to be degraded and shown."""
    found = select_fitting(source, raws, DEGRADABLE)
    return take_dissimilar((item for item in found if is_fit_to_show(item, personal)), limit)


def select_fitting(source: str, raws: Iterable[Raw], limits: Limits) -> Iterator[Conversation]:
    """Give each conversation of fit length once, in order of id.

    Ids are hashes of the text, so their order is a fixed shuffle and the first of them are a fixed random subset.
    """
    fit = (raw for raw in raws if has_fit_length(raw, limits))
    found = (
        make_conversation(source, raw.group, select_recent_turns(raw.context, limits), raw.response) for raw in fit
    )
    unique = {item.id: item for item in found}
    return (unique[key] for key in sorted(unique))


def take_dissimilar(conversations: Iterable[Conversation], limit: int) -> list[Conversation]:
    """Keep the first ``limit`` without near-duplicates, at most ten of a group."""
    # Twice the limit leaves room for duplicates and spares the search among tens of thousands of replies.
    return drop_duplicates(list(islice(limit_per_group(conversations), 2 * limit)))[:limit]
