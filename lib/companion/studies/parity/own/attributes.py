"""Attributes of items or queries: a table with an id and protected variables, each turned into groups."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.studies.parity.own.formats import (
    MISREAD,
    as_text,
    find_columns,
    get_ending,
    json_table,
    open_stream,
    read_json,
    sniff,
    unreadable,
)
from companion.studies.parity.own.results import Ids

MOST_GROUPS = 50
COUNTED = 10
"""A numeric attribute of at most so many values is left as it is; one of more is cut into groups."""
MISSING = {"nan", "na", "n/a", "null", "none", "<na>"}
"""Names of groups that may stand for a missing value."""


def read_table(file: Path) -> pa.Table:
    """A table of attributes: CSV, TSV, RecBole's .item and .user, JSON, JSON Lines or Parquet, or packed.

    Text stays text, so that ids keep their leading zeros. Raises CompanionError for no such file or another format.
    """
    if not file.is_file():
        raise CompanionError(f"There is no file {file}; give the path of a table of attributes.")
    ending = get_ending(file)
    try:
        if ending == ".parquet":
            return pq.read_table(file)
        if ending in (".json", ".jsonl"):
            return json_table(read_json(file, ending), file)
        layout = sniff(file, {})
        with open_stream(file) as stream:
            return pacsv.read_csv(
                stream,
                pacsv.ReadOptions(column_names=layout.names, skip_rows=1, block_size=16 * 2**20),
                pacsv.ParseOptions(delimiter=layout.separator or " ", newlines_in_values=True),
                pacsv.ConvertOptions(
                    column_types={name: pa.large_string() for name in layout.names}, strings_can_be_null=False
                ),
            )
    except MISREAD as error:
        raise unreadable(str(file), error) from error


@dataclass(frozen=True)
class Table:
    """Rows with an id: items, or queries that are no items.

    Attributes:
        ids: of the rows.
        columns: the other columns by name, without the type that RecBole writes behind a colon.
    """

    ids: Ids
    columns: dict[str, pa.ChunkedArray]

    def get(self, name: str) -> pa.ChunkedArray:
        """A column; raises CompanionError where there is none of this name."""
        if name not in self.columns:
            raise CompanionError(
                f"The table of {self.ids.what} attributes has no column {name!r}; it has {', '.join(self.columns)}."
            )
        if pa.types.is_nested(self.columns[name].type):
            raise CompanionError(f"The column {name!r} holds lists or objects; give one value in each row.")
        return self.columns[name]


def open_table(table: pa.Table | pd.DataFrame, columns: Mapping[str, str], what: str = "item") -> Table:
    """Find the ids of a table: the column named for ``what``, else an alias, else the first column.

    Raises:
        CompanionError: no rows, or an id that is empty or there twice (counted, the first named).
    """
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    if not table.num_rows or table.num_columns < 2:
        raise CompanionError(f"The table of {what} attributes needs rows with an id and an attribute at least.")
    chosen = {what: columns[f"{what}_id"]} if f"{what}_id" in columns else {}
    name = find_columns(table.column_names, chosen, f"the table of {what} attributes", ()).get(
        what, table.column_names[0]
    )
    if len(set(table.column_names)) < table.num_columns:
        raise CompanionError(f"The table of {what} attributes has two columns of one name; give each its own.")
    try:
        ids = as_text(table.column(name)).combine_chunks()
    except MISREAD as error:
        raise unreadable(f"the column {name!r} of {what} ids", error) from error
    empty = pc.or_(pc.is_null(ids), pc.equal(pc.fill_null(ids, ""), ""))
    if missing := pc.sum(empty).as_py():
        raise CompanionError(f"The table of {what} attributes has {missing} rows without an id in {name!r}.")
    counts = pc.value_counts(ids)
    if len(counts) < len(ids):
        twice = counts.filter(pc.greater(counts.field(1), 1))
        first = twice.field(0)[0].as_py()
        raise CompanionError(f"The table of {what} attributes has {len(twice)} ids twice or more, the first {first!r}.")
    others = {re.sub(r":\w+$", "", each): table.column(each) for each in table.column_names if each != name}
    return Table(Ids(ids, what), others)


@dataclass(frozen=True)
class Attribute:
    """One protected variable as groups.

    Attributes:
        codes: (n,) group of each row, -1 where it is missing.
        labels: names of the groups.
        note: how numbers were cut into groups; empty for categories.
    """

    name: str
    codes: NDArray[np.int64]
    labels: tuple[str, ...]
    note: str = ""


def choose_attributes(table: Table, asked: Sequence[str], spent: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The attributes to audit, and a sentence on columns that cannot be one; all usable columns where none is asked.

    ``spent`` are columns that serve as stratum, block or kind. Raises CompanionError where no column is left.
    """
    if asked:
        return tuple(dict.fromkeys(asked)), ""
    free = [name for name in table.columns if name not in spent]
    usable = [name for name in free if _can_be_one(table.columns[name])]
    if not usable:
        there = ", ".join(free) or "the table"
        raise CompanionError(
            f"No column of {there} has 2 to {MOST_GROUPS} groups, or numbers; name one with --attribute."
        )
    rest = [name for name in free if name not in usable]
    return tuple(usable), f"Not audited, since they have one value or too many: {', '.join(rest)}." if rest else ""


def _can_be_one(values: pa.ChunkedArray) -> bool:
    if pa.types.is_nested(values.type):
        return False
    distinct = pc.count_distinct(values).as_py()
    return 2 <= distinct <= MOST_GROUPS or (distinct > COUNTED and _as_numbers(_clean(values)) is not None)


def make_attribute(name: str, items: Table, queries: Table | None = None, bins: int = 5) -> tuple[Attribute, Attribute]:
    """Groups of items and of queries; "gender x age" crosses two attributes or more.

    Numbers of more than ``COUNTED`` values are cut at the quantiles of the items. Where queries are items both are the
    same. Raises CompanionError for no such column, one group only or more than ``MOST_GROUPS``.
    """
    parts = [_make_one(part, items, queries, bins) for part in ([name] if name in items.columns else name.split(" x "))]
    one = parts[0] if len(parts) == 1 else _cross(name, parts)
    split = len(items.ids)
    used = np.unique(one.codes[one.codes >= 0])
    if not 2 <= len(used) <= MOST_GROUPS:
        values = f"{len(one.labels):,} different value{'s' * (len(one.labels) != 1)}"
        raise CompanionError(
            f"The attribute {name!r} has {values}; 2 to {MOST_GROUPS} groups can be compared: merge values, or give "
            "numbers, which are cut into groups."
        )
    item = Attribute(name, one.codes[:split], one.labels, one.note)
    return item, item if queries is None else Attribute(name, one.codes[split:], one.labels, one.note)


def _make_one(name: str, items: Table, queries: Table | None, bins: int) -> Attribute:
    values = [_clean(items.get(name)), *([] if queries is None else [_clean(queries.get(name))])]
    both = pa.chunked_array([chunk for each in values for chunk in each.chunks], type=pa.large_string())
    numbers = _as_numbers(both)
    if numbers is not None and pc.count_distinct(both).as_py() > COUNTED:
        if infinite := int(np.isinf(numbers).sum()):
            raise CompanionError(f"{name!r} has {infinite:,} infinite numbers; leave them empty or give finite ones.")
        return _cut(name, numbers, len(items.ids), bins)
    coded = both.combine_chunks().dictionary_encode()
    labels = [str(label) for label in coded.dictionary.to_pylist()]
    key = float if numbers is not None else str.casefold
    order = (
        sorted(range(len(labels)), key=lambda place: (key(labels[place]), labels[place]))
        if len(labels) < 10_000
        else range(len(labels))
    )
    codes = pc.fill_null(coded.indices, -1).to_numpy().astype(np.int64)
    rank = np.r_[np.argsort(np.asarray(order, dtype=np.int64)), -1]
    names = tuple(labels[place] for place in order)
    _tell_alike(name, names)
    return Attribute(name, rank[codes], names)


def _clean(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values as text without blanks around them; empty ones and numbers that are none are missing."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    text = pc.utf8_trim_whitespace(pc.cast(values, pa.large_string()))
    return pc.if_else(pc.equal(text, ""), None, text)


def _as_numbers(text: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """The values as numbers, nan where missing; ``None`` where one is none or has a leading zero, as a code has."""
    if pc.any(pc.match_substring_regex(text, "^0[0-9]")).as_py() or text.null_count == len(text):
        return None
    try:
        numbers: NDArray[np.float64] = pc.cast(text, pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    return numbers


def _cut(name: str, numbers: NDArray[np.float64], split: int, bins: int) -> Attribute:
    """Groups of about equal numbers of items, none of which is empty."""
    known = numbers[:split][~np.isnan(numbers[:split])]
    if not len(known) or (values := np.unique(known)).size < 2:
        raise CompanionError(f"The numbers of {name!r} are all alike or missing among the items; nothing can be cut.")
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins, method="lower"))
    # Where many share the largest number, what is below it is a group.
    edges = edges[edges < values[-1]] if edges[0] < values[-1] else values[-2:-1]
    codes = np.where(np.isnan(numbers), -1, np.searchsorted(edges, numbers))
    shown = [f"{edge:.4g}" for edge in edges]
    labels = (f"to {shown[0]}", *(f"{low} to {high}" for low, high in pairwise(shown)), f"over {shown[-1]}")
    return Attribute(
        name,
        codes.astype(np.int64),
        labels,
        f"{name} is cut into {len(labels)} groups at its quantiles {', '.join(shown)}.",
    )


def _cross(name: str, parts: Sequence[Attribute]) -> Attribute:
    codes, labels = parts[0].codes, parts[0].labels
    for part in parts[1:]:
        missing = (codes < 0) | (part.codes < 0)
        codes = np.where(missing, -1, codes * len(part.labels) + part.codes)
        labels = tuple(f"{one}, {other}" for one in labels for other in part.labels)
    used, places = np.unique(codes[codes >= 0], return_inverse=True)
    crossed = np.full(len(codes), -1, dtype=np.int64)
    crossed[codes >= 0] = places
    return Attribute(
        name, crossed, tuple(labels[code] for code in used), " ".join(part.note for part in parts if part.note)
    )


def make_codes(table: Table, name: str) -> NDArray[np.int64]:
    """Numbers for the values of a column, -1 where missing; any number of them."""
    coded = _clean(table.get(name)).combine_chunks().dictionary_encode()
    return pc.fill_null(coded.indices, -1).to_numpy().astype(np.int64)


def join_codes(name: str, queries: Table, items: Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same for two tables that share their values."""
    values = [_clean(table.get(name)) for table in (queries, items)]
    both = pa.chunked_array([chunk for each in values for chunk in each.chunks], type=pa.large_string())
    codes = pc.fill_null(both.combine_chunks().dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    return codes[: len(queries.ids)], codes[len(queries.ids) :]


def _tell_alike(name: str, labels: Sequence[str]) -> None:
    if len(labels) > MOST_GROUPS:
        return
    if missing := [label for label in labels if label.casefold() in MISSING]:
        warnings.warn(
            f"{name} has a group {missing[0]!r}, which counts as one; leave a cell empty where nothing is known.",
            stacklevel=6,
        )
    folded = pairwise(sorted(labels, key=lambda label: (label.casefold(), label)))
    if alike := [f"{one} and {other}" for one, other in folded if one.casefold() == other.casefold()]:
        warnings.warn(
            f"{name} has groups that differ in capitals only ({', '.join(alike)}); each counts.", stacklevel=6
        )
