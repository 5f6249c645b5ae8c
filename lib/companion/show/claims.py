"""Claims: statements of a paper, each with the test that decides it and the verdict of this run, as text."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd

from companion.errors import CompanionError
from companion.show.outputs import natural_key
from companion.show.text import choose_decimals, format_interval, format_p_value

# A verdict is told by word and symbol as well as by colour.
SYMBOLS = {"supported": "\u2714", "contradicted": "\u2718", "undecided": "\u25cb"}
SIDES = ("greater", "less", "equivalent")

RULE = (
    "Supported: all of the interval lies where the claim puts the estimate; contradicted: all of it lies elsewhere; "
    "undecided: neither, which is not evidence of no effect; p only describes."
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One testable statement of a paper.

    Attributes:
        id: such as ``1a``; orders the claims.
        statement: the single sentence tested.
        verdict: supported, contradicted or undecided, as the test of this run gives it.
        side: where the claim puts the estimate: ``greater`` than ``threshold``, ``less`` than ``-threshold``, or
            ``equivalent``, between the two (see `stats.verdict`).
        threshold: in the unit of the estimate; zero or more, for equivalence more.
        unit: of the estimate, such as ``accuracy`` or ``nats``.
        estimate, low, high: NaN where there is none.
        level: how wide the interval is, and why.
        agreement: how many units lie on the claimed side.
        p, smallest_p: and the least p that this design can reach; NaN where there is none.
        n: what was counted.
        test: how the claim is decided.
        note: a remark; may be empty.
        rests_on: what the evidence is of, such as the arms that are compared.

    Raises:
        CompanionError: another verdict or side, or a threshold that the side cannot have.
    """

    id: str
    statement: str
    verdict: str
    side: str
    threshold: float = 0.0
    unit: str = ""
    estimate: float
    low: float = math.nan
    high: float = math.nan
    level: str
    agreement: str = ""
    p: float = math.nan
    smallest_p: float = math.nan
    n: str
    test: str
    note: str
    rests_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.verdict not in SYMBOLS:
            raise CompanionError(f"claim {self.id} has the verdict {self.verdict!r}: use {', '.join(SYMBOLS)}")
        if self.side not in SIDES:
            raise CompanionError(f"claim {self.id} has the side {self.side!r}: use {', '.join(SIDES)}")
        if not 0 <= self.threshold < math.inf or (self.side == "equivalent" and self.threshold == 0):
            raise CompanionError(
                f"claim {self.id} has the threshold {self.threshold}: use a finite one of zero or more, and for "
                "equivalence one above zero"
            )


def sort_claims(claims: Sequence[Claim]) -> list[Claim]:
    """The claims by id, numbers in natural order. Raises CompanionError for no claims or an id used twice."""
    if not claims:
        raise CompanionError("the claims ledger is empty: run the study before its claims are written")
    ids = [claim.id for claim in claims]
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise CompanionError(f"claims share the id {', '.join(repeated)}: give each its own")
    return sorted(claims, key=lambda claim: natural_key(claim.id))


def tabulate_claims(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row per claim, one column per field of `Claim`; raises CompanionError as `sort_claims`."""
    rows = [asdict(claim) | {"rests_on": "; ".join(claim.rests_on)} for claim in sort_claims(claims)]
    return pd.DataFrame(rows, columns=[field.name for field in fields(Claim)])


def claims_view(claims: Sequence[Claim]) -> pd.DataFrame:
    """What a reader sees of the claims as a table: all cells text, verdict as symbol and word."""
    return pd.DataFrame(
        {
            "claim": [claim.id for claim in claims],
            "statement": [claim.statement for claim in claims],
            "verdict": [f"{SYMBOLS[claim.verdict]} {claim.verdict}" for claim in claims],
            "estimate [interval]": list(map(format_estimate, claims)),
            "level": [claim.level for claim in claims],
            "on the claimed side": [claim.agreement for claim in claims],
            "p (least possible)": [format_p(claim) for claim in claims],
            "n": [claim.n for claim in claims],
        }
    )


def format_estimate(claim: Claim) -> str:
    """Estimate of a claim with its interval; ``n/a`` for what there is not."""
    ends = [abs(end) for end in (claim.estimate, claim.low, claim.high) if math.isfinite(end)]
    return format_interval(claim.estimate, claim.low, claim.high, choose_decimals(max(ends, default=0.0)))


def format_p(claim: Claim) -> str:
    """p of a claim, and in brackets the least that its design can reach."""
    least = "" if math.isnan(claim.smallest_p) else f" ({format_p_value(claim.smallest_p)})"
    return format_p_value(claim.p) + least


def count_verdicts(verdicts: Iterable[str]) -> str:
    """How many claims have each verdict, as ``2 supported, 1 contradicted, 4 undecided``."""
    found = list(verdicts)
    return ", ".join(f"{found.count(verdict)} {verdict}" for verdict in SYMBOLS)


def describe_overruled(claims: Sequence[Claim]) -> str:
    """A sentence that names undecided claims whose interval lies on one side; empty where there are none."""
    overruled = [one.id for one in claims if one.verdict == "undecided" and _is_one_sided(one)]
    if not overruled:
        return ""
    ids = format_ids(overruled, [claim.id for claim in claims])
    return f"Undecided although the interval alone would decide: {ids}; the claims table says why."


def _is_one_sided(claim: Claim) -> bool:
    """Whether the interval lies inside or outside of where the claim puts the estimate."""
    low, high = (-claim.high, -claim.low) if claim.side == "less" else (claim.low, claim.high)
    if claim.side == "equivalent":
        return max(-low, high) < claim.threshold or max(low, -high) > claim.threshold
    return low > claim.threshold or high < claim.threshold


def describe_shared_evidence(claims: Sequence[Claim]) -> str:
    """A sentence that names what several claims rest on; empty where no two claims share anything."""
    ids = [claim.id for claim in claims]
    behind = {
        name: [claim.id for claim in claims if name in claim.rests_on]
        for name in dict.fromkeys(name for claim in claims for name in claim.rests_on)
    }
    shared = [f"{name} stands behind {format_ids(of, ids)}" for name, of in behind.items() if len(of) > 1]
    return f"Verdicts share evidence, so they are not independent: {'; '.join(shared)}." if shared else ""


def collect_remarks(claims: Sequence[Claim]) -> list[str]:
    """The notes of the claims, each once, after the ids that it is about."""
    ids = [claim.id for claim in claims]
    notes = dict.fromkeys(claim.note for claim in claims if claim.note)
    return [f"{format_ids([one.id for one in claims if one.note == note], ids)}: {note}" for note in notes]


def format_ids(chosen: Sequence[str], every: Sequence[str]) -> str:
    """Ids as ``1a to 1c, 2b``: three or more that follow each other in ``every``, under one number, make a range."""
    runs: list[list[str]] = []
    for name in chosen:
        last = runs[-1][-1] if runs else ""
        follows = last and every.index(name) == every.index(last) + 1 and _number(name) == _number(last)
        runs[-1].append(name) if follows else runs.append([name])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _number(name: str) -> str:
    return re.match(r"\d*", name)[0]  # type: ignore[index]  # it matches nothing at least
