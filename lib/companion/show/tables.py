"""Tables: one frame as csv (the data), md and tex (what a reader sees), the same bytes for the same numbers."""

import re
from pathlib import Path

import pandas as pd

from companion.errors import CompanionError
from companion.show import text
from companion.show.names import Names
from companion.show.outputs import Legend, write_output
from companion.show.provenance import Provenance

_SENTENCE = 30  # letters from which a cell is taken for a sentence
_NUMBER = re.compile(rf"(\u2212?[\d.,]+(e\u2212\d+)?|{text.NOT_AVAILABLE})( \[.*\])?")
_P_VALUE = re.compile(r"p|p_\w+|\w+_p")


def write_table(
    frame: pd.DataFrame, folder: Path, name: str, caption: str, note: str, provenance: Provenance, names: Names
) -> tuple[Path, ...]:
    """Write ``frame`` as ``<name>.csv``, ``.md`` and ``.tex`` and return the three paths.

    The csv holds the columns as they are, floats with six significant digits, and nothing else. The md and tex hold
    ``view(frame, names)`` with ``caption``, ``note`` (what n, unit and interval are) and the origin. The index of the
    frame is not written. Raises CompanionError for a frame without rows, or with columns that are unnamed or named
    twice.
    """
    _check(frame, name)
    shown = view(frame, names)
    legend = Legend("table", caption, note, [list(shown.columns), *shown.to_numpy().tolist()])
    return write_output(folder, name, table_contents(frame, shown, name, legend, provenance), legend, provenance)


def table_contents(
    frame: pd.DataFrame, shown: pd.DataFrame, name: str, legend: Legend, provenance: Provenance
) -> dict[str, bytes]:
    """The bytes of a table by file ending: ``frame`` as csv, ``shown`` (all cells text) as md and tex."""
    return {
        "csv": csv_bytes(frame),
        "md": markdown_bytes(shown, legend, provenance),
        "tex": latex_bytes(shown, name, legend, provenance),
    }


def view(frame: pd.DataFrame, names: Names) -> pd.DataFrame:
    """What a reader sees: human headings and names, numbers as short text, each interval joined to its estimate.

    ``estimate, low, high`` become one column, and so do ``x, x_low, x_high``. A float column has three places, two
    where it reaches 10, one where it reaches 100; p-values are written by ``format_p_value``. All cells are text.
    """
    columns: dict[str, list[str]] = {}
    bounds = _bounds(frame)
    hidden = {bound for pair in bounds.values() for bound in pair}
    for name in frame.columns:
        title = names.heading(name) + " [interval]" * (name in bounds)
        # Two columns that would be called the same keep their own names.
        title = name if title in columns else title
        if name in bounds:
            columns[title] = _interval_cells(frame, name, *bounds[name])
        elif name not in hidden:
            columns[title] = _cells(frame[name], names)
    return pd.DataFrame(columns)


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """``frame`` as UTF-8 csv with floats rounded to six significant digits, so that a re-run gives the same bytes."""
    cells = frame.astype(object).map(_csv_cell, na_action="ignore")
    return cells.to_csv(index=False, lineterminator="\n").encode()


def markdown_bytes(shown: pd.DataFrame, legend: Legend, provenance: Provenance) -> bytes:
    """``shown`` (all cells text) as a Markdown table under its caption, with note and origin below it."""
    parts = [
        f"**{text.escape_markdown(legend.caption)}**",
        markdown_table(shown),
        *map(text.escape_markdown, legend.note.splitlines()),
        f"*{text.escape_markdown(provenance.footer())}*",
    ]
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def markdown_table(shown: pd.DataFrame) -> str:
    """``shown`` (all cells text) as a Markdown table and nothing else."""
    escaped = shown.map(text.escape_markdown).rename(columns=text.escape_markdown)
    return escaped.to_markdown(index=False, disable_numparse=True, colalign=_alignment(shown, "left", "right"))


def latex_bytes(shown: pd.DataFrame, name: str, legend: Legend, provenance: Provenance) -> bytes:
    """``shown`` (all cells text) as a LaTeX table for booktabs; the origin is a comment on the last line."""
    escaped = shown.map(text.escape_latex).rename(columns=text.escape_latex)
    table = escaped.to_latex(
        index=False,
        escape=False,
        column_format="".join(_latex_columns(shown)),
        caption=text.escape_latex(legend.caption),
        label=f"tab:{name}",
        position="htbp",
    )
    body = table.replace("\\begin{table}[htbp]\n", "\\begin{table}[htbp]\n\\centering\\small\n")
    if note := " ".join(map(text.escape_latex, legend.note.splitlines())):
        body = body.replace("\\end{table}\n", f"\\par\\smallskip\\footnotesize {note}\n\\end{{table}}\n")
    return f"{body}% {text.one_line(provenance.footer())}\n".encode()


def _check(frame: pd.DataFrame, name: str) -> None:
    if frame.empty:
        raise CompanionError(f"table {name} has no rows: run the study before its tables are written")
    if not frame.columns.is_unique or not all(isinstance(column, str) for column in frame.columns):
        raise CompanionError(f"table {name} has columns without a name of their own: give each one its own name")


def _bounds(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The columns that have an interval, with the names of their lower and upper end."""
    pairs = {name: (f"{name}_low", f"{name}_high") for name in frame.columns} | {"estimate": ("low", "high")}
    present = set(frame.columns)
    return {name: pair for name, pair in pairs.items() if present.issuperset((name, *pair))}


def _interval_cells(frame: pd.DataFrame, estimate: str, low: str, high: str) -> list[str]:
    values = frame[[estimate, low, high]].astype(float).map(_six_digits)
    decimals = text.choose_decimals(values[estimate].abs().max())
    rows = zip(values[estimate], values[low], values[high], strict=True)
    return [text.format_interval(middle, bottom, top, decimals) for middle, bottom, top in rows]


def _cells(column: pd.Series, names: Names) -> list[str]:
    name = str(column.name)
    if pd.api.types.is_bool_dtype(column):
        return [text.NOT_AVAILABLE if pd.isna(value) else "yes" if value else "no" for value in column]
    if pd.api.types.is_integer_dtype(column):
        return [text.NOT_AVAILABLE if pd.isna(value) else text.format_number(int(value), 0) for value in column]
    if pd.api.types.is_float_dtype(column):
        values = column.astype(float).map(_six_digits)
        if _P_VALUE.fullmatch(name):
            return [text.format_p_value(value) for value in values]
        return [text.format_number(value, text.choose_decimals(values.abs().max())) for value in values]
    named = names.has_names(name)
    texts = [
        text.NOT_AVAILABLE if pd.isna(value) else names.name(name, str(value)) if named else str(value)
        for value in column
    ]
    return [text.one_line(cell) for cell in texts]


def _csv_cell(value: object) -> object:
    # Rounding hides the last digits, which differ between machines; repr keeps 1.0 a float for who reads it back.
    return repr(_six_digits(value)) if isinstance(value, float) else value


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}") + 0.0


def _latex_columns(shown: pd.DataFrame) -> list[str]:
    """Text to the left, numbers to the right; columns of sentences wrap at four centimetres."""
    widths = [shown[column].str.len().max() for column in shown.columns]
    sides = _alignment(shown, "l", "r")
    return ["p{4cm}" if width > _SENTENCE else side for width, side in zip(widths, sides, strict=True)]


def _alignment(shown: pd.DataFrame, text: str, number: str) -> list[str]:
    """Columns of nothing but numbers, with or without intervals, stand to the right."""
    return [number if all(_NUMBER.fullmatch(cell) for cell in shown[column]) else text for column in shown.columns]
