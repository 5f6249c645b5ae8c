"""The gold set: items rated by two people, their agreement, and the merge rule that comes nearest to them.

Where replies were made worse by known amounts the levels are gold (table T2); for real data this is the paper's own way
to choose a merge rule (2511.02044, annotation). Forms and ratings lie in the cache: they show texts.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import nbformat
import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from sklearn.metrics import cohen_kappa_score

from companion import paths
from companion.corpora.conversation import Conversation
from companion.errors import CompanionError
from companion.files import write_whole
from companion.studies.explanations.data.annotate import merge_rules
from companion.studies.explanations.data.language_annotators import ANCHORS, AXES

RATERS = ("first", "second")
SIZES = (200, 300)
RESAMPLES = 1000
Measure = Callable[[np.ndarray, np.ndarray], float]


def get_gold_folder(profile: str) -> Path:
    """Folder of a profile's forms and of the raters' tables."""
    return paths.cache() / "explanations" / "gold" / profile


def load_gold_ratings(profile: str, axes: Sequence[str]) -> pd.DataFrame | None:
    """Load the ratings of a profile's two raters, as ``read_ratings``; None until both tables exist."""
    files = [get_gold_folder(profile) / f"ratings_{rater}.csv" for rater in RATERS]
    return read_ratings(files, axes) if all(file.exists() for file in files) else None


def explain_missing_gold(profile: str) -> str:
    """The message for a profile without ratings."""
    return (
        f"There is no gold set: no two people have rated items of profile {profile}, so nothing here says how near the "
        f"labels are to people's. 'companion gold export -p {profile}' makes the forms."
    )


def sample(items: Sequence[str], number: int, seed: int) -> list[str]:
    """Items of the gold set, drawn from the training items.

    Raises:
        CompanionError: fewer or more than the paper's kind of gold set has, or more than there are.
    """
    if not SIZES[0] <= number <= SIZES[1]:
        raise CompanionError(f"A gold set has {SIZES[0]} to {SIZES[1]} items, not {number}.")
    if number > len(items):
        raise CompanionError(f"{number} items are asked for the gold set, but there are {len(items)} training items.")
    return Random(f"{seed}|gold").sample(sorted(items), number)


def write_forms(conversations: Mapping[str, Conversation], axes: Sequence[str], folder: Path, seed: int) -> list[Path]:
    """One notebook for each of two raters, with the items in a random order; running it writes the ratings as CSV."""
    return [_write_form(conversations, axes, folder, rater, seed) for rater in RATERS]


def _write_form(
    conversations: Mapping[str, Conversation], axes: Sequence[str], folder: Path, rater: str, seed: int
) -> Path:
    order = Random(f"{seed}|gold|{rater}").sample(sorted(conversations), len(conversations))
    cells = [nbformat.v4.new_markdown_cell(_write_introduction(axes, rater)), nbformat.v4.new_code_cell("ratings = {}")]
    for place, item in enumerate(order, 1):
        cells.append(
            nbformat.v4.new_markdown_cell(_format_conversation(conversations[item], f"{place} of {len(order)}"))
        )
        blanks = ", ".join(f"{axis!r}: None" for axis in axes)
        cells.append(nbformat.v4.new_code_cell(f"ratings[{item!r}] = {{{blanks}}}"))
    cells.append(nbformat.v4.new_code_cell(_SAVE.format(file=f"ratings_{rater}.csv")))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=cells)
    return write_whole(folder / f"form_{rater}.ipynb", nbformat.writes(notebook).encode())


_SAVE = """import csv

rows = [(item, axis, score) for item, scores in ratings.items() for axis, score in scores.items()]
missing = sum(score is None for _, _, score in rows)
with open("{file}", "w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([("item", "axis", "score"), *rows])
print(f"{{len(rows) - missing}} of {{len(rows)}} ratings written to {file}")"""


def _write_introduction(axes: Sequence[str], rater: str) -> str:
    lines = [
        f"# Gold set: {rater} rater",
        "Replace every `None` by a whole number from 1 to 5, without talking to the other rater; then run all cells. "
        "What you read was written by others and may be unpleasant.",
    ]
    for axis in axes:
        anchors = "; ".join(f"{score} {anchor}" for score, anchor in enumerate(ANCHORS[axis], 1))
        lines.append(f"**{axis}**, {AXES[axis]}: {anchors}.")
    return "\n\n".join(lines)


def _format_conversation(conversation: Conversation, title: str) -> str:
    """A conversation as inert preformatted text: it is untrusted."""
    lines = [f"{turn.speaker}: {turn.text}" for turn in conversation.context]
    text = html.escape("\n".join([*lines, "", f"REPLY: {conversation.response}"]))
    return f"### {title}\n<pre style='white-space: pre-wrap'>\n{text}\n</pre>"


def read_ratings(files: Sequence[Path], axes: Sequence[str]) -> pd.DataFrame:
    """What the two raters gave.

    Returns:
        Columns item, axis and one per rater (1 to 5), in order of item and axis; items that both rated.

    Raises:
        CompanionError: a file is missing or no such table, a score is no whole number from 1 to 5, an item is rated
            twice, or the two have no item in common.
    """
    tables = [_read(file, axes).rename(columns={"score": rater}) for file, rater in zip(files, RATERS, strict=True)]
    both = tables[0].merge(tables[1], on=["item", "axis"]).sort_values(["item", "axis"], ignore_index=True)
    if both.empty:
        raise CompanionError(f"{files[0].name} and {files[1].name} have no rated item in common.")
    return both


def _read(file: Path, axes: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, dtype={"item": str, "axis": str})[["item", "axis", "score"]]
    except (OSError, ValueError, KeyError) as error:
        raise CompanionError(f"{file} is no table of item, axis and score ({type(error).__name__}).") from error
    table = table.dropna(subset=["score"])
    wrong = table[~pd.to_numeric(table["score"], errors="coerce").isin(range(1, 6)) | ~table["axis"].isin(axes)]
    if len(wrong):
        first = wrong.iloc[0]
        raise CompanionError(
            f"{file} has {len(wrong)} ratings that are no whole number from 1 to 5 on one of {', '.join(axes)}; the "
            f"first is {first['score']!r} for item {first['item']} on {first['axis']}."
        )
    if table.duplicated(["item", "axis"]).any():
        raise CompanionError(f"{file} rates an item twice on one axis; keep one line of each.")
    return table.astype({"score": int})


def measure_agreement(ratings: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Agreement of the two raters per axis: Krippendorff's alpha (ordinal) and Cohen's kappa (quadratic weights).

    Returns:
        One row per axis: n_items, exact and within_one (shares), alpha and kappa, each with a 95 % percentile interval
        from a bootstrap over items (missing where all scores are the same).
    """
    rows = []
    for axis, group in ratings.groupby("axis", sort=False):
        first, second = (group[rater].to_numpy() for rater in RATERS)
        row: dict[str, object] = {"axis": axis, "n_items": len(group)}
        row |= {"exact": float(np.mean(first == second)), "within_one": float(np.mean(abs(first - second) <= 1))}
        for name, measure in {"alpha": _alpha, "kappa": _kappa}.items():
            row |= dict(
                zip((name, f"{name}_low", f"{name}_high"), _compute_interval(measure, first, second, seed), strict=True)
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _alpha(first: np.ndarray, second: np.ndarray) -> float:
    import krippendorff

    if len(np.unique([first, second])) < 2:
        return np.nan
    return float(krippendorff.alpha(np.stack([first, second]).astype(float), level_of_measurement="ordinal"))


def _kappa(first: np.ndarray, second: np.ndarray) -> float:
    if len(np.unique([first, second])) < 2:
        return np.nan
    return float(cohen_kappa_score(first, second, weights="quadratic", labels=[1, 2, 3, 4, 5]))


def _compute_interval(measure: Measure, first: np.ndarray, second: np.ndarray, seed: int) -> tuple[float, float, float]:
    estimate = measure(first, second)
    if np.isnan(estimate) or len(first) < 3:
        return estimate, np.nan, np.nan
    generator = np.random.default_rng(seed)
    found = bootstrap(
        (first, second),
        measure,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=generator,
    )
    # A resample in which all scores are the same has no agreement to measure.
    low, high = np.nanpercentile(found.bootstrap_distribution, [2.5, 97.5])
    return estimate, float(low), float(high)


def compute_rule_errors(ratings: pd.DataFrame, gold: pd.DataFrame, seed: int) -> pd.DataFrame:
    """MAE and MSE of every merge rule against the mean of the two raters.

    The best single annotator is chosen on one half of the gold items and judged on the other, both ways round.

    Returns:
        One row per rule, the lowest mean squared error first: rule, mae, mse, n_items.
    """
    known = gold.assign(level=gold[list(RATERS)].mean(axis=1))[["item", "axis", "level"]]
    items = sorted(known["item"].unique())
    half = set(Random(f"{seed}|halves").sample(items, len(items) // 2))
    parts = []
    for chosen in (half, set(items) - half):
        split = np.where(known["item"].isin(chosen), "train", "test")
        parts.append(merge_rules(ratings, known.assign(split=split)))
    errors = pd.concat(parts).groupby("rule", sort=False)[["absolute_error", "squared_error"]].mean()
    table = errors.rename(columns={"absolute_error": "mae", "squared_error": "mse"}).reset_index()
    return table.sort_values("mse", kind="stable", ignore_index=True).assign(n_items=len(items))
