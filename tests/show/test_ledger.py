import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from companion.errors import CompanionError
from companion.show.claims import SIDES, SYMBOLS, Claim, format_estimate, tabulate_claims
from companion.show.ledger import LOOKS, plot_claims, write_claims
from companion.show.outputs import check_outputs, read_outputs
from companion.show.provenance import Provenance
from test_claims import CLAIMS, FIRST

PROVENANCE = Provenance("explanations", "quick", ("a",), "abc1234")
NOTE = "Of 300 examples & more."
ENDINGS = ("csv", "md", "tex", "html", "pdf", "png")


def made_up(count: int) -> list[Claim]:
    """Claims of every side and verdict, of many sizes, one of them without an estimate."""
    random = np.random.default_rng(3)
    claims = []
    for place in range(count):
        size = 10.0 ** (place % 7 - 3)
        estimate, half = random.normal(0, size), abs(random.normal(0, size))
        ends = {"estimate": estimate, "low": estimate - half, "high": estimate + half}
        if place == 1:
            ends = {"estimate": math.nan, "low": -math.inf, "high": math.inf}
        side = SIDES[place % 3]
        claims.append(
            replace(
                FIRST,
                id=f"{place // 3 + 1}{'abc'[place % 3]}",
                statement=f"{place}. The arm with {'a long name and ' * (place % 4)}a price is better than the other.",
                verdict=list(SYMBOLS)[place // 3 % 3],
                side=side,
                threshold=size * (side == "equivalent"),
                unit="" if place == 2 else "perplexity",
                **ends,
            )
        )
    return claims


def rows(figure: Figure) -> list[Axes]:
    """The plots of the rows, from top to bottom."""
    return sorted(figure.axes, key=lambda axes: -axes.get_position().y0)


def estimates(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_marker() in {look.marker for look in LOOKS.values()}]


def test_every_verdict_has_a_word_a_marker_and_a_colour_of_its_own() -> None:
    assert set(LOOKS) == set(SYMBOLS)
    for field in ("marker", "colour", "word"):
        assert len({getattr(look, field) for look in LOOKS.values()}) == len(SYMBOLS)
    for verdict, look in LOOKS.items():
        figure = plot_claims([replace(FIRST, verdict=verdict)], note=NOTE)
        drawn = [line for line in [*figure.artists, *estimates(figure.axes[0])] if line.get_marker() == look.marker]
        assert [line.get_color() for line in drawn] == [look.colour] * 2
        words = [text for text in figure.texts if text.get_text() == verdict]
        assert [text.get_color() for text in words] == [look.word]


@pytest.mark.parametrize("count", [1, 3, 15])
def test_no_word_leaves_the_picture_or_lies_on_another(count: int) -> None:
    figure = plot_claims(made_up(count), note=NOTE)
    renderer = figure._get_renderer()
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    markers = [
        (line.get_marker(), line.get_window_extent(renderer)) for line in figure.artists if line.get_marker() in "soX"
    ]
    assert len(markers) == count
    for place, (text, box) in enumerate([*boxes, *markers]):
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1, text
        for other, other_box in [*boxes, *markers][place + 1 :]:
            width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert width < 1 or height < 2, f"{text!r} lies on {other!r}"


def test_the_numbers_drawn_and_written_are_those_of_the_frame() -> None:
    claims = made_up(15)
    figure = plot_claims(claims[::-1], note=NOTE)
    written = " ".join(text.get_text() for text in figure.texts)
    for axes, claim, row in zip(rows(figure), claims, tabulate_claims(claims).itertuples(), strict=True):
        if math.isnan(row.estimate):
            assert [text.get_text() for text in axes.texts] == ["no estimate"] and not estimates(axes)
            continue
        [marker] = estimates(axes)
        assert marker.get_xdata() == [row.estimate]
        [interval] = [area for area in axes.collections if area.get_segments()]
        assert interval.get_segments()[0][:, 0].tolist() == pytest.approx([row.low, row.high])
        assert format_estimate(claim).replace(" [", "\n[") in "\n".join(text.get_text() for text in figure.texts) or (
            format_estimate(claim) in written
        )


def test_zero_is_at_one_place_in_every_row_and_every_number_in_sight() -> None:
    for axes in rows(plot_claims(made_up(15), note=NOTE)):
        low, high = axes.get_xlim()
        assert low == -high
        assert all(low < line.get_xdata()[0] < high for line in estimates(axes))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SIDES), st.floats(0.001, 1000))
def test_the_band_is_where_the_claim_puts_the_estimate(side: str, threshold: float) -> None:
    [axes] = plot_claims([replace(FIRST, side=side, threshold=threshold)], note=NOTE).axes
    [band] = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    ends = band.get_x(), band.get_x() + band.get_width()
    edge = axes.get_xlim()[1]
    expected = {"greater": (threshold, edge), "less": (-edge, -threshold), "equivalent": (-threshold, threshold)}
    assert ends == pytest.approx(expected[side])
    dashed = sorted(line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--")
    assert dashed == pytest.approx(sorted(end for end in expected[side] if abs(end) != edge))


def test_an_estimate_without_an_interval_is_drawn_alone() -> None:
    [axes] = plot_claims([replace(FIRST, low=math.nan, high=math.nan)], note=NOTE).axes
    assert len(estimates(axes)) == 1 and not axes.collections


def test_all_files_are_written_and_the_csv_is_complete(tmp_path: Path) -> None:
    paths = write_claims(CLAIMS, tmp_path, NOTE, PROVENANCE)
    assert [path.name for path in paths] == [f"claims.{ending}" for ending in ENDINGS]
    frame = pd.read_csv(paths[0])
    assert list(frame["id"]) == ["1a", "1b", "2a"]
    assert frame["rests_on"][0] == "label only; label + explanation"
    assert read_outputs(tmp_path)[0].kind == "claims" and check_outputs(tmp_path) == []


def test_writing_twice_gives_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    first = write_claims(CLAIMS, tmp_path / "a", NOTE, PROVENANCE)
    second = write_claims(CLAIMS[::-1], tmp_path / "b", NOTE, PROVENANCE)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_page_escapes_text_and_shows_the_picture_above_the_claims(tmp_path: Path) -> None:
    page = write_claims(CLAIMS, tmp_path, NOTE, PROVENANCE)[3].read_text(encoding="utf-8")
    assert "<script" not in page and "http" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;größer&lt;/b&gt; &amp; $x$" in page
    assert page.index('src="claims.png"') < page.index('id="1a"')
    for verdict, symbol in SYMBOLS.items():
        assert f"{symbol} {verdict}</span>" in page
    assert PROVENANCE.footer() in page
    assert "undecided: neither, which is not evidence of no effect" in page
    assert "Of 300 examples &amp; more." in page
    assert "label only stands behind 1a, 1b, 2a; label + explanation stands behind" in page
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_a_headline_is_the_first_line_of_page_and_table(tmp_path: Path) -> None:
    why = "Nothing is decided: fewer than 4 <seeds>."
    _, table, _, page, *_ = write_claims(CLAIMS, tmp_path, NOTE, PROVENANCE, why)
    assert table.read_text(encoding="utf-8").startswith("**Nothing is decided: fewer than 4 &lt;seeds&gt;.")
    body = page.read_text(encoding="utf-8").split("</h1>")[1].strip()
    assert body.startswith('<p class="headline">Nothing is decided: fewer than 4 &lt;seeds&gt;.</p>')


def test_the_note_of_the_table_has_three_sentences_and_a_line_on_shared_evidence(tmp_path: Path) -> None:
    table = write_claims(CLAIMS, tmp_path, "6 sources. All learned.", PROVENANCE)[1].read_text(encoding="utf-8")
    _, _, note, *remarks, shared, origin = table.strip().split("\n\n")
    assert remarks == ["1b: &lt;script&gt;alert(1)&lt;/script&gt;"]
    assert note.count(".") == 3 and shared.startswith("Verdicts share evidence") and origin.startswith("*profile")


def test_no_claims_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="empty"):
        write_claims([], tmp_path, NOTE, PROVENANCE)
    assert list(tmp_path.iterdir()) == []
