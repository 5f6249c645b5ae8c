"""One source on one axis: how two arms compare in each cell, and every measure there.

Cells share items and students, so that their number only describes.
"""

import numpy as np
import pandas as pd

from companion.stats import paired
from companion.stats.estimate import as_columns
from companion.studies.explanations.results import estimates
from companion.studies.explanations.results.results import Results

PAIR = ("explanation", "label")
"""The arms compared in each cell, treated first."""


def compare_cells(results: Results, resamples: int) -> pd.DataFrame:
    """T3: the cells, explanation against label: accuracies, shortcuts, difference with interval, McNemar per seed.

    ``estimate`` is the difference with its bootstrap interval over seeds and items of this source; ``mcnemar_better``
    and ``mcnemar_worse`` count the seeds whose exact McNemar p, Holm-adjusted over all cells and seeds, is below 0.05.
    """
    differences = estimates.pair_differences(results, *PAIR, "correct")
    tests = run_mcnemar_tests(results)
    accuracy = results.predictions.groupby(["arm", "axis", "source"])["correct"].mean()
    rows = []
    for cell_key, group in differences.groupby(["axis", "source"], sort=False):
        axis, source = map(str, cell_key)
        estimate = estimates.bootstrap_differences(group, resamples, new_sources=False)
        clear = tests[(tests["axis"] == axis) & (tests["source"] == source) & (tests["p_holm"] < 0.05)]
        rows.append(
            {
                "axis": axis,
                "source": source,
                "n_items": group["item"].nunique(),
                "n_seeds": group["seed"].nunique(),
                **estimates.shortcut_accuracy(results.items, axis, source),
                **{arm: accuracy.get((arm, axis, source), np.nan) for arm in ("base", "label", "explanation")},
                **as_columns(estimates.clip_interval(estimate, -1.0, 1.0)),
                "mcnemar_better": int((clear["difference"] > 0).sum()),
                "mcnemar_worse": int((clear["difference"] < 0).sum()),
            }
        )
    return pd.DataFrame(rows)


def compute_cell_metrics(results: Results) -> pd.DataFrame:
    """T3's second table: every measure of every arm in every cell, each the mean over the seeds."""
    keys = ["axis", "source", "arm"]
    cells = estimates.compute_metrics(results, [*keys, "seed"]).groupby(keys, sort=False)
    return cells.mean().drop(columns="seed").assign(n_seeds=cells["seed"].nunique()).reset_index()


def run_mcnemar_tests(results: Results) -> pd.DataFrame:
    """Exact McNemar test of explanation against label in each cell and seed, with Holm over all of them."""
    keys = ["axis", "source", "seed"]
    rows = []
    correct = results.predictions.pivot(index=[*keys, "item"], columns="arm", values="correct")[list(PAIR)]
    for cell, group in correct.dropna().groupby(level=keys, sort=False):
        test = paired.mcnemar(*(group[arm].to_numpy() > 0 for arm in PAIR))
        row: dict[str, object] = dict(zip(keys, cell, strict=True))
        row |= {"n_items": len(group), "gained": test.gained, "lost": test.lost}
        rows.append(row | {"difference": (test.gained - test.lost) / len(group), "p": test.p})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=paired.holm(table["p"]))


def summarize_cells(results: Results, resamples: int) -> pd.DataFrame:
    """The same differences over sources for each axis and for all axes together (the diamonds of F2)."""
    differences = estimates.pair_differences(results, *PAIR, "correct")
    axes = list(differences["axis"].unique())
    parts = {axis: differences[differences["axis"] == axis] for axis in axes} | {"pooled": differences}
    rows = []
    for label, part in parts.items():
        estimate = estimates.clip_interval(estimates.bootstrap_differences(part, resamples), -1.0, 1.0)
        rows.append({"label": label, **as_columns(estimate)})
    return pd.DataFrame(rows)
