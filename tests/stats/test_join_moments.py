import itertools

import numpy as np
import pytest
from graphs import near_results, popular_results, random_results

from companion.errors import CompanionError
from companion.stats.join_moments import (
    Moments,
    centred_kernel,
    join_moments,
    linear_moments,
    stratified_moments,
)
from companion.stats.joins import count_joins
from companion.stats.relabelling import Exchange, Relabelling
from companion.stats.retrieval import Groups, Retrieval, make_groups


def small(generator: np.random.Generator) -> tuple[Retrieval, Groups]:
    """At most eight items, some of them queries, with some results missing, in two or three groups."""
    items = int(generator.integers(3, 9))
    queries = generator.permutation(items)[: int(generator.integers(1, items + 1))]
    depth = int(generator.integers(1, items))
    results = np.array([generator.permutation(np.delete(np.arange(items), query))[:depth] for query in queries])
    results[generator.random(results.shape) < 0.15] = -1
    results[0, 0] = (queries[0] + 1) % items
    results[0, 1:][results[0, 1:] == results[0, 0]] = -1
    number = int(generator.integers(2, 4))
    codes = np.concatenate([np.arange(number), generator.integers(0, number, items - number)])
    return Retrieval(results, items, queries), Groups(generator.permutation(codes), number)


def moments_of(values: np.ndarray) -> tuple[float, float, float]:
    spread = values.std()
    skewness = float((((values - values.mean()) / spread) ** 3).mean()) if spread > 1e-9 else 0.0
    return float(values.mean()), float(values.var()), skewness


def same(found: Moments, values: np.ndarray, skewness: bool = True) -> bool:
    mean, variance, skew = moments_of(values)
    close = abs(found.mean - mean) < 1e-9 and abs(found.variance - variance) < 1e-9
    return close and (not skewness or variance < 1e-9 or abs(found.skewness - skew) < 1e-6)


@pytest.mark.parametrize("seed", range(30))
def test_moments_are_those_of_all_orders(seed: int) -> None:
    generator = np.random.default_rng(seed)
    retrieval, groups = small(generator)
    kernel = generator.normal(size=(groups.number, groups.number))
    kernel = kernel + kernel.T
    rows, items = retrieval.edges()
    queries = retrieval.queries[rows]
    orders = np.array(sorted(set(itertools.permutations(groups.codes))))
    values = kernel[orders[:, queries], orders[:, items]].sum(axis=1)
    assert same(join_moments(retrieval, groups, kernel), values)


@pytest.mark.parametrize("seed", range(30))
def test_moments_inside_strata_are_those_of_all_orders(seed: int) -> None:
    generator = np.random.default_rng(100 + seed)
    retrieval, groups = small(generator)
    kernel = generator.normal(size=(groups.number, groups.number))
    kernel = kernel + kernel.T
    strata = generator.integers(0, 3, retrieval.items)
    rows, items = retrieval.edges()
    queries = retrieval.queries[rows]
    inside = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    values = []
    for order in itertools.product(*(itertools.permutations(part) for part in inside)):
        labels = np.empty(retrieval.items, dtype=int)
        labels[np.concatenate(inside)] = groups.codes[np.concatenate(order)]
        values.append(kernel[labels[queries], labels[items]].sum())
    assert same(stratified_moments(retrieval, groups, kernel, strata), np.array(values), skewness=False)


@pytest.mark.parametrize("seed", range(10))
def test_moments_of_labels_of_queries_are_those_of_all_orders(seed: int) -> None:
    generator = np.random.default_rng(200 + seed)
    count, number = int(generator.integers(3, 8)), int(generator.integers(2, 4))
    groups = Groups(generator.integers(0, number, count), number)
    values = generator.normal(size=(count, number))
    orders = np.array(sorted(set(itertools.permutations(groups.codes))))
    assert same(linear_moments(values, groups), values[np.arange(count), orders].sum(axis=1))
    strata = np.arange(count) % 2
    inside = [np.flatnonzero(strata == stratum) for stratum in range(2)]
    orders = [
        groups.codes[np.concatenate(order)]
        for order in itertools.product(*(itertools.permutations(part) for part in inside))
    ]
    values = values[np.concatenate(inside)]
    codes = groups.codes[np.concatenate(inside)]
    sorted_groups, sorted_strata = Groups(codes, number), strata[np.concatenate(inside)]
    found = linear_moments(values, sorted_groups, sorted_strata)
    assert same(found, values[np.arange(count), np.array(orders)].sum(axis=1))


@pytest.mark.parametrize("make", [random_results, popular_results, lambda *given: near_results(*given, 2)])
def test_moments_and_tail_are_those_of_many_draws(make) -> None:
    generator = np.random.default_rng(3)
    retrieval, groups = make(generator, 300, 5), make_groups(generator.permutation(np.repeat([0, 1, 2], [200, 70, 30])))
    relabelling, kernel = Relabelling(groups, Exchange(), generator), centred_kernel(groups.shares)
    joins = count_joins(retrieval, groups, relabelling, 9_999, table=True).weigh(np.ones(1))
    found = join_moments(retrieval, groups, kernel).scale(1 / joins.total)
    assert joins.table is not None
    draws = np.tensordot(joins.table[1:], kernel, 2) / joins.total
    assert found.mean == pytest.approx(draws.mean(), abs=4 * draws.std() / 100)
    assert found.variance == pytest.approx(draws.var(), rel=0.08)
    assert found.skewness == pytest.approx(moments_of(draws)[2], abs=0.12)
    limit = np.quantile(draws, 0.95)
    assert found.p(float(limit)) == pytest.approx(0.05, abs=0.01)


def test_a_kernel_without_spread_has_none() -> None:
    retrieval = random_results(np.random.default_rng(0), 20, 3)
    found = join_moments(retrieval, make_groups(np.arange(20) % 2), np.ones((2, 2)))
    assert found.mean == pytest.approx(60) and found.variance == 0 and np.isnan(found.p(60))


def test_a_kernel_that_does_not_fit_is_refused() -> None:
    retrieval, groups = random_results(np.random.default_rng(0), 20, 3), make_groups(np.arange(20) % 2)
    for kernel in (np.ones((3, 3)), np.array([[0.0, 1.0], [2.0, 0.0]])):
        with pytest.raises(CompanionError, match="must be symmetric"):
            join_moments(retrieval, groups, kernel)
