"""The study's data set: sources -> conversations -> ratings and explanations -> labelled examples.

Offline sources, and simulated annotators, ask for replies made worse by known amounts; language models rate the paper's
own data sets as they are, so no level is known there. Numbers (no text) are kept beside the records, so that tables can
be rebuilt anywhere; texts stay in the cache.
"""

import hashlib
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from companion.corpora.conversation import Conversation
from companion.corpora.sources import find_source, load_sources
from companion.corpora.splits import split
from companion.errors import CompanionError
from companion.origin import get_commit
from companion.runs.lock import folder_lock
from companion.studies import data
from companion.studies.explanations.data import annotate
from companion.studies.explanations.data.degrade import Item, make_items, make_natural_items
from companion.studies.explanations.data.language_annotators import ProgressCallback, Survey, get_answers_folder
from companion.studies.explanations.data.prompts import make_prompt
from companion.studies.explanations.data.texts import save_texts
from companion.studies.explanations.settings import Annotators, ExplanationsSettings

SPLITS = ("train", "validation", "test")


class Data(data.Data):
    """The data set as numbers.

    The facts are: hash of all texts and labels, the sources with package or hub, version or revision and licence, what
    was dropped, and of language models their names, answers, tokens and dollars.
    """

    @property
    def items(self) -> pd.DataFrame:
        """One row per item and axis.

        Columns: item, source, split, axis, level (1 to 5; missing where the reply was left as it is), words (of the
        response), mean_score (merged, 1 to 5), label (1 to 5), n_scores, and the predictions of the shortcut baselines
        (majority, length, words_only) on every row.
        """
        return self.frames["items"]

    @property
    def ratings(self) -> pd.DataFrame:
        """One row per item, axis, annotator and prompt: scale and score (missing where not parsed)."""
        return self.frames["ratings"]


def build(settings: ExplanationsSettings, on_progress: ProgressCallback = lambda model, done, total: None) -> Data:
    """Read the sources, degrade, annotate, merge and label; keep the texts in the cache under the data hash.

    Args:
        on_progress: called with each answer of a language model.

    Raises:
        CompanionError: fewer than two sources are installed, more items are asked than a source has, the highest cost
            of language models is above their cap, or as ``models.endpoint.ask_questions``.
    """
    from companion.stats import shortcuts  # slow to import, and most commands need no data

    items = _make_items(settings)
    rated = _make_table(items, settings)
    if settings.annotators:
        ratings, explanations, facts = _rate_by_models(items, settings, settings.annotators, on_progress)
    else:
        ratings, facts = _simulate_ratings(items, settings), {}
        explanations = annotate.merge_explanations(ratings, settings.data_seed)
    labelled = annotate.merge_scores(ratings, settings.annotators.merge_rule if settings.annotators else "mean")
    table = rated.merge(labelled, on=["item", "axis"]).merge(explanations, on=["item", "axis"])
    _check_cells(rated, table)
    digest = hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()[:16]
    save_texts(table, digest)
    facts |= {
        "hash": digest,
        "sources": _describe_sources(settings, items),
        "commit": get_commit(),
        "dropped_for_too_few_scores": len(rated) - len(table),
    }
    frames = {"items": add_shortcuts(table, shortcuts.bag_of_words), "ratings": ratings.drop(columns="explanation")}
    return Data(frames, facts)


def list_conversations(settings: ExplanationsSettings, name: str) -> dict[str, Conversation]:
    """What is rated in one split, by item id.

    Raises:
        CompanionError: as ``build``.
    """
    return {item.id: item.conversation for item in _make_items(settings)[name]}


def make_survey(settings: ExplanationsSettings) -> Survey:
    """All questions to the language models of the settings.

    Raises:
        CompanionError: the settings name none, or as ``build``.
    """
    if not settings.annotators:
        raise CompanionError(
            "The annotators of this profile are simulated, so there is nobody to ask: name language models under "
            "annotators in its file; paper.yaml shows how."
        )
    return _make_survey(_make_items(settings), settings, settings.annotators)


def _make_survey(items: Mapping[str, list[Item]], settings: ExplanationsSettings, annotators: Annotators) -> Survey:
    asked = {item.id: item.conversation for part in items.values() for item in part}
    return Survey(asked, settings.axes, annotators, get_answers_folder())


def _rate_by_models(
    items: Mapping[str, list[Item]],
    settings: ExplanationsSettings,
    annotators: Annotators,
    on_progress: ProgressCallback,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Ratings, explanations of what keeps its label, and the facts of both."""
    asked = _make_survey(items, settings, annotators)
    with folder_lock(asked.folder):
        highest = asked.check_cost()
        print(f"Asking costs at most {highest:.2f} US dollars; the cap is {annotators.cap:g}.", file=sys.stderr)
        ratings = asked.rate(on_progress)
        kept = annotate.merge_scores(ratings)[["item", "axis"]]
        explanations = asked.merge(ratings.merge(kept, on=["item", "axis"]), settings.data_seed, on_progress)
    accounts = [asdict(one) for one in asked.accounts()]
    facts = [{name: value for name, value in one.items() if name not in ("answered", "highest")} for one in accounts]
    return ratings, explanations, {"annotators": facts, "merger": annotators.merger}


def _check_cells(rated: pd.DataFrame, kept: pd.DataFrame) -> None:
    """Tell of what was dropped; every split needs some items of each source on each axis."""
    if len(rated) == len(kept):
        return
    what = (
        f"{len(rated) - len(kept)} of {len(rated)} ratings of a conversation on an axis have fewer than "
        f"{annotate.MIN_SCORES} of 12 readable answers"
    )
    keys = ["split", "source", "axis"]
    empty = sorted(set(rated[keys].itertuples(index=False)) - set(kept[keys].itertuples(index=False)))
    if empty:
        cell = f"{empty[0].source}, {empty[0].axis}, {empty[0].split}"
        raise CompanionError(f"{what}, and none is left of {cell}: let models annotate that keep to the form.")
    warnings.warn(f"{what} and were dropped", stacklevel=3)


def _make_items(settings: ExplanationsSettings) -> dict[str, list[Item]]:
    """Items of each split; splits are drawn per source and by conversation, so the sources keep equal shares."""
    sizes = {"train": settings.train_items, "validation": settings.validation_items, "test": settings.test_items}
    drawn: dict[str, list[Conversation]] = {name: [] for name in SPLITS}
    for conversations in load_sources(settings.sources).values():
        for name, part in split(conversations, sizes, settings.data_seed).items():
            drawn[name] += part
    if settings.natural:
        return {name: make_natural_items(part) for name, part in drawn.items()}
    versions = {"train": settings.train_versions}
    return {name: make_items(part, name, settings.data_seed, versions.get(name, 1)) for name, part in drawn.items()}


def _simulate_ratings(items: Mapping[str, list[Item]], settings: ExplanationsSettings) -> pd.DataFrame:
    seed, axes = settings.data_seed, settings.axes
    parts = [annotate.annotate(part, axes, annotate.SIMULATED, name, seed) for name, part in items.items()]
    return pd.concat(parts, ignore_index=True)


def _make_table(items: Mapping[str, list[Item]], settings: ExplanationsSettings) -> pd.DataFrame:
    rows = [
        {
            "item": item.id,
            "source": item.conversation.source,
            "split": name,
            "axis": axis,
            "level": item.levels.get(axis, np.nan),
            "words": len(item.conversation.response.split()),
            "response": item.conversation.response,
            "prompt": make_prompt(item.conversation, axis, settings.context_words),
        }
        for name, part in items.items()
        for item in part
        for axis in settings.axes
    ]
    table = pd.DataFrame(rows)
    table["split"] = pd.Categorical(table["split"], SPLITS, ordered=True)
    table["axis"] = pd.Categorical(table["axis"], settings.axes, ordered=True)
    table = table.sort_values(["split", "axis", "source", "item"], ignore_index=True)
    return table.astype({"split": str, "axis": str})


def add_shortcuts(table: pd.DataFrame, words_only: Callable[..., np.ndarray]) -> pd.DataFrame:
    """Numbers only, with what context-free baselines fitted on the training rows of each axis predict."""
    from companion.stats import shortcuts

    parts = []
    for _, rows in table.groupby("axis", sort=False):
        train = rows[rows["split"] == "train"]
        fitted = train["response"].tolist(), train["label"].to_numpy(), rows["response"].tolist()
        predicted = {
            "majority": shortcuts.majority(fitted[1], len(rows)),
            "length": shortcuts.length_only(*fitted),
            "words_only": words_only(*fitted),
        }
        parts.append(rows.assign(**predicted))
    numbers = pd.concat(parts).sort_index()
    return numbers.drop(columns=["response", "prompt", "explanation"])


def _describe_sources(settings: ExplanationsSettings, items: Mapping[str, list[Item]]) -> list[dict[str, str]]:
    used = {item.conversation.source for part in items.values() for item in part}
    return [find_source(name).facts for name in settings.sources if name in used]
