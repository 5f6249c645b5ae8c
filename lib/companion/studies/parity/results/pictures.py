"""What the picture searches say: does a query's tone decide the tone of what is returned?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from companion.runs.store import Record
from companion.stats.dyadic import estimate_centred, estimate_excess
from companion.stats.estimate import Estimate, as_columns
from companion.stats.joins import relabel
from companion.stats.margins import Pairs
from companion.stats.paired import t_test
from companion.stats.retrieval import Groups, Retrieval
from companion.studies.parity.pictures.experiment import ERASURES, PictureSpec
from companion.studies.parity.results.simulation import estimate_rate
from companion.studies.parity.study import ParityStudy
from companion.studies.publish import read_records


@dataclass(frozen=True)
class Search:
    """One search of one catalogue: its spec, what was erased from its vectors, the results, and what is held fixed."""

    spec: PictureSpec
    erasure: str
    retrieval: Retrieval
    groups: Groups
    kind: np.ndarray
    person: np.ndarray

    @property
    def variant(self) -> str:
        """Rendition or, of whole pictures, the erasure."""
        return self.spec.rendition if self.erasure == "none" else self.erasure


def load_searches(study: ParityStudy) -> list[Search]:
    """Every search by variant; raises CompanionError for a record that is missing or damaged."""
    specs = study.search_specs()
    pairs = list(zip(specs, read_records(study, specs), strict=True))
    return [search for spec, record in pairs for search in _read_searches(spec, record)]


def _read_searches(spec: PictureSpec, record: Record) -> list[Search]:
    arrays = record.arrays
    tone = arrays["tone"].astype(np.int64)
    groups = Groups(tone, int(tone.max()) + 1)
    return [
        Search(
            spec,
            erasure,
            Retrieval(arrays[f"results_{erasure}"].astype(np.int64), len(tone), np.arange(len(tone))),
            groups,
            arrays["kind"].astype(np.int64),
            arrays.get("person", arrays["kind"]).astype(np.int64),
        )
        for erasure in ERASURES
        if f"results_{erasure}" in arrays
    ]


@dataclass(frozen=True)
class SearchEffect:
    """Delta and C of a search with intervals, and p with its relabellings."""

    search: Search
    excess: Estimate
    centred: Estimate
    p: float
    draws: np.ndarray


def run_test(search: Search, stratified: bool, draws: int, level: float = 0.95) -> SearchEffect:
    """Test one search by relabelling.

    Tones of drawn persons are exchanged within a design, and their intervals take the drawings of a design as one.
    Tones of garments are exchanged freely or, if ``stratified``, within a category; those of photographs by item, which
    are one in the interval.
    """
    catalogue = search.spec.catalogue
    strata = search.kind if catalogue == "persons" or stratified else None
    blocks = search.person if catalogue == "deepfashion" else None
    generator = np.random.default_rng(search.spec.seed)
    retrieval = search.retrieval if blocks is None else search.retrieval.leave_out(blocks)
    exchanged = Pairs(retrieval, search.groups, search.groups, blocks, strata)
    drawn = relabel(exchanged, draws, generator)
    alike = None if catalogue == "garments" else search.person
    pairs = replace(exchanged, blocks=alike)
    weights = np.ones(search.retrieval.results.shape[1])
    return SearchEffect(
        search,
        estimate_excess(pairs, weights, level),
        estimate_centred(pairs, weights, level),
        float(drawn.p[0]),
        drawn.values[:, 0],
    )


def tabulate_searches(tested: list[SearchEffect], stratified: list[SearchEffect]) -> pd.DataFrame:
    """T4: one row for each search: items, Delta and C with intervals, p; and C and p within categories, if tested."""
    fixed = {id(one.search): one for one in stratified}
    rows = []
    for one in tested:
        spec = one.search.spec
        row: dict[str, Any] = {
            "catalogue": spec.catalogue,
            "variant": one.search.variant,
            "seed": spec.seed,
            "items": one.search.retrieval.items,
            **as_columns(one.excess, "excess"),
            **as_columns(one.centred, "centred"),
            "p": one.p,
            "draws": len(one.draws) - 1,
        }
        within = fixed.get(id(one.search))
        row |= as_columns(within.centred, "within") if within else dict.fromkeys(_names("within"), np.nan)
        rows.append(row | {"p_within": within.p if within else np.nan})
    return pd.DataFrame(rows)


def _names(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def load_subsets(study: ParityStudy) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Delta, and p, of catalogues of persons with each design once, by variant."""
    specs = [spec for spec in study.search_specs() if spec.labellings]
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for spec, record in zip(specs, read_records(study, specs), strict=True):
        for erasure in ERASURES:
            if f"p_{erasure}" in record.arrays:
                variant = spec.rendition if erasure == "none" else erasure
                found[variant] = record.arrays[f"delta_{erasure}"], record.arrays[f"p_{erasure}"]
    return found


def tabulate_subsets(subsets: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """T5: one row for each variant: mean Delta over catalogues, and the share of them with p <= 0.05.

    Given the pictures, catalogues are independent draws of a tone for each design: Delta has a t interval over them,
    the share the exact one of Clopper and Pearson.
    """
    rows = []
    for variant, (delta, p) in subsets.items():
        found, rejected = t_test(delta, unit="catalogue"), dict(zip(_names("rejected"), _rate(p), strict=True))
        rows.append({"variant": variant, "n": found.n, **as_columns(found, "excess"), **rejected})
    return pd.DataFrame(rows)


def tabulate_designs(study: ParityStudy) -> pd.DataFrame:
    """T6: tests that keep to the design and tests that don't, where tone goes with category and with the person.

    One row for each situation and test: catalogues (or draws of tones for the persons), mean Delta, and the share with
    p <= 0.05 with its exact interval.
    """
    *tied, several = study.design_specs()
    draws = study.settings.pictures.draws
    searches = [_read_searches(spec, record)[0] for spec, record in zip(tied, read_records(study, tied), strict=True)]
    arrays = read_records(study, [several])[0].arrays
    free, within = ([run_test(one, stratified, draws) for one in searches] for stratified in (False, True))
    return pd.DataFrame(
        [
            _row("tied", "free", [one.excess.estimate for one in free], [one.p for one in free]),
            _row("tied", "within_categories", [one.excess.estimate for one in within], [one.p for one in within]),
            _row("several", "free", arrays["delta"], arrays["p_items"]),
            _row("several", "by_person", arrays["delta"], arrays["p_persons"]),
        ]
    )


Values = Sequence[float] | np.ndarray


def _row(situation: str, exchange: str, delta: Values, p: Values) -> dict[str, Any]:
    ends = {"smallest_p": float(np.min(p)), "largest_p": float(np.max(p))}
    rejected = dict(zip(_names("rejected"), _rate(p), strict=True))
    return {"situation": situation, "exchange": exchange, "n": len(p), "excess": np.mean(delta), **rejected, **ends}


def _rate(p: Values) -> tuple[float, float, float]:
    rate = estimate_rate(pd.Series(p))
    return rate["estimate"], rate["low"], rate["high"]


def count_by_tone(search: Search) -> np.ndarray:
    """(G, G) share of each tone among the results of queries of each tone; rows sum to 1."""
    rows, items = search.retrieval.edges()
    table = np.zeros((search.groups.number, search.groups.number))
    np.add.at(table, (search.groups.codes[rows], search.groups.codes[items]), 1)
    shares: np.ndarray = table / table.sum(axis=1, keepdims=True)
    return shares
