"""A reader's own labelled texts as a data set of the study: split by group, one axis, one prompt.

A group is what must not be split up (all answers to one question, say). Its place is that of a source in the paper's
study: the unit over which results are averaged and tested, so that rows that belong together never count as several.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from companion.errors import CompanionError
from companion.origin import get_commit
from companion.stats import shortcuts
from companion.studies.explanations.data.dataset import SPLITS, Data, add_shortcuts
from companion.studies.explanations.data.prompts import neutralise
from companion.studies.explanations.data.texts import save_texts
from companion.studies.explanations.own.settings import AXIS, OwnSettings
from companion.studies.explanations.own.table import Labelled
from companion.studies.explanations.training.targets import CODES

SHARES = {"test": 0.3, "validation": 0.1, "train": 0.6}
EXPLANATION_WORDS = 40
BORROWED_WORDS = 20
"""Words of the text itself that stand in for an explanation where there are none; they are trained on shuffled only."""

RATINGS = ("item", "axis", "annotator", "prompt", "scale", "score")


def build(labelled: Labelled, settings: OwnSettings, name: str) -> Data:
    """Split, write the prompts, and keep the texts in the cache under the data hash; ``Data`` holds no text.

    In its items ``source`` is the number of the group, ``level`` is missing, ``words`` counts the text's words. Raises
    CompanionError for too few rows or groups for the splits, or only one label among the training rows.
    """
    rows = _explained(labelled.rows, settings)
    table = _table(_split(rows, settings), settings, labelled.labels)
    if table.loc[table["split"] == "train", "label"].nunique() < 2:
        raise CompanionError(
            f"The training rows of {name} have one label only: give more rows, or more training items."
        )
    digest = hashlib.sha256((table.to_csv(index=False) + repr(labelled.labels)).encode()).hexdigest()[:16]
    table.attrs["labels"] = len(labelled.labels)
    save_texts(table, digest)
    facts = {
        "hash": digest,
        "sources": [{"name": name}],
        "commit": get_commit(),
        "labels": list(labelled.labels),
        "ordered": labelled.ordered,
        "rows_read": len(labelled.rows),
        "dropped_without_explanation": len(labelled.rows) - len(rows),
        "texts_cut": int((_word_counts(rows["text"]) > settings.text_words).sum()),
    }
    items = add_shortcuts(table, shortcuts.word_classifier)
    return Data({"items": items, "ratings": pd.DataFrame(columns=list(RATINGS))}, facts)


def count_rows(data: Data) -> pd.DataFrame:
    """T1: rows of each split with each label, by the label's name."""
    names = data.facts["labels"]
    counts = pd.crosstab(data.items["label"], data.items["split"])
    counts = counts.reindex(index=range(1, len(names) + 1), columns=SPLITS, fill_value=0).add_prefix("n_")
    counts.insert(0, "label", names)
    return counts.reset_index(drop=True)


def describe_rows(data: Data) -> str:
    """What was understood of the table, in one sentence: rows of each label, to train, validate and test on."""
    rows = [f"{name} {' + '.join(map(str, row))}" for name, *row in count_rows(data).to_numpy()]
    return f"Rows by label ({' + '.join(SPLITS)}): {', '.join(rows)}."


def _explained(rows: pd.DataFrame, settings: OwnSettings) -> pd.DataFrame:
    """Rows with an explanation of few enough words; without such a column, words of the text stand in for it."""
    if settings.explanation:
        rows = rows[rows["explanation"] != ""]
        return rows.assign(explanation=rows["explanation"].map(lambda text: _first_words(text, EXPLANATION_WORDS)))
    return rows.assign(explanation=rows["text"].map(lambda text: _first_words(text, BORROWED_WORDS)))


def _word_counts(texts: pd.Series) -> pd.Series:
    return texts.map(lambda text: len(text.split()))


def _first_words(text: str, count: int) -> str:
    return " ".join(text.split()[:count])


def _split(rows: pd.DataFrame, settings: OwnSettings) -> pd.DataFrame:
    """Rows with split and group number; whole groups, in an order drawn from the data seed.

    No group makes up more than half of a split: one that is too large for the test and the validation rows is trained
    on, and of one too large for that too, rows are drawn.
    """
    groups = _groups(rows, settings.text_words)
    order = sorted(groups, key=lambda places: _draw(str(rows.loc[places[0], "group"]), settings.data_seed))
    wanted = {name: min(getattr(settings, f"{name}_items"), int(share * len(rows))) for name, share in SHARES.items()}
    halves = {name: max(1, most // 2) for name, most in wanted.items()}
    placed: list[dict[str, object]] = []
    filled = dict.fromkeys(SPLITS, 0)
    for number, places in enumerate(order):
        fitting = [one for one in SHARES if one == "train" or len(places) <= halves[one]]
        name = next((one for one in fitting if filled[one] < wanted[one]), None)
        if name is None:
            continue
        if len(places) > halves[name]:
            places = sorted(places, key=lambda place: _draw(str(place), settings.data_seed))[: halves[name]]
        chosen = places[: wanted[name] - filled[name]]
        filled[name] += len(chosen)
        placed += [{"place": place, "split": name, "source": f"g{number:04d}"} for place in chosen]
    counts = pd.DataFrame(placed, columns=["place", "split", "source"])
    least = counts.groupby("split")["source"].nunique().reindex(SPLITS, fill_value=0).min()
    if least < 2:
        raise CompanionError(
            f"{len(rows)} rows make {len(groups)} {'group' if len(groups) == 1 else 'groups'}, too few to train, "
            "validate and test on groups of their own (rows with one text belong together): give more rows, or a group "
            "column with more values and smaller groups."
        )
    return rows.loc[counts["place"]].reset_index(drop=True).assign(split=counts["split"], source=counts["source"])


def _groups(rows: pd.DataFrame, text_words: int) -> list[list[int]]:
    """Places of the rows that share a group, or as much of a text as is shown, also through others."""
    tied: DisjointSet[int] = DisjointSet(rows.index)
    for shared in (rows["group"], rows["text"].map(lambda text: _first_words(text, text_words))):
        for places in rows.groupby(shared, sort=False).groups.values():
            for one, other in pairwise(places):
                tied.merge(one, other)
    return [sorted(places) for places in tied.subsets()]


def _draw(group: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}|own|{group}".encode()).hexdigest()


def _table(rows: pd.DataFrame, settings: OwnSettings, labels: Sequence[str]) -> pd.DataFrame:
    shown = rows["text"].map(lambda text: prompt_text(text, settings.question, labels, settings.text_words))
    within = rows.groupby("source").cumcount()
    # What stands before the last hyphen names the conversation; each row is one of its own.
    items = [f"{group}.{number}-0" for group, number in zip(rows["source"], within, strict=True)]
    table = pd.DataFrame({"item": items, "source": rows["source"], "split": rows["split"], "axis": AXIS})
    table = table.assign(level=float("nan"), words=_word_counts(rows["text"]), response=rows["text"], prompt=shown)
    table = table.assign(mean_score=rows["label"].astype(float), label=rows["label"], n_scores=1)
    table["explanation"] = rows["explanation"]
    table["split"] = pd.Categorical(table["split"], SPLITS, ordered=True)
    return table.sort_values(["split", "source", "item"], ignore_index=True).astype({"split": str})


def prompt_text(text: str, question: str, labels: Sequence[str], words: int) -> str:
    """Prompt for one text, its first words only; the labels with their codes stand right before the question."""
    cut = text.split()
    shown = " ".join(cut[:words]) + " ..." * (len(cut) > words)
    names = ", ".join(f"{code} = {neutralise(name)}" for code, name in zip(CODES, labels, strict=False))
    return f"Read the text and choose its label.\nText: {neutralise(shown)}\nLabels: {names}.\n{neutralise(question)}\n"
