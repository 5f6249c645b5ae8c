"""Replies made worse by known amounts: the ground truth of the offline study.

A whole reply has level 5 on every axis. For each axis a level from 1 to 5 is drawn, and the reply is damaged that much,
in the order topic, completeness, naturalness. Length is kept, so that it tells nothing about any level. What was done
is stored with the item, with phrases that can still be read in the final reply, for whoever explains the rating.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random

from companion.corpora.conversation import Conversation
from companion.errors import CompanionError
from companion.studies.explanations.data.fillers import FILLERS

AXES = ("naturalness", "comprehensiveness", "on_topic")
LEVELS = (1, 2, 3, 4, 5)
SWAPPED = {5: 0.0, 4: 0.25, 3: 0.5, 2: 0.75, 1: 1.0}
KEPT = {5: 1.0, 4: 0.8, 3: 0.55, 2: 0.3, 1: 0.12}
DAMAGED = {5: 0.0, 4: 0.08, 3: 0.18, 2: 0.32, 1: 0.5}

_CANDIDATES = 40
_HARD_NEGATIVE_LEVELS = (2, 3)
_HARD_NEGATIVE_SHARE = 0.5
_CLAUSE_WORDS = (3, 6)
_QUOTED_WORDS = 6
_QUOTES = 4
_MID_CLAUSE_PENALTY = 0.04
_PAUSE = re.compile(r"[.!?;:,…]+[\"')\]]*$")
_STOP = re.compile(r"[.!?…]+[\"')\]]*$")
_JOINING = "and but or because so which who while when where if although since then than that as to for with"
_OTHER_FUNCTION_WORDS = """
a an the of in on at by from this these those it its is are was were be been am do does did has have had will would can
could should may might i you he she we they me him her us them my your his our their there not no just about into over
also very
"""
_JOINERS = frozenset(_JOINING.split())
_FUNCTION_WORDS = (_JOINERS | frozenset(_OTHER_FUNCTION_WORDS.split())) - {"although", "since", "where", "while"}


@dataclass(frozen=True)
class Operation:
    """What was done on one axis.

    ``share`` is the realised share, 0 to 1: of words swapped for foreign ones, of words kept, or of words damaged;
    ``count`` of ``total`` words is the same in whole words. ``visible`` is the share that a reader of the final
    response sees; it differs on on_topic only, where the cut may take more foreign than own words, or fewer.
    ``quotes`` maps a kind to phrases that stand literally in the final response (on_topic: "own", "foreign";
    comprehensiveness: "kept", "filler"; naturalness: "swapped", "dropped", "doubled", "ending"). ``missing`` holds
    phrases of the whole reply that were swapped out (on_topic) or cut off (comprehensiveness).
    """

    level: int
    share: float
    visible: float
    count: int
    total: int
    quotes: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """A conversation with a degraded response, the response it had, the true levels and the operations, by axis.

    A natural item has no levels and no operations.
    """

    id: str
    conversation: Conversation
    original: str
    levels: dict[str, int]
    operations: dict[str, Operation] = field(repr=False)


@dataclass(frozen=True)
class _Word:
    text: str
    origin: str = "own"
    damage: str = ""


def _random(seed: int, *parts: str) -> Random:
    """Make a generator that depends on the parts and nothing else (Python's own hash differs between runs)."""
    digest = hashlib.sha256("|".join([str(seed), *parts]).encode("utf-8", "surrogatepass")).digest()
    return Random(int.from_bytes(digest[:8], "big"))


def clauses(words: Sequence[str]) -> list[list[str]]:
    """Cut words, in order, into pieces of mostly 3 to 6: after punctuation, else before a joining word."""
    shortest, longest = _CLAUSE_WORDS
    pieces: list[list[str]] = [[]]
    for place, word in enumerate(words):
        piece = pieces[-1]
        full = len(piece) >= longest or (len(piece) > shortest and word.lower() in _JOINERS)
        ended = len(piece) >= shortest and bool(_PAUSE.search(piece[-1]))
        if ended or (full and len(words) - place >= shortest):
            pieces.append([])
        pieces[-1].append(word)
    return [piece for piece in pieces if piece]


def _subset(sizes: Sequence[int], target: float, random: Random) -> set[int]:
    """Choose positions whose sizes add up as nearly as possible to the target; ties are drawn."""
    order = random.sample(range(len(sizes)), len(sizes))
    reached: dict[int, tuple[int, ...]] = {0: ()}
    for place in order:
        for total, chosen in list(reached.items()):
            reached.setdefault(total + sizes[place], (*chosen, place))
    nearest = min(abs(total - target) for total in reached)
    best = [chosen for total, chosen in sorted(reached.items()) if abs(total - target) <= nearest + 1e-9]
    return set(random.choice(best))


@lru_cache(maxsize=20_000)
def _content(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower())) - _FUNCTION_WORDS


def _donor(conversation: Conversation, level: int, pool: Sequence[Conversation], random: Random) -> Conversation:
    """Choose whose reply to borrow from: of forty drawn, the nearest in length, or for a hard negative in words."""
    drawn = random.sample(range(len(pool)), min(_CANDIDATES, len(pool)))
    others = [pool[place] for place in drawn if _is_foreign(pool[place], conversation)]
    others = others or [other for other in pool if _is_foreign(other, conversation)]
    if not others:
        raise CompanionError(
            f"no reply to another context than that of {conversation.id} is in the pool of {len(pool)} conversations: "
            f"give more conversations of {conversation.source}"
        )
    if level in _HARD_NEGATIVE_LEVELS and random.random() < _HARD_NEGATIVE_SHARE:
        own = _content(conversation.response)
        others = sorted(others, key=lambda other: -len(own & _content(other.response)))[:3]
    length = len(conversation.response.split())
    return min(others, key=lambda other: abs(len(other.response.split()) - length))


def _is_foreign(other: Conversation, conversation: Conversation) -> bool:
    return (
        other.source == conversation.source
        and other.group != conversation.group
        and other.context != conversation.context
        and bool(other.response.split())
    )


def _fit_in(piece: Sequence[str], place_of: Sequence[str], starts_sentence: bool) -> list[_Word]:
    """Give a foreign piece the first letter and the closing punctuation of the piece it replaces."""
    texts = list(piece)
    if starts_sentence and place_of[0][:1].isupper():
        texts[0] = texts[0][:1].upper() + texts[0][1:]
    elif not starts_sentence and texts[0].lower() in _FUNCTION_WORDS - {"i"}:
        texts[0] = texts[0].lower()
    pause = _PAUSE.search(place_of[-1])
    texts[-1] = (_PAUSE.sub("", texts[-1]) or texts[-1]) + (pause.group() if pause else "")
    return [_Word(text, "foreign") for text in texts]


def _swap_topic(words: list[str], levels: Mapping[str, int], donor: Sequence[str], random: Random) -> list[_Word]:
    """Replace the level's share of words, piece by piece, with pieces of the donor of about the same length.

    Shares are met apart in the words that the completeness cut will keep and in the rest, so that the cut changes the
    topic's share as little as whole pieces allow.
    """
    share = SWAPPED[levels["on_topic"]]
    if share == 1:
        return [_Word(text, "foreign") for text in donor]
    pieces = clauses(words)
    head = _pieces_kept(pieces, KEPT[levels["comprehensiveness"]])
    parts = (range(head), range(head, len(pieces)))
    chosen = {place for part in parts for place in _chosen(pieces, part, share, random)}
    spare = clauses(donor)
    result: list[_Word] = []
    for place, piece in enumerate(pieces):
        if place not in chosen:
            result += [_Word(text) for text in piece]
            continue
        starts = not result or bool(_STOP.search(result[-1].text))
        lender = min(spare, key=lambda other: abs(len(other) - len(piece)))
        result += _fit_in(lender, piece, starts)
        if len(spare) > 1:
            spare.remove(lender)
    return result


def _chosen(pieces: list[list[str]], part: range, share: float, random: Random) -> list[int]:
    sizes = [len(pieces[place]) for place in part]
    return [part[place] for place in _subset(sizes, share * sum(sizes), random)]


def _pieces_kept(pieces: list[list[str]], share: float) -> int:
    total = sum(map(len, pieces))
    ends = [sum(map(len, pieces[:count])) for count in range(1, len(pieces) + 1)]
    return 1 + min(range(len(ends)), key=lambda place: abs(ends[place] - share * total))


def _cut_point(words: Sequence[str], share: float) -> int:
    """Find after how many words to cut: at a clause end where one is near, never right after a function word."""
    total = len(words)

    def cost(kept: int) -> float:
        last = words[kept - 1]
        distance = abs(kept / total - share)
        if _PAUSE.search(last):
            return distance
        return distance + _MID_CLAUSE_PENALTY + (0.1 if last.lower() in _FUNCTION_WORDS else 0.0)

    return min(range(1, total + 1), key=cost)


def fill(length: int, fillers: Sequence[str], random: Random) -> list[str]:
    """Give words of filler sentences, drawn without repeats while they last, that add up to length, or one off it."""
    words: list[str] = []
    unused: list[str] = []
    while length - len(words) > 0:
        left = length - len(words)
        unused = unused or list(fillers)
        fitting = [text for text in unused if len(text.split()) in (left, *range(left - 1))]
        fitting = fitting or [text for text in unused if len(text.split()) <= left + 1]
        if not fitting and len(unused) == len(fillers):
            break
        if fitting:
            drawn = random.choice(fitting)
            unused.remove(drawn)
            words += drawn.split()
        else:
            unused = []
    return words


def _shorten(words: list[_Word], length: int, level: int, fillers: Sequence[str], random: Random) -> list[_Word]:
    """Keep the level's share of words from the start, close the sentence, and refill to the length with fillers."""
    if level == 5 or len(words) < 2:
        return words
    kept = words[: _cut_point([word.text for word in words], KEPT[level])]
    if len(kept) == len(words):
        return words
    bare = _PAUSE.sub("", kept[-1].text)
    if not _STOP.search(kept[-1].text):
        kept[-1] = replace(kept[-1], text=f"{bare}.")
    return kept + [_Word(text, "filler") for text in fill(length - len(kept), fillers, random)]


def _wrong_ending(text: str, random: Random) -> str:
    """Give a word another ending than its own: -s, -ed or -ing, before its punctuation."""
    pause = _PAUSE.search(text)
    tail = pause.group() if pause else ""
    stem = text[: len(text) - len(tail)]
    for ending in ("ing", "ed", "s"):
        if stem.endswith(ending) and len(stem) > len(ending) + 2:
            root = stem[: -len(ending)]
            return root + random.choice([other for other in ("ing", "ed", "") if other != ending]) + tail
    return stem + random.choice(["ing", "ed", "s"]) + tail


def _damage(words: list[_Word], level: int, random: Random) -> list[_Word]:
    """Damage the level's share of words at drawn places; a dropped word stays in the list as an empty one."""
    result = [[word] for word in words]
    free = set(range(len(words)))
    wanted = round(DAMAGED[level] * len(words))
    while wanted > 0 and free:
        kind, places = random.choice(_possible(words, free, wanted, random))
        for place, now in zip(places, _edited([words[place] for place in places], kind, random), strict=True):
            result[place] = now
        free.difference_update(places)
        wanted -= len(places)
    return [word for now in result for word in now]


def _possible(words: list[_Word], free: set[int], wanted: int, random: Random) -> list[tuple[str, tuple[int, ...]]]:
    """Draw a place for each kind of damage that the free words allow; all but the last resort keep the length."""
    texts = [word.text.lower() for word in words]
    places = sorted(free)
    pairs = [place for place in places if place + 1 in free and texts[place] != texts[place + 1]]
    small = [place for place in places if texts[place] in _FUNCTION_WORDS]
    large = [place for place in places if len(texts[place]) > 3 and texts[place][:3].isalpha()]
    found: list[tuple[str, tuple[int, ...]]] = []
    if wanted >= 2 and pairs:
        place = random.choice(pairs)
        found.append(("swapped", (place, place + 1)))
    if wanted >= 2 and small and len(places) >= 2:
        place = random.choice(small)
        found.append(("dropped and doubled", (place, random.choice([other for other in places if other != place]))))
    if large:
        found.append(("ending", (random.choice(large),)))
    return found or [("doubled", (random.choice(places),))]


def _edited(words: list[_Word], kind: str, random: Random) -> list[list[_Word]]:
    """Give what stands in the places of the words once they are damaged."""
    if kind == "swapped":
        return [[replace(word, damage=kind)] for word in reversed(words)]
    if kind == "ending":
        return [[replace(words[0], text=_wrong_ending(words[0].text, random), damage=kind)]]
    last = words[-1]
    bare = replace(last, text=_PAUSE.sub("", last.text) or last.text, damage="doubled")
    doubled = [bare, replace(last, damage="doubled")]
    return [doubled] if kind == "doubled" else [[replace(words[0], text="", damage="dropped")], doubled]


def _phrases(words: Sequence[_Word], wanted: Sequence[bool]) -> tuple[str, ...]:
    """Quote the first runs of wanted words, each of at most six words, as they stand in the response."""
    runs: list[list[str]] = [[]]
    for word, is_wanted in zip(words, wanted, strict=True):
        if is_wanted and word.text:
            runs[-1].append(word.text)
        elif not is_wanted and runs[-1]:
            runs.append([])
    phrases = [" ".join(run[:_QUOTED_WORDS]) for run in runs if run]
    return tuple(dict.fromkeys(_PAUSE.sub("", phrase) or phrase for phrase in phrases))[:_QUOTES]


def _gaps(words: Sequence[_Word]) -> tuple[str, ...]:
    """Quote the words on both sides of each dropped word."""
    gaps = []
    for place, word in enumerate(words):
        before = [other.text for other in words[:place] if other.text][-1:]
        following = [other.text for other in words[place:] if other.text][:1]
        if word.damage == "dropped" and before and following:
            gaps.append(f"{before[0]} {following[0]}")
    return tuple(dict.fromkeys(gaps))[:_QUOTES]


def _lost(words: Sequence[_Word]) -> tuple[str, ...]:
    texts = [word.text for word in words if word.origin == "own"]
    return tuple(" ".join(piece) for piece in clauses(texts)[:_QUOTES])


@dataclass(frozen=True)
class _Stages:
    """The words of a reply after each operation."""

    swapped: list[_Word]
    shortened: list[_Word]
    damaged: list[_Word]


def topic_level(visible: float) -> int:
    """The on-topic level of a response of whose own words a share of 0 to 1 is foreign: 5 for none, 1 for all."""
    if visible in (0.0, 1.0):
        return 1 if visible else 5
    return min((2, 3, 4), key=lambda level: abs(SWAPPED[level] - visible))


def _topic_operation(stages: _Stages, missing: tuple[str, ...]) -> Operation:
    foreign = sum(word.origin == "foreign" for word in stages.swapped)
    words = stages.damaged
    quotes = {kind: _phrases(words, [word.origin == kind for word in words]) for kind in ("own", "foreign")}
    visible = [word.origin == "foreign" for word in stages.shortened if word.origin != "filler"]
    # A cut can leave nothing, or nothing but, of the foreign clauses; the level is what a reader can see.
    share = sum(visible) / len(visible)
    return _operation(topic_level(share), foreign, len(stages.swapped), quotes, missing, share)


def _completeness_operation(stages: _Stages, level: int) -> Operation:
    kept = sum(word.origin != "filler" for word in stages.shortened)
    is_filler = [word.origin == "filler" for word in stages.damaged]
    quotes = {
        "kept": _phrases(stages.damaged, [not filler for filler in is_filler]),
        "filler": _phrases(stages.damaged, is_filler),
    }
    return _operation(level, kept, len(stages.swapped), quotes, _lost(stages.swapped[kept:]))


def _naturalness_operation(stages: _Stages, level: int) -> Operation:
    words = stages.damaged
    kinds = ("swapped", "doubled", "ending")
    quotes = {kind: _phrases(words, [word.damage == kind for word in words]) for kind in kinds}
    quotes["dropped"] = _gaps(words)
    doubled = sum(word.damage == "doubled" for word in words) // 2
    damaged = sum(bool(word.damage) for word in words) - doubled
    return _operation(level, damaged, len(stages.shortened), quotes)


def _operation(
    level: int,
    count: int,
    total: int,
    quotes: Mapping[str, tuple[str, ...]],
    missing: tuple[str, ...] = (),
    visible: float | None = None,
) -> Operation:
    share = count / total
    return Operation(level, share, share if visible is None else visible, count, total, quotes, missing)


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
    stages = _operate(conversation, chosen, pool, _random(seed, conversation.id, asked), fillers)
    untouched = set(chosen.values()) == {5}
    response = conversation.response if untouched else " ".join(word.text for word in stages.damaged if word.text)
    operations = {
        "naturalness": _naturalness_operation(stages, chosen["naturalness"]),
        "comprehensiveness": _completeness_operation(stages, chosen["comprehensiveness"]),
        "on_topic": _topic_operation(stages, _swapped_out(conversation.response, stages)),
    }
    reached = {axis: operations[axis].level for axis in AXES}
    return Item(
        id=conversation.id + "-" + "".join(str(reached[axis]) for axis in AXES),
        conversation=replace(conversation, response=response),
        original=conversation.response,
        levels=reached,
        operations=operations,
    )


def _operate(
    conversation: Conversation,
    levels: dict[str, int],
    pool: Sequence[Conversation],
    random: Random,
    fillers: Sequence[str],
) -> _Stages:
    texts = conversation.response.split()
    swapped = [_Word(text) for text in texts]
    if levels["on_topic"] < 5:
        donor = _donor(conversation, levels["on_topic"], pool, random)
        swapped = _swap_topic(texts, levels, donor.response.split(), random)
    shortened = _shorten(swapped, len(texts), levels["comprehensiveness"], fillers, random)
    return _Stages(swapped, shortened, _damage(shortened, levels["naturalness"], random))


def _swapped_out(whole: str, stages: _Stages) -> tuple[str, ...]:
    now = " ".join(word.text for word in stages.swapped)
    phrases = [" ".join(piece) for piece in clauses(whole.split())]
    return tuple(phrase for phrase in phrases if phrase not in now)[:_QUOTES]


def balanced_levels(count: int, random: Random) -> list[dict[str, int]]:
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
        random = _random(seed, split, source)
        ids = random.sample([conversation.id for conversation in pool], len(pool))
        drawn = balanced_levels(len(ids) * versions, random)
        levels |= {name: drawn[place * versions : (place + 1) * versions] for place, name in enumerate(ids)}
    return [
        degrade(conversation, wanted, pools[conversation.source], seed, FILLERS[split])
        for conversation in conversations
        for wanted in levels[conversation.id]
    ]


def natural_items(conversations: Sequence[Conversation]) -> list[Item]:
    """Conversations as they are: nothing is done to them, and no level is known."""
    # What stands before the last dash is the conversation's id, as in degraded items.
    return [Item(f"{one.id}-natural", one, one.response, {}, {}) for one in conversations]
