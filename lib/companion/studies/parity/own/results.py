"""From rows of results to a ranking: for each query the numbers of its items, best first."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.studies.parity.own.formats import NUMBERS, Source, open_matrix
from companion.studies.parity.own.options import DEPTHS

ORDERS = ("rank", "score", "distance", "file")
Codes = NDArray[np.int32]
Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class Ids:
    """Ids of items or queries by their number; ``ids`` is text. The whole set must hold no id twice."""

    ids: pa.Array
    what: str = "item"

    def __len__(self) -> int:
        return len(self.ids)

    def name(self, number: int) -> str:
        """The id of a number."""
        return repr(self.ids[int(number)].as_py())


@dataclass(frozen=True)
class Found:
    """Rows of results as numbers.

    Attributes:
        queries, items: (n,) numbers of the query and of the item, -1 for none.
        numbers: rank, score or distance (n,), those that are there.
        lost: rows whose query or item is not known, where that is allowed.
    """

    name: str
    queries: Codes
    items: Codes
    numbers: dict[str, Numbers]
    lost: int = 0


@dataclass(frozen=True)
class Ranking:
    """What is counted: each query once, its first items, and what was left out on the way.

    Attributes:
        queries: (M,) number of each query.
        results: (M, K) numbers of the items, best first, -1 for none.
        depths: the K that are looked at, growing; the last is the number of columns.
        notes: sentences on what was dropped and how rows were ordered.
        ties: share of neighbouring results of a query that have the same score; nan without scores.
    """

    queries: Codes
    results: Codes
    depths: tuple[int, ...]
    notes: tuple[str, ...]
    ties: float


def find_codes(source: Source, items: Ids, queries: Ids, unknown: str = "refuse") -> Found:
    """Read all rows and replace ids by numbers.

    Args:
        unknown: ``refuse`` rows of an unknown query or item, or ``drop`` them.

    Raises:
        CompanionError: rows of unknown queries or items (counted, the first named), or numbers that are none.
    """
    parts: list[tuple[Codes, Codes]] = []
    numbers: dict[str, list[Numbers]] = {}
    strange = {"query": _Strange(queries), "item": _Strange(items)}
    lost = 0
    for batch in source.batches():
        query = _encode(batch.column("query"), queries, source, strange["query"])
        item = _encode(batch.column("item"), items, source, strange["item"])
        keep = np.full(len(query), True) if unknown == "refuse" else (query >= 0) & (item >= 0)
        lost += int((~keep).sum())
        parts.append((query[keep], item[keep]))
        for role in NUMBERS:
            if role in batch.column_names:
                # Ranks are small whole numbers, for which half the memory does.
                kind = np.float32 if role == "rank" else np.float64
                numbers.setdefault(role, []).append(batch.column(role).to_numpy().astype(kind)[keep])
    if unknown == "refuse":
        for each in strange.values():
            each.refuse(source.name)
    if not parts or not sum(len(query) for query, _ in parts):
        raise CompanionError(f"{source.name} has no rows; give the results of a search.")
    columns = {role: np.concatenate(numbers.pop(role)) for role in list(numbers)}
    for role, values in columns.items():
        if bad := int(np.isnan(values).sum()):
            raise CompanionError(
                f"{source.name} has {bad} rows whose {role} is no number; mend or leave out the column."
            )
    query, item = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Found(source.name, query, item, columns, lost)


@dataclass
class _Strange:
    """Ids that are in no table."""

    known: Ids
    rows: int = 0
    first: str = ""

    def add(self, ids: pa.ChunkedArray) -> None:
        if len(ids) and not self.rows:
            self.first = str(ids[0].as_py())
        self.rows += len(ids)

    def refuse(self, name: str) -> None:
        if not self.rows:
            return
        what = self.known.what
        folded = pc.utf8_lower(pc.utf8_trim_whitespace(self.known.ids))
        place = pc.index(folded, self.first.strip().lower()).as_py()
        if place >= 0:
            way = f"the table has {self.known.name(place)}, which differs in blanks or capitals only"
        elif what == "query":
            way = "queries that are no items need --query-attributes"
        else:
            way = "give each a row in the table, with an empty attribute where it is not known"
        raise CompanionError(f"{name} has {self.rows} rows of an unknown {what}, the first {self.first!r}: {way}.")


def _encode(column: pa.ChunkedArray, known: Ids, source: Source, strange: _Strange) -> Codes:
    """Numbers of ids; an item that is null is -1, an unknown one is -1 and told to ``strange``."""
    if source.positions:
        codes = column.to_numpy().astype(np.int64)
        if len(codes) and (codes.max() >= len(known) or codes.min() < -1):
            worst = int(codes.max() if codes.max() >= len(known) else codes.min())
            raise CompanionError(
                f"{source.name} names {known.what} number {worst}, but the table has {len(known)} rows."
            )
        return codes.astype(np.int32)
    column = pc.cast(column, pa.large_string())
    places = pc.index_in(column, value_set=known.ids)
    if places.null_count:
        missing = pc.is_null(places)
        # A row without an item stands for a query without results; one without a query for nothing.
        strange.add(column.filter(missing if strange.known.what == "query" else pc.and_(missing, pc.is_valid(column))))
    return pc.fill_null(places, -1).to_numpy().astype(np.int32, copy=False)


def rank_results(
    found: Found,
    items: Ids,
    queries: Ids,
    depths: tuple[int, ...] = (),
    order: str = "",
    same: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    alike: bool = True,
) -> Ranking:
    """The first results of each query.

    Args:
        depths: K, growing; the largest is kept, and must be there for one query at least. Without any, those of
            ``DEPTHS`` that are there.
        order: one of ``ORDERS``; needed where rank and score disagree.
        same: values for queries and for items; results with the query's own value are left out (-1: no value).
        alike: whether queries are items; a query among its own results is left out then.

    Raises:
        CompanionError: rank and score disagree and no order is given, a result occurs twice for one query, or K is
            larger than what is there.
    """
    key, told = _choose_order(found, order, queries)
    query, item, numbers = _sort(found, key)
    notes = [told]
    listed = _first_rows(query)
    ties = _count_ties(query, numbers)
    keep = item >= 0
    if none := int((~keep).sum()):
        notes.append(f"{none:,} places without an item are dropped.")
    if alike:
        own = keep & (item == query)
        keep &= ~own
        if own.any():
            notes.append(f"{int(own.sum()):,} results that are the query itself are left out.")
    if same is not None:
        twin = keep & (same[0][query] == same[1][item]) & (same[0][query] >= 0)
        keep &= ~twin
        notes.append(f"{int(twin.sum()):,} results of the query's own kind are left out.")
    asked = query[listed]
    if not keep.all():
        query, item = query[keep], item[keep]
    if not len(query):
        raise CompanionError(f"{found.name} has no results that can be counted; each is empty or left out.")
    most = int(np.diff(np.r_[_first_rows(query), len(query)]).max())
    depths = depths or tuple(depth for depth in DEPTHS if depth <= most) or (most,)
    if most < depths[-1]:
        raise CompanionError(f"K = {depths[-1]} is more than {found.name} has: at most {most} results of a query.")
    results = _fill(query, item, asked, depths[-1])
    _check_twice(results, asked, items, queries, found.name)
    lengths = (results >= 0).sum(axis=1)
    if short := int(((lengths < depths[-1]) & (lengths > 0)).sum()):
        notes.append(f"{short:,} of {len(asked):,} queries have fewer than {depths[-1]} results.")
    if empty := int((lengths == 0).sum()):
        notes.append(f"{empty:,} of {len(asked):,} queries have no results; they are kept.")
    return Ranking(asked, results, depths, tuple(notes), ties)


def _choose_order(found: Found, order: str, queries: Ids) -> tuple[str, str]:
    """What rows are sorted by, and a sentence on it."""
    there = [role for role in NUMBERS if role in found.numbers]
    if order and (order not in ORDERS or (order != "file" and order not in there)):
        raise CompanionError(f"{found.name} cannot be ordered by {order!r}; it has {', '.join([*there, 'file'])}.")
    if order:
        return order, f"Results are ordered by {order}, as asked."
    if not there:
        return "file", "Results are in the order of the file."
    for other in there[1:]:
        if len(queries_apart := _disagree(found, there[0], other)):
            first = queries.name(queries_apart[0])
            raise CompanionError(
                f"{there[0]} and {other} of {found.name} disagree for {len(queries_apart)} queries, the first {first}: "
                f"say what counts with --order {there[0]} or --order {other}."
            )
    return there[0], f"Results are ordered by {there[0]}."


def _sign(role: str) -> float:
    return -1.0 if role == "score" else 1.0


def _disagree(found: Found, one: str, other: str) -> Codes:
    """Queries for which one order is not the other."""
    query, values = found.queries, _sign(other) * found.numbers[other]
    if not _is_sorted(query, found.numbers[one]):
        places = np.lexsort((_sign(one) * found.numbers[one], query))
        query, values = query[places], values[places]
    apart = (query[1:] == query[:-1]) & (values[1:] < values[:-1])
    return np.unique(query[1:][apart])


def _is_sorted(query: Codes, values: Numbers) -> bool:
    """Whether rows of a query stand together and their numbers grow."""
    same = query[1:] == query[:-1]
    return bool(_stands_together(query) and ((values[1:] >= values[:-1]) | ~same).all())


def _stands_together(query: Codes) -> bool:
    return int((query[1:] != query[:-1]).sum()) + 1 == int((np.bincount(query) > 0).sum())


def _sort(found: Found, key: str) -> tuple[Codes, Codes, Numbers | None]:
    """Rows by query and order, and their scores; equal scores stay in the order of the ranks or of the file."""
    query, item = found.queries, found.items
    shown = found.numbers.get("score", found.numbers.get("distance"))
    values = found.numbers[key] if key != "file" else None
    if values is None:
        if _stands_together(query):
            return query, item, shown
        places = np.argsort(query, kind="stable")
    else:
        signed = values if key != "score" else -values
        if _is_sorted(query, signed):
            return query, item, shown
        keys: list[NDArray[np.generic]] = [signed, query]
        if key == "score" and "rank" in found.numbers:
            keys.insert(0, found.numbers["rank"])
        places = np.lexsort(keys)
    return query[places], item[places], None if shown is None else shown[places]


def _first_rows(query: Codes) -> NDArray[np.int64]:
    """Place of the first row of each query, of rows that stand together."""
    return np.flatnonzero(np.r_[True, query[1:] != query[:-1]])


def _count_ties(query: Codes, scores: Numbers | None) -> float:
    if scores is None:
        return float("nan")
    same = query[1:] == query[:-1]
    return float((same & (scores[1:] == scores[:-1])).sum() / max(1, same.sum()))


def _fill(query: Codes, item: Codes, asked: Codes, depth: int) -> Codes:
    """(M, depth) from rows that stand together, in the order of ``asked``."""
    results = np.full((len(asked), depth), -1, dtype=np.int32)
    if not len(query):
        return results
    start = _first_rows(query)
    length = np.diff(np.r_[start, len(query)])
    number = np.empty(int(asked.max()) + 1, dtype=np.int32)
    number[asked] = np.arange(len(asked), dtype=np.int32)
    rows = number[query[start]]
    for rank in range(depth):
        there = length > rank
        results[rows[there], rank] = item[start[there] + rank]
    return results


def _check_twice(results: Codes, asked: Codes, items: Ids, queries: Ids, name: str) -> None:
    ordered = np.sort(results, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row = int(twice.any(axis=1).argmax())
        item = ordered[row, 1:][twice[row]][0]
        raise CompanionError(
            f"{name} has {int(twice.sum())} results twice for one query, the first {items.name(item)} for "
            f"{queries.name(asked[row])}; leave the second out."
        )


def find_neighbours(source: Source, items: int, depth: int, same: NDArray[np.int64] | None = None) -> Source:
    """The ``depth`` nearest other items of each item, from embeddings; of ``same`` codes (-1: none) none is returned.

    Raises:
        CompanionError: there are more or fewer vectors than items, or one is zero or not finite.
    """
    vectors = source.vectors
    if vectors is None:
        return source
    if len(vectors) != items:
        raise CompanionError(
            f"{source.name} has {len(vectors)} vectors, but the table has {items} rows; give one each."
        )
    alone = None if same is None else np.where(same >= 0, same, same.max() + 1 + np.arange(items))
    indices, tied = _search(vectors, depth, alone)
    told = f"the {depth} nearest of each, by cosine; chance decides among equally near ones for {tied:.1%} of them"
    return replace(open_matrix(indices, source.name), mapping=f"{source.mapping}, {told}")


def _search(vectors: NDArray, depth: int, same: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], float]:
    """The one place that calls the search: its results, and the share of queries for which chance chose some."""
    from companion.models.neighbours import find_neighbours as search

    found = search(vectors, depth, exclude=same)
    return found.indices, float(found.drawn.mean())
