"""Numbers as text, and text made safe for Markdown and LaTeX. HTML is escaped by the templates."""

import math
import re

NOT_AVAILABLE = "n/a"
_NOTHING = 1e-9  # what rounding leaves of a zero

_LATEX: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # A bracket that opens a row would be read as the option of the line break before it.
    "[": "{[}",
    "]": "{]}",
    "\u2212": "$-$",
    "\u00b7": r"\textperiodcentered{}",
    "\u00d7": r"$\times$",
    "\u2714": r"$\surd$",
    "\u2718": r"$\otimes$",
    "\u25cb": r"$\circ$",
}

_MARKDOWN: dict[str, str | int | None] = {mark: f"\\{mark}" for mark in "\\`*_|$~"}
_MARKDOWN |= {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def one_line(text: str) -> str:
    """``text`` with line breaks and runs of white space made one blank, and other control characters taken out."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def escape_latex(text: str) -> str:
    """``text`` so that LaTeX prints it as it stands."""
    return one_line(text).translate(str.maketrans(_LATEX))


def escape_markdown(text: str) -> str:
    """``text`` so that Markdown, also inside a table, prints it as it stands: no link, tag or formula comes of it."""
    # The bracket of a link is known by what follows it; other brackets, as in intervals, stay readable.
    return re.sub(r"\](?=[(\[:])", r"\\]", one_line(text).translate(str.maketrans(_MARKDOWN)))


def format_number(value: float, decimals: int = 3) -> str:
    """``value`` with ``decimals`` places and a true minus sign; ``n/a`` where it is not a number.

    What is a little below zero keeps its sign, so that an interval that holds zero is seen to hold it.
    """
    if math.isnan(value):
        return NOT_AVAILABLE
    rounded = round(value, decimals)
    if value > -_NOTHING:
        rounded += 0.0  # turns -0.0 into 0.0
    return f"{rounded:,.{decimals}f}".replace("-", "\u2212")


def format_interval(estimate: float, low: float, high: float, decimals: int = 3) -> str:
    """An estimate with its interval, as ``0.123 [0.045, 0.201]``; ``0.123 [n/a]`` where there is no interval."""
    if math.isnan(estimate):
        return NOT_AVAILABLE
    if math.isnan(low) or math.isnan(high):
        return f"{format_number(estimate, decimals)} [{NOT_AVAILABLE}]"
    return f"{format_number(estimate, decimals)} [{format_number(low, decimals)}, {format_number(high, decimals)}]"


def choose_decimals(largest: float) -> int:
    """Places to show numbers of this size with: three, two where they reach 10, one where they reach 100."""
    if math.isnan(largest) or largest < 10:
        return 3
    return 2 if largest < 100 else 1


def format_p_value(p: float) -> str:
    """A probability with three places, below 0.001 with two digits as ``7.6e-6``; ``n/a`` where there is none."""
    if math.isnan(p) or p == 0 or abs(p) >= 0.001:
        return format_number(p)
    mantissa, exponent = f"{p:.1e}".split("e")
    return f"{mantissa}e\u2212{abs(int(exponent))}"
