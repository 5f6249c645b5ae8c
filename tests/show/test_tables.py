import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import frames
from companion.errors import CompanionError
from companion.show.outputs import Legend, read_outputs
from companion.show.provenance import Provenance
from companion.show.tables import csv_bytes, latex_bytes, markdown_bytes, view, write_table

PROVENANCE = Provenance("explanations", "quick", ("a", "b"), "abc1234")
HOSTILE = pd.DataFrame({"arm": ["label", "<b>|$x_1$\n&%"], "on_time": ["ü é", "\\cmd{x}"], "accuracy": [0.5, np.nan]})
SHOWN = view(HOSTILE, frames.NAMES)


def test_view_joins_an_estimate_with_its_interval() -> None:
    frame = pd.DataFrame(
        {
            "estimate": [0.1234, -0.5],
            "low": [0.1, np.nan],
            "high": [0.2, np.nan],
            "mae": [1.0, 2.0],
            "mae_low": [0.5, 1.5],
            "mae_high": [1.5, 2.5],
        }
    )
    assert view(frame, frames.NAMES).to_dict("list") == {
        "estimate [interval]": ["0.123 [0.100, 0.200]", "−0.500 [n/a]"],
        "mean absolute error (levels) [interval]": ["1.000 [0.500, 1.500]", "2.000 [1.500, 2.500]"],
    }


def test_view_writes_each_kind_of_column_in_its_own_way() -> None:
    frame = pd.DataFrame(
        {
            "source": ["faq", "other"],
            "arm": ["bag_of_words", "base"],
            "axis": ["on_topic", None],
            "n_items": pd.array([1200, None], dtype="Int64"),
            "p_holm": [0.25, 7.6e-6],
            "words": [12.345, 3.0],
            "seconds": [123.45, np.nan],
            "ok": [True, False],
        }
    )
    assert view(frame, frames.NAMES).to_dict("list") == {
        "source": ["faq (for AmazonQA)", "other"],
        "arm": ["label for bag_of_words", "label for base"],
        "axis": ["on-topic adherence", "n/a"],
        "items": ["1,200", "n/a"],
        "p (Holm)": ["0.250", "7.6e−6"],
        "words": ["12.35", "3.00"],
        "seconds": ["123.5", "n/a"],
        "ok": ["yes", "no"],
    }


def test_view_loses_no_column_that_would_be_called_like_another() -> None:
    shown = view(pd.DataFrame({"items": [1], "n_items": [2]}), frames.NAMES)
    assert shown.to_dict("list") == {"items": ["1"], "n_items": ["2"]}


def test_csv_is_pure_data_with_six_digits() -> None:
    frame = pd.DataFrame({"source": ["faq", 'a,"b"\nc'], "x": [1 / 3, 1.0], "y": [np.nan, 1e-9 / 3], "n": [1, 2]})
    assert csv_bytes(frame).decode() == 'source,x,y,n\nfaq,0.333333,,1\n"a,""b""\nc",1.0,3.33333e-10,2\n'


def test_csv_is_the_same_when_the_last_bits_differ() -> None:
    values = np.array([0.1, 0.2, 0.3])
    assert csv_bytes(pd.DataFrame({"x": values})) == csv_bytes(pd.DataFrame({"x": values * (1 + 4e-16)}))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=5))
def test_csv_read_back_is_within_six_digits(values: list[float]) -> None:
    back = pd.read_csv(io.BytesIO(csv_bytes(pd.DataFrame({"x": values}))))
    assert back["x"].dtype == float
    np.testing.assert_allclose(back["x"], values, rtol=5.1e-6)


def test_markdown_keeps_its_shape_whatever_the_text() -> None:
    text = markdown_bytes(
        view(HOSTILE, frames.NAMES), Legend("table", "A <caption>", "n = 2 | note"), PROVENANCE
    ).decode()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert {line.replace("\\|", "").count("|") for line in table} == {4}
    assert "<" not in text
    assert text.endswith(f"*{PROVENANCE.footer()}*\n")
    assert text.startswith("**A &lt;caption&gt;**\n")


def test_latex_keeps_its_shape_whatever_the_text() -> None:
    text = latex_bytes(SHOWN, "T1", Legend("table", "50% of $x", "a_b"), PROVENANCE).decode()
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 3
    assert {row.replace("\\&", "").count("&") for row in rows} == {2}
    assert "\\caption{50\\% of \\$x}" in text
    assert "\\footnotesize a\\_b\n" in text
    assert text.splitlines()[-1] == f"% {PROVENANCE.footer()}"


def test_latex_without_a_note_has_no_empty_line_for_it() -> None:
    assert "footnotesize" not in latex_bytes(SHOWN, "T1", Legend("table", "c"), PROVENANCE).decode()


def test_write_table_writes_three_files_and_remembers_what_is_shown(tmp_path: Path) -> None:
    paths = write_table(frames.cells(), tmp_path, "T3_cells", "caption", "note", PROVENANCE, frames.NAMES)
    assert [path.name for path in paths] == ["T3_cells.csv", "T3_cells.md", "T3_cells.tex"]
    assert len(pd.read_csv(paths[0])) == 18
    [output] = read_outputs(tmp_path)
    assert output.table[0] == ["source", "axis", "estimate [interval]", "items", "seeds"]
    assert len(output.table) == 19
    assert output.table[1][0] == "assistant (for Chatbot Arena)"


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"x": []}), "no rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "name of their own"),
        (pd.DataFrame([[1, 2]]), "name of their own"),
    ],
)
def test_a_frame_that_makes_no_table_is_one_sentence(tmp_path: Path, frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(CompanionError, match=words):
        write_table(frame, tmp_path, "T1", "", "", PROVENANCE, frames.NAMES)
    assert list(tmp_path.iterdir()) == []
