"""The claims of arXiv 2511.02044 in our own words, each with the test that decides it and this run's verdict.

A verdict is computed from intervals: supported when all of it lies on the claimed side, contradicted when all of it
lies on the other, undecided otherwise. The claims of one family (accuracy; reliability; inside the model) use intervals
of level 1 - 0.05 / members; 1b, 2c and 2d stand alone. So each of the six groups errs in about 5 % of such studies. p
only describes and is Holm-adjusted in the family. Two rules hold for every claim: fewer than four seeds, or fewer than
four test groups of a reader's own data, decide nothing (the crossed t test errs too often there), and a verdict needs
students that learnt to rate: the arm ahead, and for claims about the inside both arms, must be shown to beat the most
frequent label (1b: on the axis of the cell; own data: the best constant label).
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from companion.show.claims import Claim
from companion.show.names import arm_name, arm_order, axis_name
from companion.stats import paired
from companion.stats.equivalence import equivalence
from companion.stats.estimate import Estimate
from companion.stats.ratio import gap_closed
from companion.stats.verdict import Claim as Side
from companion.stats.verdict import Verdict, verdict
from companion.studies.explanations.results.analysis import bootstrap, pairs, possible
from companion.studies.explanations.results.results import Results
from companion.studies.explanations.settings import ExplanationsSettings

MIDDLE_ENTROPY = "E1"
LEAST_SEEDS = 4
LEAST_GROUPS = 4
MAIN_ARMS = ("label", "explanation")


@dataclass(frozen=True)
class Comparison:
    """A claim that one arm lies above (or below) another in a column's mean; ``E1`` is that of the middle layers."""

    id: str
    treated: str
    control: str
    column: str
    side: Side
    statement: str


ACCURACY = (
    Comparison(
        id="1a",
        treated="explanation",
        control="label",
        column="correct",
        side="greater",
        statement="Training on labels with explanations rates more accurately than training on labels alone.",
    ),
    Comparison(
        id="2a",
        treated="shuffled",
        control="label",
        column="correct",
        side="greater",
        statement="Training on labels with shuffled explanations rates more accurately than training on labels alone.",
    ),
    Comparison(
        id="2b",
        treated="bag_of_words",
        control="label",
        column="correct",
        side="greater",
        statement="Training on labels with a bag of explanation words rates more accurately than on labels alone.",
    ),
    Comparison(
        id="2e",
        treated="uniform_tokens",
        control="explanation",
        column="correct",
        side="less",
        statement="Training with explanations of uniformly random tokens rates less accurately than with true ones.",
    ),
)
RELIABILITY = (
    Comparison(
        id="1c",
        treated="explanation",
        control="label",
        column="nll",
        side="less",
        statement="Training with explanations gives probabilities with a lower log loss (nats) than labels alone.",
    ),
)
INSIDE = (
    Comparison(
        id="3a",
        treated="explanation",
        control="label",
        column=MIDDLE_ENTROPY,
        side="greater",
        statement="Explanations raise the activation entropy (E1) of the middle layers above that of labels alone.",
    ),
    Comparison(
        id="3b",
        treated="shuffled",
        control="label",
        column=MIDDLE_ENTROPY,
        side="greater",
        statement="Shuffled explanations raise the activation entropy (E1) of the middle layers above labels alone.",
    ),
    Comparison(
        id="3c",
        treated="explanation",
        control="label",
        column="output_entropy",
        side="less",
        statement="Students trained with explanations have a lower output entropy (nats) than on labels alone.",
    ),
    Comparison(
        id="3d",
        treated="explanation",
        control="label",
        column="peak_mass",
        side="greater",
        statement="Students trained with explanations put a higher peak mass on one token than on labels alone.",
    ),
)


def family(comparisons: Sequence[Comparison], arms: Iterable[str]) -> list[Comparison]:
    """Those of the comparisons that these arms allow; their number decides how wide the intervals are."""
    return [one for one in comparisons if {one.treated, one.control} <= set(arms)]


def ledger(results: Results, settings: ExplanationsSettings) -> list[Claim]:
    """Every claim that the recorded arms can decide, in the order of the paper."""
    arms, learnt = set(results.predictions["arm"]), _learnt(results)
    claims: list[Claim] = []
    for comparisons in (ACCURACY, RELIABILITY, INSIDE):
        claims += _family(results, family(comparisons, arms), learnt)
    if {"explanation", "label"} <= arms and results.unit == "source":
        claims.append(_every_cell(results, settings.resamples))
    if {"explanation", "shuffled", "label"} <= arms:
        claims += [_gap(results, learnt), _equal(results, settings.equivalence_margin)]
    if _too_few(results):
        claims = [replace(claim, verdict="undecided") for claim in claims]
    return sorted(claims, key=lambda claim: claim.id)


def source_differences(results: Results) -> pd.DataFrame:
    """The units behind the families: per source the difference of each claim's arms, mean over axes and seeds."""
    arms = set(results.predictions["arm"])
    shown = family((*ACCURACY, *RELIABILITY, *INSIDE), arms)
    means = {one.id: difference_table(results, one).mean(axis=1) for one in sorted(shown, key=lambda one: one.id)}
    return pd.DataFrame(means).rename_axis("source").reset_index()


def shared_note(results: Results) -> str:
    """What holds for every claim of the ledger: too few seeds, and which arms were not shown to have learnt to rate."""
    learnt = _learnt(results)
    arms = arm_order([arm for arm in results.predictions["arm"].unique() if arm != "base"])
    unlearnt = ", ".join(arm_name(arm) for arm in arms if arm not in learnt)
    taught = {arm_name(arm): ", ".join(map(axis_name, taught_axes(results, arm))) for arm in MAIN_ARMS if arm in arms}
    by_axis = "; ".join(f"{arm}: {axes or 'none'}" for arm, axes in taught.items())
    few = [f"Fewer than {short}: nothing is decided." for short in _too_few(results)]
    if results.predictions["axis"].nunique() == 1:
        return " ".join([*few, f"Not shown to beat {_rival_name(results)}: {unlearnt or 'none'}."])
    return " ".join(
        [
            *few,
            f"Not shown to beat {_rival_name(results)}, all axes together: {unlearnt or 'none'}.",
            f"Axes on which it was shown, one by one, for {by_axis}. Axes that nobody learnt enter the means too.",
        ]
    )


def _too_few(results: Results) -> list[str]:
    """What the design has too few of for any verdict."""
    trained = results.predictions[results.predictions["arm"] != "base"]
    lacking = [f"{LEAST_SEEDS} seeds"] if trained["seed"].nunique() < LEAST_SEEDS else []
    if results.unit == "group" and trained["source"].nunique() < LEAST_GROUPS:
        lacking.append(f"{LEAST_GROUPS} test groups")
    return lacking


def _learnt(results: Results) -> set[str]:
    """The trained arms that were shown to beat the most frequent training label, all axes together."""
    return {arm for arm in set(results.predictions["arm"]) - {"base"} if _beats_majority(results, arm)}


def _family(results: Results, comparisons: Sequence[Comparison], learnt: AbstractSet[str]) -> list[Claim]:
    """Claims tested together: intervals of level 1 - 0.05 / m, p Holm-adjusted over the m."""
    size = len(comparisons)
    tables = [difference_table(results, one) for one in comparisons]
    estimates = [
        possible(paired.t_test(table, results.unit, 1 - 0.05 / size), one.column)
        for table, one in zip(tables, comparisons, strict=True)
    ]
    # a reader's own data can have too many groups to flip the sign of each; there p is that of the interval's t
    flipped = all(len(table) <= paired.MOST_UNITS for table in tables)
    raw = [paired.sign_flip(table.mean(axis=1)) for table in tables] if flipped else [one.p for one in estimates]
    how = f"exact sign-flip over {results.unit}s, students held fixed" if flipped else "of the same t"
    claims = []
    for one, table, estimate, p in zip(comparisons, tables, estimates, paired.holm(raw), strict=True):
        decided, note = _if_learnt(verdict(estimate, one.side), _needed(one, estimate), learnt)
        claims.append(
            Claim(
                id=one.id,
                statement=one.statement,
                test=f"{estimate.method}; p: {how}",
                estimate=estimate.estimate,
                low=estimate.low,
                high=estimate.high,
                level=f"{100 * estimate.level:.4g} %, family of {size}",
                agreement=_agreement(table, one.side, results.unit),
                p=float(p),
                smallest_p=paired.smallest_p(len(table), size) if flipped else np.nan,
                n=_size(table, results.unit),
                verdict=decided,
                note=note,
            )
        )
    return claims


def _needed(one: Comparison, estimate: Estimate) -> set[str]:
    """The arms that must have learnt to rate before their difference decides anything."""
    if one in INSIDE:
        return {one.treated, one.control}
    treated_ahead = (estimate.estimate > 0) == (one.column == "correct")
    return {one.treated if treated_ahead else one.control}


def _if_learnt(decided: Verdict, needed: AbstractSet[str], learnt: AbstractSet[str]) -> tuple[Verdict, str]:
    """The verdict, or undecided where an arm that it rests on has not learnt, and the sentence that says so."""
    if decided == "undecided" or needed <= learnt:
        return decided, ""
    names = ", ".join(arm_name(arm) for arm in arm_order(list(needed - learnt)))
    return "undecided", f"The interval alone says {decided}, but rests on arms not shown to have learnt: {names}."


def _agreement(table: pd.DataFrame, side: Side, unit: str) -> str:
    """How many sources, and how many seeds, lie on the claimed side: shows a mean that a few of them carry."""
    sign = -1 if side == "less" else 1
    parts = {f"{unit}s": table.mean(axis=1), "seeds": table.mean(axis=0)}
    return ", ".join(f"{int((sign * part > 0).sum())} of {len(part)} {name}" for name, part in parts.items())


def _size(table: pd.DataFrame, unit: str) -> str:
    return f"{table.shape[0]} {unit}s \u00d7 {table.shape[1]} seeds"


def difference_table(results: Results, one: Comparison) -> pd.DataFrame:
    """Treated minus control (sources, seeds), axes averaged."""
    if one.column == MIDDLE_ENTROPY:
        return _middle_entropy(results, one.treated) - _middle_entropy(results, one.control)
    return paired.source_by_seed(pairs(results, one.treated, one.control, one.column))


def middle_third(layers: int) -> tuple[int, int]:
    """First and last layer of the middle third, counted from 1: 11 to 22 of 32 layers."""
    return layers // 3 + 1, -(-2 * layers // 3)


def _middle_entropy(results: Results, arm: str) -> pd.DataFrame:
    """Mean E1 of the middle third (sources, seeds), axes averaged."""
    rows = results.layers[(results.layers["arm"] == arm) & (results.layers["measure"] == MIDDLE_ENTROPY)]
    first, last = middle_third(int(rows["layer"].max()))
    chosen = rows[rows["layer"].between(first, last)]
    return chosen.pivot_table(index="source", columns="seed", values="value", aggfunc="mean")


def _every_cell(results: Results, resamples: int) -> Claim:
    """The paper's claim about all cells: all intervals above zero support it, one that lies below contradicts it."""
    differences = pairs(results, "explanation", "label", "correct")
    cells = [(axis, group) for (axis, _), group in differences.groupby(["axis", "source"])]
    count = paired.sign_count([group["difference"].mean() for _, group in cells])
    wide = 1 - 0.05 / len(cells)
    above = [axis for axis, cell in cells if bootstrap(cell, resamples, new_sources=False).low > 0]
    below = [axis for axis, cell in cells if bootstrap(cell, resamples, new_sources=False, level=wide).high < 0]
    # a cell counts where the arm ahead was shown to have learnt its axis
    learnt = {arm: taught_axes(results, arm) for arm in MAIN_ARMS}
    won = sum(axis in learnt["explanation"] for axis in above)
    lost = sum(axis in learnt["label"] for axis in below)
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
    )


def _gap(results: Results, learnt: AbstractSet[str]) -> Claim:
    """Share of the gap closed; it means something only where true explanations were shown to help."""
    part, whole = (_accuracy_gain(results, arm, "label") for arm in ("shuffled", "explanation"))
    estimate = gap_closed(part, whole)
    helped = paired.t_test(whole).low > 0 and "explanation" in learnt and np.isfinite(estimate.low)
    # a ratio of two losses is no share of a gap
    shown = estimate if helped else replace(estimate, estimate=np.nan, low=-np.inf, high=np.inf)
    said = verdict(shown, "greater", 0.5)
    decided, note = _if_learnt(said, {"shuffled" if said == "supported" else "explanation"}, learnt)
    meaning = (
        "A gap that had to be shown first is overestimated." if helped else "No gain to take a share of was shown."
    )
    return Claim(
        id="2c",
        statement="Shuffled explanations close more than half of the gap between labels alone and true explanations.",
        test=estimate.method,
        estimate=shown.estimate,
        low=shown.low,
        high=shown.high,
        level="95 %",
        n=_size(whole, results.unit),
        verdict=decided,
        note=f"The estimate is the share closed. {meaning} {note}".strip(),
    )


def _equal(results: Results, margin: float) -> Claim:
    """Equivalence on the axes on which true explanations taught something, where label alone would not do as well."""
    taught = taught_axes(results, "explanation")
    differences = _accuracy_gain(results, "shuffled", "explanation", taught)
    found = possible(equivalence(differences, margin), "correct")
    apart = verdict(paired.t_test(differences), "equivalent", margin) == "contradicted"
    helped = paired.t_test(_accuracy_gain(results, "explanation", "label", taught)).low > 0
    shown = verdict(found, "equivalent", margin) == "supported"
    notes = [
        f"Axes on which true explanations beat {_rival_name(results)}: {', '.join(map(axis_name, taught)) or 'none'}."
    ]
    if shown and not helped:
        notes.append("Labels alone were not shown to do worse than true explanations, so equal arms say nothing.")
    rated = _beats_majority(results, "shuffled", taught)
    if shown and not rated:
        notes.append(f"Shuffled explanations were not shown to beat {_rival_name(results)} there.")
    supported = taught and shown and helped and rated
    decided: Verdict = "supported" if supported else "contradicted" if apart and taught else "undecided"
    return Claim(
        id="2d",
        statement=f"Shuffled explanations rate as accurately as true ones, within {margin:g} of accuracy.",
        test=f"{found.method}, margin {margin:g} fixed in the profile before any result",
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        level="90 % inside to support, 95 % outside to contradict",
        p=found.p,
        n=_size(differences, results.unit),
        verdict=decided,
        note=" ".join(notes),
    )


def taught_axes(results: Results, arm: str) -> list[str]:
    """The axes on which the arm was shown to beat the most frequent training label."""
    return [axis for axis in results.predictions["axis"].unique() if _beats_majority(results, arm, [axis])]


def _beats_majority(results: Results, arm: str, axes: Sequence[str] = ()) -> bool:
    """Whether the arm is more accurate than the most frequent training label, over sources and seeds (95 %)."""
    return _majority_gain(results, arm, axes).low > 0


def _majority_gain(results: Results, arm: str, axes: Sequence[str] = ()) -> Estimate:
    """Accuracy above the rival's; axes are averaged over, all of them where none are named."""
    rows = results.predictions[results.predictions["arm"] == arm]
    rows = rows[rows["axis"].isin(axes)] if axes else rows
    rows = rows.merge(_rival(results), on=["item", "axis"])
    gain = rows.assign(difference=rows["correct"] - (rows["rival"] == rows["label"]))
    return possible(paired.t_test(paired.source_by_seed(gain)), "correct")


def _rival(results: Results) -> pd.DataFrame:
    """The constant answer that a student must beat: item, axis, rival.

    It is the most frequent training label. Groups of a reader's own data are of any size and weigh equally, so that
    another label can be right more often there: then it is the one that is so on the test groups.
    """
    items = results.items[results.items["split"] == "test"]
    if results.unit == "group":
        shares = pd.crosstab(items["source"], items["label"], normalize="index").mean()
        items = items.assign(majority=shares.index.to_numpy()[shares.to_numpy().argmax()])
    return items[["item", "axis", "majority"]].rename(columns={"majority": "rival"})


def _rival_name(results: Results) -> str:
    return "the best constant label" if results.unit == "group" else "the most frequent training label"


def learnt_table(results: Results) -> pd.DataFrame:
    """T4's second table: how far each arm lies above the most frequent training label, on all axes and on each.

    A verdict needs an interval above zero (95 %) of the arm ahead.
    """
    every = list(results.predictions["axis"].unique())
    rows = []
    for arm in arm_order(list(results.predictions["arm"].unique())):
        row: dict[str, object] = {"arm": arm}
        for name, axes in [("pooled", every), *((axis, [axis]) for axis in every)]:
            gain = _majority_gain(results, arm, axes)
            row |= {name: gain.estimate, f"{name}_low": gain.low, f"{name}_high": gain.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _accuracy_gain(results: Results, treated: str, control: str, axes: Sequence[str] = ()) -> pd.DataFrame:
    """Accuracy difference (sources, seeds), averaged over these axes; over all where none are named."""
    differences = pairs(results, treated, control, "correct")
    return paired.source_by_seed(differences[differences["axis"].isin(axes)] if axes else differences)
