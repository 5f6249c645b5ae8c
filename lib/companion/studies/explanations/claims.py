"""The claims of arXiv 2511.02044 in our own words, each with the test that decides it and this run's verdict.

Verdicts are computed from intervals: supported when the whole interval lies on the claimed side, contradicted when it
lies on the other, undecided otherwise. Claims that share a family use wider intervals (1 - 0.05 / members), so that the
chance of any false verdict in the family stays at 5 %.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from companion.show.claims import Claim
from companion.stats import paired
from companion.stats.equivalence import equivalence
from companion.stats.estimate import Estimate
from companion.stats.ratio import gap_closed
from companion.stats.verdict import verdict
from companion.studies.explanations.analysis import pairs
from companion.studies.explanations.results import Results
from companion.studies.explanations.settings import ExplanationsSettings

SOURCES_AND_SEEDS = "t interval over sources and seeds (crossed); p: exact sign-flip over sources, students held fixed"


@dataclass(frozen=True)
class Comparison:
    """A claim that one arm exceeds (or falls below) another in the mean of an item-level column."""

    id: str
    claim: str
    statement: str
    treated: str
    control: str
    column: str
    side: str


ACCURACY = (
    Comparison(
        "1a",
        "1",
        "Training on labels with explanations rates more accurately than training on labels alone.",
        "explanation",
        "label",
        "correct",
        "greater",
    ),
    Comparison(
        "2a",
        "2",
        "Training on labels with shuffled explanations rates more accurately than training on labels alone.",
        "shuffled",
        "label",
        "correct",
        "greater",
    ),
    Comparison(
        "2b",
        "2",
        "Training on labels with a bag of explanation words rates more accurately than training on labels alone.",
        "bag_of_words",
        "label",
        "correct",
        "greater",
    ),
    Comparison(
        "2e",
        "2",
        "Explanations of uniformly random tokens rate less accurately than true explanations.",
        "uniform_tokens",
        "explanation",
        "correct",
        "less",
    ),
)
SHARPNESS = (
    Comparison(
        "3c",
        "3",
        "Students trained with explanations have a lower output entropy than students trained on labels alone.",
        "explanation",
        "label",
        "output_entropy",
        "less",
    ),
    Comparison(
        "3d",
        "3",
        "Students trained with explanations put a higher peak mass on one token than students trained on labels alone.",
        "explanation",
        "label",
        "peak_mass",
        "greater",
    ),
)
RELIABILITY = (
    Comparison(
        "1c",
        "1",
        "Training with explanations gives more reliable probabilities (lower log loss) than labels alone.",
        "explanation",
        "label",
        "nll",
        "less",
    ),
)


def ledger(results: Results, settings: ExplanationsSettings) -> list[Claim]:
    """Every claim that the recorded arms can decide, in the order of the paper."""
    arms = set(results.predictions["arm"])
    claims = []
    for family in (ACCURACY, RELIABILITY, SHARPNESS):
        testable = [one for one in family if {one.treated, one.control} <= arms]
        claims += [_compared(results, one, len(testable)) for one in testable]
    if {"explanation", "label"} <= arms:
        claims.append(_every_cell(results))
        claims += _inside(results)
    if {"explanation", "shuffled", "label"} <= arms:
        claims += [_gap(results), _equal(results, settings.equivalence_margin)]
    return sorted(claims, key=lambda claim: claim.id)


def _compared(results: Results, one: Comparison, family: int) -> Claim:
    differences = paired.source_by_seed(pairs(results, one.treated, one.control, one.column))
    estimate = paired.t_test(differences.to_numpy(), level=1 - 0.05 / family)
    p = paired.sign_flip(differences.mean(axis=1).to_numpy()).p
    smallest = paired.smallest_p("sign_flip", len(differences), family)
    return _claim(one.id, one.claim, one.statement, estimate, verdict(estimate, one.side), p, smallest, family)  # type: ignore[arg-type]


def _claim(
    id: str,
    claim: str,
    statement: str,
    estimate: Estimate,
    decided: str,
    p: float,
    smallest: float,
    family: int,
    note: str = "",
) -> Claim:
    correction = f"interval at {100 * estimate.level:.1f} %, {family} claims in the family" if family > 1 else "none"
    return Claim(
        id=id,
        claim=claim,
        statement=statement,
        test=SOURCES_AND_SEEDS if not note else estimate.method,
        estimate=estimate.estimate,
        low=estimate.low,
        high=estimate.high,
        p=p,
        smallest_p=smallest,
        n=estimate.n,
        unit=estimate.unit,
        correction=correction,
        verdict=decided,
        note=note,
    )


def _every_cell(results: Results) -> Claim:
    """The paper's 18-of-18 count; one cell that is clearly below zero contradicts it, all clearly above support it."""
    differences = pairs(results, "explanation", "label", "correct")
    cells = differences.groupby(["axis", "source"])["difference"].mean().to_numpy()
    count = paired.sign_count(cells)
    below = _cells_below(differences, len(cells))
    decided = "contradicted" if below else "supported" if count.wins == len(cells) else "undecided"
    note = (
        f"{count.wins} of {len(cells)} cells won, {count.ties} tied, {count.losses} lost, {below} clearly over seeds. "
        "Cells share items and students, so they are not independent and this p only describes."
    )
    return _claim(
        "1b",
        "1",
        "Labels with explanations beat labels alone in every one of the source x axis cells.",
        count.test,
        decided,
        count.test.p,
        paired.smallest_p("sign", len(cells)),
        1,
        note,
    )


def _cells_below(differences: pd.DataFrame, cells: int) -> int:
    """Cells whose interval over seeds, Bonferroni-wide over the cells, lies below zero."""
    below = 0
    for _, group in differences.groupby(["axis", "source"]):
        by_seed = group.groupby("seed")["difference"].mean().to_numpy()
        if len(by_seed) > 1:
            below += int(paired.t_test(by_seed, unit="seed", level=1 - 0.05 / cells).high < 0)
    return below


def _gap(results: Results) -> Claim:
    part, whole = (_by_source(results, arm, "label") for arm in ("shuffled", "explanation"))
    estimate = gap_closed(part, whole)
    shifted = Estimate(
        estimate.estimate - 0.5, estimate.low - 0.5, estimate.high - 0.5, np.nan, estimate.n, "source", ""
    )
    return _claim(
        "2c",
        "2",
        "Shuffled explanations close more than half of the gap between labels alone and true explanations.",
        estimate,
        verdict(shifted, "greater"),
        np.nan,
        np.nan,
        1,
        "Share of the gap closed; undefined (no verdict) where the gap itself is not distinguishable from zero.",
    )


def _equal(results: Results, margin: float) -> Claim:
    found = equivalence(_by_source(results, "shuffled", "explanation"), margin)
    learnt = all(_beats_majority(results, arm) for arm in ("shuffled", "explanation"))
    decided = verdict(found.estimate, "equivalent", margin)
    return _claim(
        "2d",
        "2",
        f"Shuffled explanations rate as accurately as true ones, within {margin:g} of accuracy.",
        found.estimate,
        decided if learnt or decided != "supported" else "undecided",
        found.estimate.p,
        np.nan,
        1,
        f"Two one-sided tests with the margin {margin:g}, fixed in the profile before any result; 90 % interval. "
        + ("Both arms beat" if learnt else "No support where not both arms beat")
        + " the most frequent label: arms that learnt nothing are equal too.",
    )


def _beats_majority(results: Results, arm: str) -> bool:
    """Whether the arm is more accurate than the most frequent training label, over sources and seeds (95 %)."""
    rows = results.predictions[results.predictions["arm"] == arm]
    rows = rows.merge(results.items[["item", "axis", "majority"]], on=["item", "axis"])
    gain = rows.assign(difference=rows["correct"] - (rows["majority"] == rows["label"]))
    return paired.t_test(paired.source_by_seed(gain).to_numpy()).low > 0


def _by_source(results: Results, treated: str, control: str) -> np.ndarray:
    return paired.source_by_seed(pairs(results, treated, control, "correct")).to_numpy()


def middle_third(layers: int) -> tuple[int, int]:
    """First and last layer of the middle third, counted from 1 (11 to 22 of 32, papers A.2.4)."""
    return layers // 3 + 1, -(-2 * layers // 3)


def _inside(results: Results) -> list[Claim]:
    """Activation entropy (E1) in the middle third of the layers, explanation and shuffled against label."""
    arms = [arm for arm in ("explanation", "shuffled") if arm in set(results.layers["arm"])]
    names = {"explanation": "explanations", "shuffled": "shuffled explanations"}
    claims = []
    for id, arm in zip(("3a", "3b"), arms, strict=False):
        differences = _middle_entropy(results, arm) - _middle_entropy(results, "label")
        estimate = paired.t_test(differences.to_numpy(), level=1 - 0.05 / len(arms))
        p = paired.sign_flip(differences.mean(axis=1).to_numpy()).p
        smallest = paired.smallest_p("sign_flip", len(differences), len(arms))
        statement = f"Students trained with {names[arm]} have a higher activation entropy (E1) in the middle layers."
        claims.append(_claim(id, "3", statement, estimate, verdict(estimate, "greater"), p, smallest, len(arms)))
    return claims


def _middle_entropy(results: Results, arm: str) -> pd.DataFrame:
    """Mean E1 of the middle third (sources, seeds), axes averaged."""
    rows = results.layers[(results.layers["arm"] == arm) & (results.layers["measure"] == "E1")]
    first, last = middle_third(int(rows["layer"].max()))
    chosen = rows[rows["layer"].between(first, last)]
    return chosen.pivot_table(index="source", columns="seed", values="value", aggfunc="mean")
