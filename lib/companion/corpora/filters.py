"""What makes a conversation fit to be rated; every rule is a plain pattern, and says what it cannot catch."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from companion.corpora.conversation import Conversation, Turn, make_conversation
from companion.corpora.similarity import similar_pairs
from companion.corpora.wordlists import GIVEN_NAMES, PROFANE

RESPONSE_WORDS = (12, 80)
CONTEXT_WORDS = (3, 80)
PREVIOUS_TURNS = 4
DUPLICATE_SIMILARITY = 0.7
LARGEST_GROUP = 10

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


def tidy(text: str) -> str:
    """Collapse all white space to single spaces."""
    return " ".join(text.split())


def has_code(text: str) -> bool:
    """Tell whether text looks like program code, markup, a web address or a way to contact somebody."""
    return bool(_CODE.search(text) or _CONTACT.search(text))


def is_profane(text: str) -> bool:
    """Tell whether text has a common English swear word or sexual word; misspellings and other languages pass."""
    lower = text.lower()
    return any(stem in lower for stem in _PROFANE_STEMS) or not PROFANE.isdisjoint(_LETTERS.findall(lower))


def names_a_person(text: str) -> bool:
    """Tell whether text introduces a person or has one of about 350 common given names, capitalised or not.

    Rare names, surnames alone and nicknames are not caught, so a chat that passes is less personal, not anonymous.
    """
    return bool(_INTRODUCTION.search(text)) or not GIVEN_NAMES.isdisjoint(_LETTERS.findall(text.lower()))


def recent(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Keep the last turn and at most four before it, as long as they have at most 80 words in all."""
    kept: list[Turn] = []
    total = 0
    for turn in reversed(turns):
        total += len(turn.text.split())
        if kept and (total > CONTEXT_WORDS[1] or len(kept) > PREVIOUS_TURNS):
            break
        kept.insert(0, turn)
    return tuple(kept)


def has_fit_length(raw: Raw) -> bool:
    """Tell whether the response has 12 to 80 words and the context, once shortened, 3 to 80."""
    if not RESPONSE_WORDS[0] <= len(raw.response.split()) <= RESPONSE_WORDS[1]:
        return False
    words = sum(len(turn.text.split()) for turn in recent(raw.context))
    return CONTEXT_WORDS[0] <= words <= CONTEXT_WORDS[1]


def is_fit_to_show(conversation: Conversation, personal: bool) -> bool:
    """Tell whether no turn holds code, contacts or profanity nor, where chats are personal, names."""
    text = "\n".join([*(turn.text for turn in conversation.context), conversation.response])
    return not (has_code(text) or is_profane(text) or (personal and names_a_person(text)))


def without_duplicates(conversations: list[Conversation]) -> list[Conversation]:
    """Drop every conversation whose response nearly repeats an earlier kept one (Jaccard of word triples >= 0.7)."""
    dropped: set[int] = set()
    for earlier, later in similar_pairs([item.response for item in conversations], DUPLICATE_SIMILARITY):
        if earlier not in dropped:
            dropped.add(later)
    return [item for place, item in enumerate(conversations) if place not in dropped]


def few_per_group(conversations: Iterable[Conversation]) -> Iterator[Conversation]:
    """Keep the first ten of each group, so that one long chat or one much-answered question cannot fill a split."""
    seen: Counter[str] = Counter()
    for item in conversations:
        seen[item.group] += 1
        if seen[item.group] <= LARGEST_GROUP:
            yield item


def clean(source: str, raws: Iterable[Raw], personal: bool, limit: int) -> list[Conversation]:
    """Filter what a reader found; return at most ``limit`` conversations, in order of id.

    Ids are hashes of the text, so their order is a fixed shuffle and the first ``limit`` are a fixed random subset.
    """
    fitting = filter(has_fit_length, raws)
    found = (make_conversation(source, raw.group, recent(raw.context), raw.response) for raw in fitting)
    unique = {item.id: item for item in found}
    fit = (unique[key] for key in sorted(unique) if is_fit_to_show(unique[key], personal))
    # Twice the limit leaves room for duplicates and spares the search among tens of thousands of replies.
    return without_duplicates(list(islice(few_per_group(fit), 2 * limit)))[:limit]
