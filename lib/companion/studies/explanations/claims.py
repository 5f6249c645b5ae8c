"""The claims of arXiv 2511.02044 in our own words, each with the test that decides it and this run's verdict.

A verdict is computed from intervals: supported when all of it lies on the claimed side, contradicted when all of it
lies on the other, undecided otherwise. The claims of one family (accuracy; reliability; inside the model) use intervals
of level 1 - 0.05 / members, so that the chance of any false verdict in the family stays at 5 %; p only describes and is
Holm-adjusted in the same family. One seed cannot show the noise of training, so it decides nothing.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from companion.show.claims import Claim
from companion.show.names import arm_name
from companion.stats import paired
from companion.stats.equivalence import equivalence
from companion.stats.estimate import Estimate
from companion.stats.ratio import gap_closed
from companion.stats.verdict import Claim as Side
from companion.stats.verdict import Verdict, verdict
from companion.studies.explanations.analysis import bootstrap, pairs
from companion.studies.explanations.results import Results
from companion.studies.explanations.settings import ExplanationsSettings

MIDDLE_ENTROPY = "E1"


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
    arms = set(results.predictions["arm"])
    learnt = {arm for arm in arms - {"base"} if _beats_majority(results, arm)}
    claims: list[Claim] = []
    for comparisons in (ACCURACY, RELIABILITY, INSIDE):
        claims += _family(results, family(comparisons, arms), learnt)
    if {"explanation", "label"} <= arms:
        claims.append(_every_cell(results, settings.resamples, learnt))
    if {"explanation", "shuffled", "label"} <= arms:
        claims += [_gap(results, learnt), _equal(results, settings.equivalence_margin, learnt)]
    if results.predictions.loc[results.predictions["arm"] != "base", "seed"].nunique() < 2:
        claims = [_without_seeds(claim) for claim in claims]
    return sorted(claims, key=lambda claim: claim.id)


def _without_seeds(claim: Claim) -> Claim:
    note = "One seed: the noise of training cannot be seen, so nothing is decided."
    return replace(claim, verdict="undecided", note=f"{note} {claim.note}".strip())


def _family(results: Results, comparisons: Sequence[Comparison], learnt: AbstractSet[str]) -> list[Claim]:
    """Claims tested together: intervals of level 1 - 0.05 / m, p Holm-adjusted over the m."""
    size = len(comparisons)
    tables = [_differences(results, one) for one in comparisons]
    p_values = paired.holm([paired.sign_flip(table.mean(axis=1).to_numpy()).p for table in tables])
    claims = []
    for one, table, p in zip(comparisons, tables, p_values, strict=True):
        estimate = paired.t_test(table.to_numpy(), level=1 - 0.05 / size)
        claims.append(
            _claim(
                one.id,
                one.statement,
                replace(estimate, p=float(p)),
                verdict(estimate, one.side),
                test=f"{estimate.method}; p: exact sign-flip over sources, students held fixed",
                smallest_p=paired.smallest_p("sign_flip", len(table), size),
                correction=f"{100 * estimate.level:.4g} % interval and Holm, family of {size}",
                note=_unlearnt(learnt, one.treated, one.control),
            )
        )
    return claims


def _claim(
    name: str,
    statement: str,
    estimate: Estimate,
    decided: Verdict,
    *,
    test: str,
    correction: str,
    smallest_p: float = np.nan,
    note: str = "",
) -> Claim:
    return Claim(
        id=name,
        claim=name[0],
        statement=statement,
        test=test,
        estimate=estimate.estimate,
        low=estimate.low,
        high=estimate.high,
        p=estimate.p,
        smallest_p=smallest_p,
        n=estimate.n,
        unit=f"{estimate.unit}s",
        correction=correction,
        verdict=decided,
        note=note,
    )


def _differences(results: Results, one: Comparison) -> pd.DataFrame:
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


def _unlearnt(learnt: AbstractSet[str], *arms: str) -> str:
    """A warning where a verdict rests on an arm that has not learnt to rate."""
    weak = [arm_name(arm) for arm in arms if arm not in learnt]
    return f"Not shown to beat the most frequent label, all axes together: {', '.join(weak)}." if weak else ""


def _every_cell(results: Results, resamples: int, learnt: AbstractSet[str]) -> Claim:
    """The paper's claim about all cells: all intervals above zero support it, one that lies below contradicts it."""
    differences = pairs(results, "explanation", "label", "correct")
    cells = [group for _, group in differences.groupby(["axis", "source"])]
    count = paired.sign_count([group["difference"].mean() for group in cells])
    above = sum(bootstrap(group, resamples, new_sources=False).low > 0 for group in cells)
    wide = 1 - 0.05 / len(cells)
    below = sum(bootstrap(group, resamples, new_sources=False, level=wide).high < 0 for group in cells)
    decided: Verdict = "contradicted" if below else "supported" if above == len(cells) else "undecided"
    share = Estimate(count.wins / len(cells), np.nan, np.nan, np.nan, len(cells), "cell", "")
    return _claim(
        "1b",
        "Labels with explanations beat labels alone in every one of the source x axis cells.",
        share,
        decided,
        test="each cell's bootstrap interval over its seeds and items",
        correction=f"support: all at 95 %; contradiction: one at {100 * wide:.4g} % (Bonferroni)",
        note=f"The estimate is the share of cells won: {count.wins} of {len(cells)}, {count.ties} tied, {count.losses} "
        f"lost; {above} clearly above zero, {below} clearly below. Cells share items and students, so they are not "
        f"independent: the sign test over them (p = {count.test.p:.2g}) only describes. "
        + _unlearnt(learnt, "explanation", "label"),
    )


def _gap(results: Results, learnt: AbstractSet[str]) -> Claim:
    """Share of the gap closed; it means something only where true explanations were shown to help."""
    part, whole = (_by_source(results, arm, "label") for arm in ("shuffled", "explanation"))
    estimate = gap_closed(part, whole)
    helped = paired.t_test(whole).low > 0
    return _claim(
        "2c",
        "Shuffled explanations close more than half of the gap between labels alone and true explanations.",
        estimate,
        verdict(estimate, "greater", 0.5) if helped else "undecided",
        test=estimate.method,
        correction="95 % interval",
        note="The estimate is the share of the gap closed. "
        + (
            "A gap that had to be shown first is overestimated. "
            if helped
            else "No positive gap was shown: undecided. "
        )
        + _unlearnt(learnt, "shuffled", "explanation", "label"),
    )


def _equal(results: Results, margin: float, learnt: AbstractSet[str]) -> Claim:
    found = equivalence(_by_source(results, "shuffled", "explanation"), margin)
    both_learnt = {"shuffled", "explanation"} <= learnt
    decided = verdict(found.estimate, "equivalent", margin)
    return _claim(
        "2d",
        f"Shuffled explanations rate as accurately as true ones, within {margin:g} of accuracy.",
        found.estimate,
        decided if both_learnt or decided != "supported" else "undecided",
        test=f"{found.estimate.method}, margin {margin:g} fixed in the profile before any result",
        correction="90 % interval",
        note="Both arms beat the most frequent label."
        if both_learnt
        else "Not both arms beat the most frequent label; arms that learnt nothing are equal too: no support.",
    )


def _beats_majority(results: Results, arm: str) -> bool:
    """Whether the arm is more accurate than the most frequent training label, over sources and seeds (95 %)."""
    rows = results.predictions[results.predictions["arm"] == arm]
    rows = rows.merge(results.items[["item", "axis", "majority"]], on=["item", "axis"])
    gain = rows.assign(difference=rows["correct"] - (rows["majority"] == rows["label"]))
    return paired.t_test(paired.source_by_seed(gain).to_numpy()).low > 0


def _by_source(results: Results, treated: str, control: str) -> np.ndarray:
    return paired.source_by_seed(pairs(results, treated, control, "correct")).to_numpy()
