"""Replies made worse by known amounts: the ground truth of the offline study.

A whole reply has level 5 on every axis. For each axis a level from 1 to 5 is drawn, and the reply is damaged that much,
in the order topic, completeness, naturalness. Length is kept, so that it tells nothing about any level. What was done
is stored with the item, with phrases that can still be read in the final reply, for explanations of the rating.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from companion.corpora.conversation import Conversation
from companion.errors import CompanionError
from companion.studies.explanations.data.damage import (
    PAUSE,
    SWAPPED,
    Word,
    choose_donor,
    damage_words,
    shorten,
    swap_topic,
)
from companion.studies.explanations.data.phrases import FILLERS

AXES = ("naturalness", "comprehensiveness", "on_topic")
LEVELS = (1, 2, 3, 4, 5)
_QUOTED_WORDS = 6
_QUOTES = 4


@dataclass(frozen=True)
class Operation:
    """What was done on one axis.

    ``share`` is the realised share of words, 0 to 1: foreign ones among those of a reply that a reader of the final
    response sees (the cut may take more foreign than own words, or fewer), words kept, or words damaged. ``quotes``
    maps a kind to phrases that stand literally in the final response (on_topic: "own", "foreign"; comprehensiveness:
    "kept", "filler"; naturalness: "swapped", "dropped", "doubled", "ending").
    """

    share: float
    quotes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Item:
    """A conversation with a degraded response, the true levels and the operations, by axis.

    A natural item has no levels and no operations.
    """

    id: str
    conversation: Conversation
    levels: dict[str, int]
    operations: dict[str, Operation] = field(repr=False)


def _make_generator(seed: int, *parts: str) -> Random:
    """Make a generator that depends on the parts and nothing else (Python's own hash differs between runs)."""
    digest = hashlib.sha256("|".join([str(seed), *parts]).encode("utf-8", "surrogatepass")).digest()
    return Random(int.from_bytes(digest[:8], "big"))


def _quote_runs(words: Sequence[Word], wanted: Sequence[bool]) -> tuple[str, ...]:
    """Quote the first runs of wanted words, each of at most six words, as they stand in the response."""
    runs: list[list[str]] = [[]]
    for word, is_wanted in zip(words, wanted, strict=True):
        if is_wanted and word.text:
            runs[-1].append(word.text)
        elif not is_wanted and runs[-1]:
            runs.append([])
    phrases = [" ".join(run[:_QUOTED_WORDS]) for run in runs if run]
    return tuple(dict.fromkeys(PAUSE.sub("", phrase) or phrase for phrase in phrases))[:_QUOTES]


def _quote_gaps(words: Sequence[Word]) -> tuple[str, ...]:
    """Quote the words on both sides of each dropped word."""
    gaps = []
    for place, word in enumerate(words):
        before = [other.text for other in words[:place] if other.text][-1:]
        following = [other.text for other in words[place:] if other.text][:1]
        if word.damage == "dropped" and before and following:
            gaps.append(f"{before[0]} {following[0]}")
    return tuple(dict.fromkeys(gaps))[:_QUOTES]


@dataclass(frozen=True)
class _Stages:
    """The words of a reply after each operation."""

    swapped: list[Word]
    shortened: list[Word]
    damaged: list[Word]


def compute_topic_level(visible: float) -> int:
    """The on-topic level of a response of whose own words a share of 0 to 1 is foreign: 5 for none, 1 for all."""
    if visible in (0.0, 1.0):
        return 1 if visible else 5
    return min((2, 3, 4), key=lambda level: abs(SWAPPED[level] - visible))


def _describe_topic(stages: _Stages) -> Operation:
    words = stages.damaged
    quotes = {kind: _quote_runs(words, [word.origin == kind for word in words]) for kind in ("own", "foreign")}
    # A cut can leave nothing, or nothing but, of the foreign clauses; what counts is what a reader can see.
    visible = [word.origin == "foreign" for word in stages.shortened if word.origin != "filler"]
    return Operation(sum(visible) / len(visible), quotes)


def _describe_completeness(stages: _Stages) -> Operation:
    kept = sum(word.origin != "filler" for word in stages.shortened)
    is_filler = [word.origin == "filler" for word in stages.damaged]
    quotes = {
        "kept": _quote_runs(stages.damaged, [not filler for filler in is_filler]),
        "filler": _quote_runs(stages.damaged, is_filler),
    }
    return Operation(kept / len(stages.swapped), quotes)


def _describe_naturalness(stages: _Stages) -> Operation:
    words = stages.damaged
    kinds = ("swapped", "doubled", "ending")
    quotes = {kind: _quote_runs(words, [word.damage == kind for word in words]) for kind in kinds}
    quotes["dropped"] = _quote_gaps(words)
    doubled = sum(word.damage == "doubled" for word in words) // 2
    damaged = sum(bool(word.damage) for word in words) - doubled
    return Operation(damaged / len(stages.shortened), quotes)


def degrade(
    conversation: Conversation,
    levels: Mapping[str, int],
    pool: Sequence[Conversation],
    seed: int,
    fillers: Sequence[str],
) -> Item:
    """Make one reply worse by known amounts; level 5 on all axes gives it back as it was.

    The item's on-topic level is that of the foreign share that is left to see after the cut, so it can differ from the
    one asked for where a heavy cut leaves few words; the other two are as asked for.

    ``levels`` has 1 to 5 for each axis; ``pool`` lends foreign clauses, and must come from the same split. The result
    depends on the seed, the conversation's id, levels, pool and fillers only. Raises CompanionError for levels or a
    response that cannot be used, or a pool without a reply to another context.
    """
    if set(levels) != set(AXES) or not set(levels.values()) <= set(LEVELS):
        wanted = ", ".join(AXES)
        raise CompanionError(f"the levels of {conversation.id} are {dict(levels)}: give 1 to 5 for each of {wanted}")
    if not conversation.response.split():
        raise CompanionError(f"the response of {conversation.id} is empty: give one with words")
    chosen = {axis: levels[axis] for axis in AXES}
    asked = "".join(str(chosen[axis]) for axis in AXES)
    stages = _apply_operations(conversation, chosen, pool, _make_generator(seed, conversation.id, asked), fillers)
    untouched = set(chosen.values()) == {5}
    response = conversation.response if untouched else " ".join(word.text for word in stages.damaged if word.text)
    operations = {
        "naturalness": _describe_naturalness(stages),
        "comprehensiveness": _describe_completeness(stages),
        "on_topic": _describe_topic(stages),
    }
    reached = {**chosen, "on_topic": compute_topic_level(operations["on_topic"].share)}
    return Item(
        id=conversation.id + "-" + "".join(str(reached[axis]) for axis in AXES),
        conversation=replace(conversation, response=response),
        levels=reached,
        operations=operations,
    )


def _apply_operations(
    conversation: Conversation,
    levels: dict[str, int],
    pool: Sequence[Conversation],
    random: Random,
    fillers: Sequence[str],
) -> _Stages:
    texts = conversation.response.split()
    swapped = [Word(text) for text in texts]
    if levels["on_topic"] < 5:
        donor = choose_donor(conversation, levels["on_topic"], pool, random)
        swapped = swap_topic(texts, levels, donor.response.split(), random)
    shortened = shorten(swapped, len(texts), levels["comprehensiveness"], fillers, random)
    return _Stages(swapped, shortened, damage_words(shortened, levels["naturalness"], random))


def draw_balanced_levels(count: int, random: Random) -> list[dict[str, int]]:
    """Draw levels for count items so that they are balanced on every axis and uncorrelated between axes by design.

    Each run of 5 from the start has every level once on every axis, and each run of 25 every pair of levels of any two
    axes once (an orthogonal array of strength 2).
    """
    rows: list[dict[str, int]] = []
    while len(rows) < count:
        names = {axis: random.sample(LEVELS, len(LEVELS)) for axis in AXES}
        shift = random.randrange(5)
        diagonals = random.sample(range(5), 5)
        for diagonal in diagonals:
            # 5 is prime, so along a diagonal each of the three indices takes every value once.
            indices = [(first, first + diagonal, 2 * first + diagonal + shift) for first in random.sample(range(5), 5)]
            rows += [{axis: names[axis][index % 5] for axis, index in zip(AXES, row, strict=True)} for row in indices]
    return rows[:count]


def make_items(conversations: Sequence[Conversation], split: str, seed: int, versions: int = 1) -> list[Item]:
    """Degrade every conversation of one split, with levels balanced within each source; keeps the order given.

    With 5 versions of a conversation, each level is asked for once on every axis; the on-topic level reached can differ
    (see `degrade`). Clauses are borrowed within the split
    and the source only, and training's filler sentences are not those of validation and test. Raises CompanionError for
    an unknown split or where degrade does.
    """
    if split not in FILLERS:
        raise CompanionError(f"there is no split named {split!r}: use one of {', '.join(FILLERS)}")
    pools: dict[str, list[Conversation]] = defaultdict(list)
    for conversation in sorted(conversations, key=lambda item: item.id):
        pools[conversation.source].append(conversation)
    levels: dict[str, list[dict[str, int]]] = {}
    for source, pool in pools.items():
        random = _make_generator(seed, split, source)
        ids = random.sample([conversation.id for conversation in pool], len(pool))
        drawn = draw_balanced_levels(len(ids) * versions, random)
        levels |= {name: drawn[place * versions : (place + 1) * versions] for place, name in enumerate(ids)}
    return [
        degrade(conversation, wanted, pools[conversation.source], seed, FILLERS[split])
        for conversation in conversations
        for wanted in levels[conversation.id]
    ]


def make_natural_items(conversations: Sequence[Conversation]) -> list[Item]:
    """Conversations as they are: nothing is done to them, and no level is known."""
    # What stands before the last dash is the conversation's id, as in degraded items.
    return [Item(f"{one.id}-natural", one, {}, {}) for one in conversations]
