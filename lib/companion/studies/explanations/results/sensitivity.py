"""How much each claim of a family hangs on one source, one seed, the axes that nobody learned, or the merged label.

Made after the results were read: it describes, and decides nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from companion.stats import paired
from companion.stats.verdict import verdict
from companion.studies.explanations.results.claims import pair_sources
from companion.studies.explanations.results.inputs import has_known_levels
from companion.studies.explanations.results.learned import learned_axes
from companion.studies.explanations.results.results import Results
from companion.studies.explanations.results.statements import ACCURACY, FAMILIES, Comparison, select_comparisons


def compute_sensitivity(results: Results) -> pd.DataFrame:
    """What each claim's interval says as tested, and how that fares when the data change a little.

    Returns one row per claim of a family: claim, interval_says (whatever was learned), how many of the sources and of
    the seeds can be left out, one at a time, without another answer, and the answer on the axes that labels alone
    taught and, for accuracy, against the known level.
    """
    arms = set(results.predictions["arm"])
    learned = _keep_axes(results, learned_axes(results, "label"))
    known = replace(results, predictions=results.predictions.assign(correct=results.predictions["correct_level"]))
    rows = []
    for group in FAMILIES:
        members = select_comparisons(group, arms)
        for one in members:
            table, size = pair_sources(results, one), len(members)
            answer = _decide(table, one, size)
            row: dict[str, object] = {"claim": one.id, "interval_says": answer}
            # Of two sources none can be left out: one alone has no spread.
            fewer = [table.drop(index=source) for source in table.index] if len(table) > 2 else []
            row["same_without_one_source"] = _count_same(fewer, answer, one, size)
            row["same_without_one_seed"] = _count_same([table.drop(columns=seed) for seed in table], answer, one, size)
            row["on_learnt_axes"] = _decide(pair_sources(learned, one), one, size) if learned else None
            judged = one in ACCURACY and has_known_levels(results.items)
            row["against_known_level"] = _decide(pair_sources(known, one), one, size) if judged else None
            rows.append(row)
    return pd.DataFrame(rows).sort_values("claim", ignore_index=True)


def _keep_axes(results: Results, axes: Sequence[str]) -> Results | None:
    if not axes:
        return None
    predictions, layers = (frame[frame["axis"].isin(axes)] for frame in (results.predictions, results.layers))
    return replace(results, predictions=predictions, layers=layers)


def _count_same(tables: Sequence[pd.DataFrame], answer: str, one: Comparison, size: int) -> str:
    answers = [_decide(table, one, size) for table in tables]
    return f"{answers.count(answer)} of {len(answers)}"


def _decide(table: pd.DataFrame, one: Comparison, size: int) -> str:
    """The verdict of the interval alone, at the family's level; ``table`` is (sources, seeds)."""
    return verdict(paired.t_test(table, level=1 - 0.05 / size), one.side)
