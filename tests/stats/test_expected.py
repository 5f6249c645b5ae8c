"""Means of tables, C and Delta over relabellings against all of these, one by one."""

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from graphs import random_results

from companion.stats.dyadic import Pairs
from companion.stats.expected import Expected, expect_joins, relabel
from companion.stats.retrieval import Groups, Retrieval, make_groups

UNITS = [
    ([[0], [1], [2], [3], [4], [5], [6]], [0] * 7),
    ([[0], [1], [2], [3], [4], [5], [6]], [0, 1, 0, 1, 1, 0, 1]),
    ([[0, 1], [2], [3, 6], [4], [5]], [0] * 5),
    ([[0, 1], [2], [3, 6], [4], [5]], [0, 1, 0, 0, 1]),
]


def orders(units: list[list[int]], strata: list[int]) -> Iterator[list[int]]:
    """Where the label of each thing comes from, for every exchange of units inside strata."""
    places = [[unit for unit, each in enumerate(strata) if each == stratum] for stratum in sorted(set(strata))]
    for parts in itertools.product(*(itertools.permutations(place) for place in places)):
        source = dict(zip(itertools.chain(*places), itertools.chain(*parts), strict=True))
        of = {thing: units[source[unit]][0] for unit, things in enumerate(units) for thing in things}
        yield [of[thing] for thing in sorted(of)]


def observe(pairs: Pairs, weights: np.ndarray) -> Expected:
    """Table, gaps and Delta of the labels as they are."""
    number, own = pairs.item_groups.number, pairs.retrieval.queries
    place = np.zeros(len(pairs.labelled.codes), dtype=int) if pairs.strata is None else pairs.strata
    member, links = np.eye(number), []
    for row, found in enumerate(pairs.retrieval.results):
        for weight, item in zip(weights, found, strict=True):
            if item >= 0:
                one = place[row if pairs.apart else own[row]]
                other = one if pairs.apart else place[item]
                links.append(
                    (one, other, member[pairs.query_groups.codes[row]], member[pairs.item_groups.codes[item]], weight)
                )
    total = sum(link[-1] for link in links)

    def share(stratum: int, of: int, at: int) -> np.ndarray:
        rows = [link for link in links if link[at] == stratum]
        return sum(link[of] * link[-1] for link in rows) / sum(link[-1] for link in rows)

    table = sum(np.outer(link[2], link[3]) * link[-1] for link in links)
    chance = sum(np.outer(share(link[0], 2, 0), share(link[1], 3, 1)) * link[-1] for link in links) / total
    catalogue = 0.0
    for one, other, *_, weight in links:
        inside = slice(None) if pairs.apart else place == other
        catalogue += share(one, 2, 0) @ member[pairs.item_groups.codes[inside]].mean(axis=0) * weight / total
    return Expected(table, table / total - chance, float(np.trace(table) / total - catalogue))


@pytest.mark.parametrize(("units", "strata"), UNITS)
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("few", [False, True])
def test_means_are_those_of_all_relabellings(units: list, strata: list[int], apart: bool, few: bool) -> None:
    codes = np.array([0, 0, 1, 2, 1, 0, 2])
    unit = np.array([place for thing in range(7) for place, things in enumerate(units) if thing in things])
    results = random_results(np.random.default_rng(3), 7, 3).results
    results[2, 2] = results[4, 0] = -1
    asking = np.array([0, 3, 4, 6]) if few and not apart else np.arange(7)
    search = Retrieval(results[asking], 7, None if apart else asking)
    fixed, weights = make_groups([0, 1, 2, 0, 1, 2, 2]), np.array([1.0, 0.5, 0.25])

    def make(labels: np.ndarray) -> Pairs:
        groups = Groups(labels, 3)
        asked = groups if apart else Groups(labels[asking], 3)
        return Pairs(search, fixed if apart else groups, asked, unit, np.array(strata)[unit])

    times = Counter(tuple(codes[order].tolist()) for order in orders(units, strata))
    seen = [observe(make(np.array(labels)), weights) for labels in times]
    every = [one for one, often in zip(seen, times.values(), strict=True) for _ in range(often)]
    found = expect_joins(make(codes), weights)
    np.testing.assert_allclose(found.table, np.mean([each.table for each in every], axis=0), atol=1e-12)
    np.testing.assert_allclose(found.gaps, np.mean([each.gaps for each in every], axis=0), atol=1e-12)
    assert found.excess == pytest.approx(np.mean([each.excess for each in every]), abs=1e-12)
    assert found.centred == pytest.approx(np.mean([each.centred for each in every]), abs=1e-12)


def test_relabellings_have_the_exact_mean() -> None:
    generator = np.random.default_rng(4)
    groups = make_groups(generator.permutation(np.arange(90) % 3))
    pairs = Pairs(random_results(generator, 90, 5), groups, groups, None, np.arange(90) % 4)
    drawn = relabel(pairs, 4_999, generator).values[:, 0]
    assert len(drawn) == 5_000 and drawn[0] == pytest.approx(observe(pairs, np.ones(5)).centred)
    exact = expect_joins(pairs, np.ones(5)).centred
    assert drawn[1:].mean() == pytest.approx(exact, abs=4 * drawn.std() / np.sqrt(5_000))
