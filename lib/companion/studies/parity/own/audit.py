"""Does what a search returns depend on an attribute of the query? Results and attributes in, estimates out.

Statistics: `stats.joins`. That results depend on an attribute is not that it caused them: whatever goes with it, such
as the category of a garment, does the same, unless it is held fixed (``stratum``) or its results left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.stats.detectable import detectable_bias
from companion.stats.paired import holm
from companion.stats.relabelling import Exchange
from companion.studies.parity.own import attributes as tables
from companion.studies.parity.own import results as rows
from companion.studies.parity.own.attributes import Attribute, Table
from companion.studies.parity.own.formats import Source, open_frame
from companion.studies.parity.own.options import ALPHA, DEPTHS, WANTED, Options
from companion.studies.parity.own.part import Part, size_columns

Data: TypeAlias = pd.DataFrame | pa.Table


@dataclass(frozen=True)
class Audit:
    """What was found. Each frame has a row per attribute and what else its columns tell.

    Attributes:
        overall: per K: n, Delta (``difference``) and C with intervals, p with its draws, adjusted p, and a verdict.
        parity: per K: distance of all results from the shares of the catalogue, whoever asks, with p and adjusted p;
            p is nan where queries are no items, since their labels say nothing of this.
        by_group: observed and expected results per group of query and of result, at the largest K.
        by_k: C of all groups and of each against the rest, per K, with intervals.
        plan: the bias that would have been found four times in five, and the size needed for a wanted one.
        by_relevance, change: the same by relevance and against a baseline; ``None`` where not asked for.
        null: attribute to C over relabellings at the largest K, the observed one first.
        notes, warnings: sentences on what was done, and on what a reader should doubt.
    """

    overall: pd.DataFrame
    parity: pd.DataFrame
    by_group: pd.DataFrame
    by_k: pd.DataFrame
    plan: pd.DataFrame
    by_relevance: pd.DataFrame | None
    change: pd.DataFrame | None
    null: Mapping[str, NDArray[np.float64]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def dependent(self) -> bool:
        """Whether a dependence was found at ``ALPHA``, over all attributes and depths."""
        return bool(self.find("dependence"))

    @property
    def equivalent(self) -> bool:
        """Whether equivalence was shown of every attribute and depth."""
        return not self.find("no-equivalence")

    def find(self, what: str) -> list[str]:
        """Attributes and depths, such as "tone at K = 5", with a ``dependence``, or with ``no-equivalence``."""
        found = (
            self.overall["p_adjusted"] <= ALPHA if what == "dependence" else ~self.overall["equivalent"].astype(bool)
        )
        return [f"{row['attribute']} at K = {row['k']}" for _, row in self.overall[found].iterrows()]


def audit(
    results: Data | Source,
    attributes: Data,
    *,
    query_attributes: Data | None = None,
    qrels: Data | Source | None = None,
    baseline: Data | Source | None = None,
    **options: object,
) -> Audit:
    """Test whether the results of a search depend on attributes of the query, and say by how much.

    Args:
        results: a row per query and item (see `formats.ALIASES` for names of columns), or a file (`open_results`).
        attributes: a row per item of the catalogue with its id; an empty attribute is unknown, and its item left out.
        query_attributes: the same for queries or users that are no items.
        qrels: relevance of items for queries; results are then looked at by relevance, unjudged ones apart.
        baseline: results of another search of the same catalogue, for the same queries.
        options: see `Options`.

    Raises:
        CompanionError: data that cannot be audited; the sentence says what was wrong and the way out.
    """
    given = Options(**options)  # type: ignore[arg-type]
    items = tables.open_table(attributes, given.columns)
    queries = None if query_attributes is None else tables.open_table(query_attributes, given.columns, "query")
    opened = [None if each is None else _open(each, given) for each in (results, qrels, baseline)]
    ask = _Asked(given, items, queries)
    source, judged, other = opened
    assert source is not None
    ranking = ask.rank(source, tuple(sorted(set(given.k))))
    before = None if other is None else ask.rank(other, ranking.depths)
    if before is not None:
        ranking, before = _share_queries(ranking, before)
    names, skipped = tables.choose_attributes(items, given.sensitive_features, ask.spent)
    relevance = None if judged is None else ask.judge(judged, ranking)
    exchange = ask.exchange()
    parts = [Part(given, *ask.attribute(name), ranking, exchange) for name in names]
    notes = [*ranking.notes, *filter(None, [skipped]), *_tell_options(given)]
    doubts = [*_doubt_ties(ranking), *ask.doubt_blocks(names, exchange)]
    for part in parts:
        notes += part.notes
        doubts += part.doubts
    overall = _adjust(_stack(part.overall for part in parts))
    levels = (
        None if relevance is None else pd.concat([part.by_relevance(relevance) for part in parts], ignore_index=True)
    )
    change = None if before is None else _stack(part.change(before) for part in parts)
    if relevance is not None:
        notes.append(_tell_judged(relevance))
    return Audit(
        overall,
        _adjust_parity(_stack(part.parity for part in parts)),
        _stack(part.by_group for part in parts),
        _stack(part.by_k for part in parts),
        _stack(part.plan for part in parts),
        levels,
        change,
        {part.case.name: part.drawn.values[:, -1] for part in parts},
        tuple(notes),
        tuple(doubts),
    )


def make_plan(
    items: int, shares: Sequence[float], depths: Sequence[int] = DEPTHS, wanted: Sequence[float] = WANTED
) -> pd.DataFrame:
    """What a search over ``items``, each also a query, could reveal, from sizes alone (`stats.detectable`)."""
    biases = {depth: detectable_bias(items, depth, shares) for depth in depths}
    sizes = {depth: size_columns(items, bias, wanted) for depth, bias in biases.items()}
    return pd.DataFrame([{"k": depth, "detectable": biases[depth]} | size for depth, size in sizes.items()])


def _open(data: Data | Source, given: Options) -> Source:
    roles = {role: column for role, column in given.columns.items() if role not in ("item_id", "query_id")}
    return data if isinstance(data, Source) else open_frame(data, roles)


@dataclass(frozen=True)
class _Asked:
    """Options with the tables they are about."""

    given: Options
    items: Table
    queries: Table | None

    @property
    def asked(self) -> Table:
        """The table of queries: that of the items where queries are items."""
        return self.items if self.queries is None else self.queries

    @property
    def query_ids(self) -> rows.Ids:
        return replace(self.asked.ids, what="query")

    @property
    def spent(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.given.stratum, self.given.block, self.given.exclude_same)))

    def attribute(self, name: str) -> tuple[Attribute, Attribute | None]:
        """Groups of the items, and of queries that are no items."""
        item, query = tables.make_attribute(name, self.items, self.queries, self.given.bins)
        if self.given.block:
            self._check_block(query)
        return item, None if self.queries is None else query

    def _check_block(self, attribute: Attribute) -> None:
        """Raise CompanionError, which names it, for a block with two labels: those are not exchanged together."""
        codes = tables.make_codes(self.asked, self.given.block)
        known = (codes >= 0) & (attribute.codes >= 0)
        pairs = np.unique(np.stack([codes[known], attribute.codes[known]]), axis=1)
        if (twice := pairs[0, 1:] == pairs[0, :-1]).any():
            row = int(np.flatnonzero(codes == pairs[0, 1:][twice][0])[0])
            value = str(self.asked.get(self.given.block)[row].as_py())
            raise CompanionError(
                f"{self.given.block} {value!r} has two values of {attribute.name}; a block keeps one, so mend the "
                "table or choose another column."
            )

    def rank(self, source: Source, depths: tuple[int, ...]) -> rows.Ranking:
        """The ranking; without ``depths`` at those of ``DEPTHS`` that are there."""
        same = None
        if self.given.exclude_same:
            same = tables.join_codes(self.given.exclude_same, self.asked, self.items)
        if source.vectors is not None:
            if self.queries is not None:
                raise CompanionError("Embeddings are of the items alone; give results for queries that are no items.")
            size = len(self.items.ids)
            depth = depths[-1] if depths else min(DEPTHS[-1], size - 1)
            source = rows.find_neighbours(source, size, depth, None if same is None else same[1])
        found = rows.find_codes(source, self.items.ids, self.query_ids)
        ids = self.items.ids, self.query_ids
        ranking = rows.rank_results(found, *ids, depths, self.given.order, same, self.queries is None)
        return replace(ranking, notes=(f"{source.name}: {source.mapping}.", *ranking.notes))

    def exchange(self) -> Exchange:
        """Strata and blocks of what is relabelled; a missing stratum is one of its own, a missing block none."""
        strata = blocks = None
        if self.given.stratum:
            strata = tables.make_codes(self.asked, self.given.stratum) + 1
        if self.given.block:
            blocks = tables.make_codes(self.asked, self.given.block)
            alone = blocks < 0
            blocks[alone] = blocks.max(initial=0) + 1 + np.arange(int(alone.sum()))
        return Exchange(strata, blocks)

    def judge(self, source: Source, ranking: rows.Ranking) -> NDArray[np.int8]:
        """(M, K) 1 for a relevant result, 0 for one that is not, -1 for one that nobody judged."""
        found = rows.find_codes(source, self.items.ids, self.query_ids, unknown="drop")
        scores = found.numbers.get("score", found.numbers.get("rank"))
        if scores is None:
            raise CompanionError(f"{source.name} has no relevance; give qrels with a number for each query and item.")
        size = len(self.items.ids)
        keys = found.queries.astype(np.int64) * size + found.items
        order = np.argsort(keys)
        keys, scores = keys[order], scores[order]
        wanted = ranking.queries.astype(np.int64)[:, None] * size + ranking.results
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        judged = (keys[place] == wanted) & (ranking.results >= 0)
        return np.where(judged, scores[place] > 0, -1).astype(np.int8)

    def doubt_blocks(self, names: Sequence[str], exchange: Exchange) -> list[str]:
        """A column whose repeated values each have one value of an attribute may be a person that counts twice."""
        if exchange.blocks is not None:
            return []
        doubts = []
        for name in names:
            item, query = self.attribute(name)
            label = query or item
            for column in self.asked.columns:
                # A column of --exclude-same is looked at too: its values may still repeat one label.
                if column in (self.given.stratum, self.given.block, *names, *name.split(" x ")):
                    continue
                if (units := _count_units(tables.make_codes(self.asked, column), label)) > 0:
                    doubts.append(
                        f"{column} has {units:,} values that repeat, each with one {name}: if its items are alike for "
                        f"another reason, as photographs of one person are, use --block {column}."
                    )
        return doubts


def _count_units(codes: NDArray[np.int64], label: Attribute) -> int:
    """Number of values of a column that stand for more than one thing, if all keep one label; else 0."""
    known = (codes >= 0) & (label.codes >= 0)
    units = len(np.unique(codes[known]))
    pairs = len(np.unique(codes[known] * len(label.labels) + label.codes[known]))
    repeated = len(label.labels) < units <= known.sum() / 1.5
    return units if repeated and pairs == units else 0


def _doubt_ties(ranking: rows.Ranking) -> list[str]:
    if not ranking.ties > 0.01:
        return []
    return [
        f"{ranking.ties:.0%} of neighbouring results have the same score: what is among the first K is then chance."
    ]


def _share_queries(new: rows.Ranking, old: rows.Ranking) -> tuple[rows.Ranking, rows.Ranking]:
    """Both rankings with the queries that are in both, in one order."""
    shared, here, there = np.intersect1d(new.queries, old.queries, return_indices=True)
    if not len(shared):
        raise CompanionError("The results and the baseline share no query; give two searches for the same queries.")
    told: tuple[str, ...] = ()
    if len(shared) < max(len(new.queries), len(old.queries)):
        told = (f"{len(shared):,} queries are in both searches; others are left out.",)
    return (
        replace(new, queries=shared, results=new.results[here], notes=new.notes + told),
        replace(old, queries=shared, results=old.results[there]),
    )


def _stack(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(frames), ignore_index=True)


def _tell_options(given: Options) -> list[str]:
    said = []
    if given.stratum:
        said.append(f"Labels are exchanged inside {given.stratum}, and intervals are of what is left inside it.")
    if given.margin is not None:
        said.append(
            f"Equivalent: the {given.level:.0%} intervals of C and, of three groups or more, of every pair of groups "
            f"lie inside \u00b1{given.margin:g}."
        )
    return said


def _tell_judged(relevance: NDArray[np.int8]) -> str:
    return f"{int((relevance == 1).sum()):,} results are relevant and {int((relevance == 0).sum()):,} judged not to be."


def _adjust_parity(parity: pd.DataFrame) -> pd.DataFrame:
    """Holm over all attributes and depths, which holds whatever depths have in common."""
    place = list(parity.columns).index("draws")
    parity.insert(place, "p_adjusted", holm(parity["p"]))
    return parity


def _adjust(overall: pd.DataFrame) -> pd.DataFrame:
    """Holm over attributes at each depth, of p that is adjusted for depths, and a verdict from p and interval."""
    adjusted = overall.groupby("k")["p_depths"].transform(lambda column: holm(column))
    found = adjusted <= ALPHA
    words = np.select(
        [found & overall["equivalent"], found, overall["equivalent"]],
        ["dependence, within the margin", "dependence", "equivalent"],
        "undecided",
    )
    place = list(overall.columns).index("p_depths")
    frame = overall.drop(columns="p_depths")
    frame.insert(place, "p_adjusted", adjusted)
    return frame.assign(verdict=words)
