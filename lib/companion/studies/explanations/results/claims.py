"""The claims of arXiv 2511.02044 with the test that decides each of them and this run's verdict.

A verdict is computed from intervals: supported when all of it lies on the claimed side, contradicted when all of it
lies on the other, undecided otherwise. The claims of one family (accuracy; reliability; inside the model) use intervals
of level 1 - 0.05 / members; 1b, 2c and 2d stand alone. So each of the six groups errs in about 5 % of such studies. p
only describes and is Holm-adjusted in the family. Two rules hold for every claim: fewer than four seeds, or fewer than
four test groups of a reader's own data, decide nothing (the crossed t test errs too often there), and a verdict needs
students that learned to rate: the arm ahead, and for claims about the inside both arms, must be shown to beat the most
frequent label (1b: on the axis of the cell; own data: the best constant label).
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np
import pandas as pd

from companion.show.claims import Claim
from companion.stats import paired
from companion.stats.estimate import Estimate, as_columns
from companion.stats.ratio import gap_closed
from companion.stats.verdict import Claim as Side
from companion.stats.verdict import Verdict, verdict
from companion.studies.explanations.names import NAMES
from companion.studies.explanations.results import statements
from companion.studies.explanations.results.estimates import (
    bootstrap_differences,
    clip_to_range,
    pair_differences,
)
from companion.studies.explanations.results.inside import find_middle_third
from companion.studies.explanations.results.learned import beats_rival, learned_arms, learned_axes, rival_name
from companion.studies.explanations.results.results import Results
from companion.studies.explanations.results.statements import Comparison
from companion.studies.explanations.settings import ExplanationsSettings

LEAST_SEEDS = 4
LEAST_GROUPS = 4
MAIN_ARMS = ("label", "explanation")


def decide_claims(results: Results, settings: ExplanationsSettings) -> list[Claim]:
    """Every claim that the recorded arms can decide, in the order of the paper."""
    arms, learned = set(results.predictions["arm"]), learned_arms(results)
    claims: list[Claim] = []
    for comparisons in statements.FAMILIES:
        claims += _decide_family(results, statements.select_comparisons(comparisons, arms), learned)
    if {"explanation", "label"} <= arms and results.unit == "source":
        claims.append(_decide_every_cell(results, settings.resamples))
    if {"explanation", "shuffled", "label"} <= arms:
        claims += [_decide_gap(results, learned), _decide_equivalence(results, settings.equivalence_margin)]
    if reason := explain_undecided(results):
        claims = [replace(one, verdict="undecided", note=f"{reason} {one.note}".strip()) for one in claims]
    return sorted(claims, key=lambda claim: claim.id)


def compute_source_differences(results: Results) -> pd.DataFrame:
    """The units behind the families: per source the difference of each claim's arms, mean over axes and seeds."""
    arms = set(results.predictions["arm"])
    shown = statements.select_comparisons([one for family in statements.FAMILIES for one in family], arms)
    means = {one.id: pair_sources(results, one).mean(axis=1) for one in sorted(shown, key=lambda one: one.id)}
    return pd.DataFrame(means).rename_axis("source").reset_index()


def explain_undecided(results: Results) -> str:
    """Why the design decides nothing, in a sentence; empty where it has enough seeds and groups."""
    trained = results.predictions[results.predictions["arm"] != "base"]
    lacking = [f"{LEAST_SEEDS} seeds"] if trained["seed"].nunique() < LEAST_SEEDS else []
    if results.unit == "group" and trained["source"].nunique() < LEAST_GROUPS:
        lacking.append(f"{LEAST_GROUPS} test groups")
    return f"Nothing is decided: fewer than {' and '.join(lacking)}." if lacking else ""


def describe_learning(results: Results) -> str:
    """Which trained arms were not shown to have learned to rate, all axes together, in a sentence."""
    learned, arms = learned_arms(results), NAMES.order("arm", set(results.predictions["arm"]) - {"base"})
    unlearned = [NAMES.name("arm", arm) for arm in arms if arm not in learned]
    rival = rival_name(results) + ", all axes together" * (results.predictions["axis"].nunique() > 1)
    if not unlearned:
        return f"Every trained arm was shown to beat {rival}."
    return f"Arms not shown to beat {rival}: {', '.join(unlearned)}."


def name_arms(*arms: str) -> tuple[str, ...]:
    """Human names of arms in drawing order."""
    return tuple(NAMES.name("arm", arm) for arm in NAMES.order("arm", arms))


def _decide_family(results: Results, comparisons: Sequence[Comparison], learned: AbstractSet[str]) -> list[Claim]:
    """Claims tested together: intervals of level 1 - 0.05 / m, p Holm-adjusted over the m."""
    size = len(comparisons)
    tables = [pair_sources(results, one) for one in comparisons]
    estimates = [
        clip_to_range(paired.t_test(table, results.unit, 1 - 0.05 / size), one.column)
        for table, one in zip(tables, comparisons, strict=True)
    ]
    # a reader's own data can have too many groups to flip the sign of each; there p is that of the interval's t
    flipped = all(len(table) <= paired.MOST_UNITS for table in tables)
    raw = [paired.sign_flip(table.mean(axis=1)) for table in tables] if flipped else [one.p for one in estimates]
    how = f"exact sign-flip over {results.unit}s, students held fixed" if flipped else "of the same t"
    claims = []
    for one, table, estimate, p in zip(comparisons, tables, estimates, paired.holm(raw), strict=True):
        decided, note = _require_learned(
            verdict(estimate, one.side), _arms_that_must_have_learned(one, estimate), learned
        )
        claims.append(
            Claim(
                id=one.id,
                statement=one.statement,
                test=f"{estimate.method}; p: {how}",
                **as_columns(estimate),
                level=f"{100 * estimate.level:.4g} %, family of {size}",
                agreement=_count_agreement(table, one.side, results.unit),
                p=float(p),
                smallest_p=paired.smallest_p(len(table), size) if flipped else np.nan,
                n=_format_n(table, results.unit),
                verdict=decided,
                note=note,
                side=one.side,
                unit=statements.UNITS[one.column],
                rests_on=name_arms(one.treated, one.control),
            )
        )
    return claims


def _arms_that_must_have_learned(one: Comparison, estimate: Estimate) -> set[str]:
    """The arms that must have learned to rate before their difference decides anything."""
    if one in statements.INSIDE:
        return {one.treated, one.control}
    treated_ahead = (estimate.estimate > 0) == (one.column == "correct")
    return {one.treated if treated_ahead else one.control}


def _require_learned(decided: Verdict, needed: AbstractSet[str], learned: AbstractSet[str]) -> tuple[Verdict, str]:
    """The verdict, or undecided where an arm that it rests on has not learned, and the sentence that says so."""
    if decided == "undecided" or needed <= learned:
        return decided, ""
    names = ", ".join(name_arms(*needed - learned))
    return "undecided", f"The interval alone says {decided}, but rests on arms not shown to have learned: {names}."


def _count_agreement(table: pd.DataFrame, side: Side, unit: str) -> str:
    """How many sources, and how many seeds, lie on the claimed side: shows a mean that a few of them carry."""
    sign = -1 if side == "less" else 1
    parts = {f"{unit}s": table.mean(axis=1), "seeds": table.mean(axis=0)}
    return ", ".join(f"{int((sign * part > 0).sum())} of {len(part)} {name}" for name, part in parts.items())


def _format_n(table: pd.DataFrame, unit: str) -> str:
    return f"{table.shape[0]} {unit}s \u00d7 {table.shape[1]} seeds"


def pair_sources(results: Results, one: Comparison) -> pd.DataFrame:
    """Treated minus control (sources, seeds), axes averaged."""
    if one.column == statements.MIDDLE_ENTROPY:
        return _middle_entropy(results, one.treated) - _middle_entropy(results, one.control)
    return paired.source_by_seed(pair_differences(results, one.treated, one.control, one.column))


def _middle_entropy(results: Results, arm: str) -> pd.DataFrame:
    """Mean E1 of the middle third (sources, seeds), axes averaged."""
    rows = results.layers[(results.layers["arm"] == arm) & (results.layers["measure"] == statements.MIDDLE_ENTROPY)]
    first, last = find_middle_third(int(rows["layer"].max()))
    chosen = rows[rows["layer"].between(first, last)]
    return chosen.pivot_table(index="source", columns="seed", values="value", aggfunc="mean")


def _decide_every_cell(results: Results, resamples: int) -> Claim:
    """The paper's claim about all cells: all intervals above zero support it, one that lies below contradicts it."""
    differences = pair_differences(results, "explanation", "label", "correct")
    cells = [(axis, group) for (axis, _), group in differences.groupby(["axis", "source"])]
    count = paired.sign_count([group["difference"].mean() for _, group in cells])
    wide = 1 - 0.05 / len(cells)
    above = [axis for axis, cell in cells if bootstrap_differences(cell, resamples, new_sources=False).low > 0]
    below = [
        axis for axis, cell in cells if bootstrap_differences(cell, resamples, new_sources=False, level=wide).high < 0
    ]
    # a cell counts where the arm ahead was shown to have learned its axis
    learned = {arm: learned_axes(results, arm) for arm in MAIN_ARMS}
    won = sum(axis in learned["explanation"] for axis in above)
    lost = sum(axis in learned["label"] for axis in below)
    decided: Verdict = "contradicted" if lost else "supported" if won == len(cells) else "undecided"
    note = (
        f"The estimate is the share of cells won; {count.ties} tied, {count.losses} lost. Clearly above zero: "
        f"{len(above)}, clearly below: {len(below)}; {won} and {lost} of them on an axis on which the arm ahead was "
        "shown to beat the most frequent label. Cells share items and students: the sign test over them "
        f"(p = {count.p:.2g}) only describes."
    )
    return Claim(
        id="1b",
        statement="Labels with explanations beat labels alone in every one of the source x axis cells.",
        test="each cell's bootstrap interval over its seeds and items",
        estimate=count.wins / len(cells),
        level=f"share of cells; 95 % in all to support, {100 * wide:.4g} % in one to contradict",
        agreement=f"{count.wins} of {len(cells)} cells",
        n=f"{len(cells)} cells",
        verdict=decided,
        note=note,
        side="greater",
        threshold=1 - 1 / len(cells),  # only all of the cells are more than all but one
        unit="share of cells",
        rests_on=name_arms(*MAIN_ARMS),
    )


def _decide_gap(results: Results, learned: AbstractSet[str]) -> Claim:
    """Share of the gap closed; it means something only where true explanations were shown to help."""
    part, whole = (_pair_accuracy(results, arm, "label") for arm in ("shuffled", "explanation"))
    estimate = gap_closed(part, whole, results.unit)
    helped = paired.t_test(whole).low > 0 and "explanation" in learned and np.isfinite(estimate.low)
    # a ratio of two losses is no share of a gap
    shown = estimate if helped else replace(estimate, estimate=np.nan, low=-np.inf, high=np.inf)
    said = verdict(shown, "greater", 0.5)
    decided, note = _require_learned(said, {"shuffled" if said == "supported" else "explanation"}, learned)
    meaning = (
        "A gap that had to be shown first is overestimated." if helped else "No gain to take a share of was shown."
    )
    return Claim(
        id="2c",
        statement="Shuffled explanations close more than half of the gap between labels alone and true explanations.",
        test=estimate.method,
        **as_columns(shown),
        level="95 %",
        n=_format_n(whole, results.unit),
        verdict=decided,
        note=f"The estimate is the share closed. {meaning} {note}".strip(),
        side="greater",
        threshold=0.5,
        unit="share of the gap",
        rests_on=name_arms(*MAIN_ARMS, "shuffled"),
    )


def _decide_equivalence(results: Results, margin: float) -> Claim:
    """Equivalence on the axes on which true explanations taught something, where label alone would not do as well."""
    learned = learned_axes(results, "explanation")
    differences = _pair_accuracy(results, "shuffled", "explanation", learned)
    found = clip_to_range(paired.equivalence(differences, margin, results.unit), "correct")
    apart = verdict(paired.t_test(differences), "equivalent", margin) == "contradicted"
    helped = paired.t_test(_pair_accuracy(results, "explanation", "label", learned)).low > 0
    shown = verdict(found, "equivalent", margin) == "supported"
    axes = ", ".join(NAMES.name("axis", axis) for axis in learned)
    where = axes or "none, so the numbers are of all"
    notes = [f"Axes on which true explanations beat {rival_name(results)}: {where}."]
    if shown and not helped:
        notes.append("Labels alone were not shown to do worse than true explanations, so equal arms say nothing.")
    rated = beats_rival(results, "shuffled", learned)
    if shown and not rated:
        notes.append(f"Shuffled explanations were not shown to beat {rival_name(results)}.")
    supported = learned and shown and helped and rated
    decided: Verdict = "supported" if supported else "contradicted" if apart and learned else "undecided"
    return Claim(
        id="2d",
        statement=f"Shuffled explanations rate as accurately as true ones, within {margin:g} of accuracy.",
        test=f"{found.method}, margin {margin:g} fixed in the profile before any result",
        **as_columns(found),
        level="90 % inside to support, 95 % outside to contradict",
        p=found.p,
        n=_format_n(differences, results.unit),
        verdict=decided,
        note=" ".join(notes),
        side="equivalent",
        threshold=margin,
        unit="accuracy",
        rests_on=name_arms(*MAIN_ARMS, "shuffled"),
    )


def _pair_accuracy(results: Results, treated: str, control: str, axes: Sequence[str] = ()) -> pd.DataFrame:
    """Accuracy difference (sources, seeds), averaged over these axes; over all where none are named."""
    differences = pair_differences(results, treated, control, "correct")
    return paired.source_by_seed(differences[differences["axis"].isin(axes)] if axes else differences)
