"""The claims ledger: each statement of a paper with the test that decides it and the verdict of this run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from companion.errors import CompanionError
from companion.show.outputs import Legend, write_output
from companion.show.provenance import Provenance
from companion.show.tables import table_contents
from companion.show.templates import CLAIMS, fill
from companion.show.text import interval_text, p_text

# A verdict is told by word and symbol as well as by colour.
SYMBOLS = {"supported": "\u2714", "contradicted": "\u2718", "undecided": "\u25cb"}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One testable statement of a paper.

    ``statement`` is the single sentence tested, ``test`` how it is decided. ``estimate`` with ``low`` and ``high``,
    ``p``, and ``smallest_p`` (the least this design can reach) are NaN where there is none. ``level`` says of the
    interval how wide it is and why, ``agreement`` how many units lie on the claimed side, ``n`` what was counted.
    ``verdict`` is supported, contradicted or undecided, as the test of this run gives it; another word raises
    CompanionError.
    """

    id: str
    statement: str
    verdict: str
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

    def __post_init__(self) -> None:
        if self.verdict not in SYMBOLS:
            raise CompanionError(f"claim {self.id} has the verdict {self.verdict!r}: use {', '.join(SYMBOLS)}")


def claims_frame(claims: Sequence[Claim]) -> pd.DataFrame:
    """One row per claim, one column per field of ``Claim``. Raises CompanionError for no claims or an id used twice."""
    if not claims:
        raise CompanionError("the claims ledger is empty: run the study before its claims are written")
    ids = [claim.id for claim in claims]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise CompanionError(f"claims share the id {', '.join(twice)}: give each its own")
    return pd.DataFrame([asdict(claim) for claim in claims], columns=[field.name for field in fields(Claim)])


def claims_view(claims: Sequence[Claim]) -> pd.DataFrame:
    """What a reader sees of the ledger as a table: all cells text, verdict as symbol and word."""
    return pd.DataFrame(
        {
            "claim": [claim.id for claim in claims],
            "statement": [claim.statement for claim in claims],
            "verdict": [f"{SYMBOLS[claim.verdict]} {claim.verdict}" for claim in claims],
            "estimate [interval]": [interval_text(claim.estimate, claim.low, claim.high) for claim in claims],
            "level": [claim.level for claim in claims],
            "on the claimed side": [claim.agreement for claim in claims],
            "p (least possible)": [_p_and_floor(claim) for claim in claims],
            "n": [claim.n for claim in claims],
        }
    )


def _p_and_floor(claim: Claim) -> str:
    return p_text(claim.p) if math.isnan(claim.smallest_p) else f"{p_text(claim.p)} ({p_text(claim.smallest_p)})"


def write_claims(claims: Sequence[Claim], folder: Path, note: str, provenance: Provenance) -> tuple[Path, ...]:
    """Write ``claims.csv``, ``.md``, ``.tex`` and ``.html`` into ``folder``; returns the four paths.

    ``note`` says what all claims share: how much was trained, and how often verdicts err. The csv holds every field,
    the table leaves out how each claim was tested. Raises CompanionError as ``claims_frame`` and ``write_output`` do.
    """
    frame, shown = claims_frame(claims), claims_view(claims)
    rows = [list(shown.columns), *shown.to_numpy().tolist()]
    legend = Legend(
        "claims", f"Claims and what this run says of them: {verdict_summary(claims)}", _notes(claims, note), rows
    )
    contents = table_contents(frame, shown, "claims", legend, provenance)
    contents["html"] = _page(claims, note, provenance)
    return write_output(folder, "claims", contents, legend, provenance)


RULE = (
    "A verdict is read from the interval: supported when all of it lies on the claimed side, contradicted when all of "
    "it lies on the other, undecided otherwise; undecided is not evidence of no effect. p only describes."
)


def _notes(claims: Sequence[Claim], note: str) -> str:
    by_note: dict[str, list[str]] = {}
    for claim in claims:
        by_note.setdefault(claim.note, []).append(claim.id)
    return " ".join([RULE, note, *(f"{', '.join(ids)}: {text}" for text, ids in by_note.items() if text)])


def verdict_summary(claims: Sequence[Claim]) -> str:
    """How many claims have each verdict, as ``2 supported, 1 contradicted, 4 undecided``."""
    return count_verdicts([claim.verdict for claim in claims])


def count_verdicts(verdicts: Iterable[str]) -> str:
    """The same of verdicts alone."""
    found = list(verdicts)
    return ", ".join(f"{found.count(verdict)} {verdict}" for verdict in SYMBOLS)


def _page(claims: Sequence[Claim], note: str, provenance: Provenance) -> bytes:
    rows = [
        asdict(claim)
        | {
            "symbol": SYMBOLS[claim.verdict],
            "interval": interval_text(claim.estimate, claim.low, claim.high),
            "p": _p_and_floor(claim),
        }
        for claim in claims
    ]
    title = f"Claims of the study {provenance.study}"
    facts = {"summary": verdict_summary(claims), "rule": RULE, "note": note, "origin": provenance.footer()}
    return fill(CLAIMS, title=title, claims=rows, **facts)
