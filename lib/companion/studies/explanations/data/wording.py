"""Sentences of the simulated annotators: a verdict, the evidence with words quoted from the response, and a closing.

Training items and held-out items (validation and test) share no sentence. No sentence holds a digit, a number word up
to five or a word for the rating itself, so an explanation never spells out its label.
"""

import random
import re
from functools import lru_cache

from companion.studies.explanations.data.phrases import CLOSINGS, EVIDENCE, VERDICTS, Severity

_CLOSING_OF: dict[Severity, str] = {
    "clean": "good",
    "reserved": "good",
    "slight": "good",
    "moderate": "middling",
    "strong": "bad",
    "extreme": "bad",
}
QUOTED_WORDS = 4

_LEAK = re.compile(
    r"\d|\b(?:one|two|three|four|five|scor(?:e[sd]?|ing)|rat(?:e[sd]?|ings?)|labels?|levels?|stars?|grades?|points?)\b",
    re.IGNORECASE,
)


def remove_leaks(text: str) -> str:
    """The sentences of a text that do not leak the label."""
    return " ".join(sentence for sentence in split_sentences(text) if not leaks_label(sentence))


def split_sentences(text: str) -> list[str]:
    """Sentences of a text, split after a full stop, question mark or exclamation mark."""
    return re.split(r"(?<=[.!?])\s+", text.strip())


def leaks_label(text: str) -> bool:
    """Whether a text holds a digit, a number word from one to five, or a word for the rating itself."""
    return bool(_LEAK.search(text))


@lru_cache(maxsize=50_000)
def clean_quote(phrase: str) -> str:
    """The first words of a phrase, at most ``QUOTED_WORDS``, between those that would leak the label; may be empty."""
    kept: list[str] = []
    for word in phrase.replace('"', "").split():
        if not leaks_label(word):
            kept.append(word)
        elif kept:
            break
    return " ".join(kept[:QUOTED_WORDS]).strip(" .,;:!?")


def write_explanation(axis: str, severity: Severity, kind: str, quote: str, split: str, choose: random.Random) -> str:
    """Three sentences that describe the quality of a response in words, 15 to 40 of them.

    Args:
        kind: what the quote is evidence of: a kind of damage (a key of ``EVIDENCE``), or ``sound``.
        quote: a few words of the response, from ``clean_quote``.
        split: ``train``, or any other split, which has other sentences.
        choose: picks the wording.
    """
    book = "train" if split == "train" else "held_out"
    parts = (
        choose.choice(VERDICTS[book][axis][severity]),
        choose.choice(EVIDENCE[book][axis][kind]).replace("{quote}", quote),
        choose.choice(CLOSINGS[book][axis][_CLOSING_OF[severity]]),
    )
    return " ".join(parts)
