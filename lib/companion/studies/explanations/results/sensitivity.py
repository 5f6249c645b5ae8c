"""How much each claim of a family hangs on one source, one seed, the axes that nobody learnt, or the merged label.

Made after the results were read: it describes, and decides nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from companion.stats import paired
from companion.stats.verdict import verdict
from companion.studies.explanations.results.analysis import levels_known
from companion.studies.explanations.results.claims import (
    ACCURACY,
    INSIDE,
    RELIABILITY,
    Comparison,
    difference_table,
    family,
    taught_axes,
)
from companion.studies.explanations.results.results import Results


def sensitivity(results: Results) -> pd.DataFrame:
    """What each claim's interval says as tested, and how that fares when the data change a little.

    Returns:
        One row per claim of a family: claim, interval_says (whatever was learnt), how many of the sources and
        of the seeds can be left out, one at a time, without another answer, and the answer on the axes that labels
        alone taught and, for accuracy, against the known level.
    """
    arms = set(results.predictions["arm"])
    learnt = _on_axes(results, taught_axes(results, "label"))
    known = replace(results, predictions=results.predictions.assign(correct=results.predictions["correct_level"]))
    rows = []
    for group in (ACCURACY, RELIABILITY, INSIDE):
        members = family(group, arms)
        for one in members:
            table, size = difference_table(results, one), len(members)
            said = _said(table, one, size)
            row: dict[str, object] = {"claim": one.id, "interval_says": said}
            # Of two sources none can be left out: one alone has no spread.
            fewer = [table.drop(index=source) for source in table.index] if len(table) > 2 else []
            row["same_without_one_source"] = _same(fewer, said, one, size)
            row["same_without_one_seed"] = _same([table.drop(columns=seed) for seed in table], said, one, size)
            row["on_learnt_axes"] = _said(difference_table(learnt, one), one, size) if learnt else None
            judged = one in ACCURACY and levels_known(results.items)
            row["against_known_level"] = _said(difference_table(known, one), one, size) if judged else None
            rows.append(row)
    return pd.DataFrame(rows).sort_values("claim", ignore_index=True)


def _on_axes(results: Results, axes: Sequence[str]) -> Results | None:
    if not axes:
        return None
    predictions, layers = (frame[frame["axis"].isin(axes)] for frame in (results.predictions, results.layers))
    return replace(results, predictions=predictions, layers=layers)


def _same(tables: Sequence[pd.DataFrame], said: str, one: Comparison, size: int) -> str:
    answers = [_said(table, one, size) for table in tables]
    return f"{answers.count(said)} of {len(answers)}"


def _said(table: pd.DataFrame, one: Comparison, size: int) -> str:
    """The verdict of the interval alone, at the family's level; ``table`` is (sources, seeds)."""
    return verdict(paired.t_test(table, level=1 - 0.05 / size), one.side)
