"""Files of results as every library writes them, read as batches of one layout: query, item, and rank or score.

Tabular formats are read a block at a time by Arrow, so that a file may be larger than the memory.
"""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from companion.errors import CompanionError

ALIASES = {
    "query": ("query", "query_id", "qid", "q_id", "query-id", "queryid", "user", "user_id", "userid", "topic"),
    "item": (
        *("item", "item_id", "itemid", "doc_id", "docno", "docid", "doc", "pid", "corpus-id", "id"),
        *("product_id", "sku", "retrieved_ids", "retrieved_id", "neighbour", "neighbor"),
    ),
    "rank": ("rank", "position"),
    "score": ("score", "similarity", "sim", "prediction", "relevance", "rel", "rating"),
    "distance": ("distance", "dist"),
}
"""What a column may be called, by its role; case, and the type that RecBole writes behind a colon, do not matter."""
NUMBERS = ("rank", "score", "distance")
BLOCK = 128 * 2**20
"""Most bytes of a text file that are parsed at a time; each time costs a look at all ids."""
COMPRESSED = {".gz": "gzip", ".lz4": "lz4", ".bz2": "bz2", ".zst": "zstd"}
Batches = Iterator[pa.Table]
MISREAD = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError)
"""What readers raise for content of another kind."""


@dataclass(frozen=True)
class Source:
    """Results that are read when the batches are asked for.

    Attributes:
        name: of the file, for messages.
        batches: gives tables with the columns query and item (text; an item may be null: a query without results) and
            those of ``NUMBERS`` that are there. Rows of one query come best first where there are no numbers.
        mapping: in words, what was taken for what.
        positions: whether queries and items are row numbers of their tables instead of ids.
        vectors: (N, d) embeddings whose neighbours are the results, in place of ``batches``.
    """

    name: str
    batches: Callable[[], Batches]
    mapping: str
    positions: bool = False
    vectors: np.ndarray | None = field(default=None, repr=False)


def open_results(file: Path, columns: Mapping[str, str] | None = None) -> Source:
    """Results of a search in whatever format the file has; its content decides where its ending leaves it open.

    Args:
        file: TREC run, MS MARCO, any table with a header (CSV, TSV, Parquet, ranx, ir_measures, PyTerrier, LensKit,
            RecBole, W&B), JSON ({query: {item: score}}, rows, or lists of ids), a matrix of row numbers (``.npy``, as
            of faiss, -1 for none), or embeddings (``.npy``, ``.safetensors``, a flat faiss index); ``.gz`` of each.
        columns: role (a key of ``ALIASES``) to name of the column, where no alias fits.

    Raises:
        CompanionError: no such file, another format, or columns that cannot be told.
    """
    if not file.is_file():
        raise CompanionError(f"There is no file {file}; give the path of the results.")
    chosen = dict(columns or {})
    ending = get_ending(file)
    try:
        if ending == ".parquet":
            return _open_parquet(file, chosen)
        if ending in (".npy", ".safetensors", ".index", ".faiss"):
            return _open_arrays(file, ending)
        if ending in (".json", ".jsonl", ".lz4"):
            return _open_json(file, ending, chosen)
        return _open_text(file, chosen)
    except MISREAD as error:
        raise unreadable(str(file), error) from error


def open_frame(frame: pd.DataFrame | pa.Table, columns: Mapping[str, str] | None = None) -> Source:
    """The same for a table in memory; a column of lists holds all results of a query, best first."""
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    return _from_table("the results", table, dict(columns or {}))


def get_ending(file: Path) -> str:
    """Ending of a file without that of its compression; ``.lz4`` alone is ranx's compressed JSON."""
    endings = [ending.lower() for ending in file.suffixes]
    if endings and endings[-1] in COMPRESSED:
        return endings[-2] if len(endings) > 1 else endings[-1]
    return endings[-1] if endings else ""


def open_stream(file: Path) -> pa.NativeFile:
    """The bytes of a file, unpacked where its ending says that it is packed."""
    return pa.input_stream(str(file), compression=COMPRESSED.get(file.suffix.lower()))


def find_columns(
    there: Sequence[str], chosen: Mapping[str, str], name: str, needed: Sequence[str] = ("query", "item")
) -> dict[str, str]:
    """Role to column; those that are named count, then the first alias that is there.

    Raises:
        CompanionError: a named column or a needed role is not there, a column is there twice, or no such role is named.
    """
    if unknown := [role for role in chosen if role not in ALIASES]:
        raise CompanionError(f"There is no role {unknown[0]!r} for a column; use {', '.join(ALIASES)}.")
    if lacking := [column for column in chosen.values() if column not in there]:
        raise CompanionError(f"{name} has no column {lacking[0]!r}; its columns are {_listed(there)}.")
    bare = {re.sub(r":\w+$", "", str(column)).strip().lower(): column for column in reversed(there)}
    found = {role: next((bare[alias] for alias in names if alias in bare), "") for role, names in ALIASES.items()}
    found |= chosen
    if absent := [role for role in needed if not found[role]]:
        raise CompanionError(
            f"{name} has no column for the {absent[0]} among {_listed(there)}; use --columns {absent[0]}=COLUMN."
        )
    if twice := [column for column in found.values() if list(there).count(column) > 1]:
        raise CompanionError(f"{name} has two columns called {twice[0]!r}; give each a name of its own.")
    return {role: column for role, column in found.items() if column}


def unreadable(name: str, error: Exception) -> CompanionError:
    """The sentence for a file or table that is not what it was taken for."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        reason = "it is not in UTF-8"
    return CompanionError(f"{name} could not be read ({reason}); is it of another format?")


def _listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:8])) + ", ..." * (len(names) > 8)


def _describe(roles: Mapping[str, str]) -> str:
    return ", ".join(f"{role} = {column}" for role, column in roles.items())


# --- tables --------------------------------------------------------------------------------------------------------


def _from_table(name: str, table: pa.Table, chosen: Mapping[str, str]) -> Source:
    roles = find_columns(table.column_names, chosen, name)
    return Source(name, lambda: iter([_as_batch(table, roles, name)]), _describe(roles))


def _as_batch(table: pa.Table, roles: Mapping[str, str], name: str) -> pa.Table:
    """Columns by their roles, ids as text; lists of ids become rows."""
    try:
        columns = {role: table.column(column) for role, column in roles.items()}
        if pa.types.is_list(columns["item"].type) or pa.types.is_large_list(columns["item"].type):
            columns = _unfold(columns["query"], columns["item"])
        texts = {role: as_text(columns[role]) for role in ("query", "item")}
        return pa.table(texts | {role: pc.cast(columns[role], pa.float64()) for role in NUMBERS if role in columns})
    except MISREAD as error:
        raise unreadable(name, error) from error


def _unfold(queries: pa.ChunkedArray, lists: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """A row for each entry of each list, and one without an item for an empty list."""
    lists, queries = lists.combine_chunks(), queries.combine_chunks()
    parents = pc.list_parent_indices(lists)
    empty = pc.equal(pc.fill_null(pc.list_value_length(lists), 0), 0)
    items = as_text(pc.list_flatten(lists))
    without = queries.filter(empty)
    return {
        "query": pa.chunked_array([as_text(queries.take(parents)), as_text(without)]),
        "item": pa.chunked_array([items, pa.nulls(len(without), pa.large_string())]),
    }


def as_text(values: Any) -> Any:
    """Ids as text: whole numbers as their digits, text as it stands."""
    if pa.types.is_floating(values.type):
        values = pc.cast(values, pa.int64())
    return pc.cast(values, pa.large_string())


def _open_parquet(file: Path, chosen: Mapping[str, str]) -> Source:
    schema = pq.read_schema(file)
    roles = find_columns(schema.names, chosen, file.name)

    def batches() -> Batches:
        for batch in pq.ParquetFile(file).iter_batches(2_000_000, columns=list(dict.fromkeys(roles.values()))):
            yield _as_batch(pa.Table.from_batches([batch]), roles, file.name)

    return Source(file.name, batches, _describe(roles))


@dataclass(frozen=True)
class Layout:
    """How a text file is cut into columns: their names, the separator (empty: any white space), rows to skip."""

    names: tuple[str, ...]
    separator: str
    skip: int
    kind: str = "table"


TREC = ("query", "_q0", "item", "rank", "score", "_tag")
QRELS = ("query", "_iteration", "item", "score")
MARCO = ("query", "item", "rank", "score")


def _open_text(file: Path, chosen: Mapping[str, str]) -> Source:
    layout = sniff(file, chosen)
    if layout.kind == "table":
        roles = find_columns(layout.names, chosen, file.name)
    else:
        roles = {role: role for role in layout.names if role in ALIASES}
    mapping = _describe(roles) if layout.kind == "table" else f"{layout.kind}: {', '.join(roles)}"
    return Source(file.name, lambda: _read_text(file, layout, roles), mapping)


def sniff(file: Path, chosen: Mapping[str, str] | None = None) -> Layout:
    """Layout of a text file by its first line; raises CompanionError for an empty file."""
    with open_stream(file) as stream:
        line = stream.read(2**16).split(b"\n")[0].decode("utf-8-sig").rstrip("\r")
    if not line.strip():
        raise CompanionError(f"{file} is empty or begins with an empty line; give a table of results.")
    separator = next((mark for mark in ("\t", ",", ";") if mark in line), "")
    fields = [one.strip(' "') for one in (line.split(separator) if separator else line.split())]
    known = {alias for names in ALIASES.values() for alias in names}
    bare = {re.sub(r":\w+$", "", one).lower() for one in fields}
    if bare & known or set(fields) & set((chosen or {}).values()):
        return Layout(tuple(fields), separator or ("" if "  " in line else " "), 1)
    if separator in ("\t", ""):
        fields = line.split()
        separator = next((mark for mark in "\t " if line.split(mark) == fields), "")
    numbers = [re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|nan", one) is not None for one in fields]
    if len(fields) == 6 and numbers[3] and numbers[4]:
        return Layout(TREC, separator, 0, "TREC run")
    if len(fields) == 4 and fields[1].upper() in ("0", "Q0") and numbers[3]:
        return Layout(QRELS, separator, 0, "TREC qrels")
    if len(fields) in (3, 4) and all(numbers[2:]):
        return Layout(MARCO[: len(fields)], separator, 0, "MS MARCO")
    return Layout(tuple(fields), separator, 1)


def _read_text(file: Path, layout: Layout, roles: Mapping[str, str]) -> Batches:
    kinds = {column: pa.float64() if role in NUMBERS else pa.large_string() for role, column in roles.items()}
    batches = (_read_arrow if layout.separator else _read_spaced)(file, layout, kinds)
    try:
        for batch in batches:
            yield pa.table({role: batch.column(column) for role, column in roles.items()})
    except MISREAD as error:
        raise unreadable(str(file), error) from error


def _read_arrow(file: Path, layout: Layout, kinds: Mapping[str, pa.DataType]) -> Batches:
    block = max(2**20, min(BLOCK, file.stat().st_size * (8 if file.suffix in COMPRESSED else 1)))
    reader = pacsv.open_csv(
        open_stream(file),
        # Threads would read many blocks ahead.
        pacsv.ReadOptions(column_names=layout.names, skip_rows=layout.skip, block_size=block, use_threads=False),
        pacsv.ParseOptions(delimiter=layout.separator, quote_char='"' if layout.separator in ",;" else False),
        pacsv.ConvertOptions(column_types=kinds, include_columns=list(kinds), strings_can_be_null=False),
    )
    for batch in reader:
        yield pa.Table.from_batches([batch])


def _read_spaced(file: Path, layout: Layout, kinds: Mapping[str, pa.DataType]) -> Batches:
    """Columns between runs of blanks and tabs, which Arrow does not read."""
    numbers = {column for column, kind in kinds.items() if kind == pa.float64()}
    with open_stream(file) as stream:
        chunks = pd.read_csv(
            io.TextIOWrapper(stream, encoding="utf-8"),
            sep=r"\s+",
            header=None,
            names=list(layout.names),
            skiprows=layout.skip,
            usecols=list(kinds),
            dtype={column: float if column in numbers else str for column in kinds},
            keep_default_na=False,
            na_values={column: ["nan", "NaN", ""] for column in numbers},
            quoting=3,
            chunksize=1_000_000,
        )
        for chunk in chunks:
            yield pa.Table.from_pandas(chunk, preserve_index=False, schema=pa.schema(dict(kinds)))


# --- JSON and arrays -----------------------------------------------------------------------------------------------


def _open_json(file: Path, ending: str, chosen: Mapping[str, str]) -> Source:
    content = read_json(file, ending)
    if isinstance(content, dict) and all(isinstance(found, dict) for found in content.values()):
        table = _nested_table(content)
        return Source(file.name, lambda: iter([table]), "JSON {query: {item: score}}")
    return _from_table(file.name, json_table(content, file), chosen)


def read_json(file: Path, ending: str) -> Any:
    """Content of a JSON file, or the rows of a JSON Lines file."""
    with open_stream(file) as stream:
        text = stream.read().decode("utf-8")
    if ending == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return json.loads(text)


def json_table(content: Any, file: Path) -> pa.Table:
    """Rows as objects, columns as lists, or a W&B table; raises CompanionError for another layout."""
    if isinstance(content, dict) and isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):
        columns = [str(column) for column in content["columns"]]
        content = [dict(zip(columns, row, strict=True)) for row in content["data"]]
    if isinstance(content, dict) and content and all(isinstance(values, list) for values in content.values()):
        return pa.table(content)
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return pa.Table.from_pylist(content)
    raise CompanionError(f"{file} holds neither rows nor a score for each query and item; is it of another format?")


def _nested_table(content: Mapping[str, Mapping[str, float]]) -> pa.Table:
    empty: Mapping[str | None, float] = {None: 0.0}
    rows = [(query, item, score) for query, found in content.items() for item, score in (found or empty).items()]
    queries, items, scores = zip(*rows, strict=True) if rows else ((), (), ())
    texts = pa.large_string()
    return pa.table(
        {"query": pa.array(queries, texts), "item": pa.array(items, texts), "score": pa.array(scores, pa.float64())}
    )


def _open_arrays(file: Path, ending: str) -> Source:
    array = _read_array(file, ending)
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise CompanionError(f"{file} holds an array of shape {array.shape}; give a row for each query or item.")
    if array.dtype.kind == "f":
        return Source(file.name, lambda: iter([]), "embeddings, a row for each item of the table", True, array)
    return open_matrix(array, file.name)


def open_matrix(matrix: np.ndarray, name: str) -> Source:
    """Results as (M, K) row numbers of the items, best first, -1 for none; row i is query i."""
    return Source(name, lambda: _matrix_batches(matrix), "matrix of row numbers, a row for each query", True)


def _read_array(file: Path, ending: str) -> np.ndarray:
    if ending == ".npy":
        if file.suffix == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False)
        with open_stream(file) as stream:
            return np.load(io.BytesIO(stream.read()), allow_pickle=False)
    if ending == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(file)
        except SafetensorError as error:
            raise CompanionError(f"{file} is no safetensors file ({error}).") from error
        if len(tensors) != 1:
            raise CompanionError(f"{file} holds {len(tensors)} tensors ({_listed(sorted(tensors))}); give one of one.")
        return next(iter(tensors.values()))
    return _read_flat_index(file)


def _read_flat_index(file: Path) -> np.ndarray:
    """Vectors of a flat index of faiss: a head of fixed length, then the vectors as they are."""
    content = file.read_bytes()
    if content[:4] not in (b"IxFI", b"IxF2", b"IxFl"):
        raise CompanionError(f"{file} is no flat index of faiss; save the vectors as .npy (index.reconstruct_n).")
    size, count = int.from_bytes(content[4:8], "little"), int.from_bytes(content[8:16], "little")
    return np.frombuffer(content, "<f4", size * count, len(content) - 4 * size * count).reshape(count, size)


def _matrix_batches(matrix: np.ndarray, rows: int = 500_000) -> Batches:
    for start in range(0, len(matrix), rows):
        part = np.asarray(matrix[start : start + rows])
        queries = np.repeat(np.arange(start, start + len(part), dtype=np.int32), matrix.shape[1])
        yield pa.table({"query": queries, "item": part.ravel().astype(np.int64)})
