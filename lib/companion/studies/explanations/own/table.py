"""A reader's own labelled texts: a table with a text, a label and perhaps an explanation in each row."""

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd

from companion.corpora.filters import normalize_whitespace
from companion.corpora.malformed import warn_of_skipped_rows
from companion.errors import CompanionError

ROLES = ("text", "label", "explanation", "group")
"""What a column can be; the last two may be missing."""
LABELS = (2, 20)
LABEL_CHARACTERS = 40


@dataclass(frozen=True)
class Labelled:
    """Rows ready to be split: columns text, label (1 to the number of labels), explanation (may be empty), group.

    ``labels`` are the labels' own names, in their order; ``ordered`` says whether that order means anything.
    ``digest`` is the sha256 of what was read: the bytes of a file, or the name and the commit of a hub data set.
    """

    rows: pd.DataFrame
    labels: tuple[str, ...]
    ordered: bool
    digest: str


def read_labelled(
    data: str, columns: Mapping[str, str], labels: Sequence[str] = (), revision: str | None = None
) -> Labelled:
    """Read a CSV, JSON, JSON Lines or Parquet file, or a data set of the hub.

    Args:
        data: path of a file, or owner/name of a data set on the hub.
        columns: role (one of ``ROLES``) to name of the column; empty where there is none.
        labels: the labels in their order; without it numbers by size, words by the alphabet.
        revision: commit of a hub data set, 40 hexadecimal digits.

    Raises:
        CompanionError: nothing of that name, a file that can't be read, a column that is not there, labels outside the
            set, fewer than two or more than twenty, or too many rows without a text or a label.
    """
    table, digest = _table(data, revision)
    chosen = {role: name for role, name in columns.items() if name}
    lacking = [name for name in chosen.values() if name not in table.columns]
    if lacking:
        semicolons = len(table.columns) == 1 and ";" in str(table.columns[0])
        hint = " It seems to be separated by semicolons; save it with commas." if semicolons else ""
        there = _listed(list(table.columns))
        raise CompanionError(f"{data} has no column {', '.join(map(repr, lacking))}; its columns are {there}.{hint}")
    rows = pd.DataFrame({role: table[name].map(_as_text) for role, name in chosen.items()})
    rows = rows.reindex(columns=list(ROLES), fill_value="")
    rows["group"] = rows["group"].where(rows["group"] != "", rows["text"])
    rows = _usable(rows, data)
    names = _ordered(rows["label"], labels, data)
    numbered = rows["label"].map({name: place for place, name in enumerate(names, 1)})
    return Labelled(rows.assign(label=numbered), names, bool(labels) or all(map(_is_number, names)), digest)


def _table(data: str, revision: str | None) -> tuple[pd.DataFrame, str]:
    """The table and the sha256 of what it was read from; a file is read once, so that both are of the same bytes."""
    readers: dict[str, Callable[[io.BytesIO], pd.DataFrame]] = {
        ".csv": lambda file: pd.read_csv(file, dtype=str, keep_default_na=False),
        ".tsv": lambda file: pd.read_csv(file, dtype=str, keep_default_na=False, sep="\t"),
        ".jsonl": lambda file: _json_lines(file, data),
        ".json": lambda file: pd.DataFrame(json.loads(file.getvalue().decode("utf-8"))),
        ".parquet": pd.read_parquet,
    }
    file = Path(data)
    if file.suffix in readers and not file.is_file():
        raise CompanionError(f"There is no file {data}; give the path of a table.")
    if not file.exists():
        return _hub_table(data, revision), hashlib.sha256(f"{data}@{revision}".encode()).hexdigest()
    if revision:
        raise CompanionError(f"{file} is a file, and only a data set of the hub has a revision; leave it out.")
    if file.suffix not in readers:
        raise CompanionError(f"{file} is none of the formats {', '.join(readers)}; save it as one of them.")
    try:
        content = file.read_bytes()
        table = readers[file.suffix](io.BytesIO(content))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CompanionError(f"{file} could not be read as {file.suffix[1:]}{_reason(error)}.") from error
    if table.empty:
        raise CompanionError(f"{file} has no rows.")
    return table, hashlib.sha256(content).hexdigest()


def _reason(error: Exception) -> str:
    """Why a file could not be read, as the end of a sentence."""
    if isinstance(error, UnicodeDecodeError):
        return ": it is not in UTF-8; save it in that encoding"
    if isinstance(error, pd.errors.EmptyDataError):
        return ": it is empty"
    return f" ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def _json_lines(file: io.BytesIO, data: str) -> pd.DataFrame:
    """Rows of a JSON Lines file; a few lines that are no JSON objects are left out."""
    rows, bad = [], []
    numbered = enumerate(io.TextIOWrapper(file, encoding="utf-8"), 1)
    lines = [(number, line) for number, line in numbered if line.strip()]
    for number, line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            bad.append(number)
    warn_of_skipped_rows(data, bad, len(lines), "are no JSON objects")
    return pd.DataFrame(rows)


def _hub_table(data: str, revision: str | None) -> pd.DataFrame:
    import re

    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from httpx import HTTPError

    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", data):
        raise CompanionError(f"There is no file {data}, and it is no hub name either (owner/name).")
    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise CompanionError(f"The hub data set {data} needs a pinned revision: give the 40 hex digits of a commit.")
    try:
        return load_dataset(data, split="train", revision=revision).to_pandas()
    except (DatasetsError, HTTPError, OSError, ValueError) as error:
        raise CompanionError(
            f"The hub data set {data} at {revision[:12]} could not be fetched ({type(error).__name__}): check name, "
            "network and access, or give a file."
        ) from error


def _as_text(value: object) -> str:
    """One line of text; missing values are empty, whole numbers lose the point that pandas gives them."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return normalize_whitespace(str(value))


def _usable(rows: pd.DataFrame, data: str) -> pd.DataFrame:
    without = (rows["text"] == "") | (rows["label"] == "")
    places = [int(place) + 1 for place in without.to_numpy().nonzero()[0]]
    warn_of_skipped_rows(data, places, len(rows), "have no text or no label")
    return rows[~without].reset_index(drop=True)


def _ordered(found: pd.Series, labels: Sequence[str], data: str) -> tuple[str, ...]:
    """The labels in their order."""
    there = set(found)
    if labels:
        strange = sorted(there - set(labels))
        if strange:
            raise CompanionError(f"{data} has labels outside the set {', '.join(labels)}: {_listed(strange)}.")
        names = tuple(labels)
    else:
        # Sorted twice, for labels that differ in capitals only, or as 1 and 1.0, must not stand in an order of chance.
        names = tuple(sorted(sorted(there), key=float if all(map(_is_number, there)) else str.casefold))
    if not LABELS[0] <= len(there) or len(names) > LABELS[1]:
        raise CompanionError(
            f"{data} has {len(there)} different {'label' if len(there) == 1 else 'labels'} ({_listed(sorted(there))}); "
            f"{LABELS[0]} to {LABELS[1]} can be told apart."
        )
    if long := [name for name in names if len(name) > LABEL_CHARACTERS]:
        raise CompanionError(
            f"The label {long[0][:LABEL_CHARACTERS]!r}... of {data} is a text; name a column of short labels."
        )
    _tell_doubts(names, there, data)
    return names


def _tell_doubts(names: Sequence[str], there: Set[str], data: str) -> None:
    """Warn of labels that may be a slip: those no row has, and those that differ in capitals only."""
    if unused := [name for name in names if name not in there]:
        warnings.warn(
            f"{data} has no row with the label {_listed(unused)}; it can be answered all the same.", stacklevel=5
        )
    folded = pairwise(sorted(names, key=lambda name: (name.casefold(), name)))
    if alike := [f"{one} and {other}" for one, other in folded if one.casefold() == other.casefold()]:
        warnings.warn(f"{data} has labels that differ in capitals only ({_listed(alike)}); each counts.", stacklevel=5)


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:8])) + ", ..." * (len(names) > 8)
