from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest

from companion.errors import CompanionError
from companion.show.claims import SYMBOLS, Claim, claims_frame, claims_view, verdict_summary, write_claims
from companion.show.outputs import read_outputs
from companion.show.provenance import Provenance

PROVENANCE = Provenance("explanations", "quick", ("a",), "abc1234")
FIRST = Claim(
    id="1a",
    statement="Over sources, label + explanation is more accurate than label only.",
    test="t over sources and seeds",
    estimate=0.031,
    low=0.01,
    high=0.052,
    p=7.6e-6,
    smallest_p=0.03125,
    level="98.75 %, family of 4",
    agreement="6 of 6 sources, 5 of 6 seeds",
    n="6 sources \u00d7 6 seeds",
    verdict="supported",
    note="",
)
CLAIMS = [
    FIRST,
    replace(FIRST, id="1b", verdict="contradicted", low=float("nan"), note="<script>alert(1)</script>"),
    replace(
        FIRST, id="2a", verdict="undecided", p=float("nan"), smallest_p=float("nan"), statement="<b>größer</b> & $x$"
    ),
]


def test_frame_holds_every_field() -> None:
    frame = claims_frame(CLAIMS)
    assert list(frame.columns) == [field.name for field in fields(Claim)]
    assert list(frame["verdict"]) == ["supported", "contradicted", "undecided"]


def test_view_tells_the_verdict_by_symbol_and_word() -> None:
    shown = claims_view(CLAIMS)
    assert list(shown["verdict"]) == ["✔ supported", "✘ contradicted", "○ undecided"]
    assert list(shown["estimate [interval]"]) == ["0.031 [0.010, 0.052]", "0.031 [n/a]", "0.031 [0.010, 0.052]"]
    assert list(shown["n"]) == ["6 sources × 6 seeds"] * 3
    assert list(shown["p (least possible)"]) == ["7.6e−6 (0.031)", "7.6e−6 (0.031)", "n/a"]


def test_all_four_files_are_written_and_the_csv_is_complete(tmp_path: Path) -> None:
    paths = write_claims(CLAIMS, tmp_path, "Of 300 examples & more.", PROVENANCE)
    assert [path.name for path in paths] == ["claims.csv", "claims.md", "claims.tex", "claims.html"]
    assert list(pd.read_csv(paths[0])["id"]) == ["1a", "1b", "2a"]
    assert read_outputs(tmp_path)[0].kind == "claims"


def test_page_escapes_text_needs_nothing_else_and_names_each_verdict(tmp_path: Path) -> None:
    page = write_claims(CLAIMS, tmp_path, "Of 300 examples & more.", PROVENANCE)[3].read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;größer&lt;/b&gt; &amp; $x$" in page
    assert "src=" not in page
    assert "http" not in page
    for verdict, symbol in SYMBOLS.items():
        assert f"{symbol} {verdict}</span>" in page
    assert PROVENANCE.footer() in page
    assert "undecided is not evidence of no effect" in page
    assert "Of 300 examples &amp; more." in page


def test_summary_counts_every_verdict_even_none() -> None:
    assert verdict_summary([FIRST]) == "1 supported, 0 contradicted, 0 undecided"


def test_a_verdict_of_ones_own_is_refused() -> None:
    with pytest.raises(CompanionError, match="verdict 'nearly'"):
        replace(FIRST, verdict="nearly")


def test_no_claims_and_shared_ids_are_refused() -> None:
    with pytest.raises(CompanionError, match="empty"):
        claims_frame([])
    with pytest.raises(CompanionError, match="share the id 1a"):
        claims_frame([FIRST, FIRST])
