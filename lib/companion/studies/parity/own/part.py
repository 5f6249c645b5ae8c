"""One attribute of an audit: its case, its relabellings, and its rows of every table."""

import zlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from companion.stats.detectable import bias_from_spread, catalogue_needed
from companion.stats.dyadic import estimate_cell, estimate_centred, estimate_change, estimate_excess
from companion.stats.estimate import Estimate, as_columns
from companion.stats.joins import Drawn
from companion.stats.margins import Margins
from companion.stats.paired import holm
from companion.stats.relabelling import Exchange
from companion.stats.verdict import verdict
from companion.studies.parity.own.attributes import Attribute
from companion.studies.parity.own.counts import (
    Case,
    draw_counts,
    make_case,
    measure_hubs,
    rank_weights,
)
from companion.studies.parity.own.options import Options
from companion.studies.parity.own.results import Ranking

SHOWN_GROUPS = 12
"""Most groups of which every pair is shown."""
FEW = 5
"""Expected results below which a group is rare, and matches below which equivalence is not said."""


class Part:
    """One attribute: its case, draws, and rows of every table."""

    def __init__(
        self,
        given: Options,
        item: Attribute,
        query: Attribute | None,
        ranking: Ranking,
        exchange: Exchange,
    ) -> None:
        self.given, self.item, self.query, self.depths = given, item, query, ranking.depths
        self.ranking, self.whole = ranking, exchange
        self.case = make_case(ranking, item, query, exchange)
        self.weights = rank_weights(self.depths, self.given.weights)
        # One seed per attribute, whatever others are audited beside it.
        self.seed = [self.given.seed, zlib.crc32(item.name.encode())]
        self.margins = [Margins(self.case.pairs, each) for each in self.weights]
        self.drawn = self._draw(self.case, self.depths)
        self.centred = [self._estimate(self.case, each) for each in self.weights]

    def _draw(self, case: Case, depths: tuple[int, ...]) -> Drawn:
        return draw_counts(case, depths, self.given.weights, self.given.draws, self.seed)

    def _estimate(self, case: Case, weights: NDArray[np.float64]) -> Estimate:
        return estimate_centred(case.pairs, weights, self.given.level)

    def _expect(self, place: int) -> NDArray[np.float64]:
        """(G, G) results that the margins alone make, at a depth; where they make none, rounding can leave less."""
        margins = self.margins[place]
        return np.maximum(margins.expect() * margins.total, 0.0)

    @property
    def overall(self) -> pd.DataFrame:
        """T1: a row for each depth."""
        made = []
        for place, depth in enumerate(self.depths):
            one = self.centred[place]
            other = estimate_excess(self.case.pairs, self.weights[place], self.given.level)
            counted = int((self.case.retrieval.results[:, :depth] >= 0).sum())
            size = {"k": depth, "n_queries": len(self.case.retrieval.results), "n_results": counted}
            made.append(
                {"attribute": self.case.name, **size, "n_groups": len(self.case.labels)}
                | as_columns(other, "difference")
                | as_columns(one, "centred")
                | {"p": self.drawn.p[place], "draws": self.drawn.draws[place], "p_depths": self.drawn.p_depths[place]}
                | {"equivalent": self._equivalence[place][0]}
            )
        return pd.DataFrame(made)

    @cached_property
    def _equivalence(self) -> list[tuple[bool, str]]:
        """At each depth, whether it was shown and, where only C lies inside the margin, what speaks against it."""
        return [self._judge(place) for place in range(len(self.depths))]

    def _judge(self, place: int) -> tuple[bool, str]:
        name, labels, margin = self.case.name, self.case.labels, self.given.margin
        if margin is None or verdict(self.centred[place], "equivalent", margin) != "supported":
            return False, ""
        table = self._expect(place)
        least = float(min(*np.diag(table), table.sum() - np.trace(table)))
        if least < FEW:
            return False, (
                f"{name}: only {least:.1f} results are expected within a group, or outside of the query's; too few to "
                "show equivalence."
            )
        if len(labels) > SHOWN_GROUPS:
            return True, f"{name}: of so many groups equivalence speaks of results in the query's own group alone."
        for cell in np.ndindex(table.shape if len(labels) > 2 else (0,)):
            one = estimate_cell(self.case.pairs, self.weights[place], cell, self.given.level)
            if verdict(one, "equivalent", margin) != "supported":
                return False, (
                    f"{name}: C lies inside the margin, but the share of results that are {labels[cell[1]]} for "
                    f"{labels[cell[0]]} may be {one.low:+.3f} to {one.high:+.3f} off (K = {self.depths[place]})."
                )
        return True, ""

    @property
    def parity(self) -> pd.DataFrame:
        """T1b: distance of all results from the shares of the catalogue, a row for each depth."""
        drawn = self.drawn
        size = {"attribute": self.case.name, "k": self.depths, "n_groups": len(self.case.labels)}
        found = {"distance": drawn.parity, "expected_distance": drawn.parity_mean, "p": drawn.p_parity}
        return pd.DataFrame(size | found | {"draws": drawn.parity_draws})

    @property
    def by_group(self) -> pd.DataFrame:
        """T2: observed over expected results; of many groups the own one alone."""
        observed, expected = self.margins[-1].table, self._expect(-1)
        labels = self.case.labels
        chosen = [
            (one, other)
            for one in range(len(labels))
            for other in range(len(labels))
            if one == other or len(labels) <= SHOWN_GROUPS
        ]
        return pd.DataFrame(
            {
                "attribute": self.case.name,
                "query_group": [labels[one] for one, _ in chosen],
                "result_group": [labels[other] for _, other in chosen],
                "observed": [
                    observed[pair] if self.given.weights != "none" else int(observed[pair]) for pair in chosen
                ],
                "expected": [expected[pair] for pair in chosen],
                "ratio": [observed[pair] / expected[pair] if expected[pair] else np.nan for pair in chosen],
            }
        )

    @property
    def by_k(self) -> pd.DataFrame:
        """F3: C at each depth, of all groups and of each against the rest."""
        labels = self.case.labels if 2 < len(self.case.labels) <= SHOWN_GROUPS else ()
        found = [("all groups", depth, one) for depth, one in zip(self.depths, self.centred, strict=True)]
        for group, label in enumerate(labels):
            case = self.case.against_rest(group)
            for depth, weights in zip(self.depths, self.weights, strict=True):
                found.append((label, depth, self._estimate(case, weights)))
        rows = [{"group": label, "k": depth} | as_columns(one, "centred") for label, depth, one in found]
        return pd.DataFrame(rows).assign(attribute=self.case.name)

    @property
    def plan(self) -> pd.DataFrame:
        """T3: what could have been found with this many queries and results."""
        retrieval = self.case.retrieval
        mutual = np.nan if retrieval.queries is None else retrieval.reciprocity
        spread = self.drawn.values[1:].std(axis=0)
        size = {"n_queries": len(retrieval.results), "n_items": retrieval.items, "reciprocity": mutual}
        made = []
        for place, depth in enumerate(self.depths):
            # The share of results that, drawn from the query's own group, would give the C that was seen.
            room = self.margins[place].room
            bias = self.drawn.values[0, place] / room if room > 0 else np.nan
            least = bias_from_spread(spread[place], room) if room > 0 else np.nan
            row = {"attribute": self.case.name, "k": depth, **size, "bias": bias, "detectable": least}
            made.append(row | size_columns(retrieval.items, least, self.given.wanted))
        return pd.DataFrame(made)

    def by_relevance(self, relevance: NDArray[np.int8]) -> pd.DataFrame:
        """C among relevant, other and unjudged results."""
        made = []
        asked = (self.item if self.query is None else self.query).codes[self.ranking.queries] >= 0
        for level, label in ((1, "relevant"), (0, "not relevant"), (-1, "unjudged")):
            case = self.case.only(relevance[asked] == level)
            counted = int((case.retrieval.results >= 0).sum())
            row = {"attribute": self.case.name, "relevance": label, "n_results": counted}
            if counted:
                drawn = self._draw(case, self.depths[-1:])
                one = self._estimate(case, self.weights[-1])
                row |= as_columns(one, "centred") | {"p": drawn.p[0], "draws": int(drawn.draws[0])}
            made.append(row)
        frame = pd.DataFrame(made)
        frame["p_holm"] = holm(frame["p"])
        return frame

    def change(self, before: Ranking) -> pd.DataFrame:
        """C less that of the baseline at each depth."""
        old = make_case(before, self.item, self.query, self.whole)
        made = []
        for place, depth in enumerate(self.depths):
            then = self._estimate(old, self.weights[place])
            moved = estimate_change(self.case.pairs, old.pairs, self.weights[place], self.given.level)
            now = self.centred[place].estimate
            told = {"greater": "more dependent", "less": "less dependent"}
            said = [word for claim, word in told.items() if verdict(moved, claim) == "supported"]  # type: ignore[arg-type]
            row = {"attribute": self.case.name, "k": depth, "baseline": then.estimate, "now": now}
            made.append(row | as_columns(moved, "change") | {"verdict": said[0] if said else "undecided"})
        return pd.DataFrame(made)

    @property
    def notes(self) -> list[str]:
        """How numbers were cut and what was left out."""
        said = [self.item.note] if self.item.note else []
        items, queries, results = self.case.left_out
        if items or queries:
            said.append(
                f"{self.case.name}: {items:,} items and {queries:,} queries without it are left out, with "
                f"{results:,} results."
            )
        if self.case.in_block:
            said.append(
                f"{self.case.name}: {self.case.in_block:,} results in the block of their query are left out, since "
                "they match whatever the labels are."
            )
        return said

    @property
    def doubts(self) -> list[str]:
        """What may mislead: rare groups, queries unlike the catalogue, blocks of uneven size, popular items, gaps."""
        said, name = [], self.case.name
        own = np.diag(self._expect(-1))
        rare = own.argmin()
        if (least := own[rare]) < FEW:
            said.append(
                f"{name}: only {least:.1f} results are expected within {self.case.labels[rare]}; merge rare groups."
            )
        if any(one.high < 0 for one in self.centred):
            said.append(f"{name}: results avoid the group of their query (C below 0), which p does not look for.")
        said += [*filter(None, [why for _, why in self._equivalence])][:1] + self._doubt_block_sizes()
        share, carried = measure_hubs(self.case, self.weights[-1])
        strong = abs(self.drawn.values[0, -1]) > 2 * self.drawn.values[1:, -1].std()
        if strong and self.case.retrieval.items > 100 and carried > 0.25:
            said.append(
                f"{name}: the ten items that are returned most hold {share:.0%} of the results and {carried:.0%} of C; "
                "look at them, and audit again without them."
            )
        if self.whole.strata is not None:
            said += _doubt_missing(name, self.item if self.query is None else self.query, self.whole.strata)
        return said

    def _doubt_block_sizes(self) -> list[str]:
        """Blocks are exchanged with those of about their size, which needs many of each."""
        blocks, strata = self.case.exchange.blocks, self.case.exchange.strata
        if blocks is None:
            return []
        first, sizes = np.unique(blocks, return_index=True, return_counts=True)[1:]
        frame = pd.DataFrame({"size": sizes, "label": self.case.groups.codes[first]})
        frame["stratum"] = 0 if strata is None else strata[first]
        means = frame.groupby(["stratum", "label"])["size"].mean().groupby("stratum").agg(["min", "max"])
        if (means["max"] < 1.2 * means["min"]).all():
            return []
        low, high = means.to_numpy()[(means["max"] / means["min"]).to_numpy().argmax()]
        return [
            f"{self.case.name}: blocks hold {low:.1f} to {high:.1f} things on average, by group, and "
            "are too few to exchange only those of one size; where size goes with the attribute p can be too small."
        ]


def size_columns(items: int, bias: float, wanted: Sequence[float]) -> dict[str, float]:
    """How large the catalogue would have to be to reveal each wanted bias, if ``items`` reveal ``bias``."""
    return {f"items_for_{one:g}": catalogue_needed(items, bias, one) if bias >= 0 else np.nan for one in wanted}


def _doubt_missing(name: str, attribute: Attribute, strata: NDArray[np.int64]) -> list[str]:
    missing = attribute.codes < 0
    if not missing.any():
        return []
    place = np.unique(strata, return_inverse=True)[1]
    counts = np.stack([np.bincount(place[each], minlength=place.max() + 1) for each in (missing, ~missing)])
    if counts.shape[1] < 2 or chi2_contingency(counts).pvalue >= 0.01:
        return []
    share = counts[0] / counts.sum(axis=0)
    return [
        f"{name} is missing for {share.min():.0%} to {share.max():.0%} of a stratum, more unevenly than by chance; "
        "what holds of the others may not hold of those."
    ]
