"""The three ways in which a reply is made worse: foreign clauses, a cut filled with empty talk, and damaged words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from companion.corpora.conversation import Conversation
from companion.errors import CompanionError

SWAPPED = {5: 0.0, 4: 0.25, 3: 0.5, 2: 0.75, 1: 1.0}
KEPT = {5: 1.0, 4: 0.8, 3: 0.55, 2: 0.3, 1: 0.12}
DAMAGED = {5: 0.0, 4: 0.08, 3: 0.18, 2: 0.32, 1: 0.5}
_CANDIDATES = 40
_HARD_NEGATIVE_LEVELS = (2, 3)
_HARD_NEGATIVE_SHARE = 0.5
_CLAUSE_WORDS = (3, 6)
_MID_CLAUSE_PENALTY = 0.04
PAUSE = re.compile(r"[.!?;:,…]+[\"')\]]*$")
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
class Word:
    """One word of a reply: its origin is "own", "foreign" or "filler", its damage a kind or empty."""

    text: str
    origin: str = "own"
    damage: str = ""


def split_clauses(words: Sequence[str]) -> list[list[str]]:
    """Cut words, in order, into pieces of mostly 3 to 6: after punctuation, else before a joining word."""
    shortest, longest = _CLAUSE_WORDS
    pieces: list[list[str]] = [[]]
    for place, word in enumerate(words):
        piece = pieces[-1]
        full = len(piece) >= longest or (len(piece) > shortest and word.lower() in _JOINERS)
        ended = len(piece) >= shortest and bool(PAUSE.search(piece[-1]))
        if ended or (full and len(words) - place >= shortest):
            pieces.append([])
        pieces[-1].append(word)
    return [piece for piece in pieces if piece]


def _choose_subset(sizes: Sequence[int], target: float, random: Random) -> set[int]:
    """Choose positions whose sizes sum as closely as possible to the target; ties are broken at random."""
    order = random.sample(range(len(sizes)), len(sizes))
    reached: dict[int, tuple[int, ...]] = {0: ()}
    for place in order:
        for total, chosen in list(reached.items()):
            reached.setdefault(total + sizes[place], (*chosen, place))
    nearest = min(abs(total - target) for total in reached)
    best = [chosen for total, chosen in sorted(reached.items()) if abs(total - target) <= nearest + 1e-9]
    return set(random.choice(best))


@lru_cache(maxsize=20_000)
def _get_content_words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower())) - _FUNCTION_WORDS


def choose_donor(conversation: Conversation, level: int, pool: Sequence[Conversation], random: Random) -> Conversation:
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
        own = _get_content_words(conversation.response)
        others = sorted(others, key=lambda other: -len(own & _get_content_words(other.response)))[:3]
    length = len(conversation.response.split())
    return min(others, key=lambda other: abs(len(other.response.split()) - length))


def _is_foreign(other: Conversation, conversation: Conversation) -> bool:
    return (
        other.source == conversation.source
        and other.group != conversation.group
        and other.context != conversation.context
        and bool(other.response.split())
    )


def _fit_in(piece: Sequence[str], place_of: Sequence[str], starts_sentence: bool) -> list[Word]:
    """Give a foreign piece the first letter and the closing punctuation of the piece it replaces."""
    texts = list(piece)
    if starts_sentence and place_of[0][:1].isupper():
        texts[0] = texts[0][:1].upper() + texts[0][1:]
    elif not starts_sentence and texts[0].lower() in _FUNCTION_WORDS - {"i"}:
        texts[0] = texts[0].lower()
    pause = PAUSE.search(place_of[-1])
    texts[-1] = (PAUSE.sub("", texts[-1]) or texts[-1]) + (pause.group() if pause else "")
    return [Word(text, "foreign") for text in texts]


def swap_topic(words: list[str], levels: Mapping[str, int], donor: Sequence[str], random: Random) -> list[Word]:
    """Replace the level's share of words, piece by piece, with pieces of the donor of about the same length.

    Shares are met apart in the words that the completeness cut will keep and in the rest, so that the cut changes the
    topic's share as little as whole pieces allow.
    """
    share = SWAPPED[levels["on_topic"]]
    if share == 1:
        return [Word(text, "foreign") for text in donor]
    pieces = split_clauses(words)
    head = _count_kept_pieces(pieces, KEPT[levels["comprehensiveness"]])
    parts = (range(head), range(head, len(pieces)))
    chosen = {place for part in parts for place in _choose_pieces(pieces, part, share, random)}
    spare = split_clauses(donor)
    result: list[Word] = []
    for place, piece in enumerate(pieces):
        if place not in chosen:
            result += [Word(text) for text in piece]
            continue
        starts = not result or bool(_STOP.search(result[-1].text))
        lender = min(spare, key=lambda other: abs(len(other) - len(piece)))
        result += _fit_in(lender, piece, starts)
        if len(spare) > 1:
            spare.remove(lender)
    return result


def _choose_pieces(pieces: list[list[str]], part: range, share: float, random: Random) -> list[int]:
    sizes = [len(pieces[place]) for place in part]
    return [part[place] for place in _choose_subset(sizes, share * sum(sizes), random)]


def _count_kept_pieces(pieces: list[list[str]], share: float) -> int:
    total = sum(map(len, pieces))
    ends = [sum(map(len, pieces[:count])) for count in range(1, len(pieces) + 1)]
    return 1 + min(range(len(ends)), key=lambda place: abs(ends[place] - share * total))


def _find_cut(words: Sequence[str], share: float) -> int:
    """Find after how many words to cut: at a clause end where one is near, never right after a function word."""
    total = len(words)

    def cost(kept: int) -> float:
        last = words[kept - 1]
        distance = abs(kept / total - share)
        if PAUSE.search(last):
            return distance
        return distance + _MID_CLAUSE_PENALTY + (0.1 if last.lower() in _FUNCTION_WORDS else 0.0)

    return min(range(1, total + 1), key=cost)


def draw_fillers(length: int, fillers: Sequence[str], random: Random) -> list[str]:
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


def shorten(words: list[Word], length: int, level: int, fillers: Sequence[str], random: Random) -> list[Word]:
    """Keep the level's share of words from the start, close the sentence, and refill to the length with fillers."""
    if level == 5 or len(words) < 2:
        return words
    kept = words[: _find_cut([word.text for word in words], KEPT[level])]
    if len(kept) == len(words):
        return words
    bare = PAUSE.sub("", kept[-1].text)
    if not _STOP.search(kept[-1].text):
        kept[-1] = replace(kept[-1], text=f"{bare}.")
    return kept + [Word(text, "filler") for text in draw_fillers(length - len(kept), fillers, random)]


def _change_ending(text: str, random: Random) -> str:
    """Give a word another ending than its own: -s, -ed or -ing, before its punctuation."""
    pause = PAUSE.search(text)
    tail = pause.group() if pause else ""
    stem = text[: len(text) - len(tail)]
    for ending in ("ing", "ed", "s"):
        if stem.endswith(ending) and len(stem) > len(ending) + 2:
            root = stem[: -len(ending)]
            return root + random.choice([other for other in ("ing", "ed", "") if other != ending]) + tail
    return stem + random.choice(["ing", "ed", "s"]) + tail


def damage_words(words: list[Word], level: int, random: Random) -> list[Word]:
    """Damage the level's share of words at drawn places; a dropped word stays in the list as an empty one."""
    result = [[word] for word in words]
    free = set(range(len(words)))
    wanted = round(DAMAGED[level] * len(words))
    while wanted > 0 and free:
        kind, places = random.choice(_draw_candidates(words, free, wanted, random))
        for place, now in zip(places, _apply_damage([words[place] for place in places], kind, random), strict=True):
            result[place] = now
        free.difference_update(places)
        wanted -= len(places)
    return [word for now in result for word in now]


def _draw_candidates(
    words: list[Word], free: set[int], wanted: int, random: Random
) -> list[tuple[str, tuple[int, ...]]]:
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


def _apply_damage(words: list[Word], kind: str, random: Random) -> list[list[Word]]:
    """Give the words that replace the damaged ones."""
    if kind == "swapped":
        return [[replace(word, damage=kind)] for word in reversed(words)]
    if kind == "ending":
        return [[replace(words[0], text=_change_ending(words[0].text, random), damage=kind)]]
    last = words[-1]
    bare = replace(last, text=PAUSE.sub("", last.text) or last.text, damage="doubled")
    doubled = [bare, replace(last, damage="doubled")]
    return [doubled] if kind == "doubled" else [[replace(words[0], text="", damage="dropped")], doubled]
