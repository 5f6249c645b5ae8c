from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.errors import CompanionError
from companion.show.claims import (
    SIDES,
    Claim,
    claims_view,
    count_verdicts,
    describe_overruled,
    describe_shared_evidence,
    format_estimate,
    format_ids,
    sort_claims,
    tabulate_claims,
)

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
    side="greater",
    unit="accuracy",
    note="",
    rests_on=("label only", "label + explanation"),
)
CLAIMS = [
    FIRST,
    replace(FIRST, id="1b", verdict="contradicted", low=float("nan"), note="<script>alert(1)</script>"),
    replace(
        FIRST, id="2a", verdict="undecided", p=float("nan"), smallest_p=float("nan"), statement="<b>größer</b> & $x$"
    ),
]


def test_frame_holds_every_field() -> None:
    frame = tabulate_claims(CLAIMS)
    assert list(frame.columns) == [field.name for field in fields(Claim)]
    assert list(frame["verdict"]) == ["supported", "contradicted", "undecided"]


def test_view_tells_the_verdict_by_symbol_and_word() -> None:
    shown = claims_view(CLAIMS)
    assert list(shown["verdict"]) == ["✔ supported", "✘ contradicted", "○ undecided"]
    assert list(shown["estimate [interval]"]) == ["0.031 [0.010, 0.052]", "0.031 [n/a]", "0.031 [0.010, 0.052]"]
    assert list(shown["n"]) == ["6 sources × 6 seeds"] * 3
    assert list(shown["p (least possible)"]) == ["7.6e−6 (0.031)", "7.6e−6 (0.031)", "n/a"]


def test_summary_counts_every_verdict_even_none() -> None:
    assert count_verdicts([FIRST.verdict]) == "1 supported, 0 contradicted, 0 undecided"


def test_a_verdict_of_ones_own_is_refused() -> None:
    with pytest.raises(CompanionError, match="verdict 'nearly'"):
        replace(FIRST, verdict="nearly")


def test_no_claims_and_shared_ids_are_refused() -> None:
    with pytest.raises(CompanionError, match="empty"):
        tabulate_claims([])
    with pytest.raises(CompanionError, match="share the id 1a"):
        tabulate_claims([FIRST, FIRST])


@given(st.sampled_from(SIDES), st.floats())
def test_only_a_side_with_a_threshold_it_can_have_is_taken(side: str, threshold: float) -> None:
    fits = 0 <= threshold < float("inf") and (side != "equivalent" or threshold > 0)
    if fits:
        assert replace(FIRST, side=side, threshold=threshold).side == side
    else:
        with pytest.raises(CompanionError, match="threshold"):
            replace(FIRST, side=side, threshold=threshold)


def test_a_side_of_ones_own_is_refused() -> None:
    with pytest.raises(CompanionError, match="side 'more': use greater, less, equivalent"):
        replace(FIRST, side="more")


def test_claims_come_in_natural_order() -> None:
    ids = ["10a", "2b", "2a", "1"]
    assert [claim.id for claim in sort_claims([replace(FIRST, id=name) for name in ids])] == ["1", "2a", "2b", "10a"]
    assert list(tabulate_claims([replace(FIRST, id=name) for name in ids])["id"]) == ["1", "2a", "2b", "10a"]


def test_ids_that_follow_each_other_under_one_number_make_a_range() -> None:
    every = ["1a", "1b", "1c", "2a", "2b", "3a", "3b", "3c", "3d"]
    assert format_ids(["1a", "1b", "1c", "2a", "3a", "3b", "3d"], every) == "1a to 1c, 2a, 3a, 3b, 3d"
    assert format_ids(every, every) == "1a to 1c, 2a, 2b, 3a to 3d"
    assert format_ids(["b", "c", "d"], ["a", "b", "c", "d"]) == "b to d"


def test_what_several_claims_rest_on_is_said_in_one_sentence() -> None:
    arms = {"1a": ("slow", "fast"), "1b": ("slow",), "1c": ("slow",), "2a": ("other",)}
    claims = [replace(FIRST, id=name, rests_on=on) for name, on in arms.items()]
    assert describe_shared_evidence(claims) == (
        "Verdicts share evidence, so they are not independent: slow stands behind 1a to 1c."
    )
    assert describe_shared_evidence(claims[3:]) == ""


def test_numbers_are_shown_with_places_that_fit_their_size() -> None:
    assert format_estimate(replace(FIRST, estimate=1234.5678, low=-1.0, high=2500.0)) == "1,234.6 [\u22121.0, 2,500.0]"
    nothing = replace(FIRST, estimate=float("nan"), low=float("-inf"), high=float("inf"))
    assert format_estimate(nothing) == "n/a"


def test_undecided_claims_with_an_interval_on_one_side_are_named() -> None:
    open_ = replace(FIRST, verdict="undecided")
    wide = replace(open_, id="1b", low=-1.0)
    less = replace(open_, id="1c", side="less")
    near = replace(open_, id="2a", side="equivalent", threshold=0.1)
    partly = replace(near, id="2b", threshold=0.02)
    missing = replace(open_, id="2c", low=float("nan"), high=float("nan"))
    assert describe_overruled([open_, wide, less, near, partly, missing]).startswith(
        "Undecided although the interval alone would decide: 1a, 1c, 2a;"
    )
    assert describe_overruled([FIRST, wide]) == ""
