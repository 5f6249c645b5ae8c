import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.show.text import escape_latex, escape_markdown, format_interval, format_number, format_p_value, one_line

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.12345, 3, "0.123"),
        (-0.5, 2, "−0.50"),
        (-0.0001, 3, "−0.000"),
        (-1e-12, 3, "0.000"),
        (-0.0, 3, "0.000"),
        (NAN, 3, "n/a"),
        (12345, 0, "12,345"),
    ],
)
def test_number_text(value: float, decimals: int, text: str) -> None:
    assert format_number(value, decimals) == text


def test_interval_text_with_and_without_an_interval() -> None:
    assert format_interval(0.123, 0.045, 0.201) == "0.123 [0.045, 0.201]"
    assert format_interval(-0.1, -0.2, NAN) == "−0.100 [n/a]"
    assert format_interval(NAN, 0.1, 0.2) == "n/a"


@pytest.mark.parametrize(
    ("p", "text"), [(0.03125, "0.031"), (7.63e-6, "7.6e−6"), (1.0, "1.000"), (0.0, "0.000"), (NAN, "n/a")]
)
def test_p_text(p: float, text: str) -> None:
    assert format_p_value(p) == text


@given(st.floats(0, 1))
def test_p_text_is_never_off_by_more_than_its_rounding(p: float) -> None:
    read = float(format_p_value(p).replace("−", "-"))
    assert abs(read - p) <= max(0.0005, 0.05 * p) * 1.0001


def test_one_line_takes_out_breaks_and_control_characters() -> None:
    assert one_line(" a\n b\t\x00c\u202e ") == "a b c"


def test_latex_escapes_what_latex_reads() -> None:
    assert escape_latex(r"50% of $x_1 & \cmd{y}#^~") == (
        r"50\% of \$x\_1 \& \textbackslash{}cmd\{y\}\#\textasciicircum{}\textasciitilde{}"
    )
    assert escape_latex("[0.1]") == "{[}0.1{]}"
    assert escape_latex("−0.1 ✔") == r"$-$0.1 $\surd$"


@given(st.text())
def test_latex_leaves_no_bare_special_character(text: str) -> None:
    left = re.sub(
        r"\\text[a-z]+\{\}|\\[$&#%_{}]|\$(-|\\times|\\surd|\\otimes|\\circ)\$|\{\[\}|\{\]\}", "", escape_latex(text)
    )
    assert not set(left) & set("\\{}$&#%_^~<>|[]\n")


def test_markdown_makes_no_tag_table_cell_link_or_formula() -> None:
    assert escape_markdown("<img src=x> | `a` *b* _c_ $d$ & [x](javascript:y)") == (
        r"&lt;img src=x&gt; \| \`a\` \*b\* \_c\_ \$d\$ &amp; [x\](javascript:y)"
    )
    assert escape_markdown("0.1 [0.0, 0.2]") == "0.1 [0.0, 0.2]"


@given(st.text())
def test_markdown_leaves_no_bare_special_character(text: str) -> None:
    left = re.sub(r"\\[\\`*_|$~\]]", "", escape_markdown(text))
    assert not set(left) & set("\\`*_|$~<>\n")
