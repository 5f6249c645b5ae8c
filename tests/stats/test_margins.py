"""What margins make of results: near the mean over relabellings, and near what ways of returning give."""

import numpy as np
import pytest
from graphs import near_results, popular_results, random_results

from companion.stats.dyadic import estimate_centred, estimate_excess
from companion.stats.joins import relabel
from companion.stats.margins import Margins, Pairs
from companion.stats.retrieval import Groups, Retrieval, make_groups


@pytest.mark.parametrize("make", [random_results, popular_results, lambda *given: near_results(*given, 2)])
@pytest.mark.parametrize("kind", ["free", "strata", "blocks", "few", "apart"])
def test_c_and_delta_are_about_zero_over_relabellings(make, kind: str) -> None:
    generator = np.random.default_rng(4)
    blocks = np.arange(120) // 3 if kind == "blocks" else None
    strata = np.arange(120) % 4 if kind == "strata" else None
    groups = make_groups((generator.permutation(40) if kind == "blocks" else generator.permutation(120)) % 3)
    groups = groups if blocks is None else Groups(groups.codes[blocks], 3)
    search = make(generator, 120, 5)
    if blocks is not None:
        search = search.leave_out(blocks)
    asking = generator.permutation(120)[:50]
    if kind in ("few", "apart"):
        search = Retrieval(search.results[asking], 120, asking if kind == "few" else None)
    items = make_groups(np.arange(120) % 3) if kind == "apart" else groups
    if kind == "apart":
        groups = make_groups(generator.integers(0, 3, 50))
    asked = groups if kind == "apart" else Groups(groups.codes[asking], 3) if kind == "few" else groups
    pairs = Pairs(search, items, asked, blocks, strata)
    drawn = relabel(pairs, 4_999, generator).values[:, 0]
    assert drawn[0] == pytest.approx(Margins(pairs, np.ones(5)).centred)
    assert drawn[0] == pytest.approx(estimate_centred(pairs, np.ones(5)).estimate)
    # The offset that is left is far smaller than what one catalogue can show.
    assert abs(drawn[1:].mean()) < 0.06 * drawn.std()


@pytest.mark.parametrize(("size", "count", "pull"), [(100, 1, 1), (100, 1, 50), (20, 20, 1), (20, 20, 10), (40, 5, 10)])
def test_c_is_about_zero_whatever_is_popular(size: int, count: int, pull: float) -> None:
    generator, found = np.random.default_rng(5), []
    strata = np.repeat(np.arange(count), size)
    for _ in range(60):
        groups = make_groups(generator.integers(0, 2, size * count))
        scores = np.log(pull) * (groups.codes == 0) + generator.gumbel(size=(size * count, size * count))
        scores[strata[:, None] != strata] = -np.inf
        np.fill_diagonal(scores, -np.inf)
        search = Retrieval(np.argsort(-scores, axis=1)[:, :5], size * count, np.arange(size * count))
        found.append(estimate_centred(Pairs(search, groups, groups, None, strata), np.ones(5)).estimate)
    assert abs(np.mean(found)) < 0.35 * np.std(found) + 3 * np.std(found) / np.sqrt(60)


def test_the_room_is_what_a_full_bias_adds() -> None:
    """With every result in the group of its query, and in its stratum, C is the room less what self-exclusion takes."""
    generator = np.random.default_rng(6)
    strata, codes = np.arange(600) % 3, generator.integers(0, 3, 600)
    rows = []
    for query in range(600):
        own = np.flatnonzero((codes == codes[query]) & (strata == strata[query]) & (np.arange(600) != query))
        rows.append(np.where(np.arange(8) < 3 + 5 * (query % 2), generator.choice(own, 8, replace=False), -1))
    groups = make_groups(codes)
    for place in (None, strata):
        margins = Margins(
            Pairs(Retrieval(np.array(rows), 600, np.arange(600)), groups, groups, None, place), np.ones(8)
        )
        assert margins.centred == pytest.approx(margins.room, abs=0.006)


def test_delta_compares_with_the_catalogue_without_the_query() -> None:
    groups = make_groups([0, 0, 0, 1, 1])
    search = Retrieval(
        np.array([[other for other in range(5) if other != query] for query in range(5)]), 5, np.arange(5)
    )
    assert estimate_excess(Pairs(search, groups, groups), np.ones(4)).estimate == pytest.approx(0)
    assert Margins(Pairs(search, groups, groups), np.ones(4)).centred == pytest.approx(0)
