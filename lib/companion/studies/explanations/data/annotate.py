"""The annotator ensemble and its merging (2511.02044, annotation): 3 annotators x 4 prompts, 12 scores each item.

Offline the annotators are SIMULATED: they know the true level and the operations applied, and add their own errors.
Their biases partly cancel and their noise is additive, which favours averages among merge rules; T2 says so. Language
models rate in ``language_annotators``.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.stats import trim_mean

from companion.errors import CompanionError
from companion.studies.explanations.data.degrade import Item
from companion.studies.explanations.data.phrases import Severity
from companion.studies.explanations.data.wording import clean_quote, remove_leaks, split_sentences, write_explanation
from companion.studies.explanations.settings import MergeRule

MIN_SCORES = 8
"""An item needs this many parsed scores of its 12 on an axis, or the axis of the item is dropped."""

SOUND = ("kept", "own")
"""Kinds of an operation's quotes in which nothing was damaged."""

TRIMMED = 0.2
"""Share of the scores cut from each end by the trimmed mean: two of twelve."""


MIN_TOKENS, MAX_TOKENS = 15, 40
"""Length of a merged explanation, in words and punctuation marks."""


@dataclass(frozen=True)
class Prompt:
    """One way to ask for a rating: from 1 to ``scale``, with or without worked examples."""

    name: str
    scale: int
    examples: bool


PROMPTS = (
    Prompt("scale_4", 4, False),
    Prompt("scale_4_examples", 4, True),
    Prompt("scale_5", 5, False),
    Prompt("scale_5_examples", 5, True),
)


@dataclass(frozen=True)
class Rating:
    """One answer: the score on the prompt's scale and its reason; None and an empty text where it cannot be parsed."""

    score: int | None
    explanation: str


@dataclass(frozen=True)
class SimulatedAnnotator:
    """An annotator that knows the truth and errs: impression = level + bias + noise + prompt effect, then own scale.

    Attributes:
        bias: axis -> levels added to every impression.
        item_noise: standard deviation, in levels, of the error that its four answers about an item share.
        answer_noise: standard deviation, in levels, of the error of each answer.
        prompt_effect: prompt name -> levels added under that prompt.
        unparsable: share of answers without a score.
    """

    name: str
    bias: Mapping[str, float]
    item_noise: float
    answer_noise: float
    prompt_effect: Mapping[str, float]
    unparsable: float

    def rate(self, item: Item, axis: str, prompt: Prompt, split: str, seed: int) -> Rating:
        """Score and explanation from one impression; the explanation names what was really done to the response."""
        key = f"{seed}|{self.name}|{item.id}|{axis}"
        own = Random(f"{key}|{prompt.name}")
        if own.random() < self.unparsable:
            return Rating(None, "")
        noise = Random(key).gauss(0, self.item_noise) + own.gauss(0, self.answer_noise)
        impression = item.levels[axis] + self.bias[axis] + noise + self.prompt_effect[prompt.name]
        kind, quote = _choose_evidence(item, axis, own)
        severity = _judge_severity(impression, damaged=kind != "sound")
        return Rating(_to_scale(impression, prompt.scale), write_explanation(axis, severity, kind, quote, split, own))


_SIMULATED = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
SIMULATED = tuple(SimulatedAnnotator(**one) for one in _SIMULATED)


def _to_scale(impression: float, top: int) -> int:
    """An impression on the 1 to 5 line as a whole score from 1 to ``top``."""
    return min(top, max(1, floor(1 + (top - 1) * (impression - 1) / 4 + 0.5)))


def _judge_severity(impression: float, damaged: bool) -> Severity:
    """Severity of an impression; an annotator who saw no damage names none, and one who saw some never denies it."""
    level = _to_scale(impression, 5)
    if not damaged:
        return "clean" if level == 5 else "reserved"
    found: dict[int, Severity] = {1: "extreme", 2: "strong", 3: "moderate", 4: "slight", 5: "slight"}
    return found[level]


def _choose_evidence(item: Item, axis: str, choose: Random) -> tuple[str, str]:
    """Kind of damage done on the axis, and words quoted for it; ``sound`` where none was done."""
    quotes = item.operations[axis].quotes
    damage = [(kind, clean_quote(phrase)) for kind in sorted(quotes) if kind not in SOUND for phrase in quotes[kind]]
    damage = [(kind, quote) for kind, quote in damage if quote]
    if damage:
        return choose.choice(damage)
    sound = [clean_quote(phrase) for kind in sorted(quotes) for phrase in quotes[kind]]
    return "sound", choose.choice(
        [quote for quote in sound if quote] or [_choose_words(item.conversation.response, choose)]
    )


def _choose_words(response: str, choose: Random) -> str:
    """A few words of the response from a drawn place, or from the next place where they do not leak the label."""
    words = response.split()
    start = choose.randrange(max(1, len(words) - 3))
    places = [*range(start, len(words)), *range(start)]
    spans = (clean_quote(" ".join(words[place : place + 4])) for place in places)
    return next((span for span in spans if span), "...")


def annotate(
    items: Iterable[Item], axes: Sequence[str], annotators: Sequence[SimulatedAnnotator], split: str, seed: int
) -> pd.DataFrame:
    """All answers of all annotators to all prompts.

    Args:
        split: ``train``, ``validation`` or ``test``; it decides the wording of simulated explanations.

    Returns:
        One row per item, axis, annotator and prompt, with the columns item, axis, annotator, prompt, scale (4 or 5),
        score (1 to scale, missing where not parsed), rescaled (1.0 to 5.0, missing likewise), explanation.
    """
    return ratings_table(
        (item.id, axis, annotator.name, prompt, annotator.rate(item, axis, prompt, split, seed))
        for item in items
        for axis in axes
        for annotator in annotators
        for prompt in PROMPTS
    )


def ratings_table(answers: Iterable[tuple[str, str, str, Prompt, Rating]]) -> pd.DataFrame:
    """The table of ``annotate`` from item, axis, name of the annotator, prompt and rating of each answer."""
    rows = [
        (item, axis, annotator, prompt.name, prompt.scale, rating.score, rating.explanation)
        for item, axis, annotator, prompt, rating in answers
    ]
    ratings = pd.DataFrame(rows, columns=["item", "axis", "annotator", "prompt", "scale", "score", "explanation"])
    ratings["score"] = ratings["score"].astype("Int64")
    rescaled = rescale(ratings["score"].to_numpy(float, na_value=np.nan), ratings["scale"].to_numpy(float))
    ratings.insert(6, "rescaled", rescaled)
    return ratings


def rescale(score: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Scores from 1 to ``scale`` put on 1 to 5: 1 + 4 (r - 1) / (S - 1) (2511.02044, annotation)."""
    return 1 + 4 * (score - 1) / (scale - 1)


def to_label(merged: np.ndarray) -> np.ndarray:
    """Whole labels 1 to 5 of merged scores, halves up: min(5, max(1, floor(y + 1/2))) (2511.02044, annotation)."""
    # Sums of thirds miss an exact half by a rounding error.
    return np.clip(np.floor(np.round(merged, 9) + 0.5), 1, 5).astype(int)


def merge_scores(ratings: pd.DataFrame, rule: MergeRule = "mean") -> pd.DataFrame:
    """Merged rescaled scores and their label; an item is left out on an axis where fewer than ``MIN_SCORES`` parsed.

    Args:
        ratings: what ``annotate`` gives.
        rule: the paper's is the mean.

    Returns:
        One row per item and axis kept, in order of appearance: item, axis, mean_score (merged, 1.0 to 5.0), label (1 to
        5), n_scores (8 to 12).
    """
    groups = ratings.groupby(["item", "axis"], sort=False, observed=True)["rescaled"]
    merged = groups.agg(mean_score=MERGES[rule], n_scores="count").reset_index()
    merged = merged[merged["n_scores"] >= MIN_SCORES].reset_index(drop=True)
    merged.insert(3, "label", to_label(merged["mean_score"].to_numpy()))
    return merged


def _choose_majority(scores: pd.Series) -> float:
    """The label most often given; ties go to the label nearest the mean, then to the lower."""
    labels, given = np.arange(1, 6), scores.dropna().to_numpy()
    if not len(given):
        return np.nan
    votes = (to_label(given)[:, None] == labels).sum(axis=0)
    return float(labels[np.argmax(votes - np.abs(labels - given.mean()) / 100)])


def _trimmed_mean(scores: pd.Series) -> float:
    return float(trim_mean(scores.dropna(), TRIMMED)) if scores.notna().any() else np.nan


MERGES: dict[MergeRule, Any] = {
    "mean": "mean",
    "median": "median",
    "majority": _choose_majority,
    "trimmed_mean": _trimmed_mean,
}


def merge_rules(ratings: pd.DataFrame, levels: pd.DataFrame) -> pd.DataFrame:
    """Errors of five ways to merge twelve scores, item by item, against the known level (2511.02044, annotation).

    The rules are mean, median, majority vote (of labels; ties go to the label nearest the mean), mean without the two
    highest and two lowest, and the best single annotator and prompt. The best is chosen per axis by squared error on
    training items only; where it gave no score the next best counts. Errors are reported on the other items only.

    Args:
        levels: columns item, axis, level (1 to 5, known) and split; other columns are ignored.

    Returns:
        Columns item, axis, split, rule, merged (1.0 to 5.0, not rounded), level, absolute_error, squared_error.

    Raises:
        CompanionError: there are no training items, or no others.
    """
    wide = ratings.pivot(index=["item", "axis"], columns=["annotator", "prompt"], values="rescaled")
    wide = wide[wide.notna().any(axis=1)]
    known = levels.set_index(["item", "axis"])[["split", "level"]]
    known = known[known.index.isin(wide.index)]
    if known["split"].eq("train").all() or known["split"].ne("train").all():
        raise CompanionError("Merge rules need rated training items to choose on and others to report on; give both.")
    parts = [_axis_rules(wide, rows) for _, rows in known.groupby(level="axis", sort=False, observed=True)]
    errors = pd.concat(parts, ignore_index=True)
    difference = errors["merged"] - errors["level"]
    return errors.assign(absolute_error=difference.abs(), squared_error=difference**2)


def _axis_rules(wide: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """What each rule gives for the items of one axis that are not training items."""
    train = (known["split"] == "train").to_numpy()
    scores = wide.loc[known.index]
    order = _best_first(scores[train].to_numpy(float), known.loc[train, "level"].to_numpy(float))
    scores, known = scores[~train], known[~train].reset_index()
    merged = {str(rule): scores.agg(merge, axis=1).to_numpy() for rule, merge in MERGES.items()}
    merged["best_single"] = _take_first_score(scores.to_numpy(float)[:, order])
    parts = [known.assign(rule=rule, merged=values) for rule, values in merged.items()]
    return pd.concat(parts)[["item", "axis", "split", "rule", "merged", "level"]]


def _best_first(scores: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Columns of (n, 12) scores by squared error against the level, the best first."""
    squared = np.ma.masked_invalid((scores - level[:, None]) ** 2)
    return np.argsort(squared.mean(axis=0).filled(np.inf), kind="stable")


def _take_first_score(scores: np.ndarray) -> np.ndarray:
    """The first score of each row that is not missing."""
    return scores[np.arange(len(scores)), np.argmax(~np.isnan(scores), axis=1)]


def merge_explanations(ratings: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The explanations of an item and axis condensed to one, by choosing among them (the paper asks a language model).

    Of those whose score rounds to the merged label (or comes nearest), the ones with the quote most annotators used are
    preferred, then the one that shares most words with all the others. Sentences that leak the label are left out.

    Args:
        seed: decides between explanations that are equally central.

    Returns:
        Columns item, axis, explanation (``MIN_TOKENS`` to ``MAX_TOKENS`` words and punctuation marks, if the annotators
        wrote that much), in order of appearance; an item is left out on an axis where nothing is left to say.
    """
    answers = ratings[ratings["rescaled"].notna()]
    rows = []
    for (item, axis), group in answers.groupby(["item", "axis"], sort=False, observed=True):
        texts = [remove_leaks(text) for text in group["explanation"]]
        given = [(text, score) for text, score in zip(texts, group["rescaled"], strict=True) if text]
        if given:
            rows.append((item, axis, _merge_texts(given, group["rescaled"].mean(), Random(f"{seed}|{item}|{axis}"))))
    return pd.DataFrame(rows, columns=["item", "axis", "explanation"])


def _merge_texts(given: list[tuple[str, float]], mean: float, choose: Random) -> str:
    """One text of those given with their rescaled scores, the majority's first."""
    texts = [text for text, _ in given]
    words = [frozenset(re.findall(r"\w+", text.lower())) for text in texts]
    quotes = Counter(quote for text in texts for quote in re.findall(r'"([^"]+)"', text))
    common = f'"{quotes.most_common(1)[0][0]}"' if quotes else ""
    scores = np.array([score for _, score in given])
    disagreement = np.where(to_label(scores) == to_label(np.array(mean)), 0.0, np.abs(scores - mean))

    def rank(place: int) -> tuple[float, bool, float, float]:
        shared = sum(len(words[place] & other) / len(words[place] | other) for other in words)
        return disagreement[place], common not in texts[place], -shared, choose.random()

    return _fit_length([texts[place] for place in sorted(range(len(texts)), key=rank)])


def _fit_length(ranked: list[str]) -> str:
    """The first text, with the next ones while it is too short, or without its end where it is too long."""
    text, kept = "", ""
    for other in ranked:
        if _n_tokens(text) < MIN_TOKENS:
            text = f"{text} {other}".strip()
    for sentence in split_sentences(text):
        longer = f"{kept} {sentence}".strip()
        if _n_tokens(longer) > MAX_TOKENS:
            return kept if _n_tokens(kept) >= MIN_TOKENS else shorten_text(longer)
        kept = longer
    return kept


def shorten_text(text: str) -> str:
    """The first words of a text, as many as are allowed."""
    words = text.split()
    while _n_tokens(" ".join(words)) > MAX_TOKENS:
        words.pop()
    return " ".join(words)


def _n_tokens(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))
