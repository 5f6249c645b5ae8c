import itertools

import numpy as np
import pytest
from graphs import decode, near_results, popular_results, random_results
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.errors import CompanionError
from companion.stats.joins import Drawn, Joins, count_joins, draw_joins, max_p, permutation_p, relabel
from companion.stats.margins import Pairs
from companion.stats.relabelling import Exchange, Relabelling
from companion.stats.retrieval import Groups, Retrieval, make_groups

ALL = np.ones(1)


def counted(retrieval: Retrieval, groups: Groups, draws: int, seed: int = 0, **options) -> tuple[Joins, np.ndarray]:
    """The counts, and the labels (things, draws) that they were made from."""
    exchange = options.pop("exchange", Exchange())
    joins = count_joins(retrieval, groups, Relabelling(groups, exchange, np.random.default_rng(seed)), draws, **options)
    again = Relabelling(groups, exchange, np.random.default_rng(seed))
    batches, left = [], draws + 1
    while left > 0:
        words = min(16, -(-left // 64))
        batches.append(decode(again.draw(words)))
        left -= 64 * words
    return joins, np.concatenate(batches, axis=1)


def thinned(generator: np.random.Generator, retrieval: Retrieval, share: float) -> Retrieval:
    """The same with a share of the results missing."""
    results = np.where(generator.random(retrieval.results.shape) < share, -1, retrieval.results)
    return Retrieval(results, retrieval.items, retrieval.queries)


@given(st.integers(0, 1000), st.integers(2, 6), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_counts_are_those_of_every_labelling(seed: int, number: int, thin: bool, apart: bool, strata: bool) -> None:
    generator = np.random.default_rng(seed)
    retrieval = random_results(generator, 30, 6)
    retrieval = thinned(generator, retrieval, 0.2) if thin else retrieval
    items = make_groups(np.arange(30) % number)
    if apart:
        retrieval = Retrieval(retrieval.results[:17], 30)
        groups = Groups(np.arange(17) % number, number)
    else:
        groups = items
    stratum = generator.integers(0, 3, len(groups.codes)) if strata else np.zeros(len(groups.codes), dtype=int)
    options = {"exchange": Exchange(stratum)} if strata else {}
    options |= {"item_groups": items if apart else None, "table": True}
    joins, labels = counted(retrieval, groups, 99, depths=[2, 6], **options)
    assert len(joins.matches) == 128
    for run, ranks in enumerate([slice(0, 2), slice(2, 6)]):
        rows, place = np.nonzero(retrieval.results[:, ranks] >= 0)
        found = retrieval.results[:, ranks][rows, place]
        for draw in (0, 1, 63, 64, 127):
            mine, theirs = labels[rows, draw], (items.codes if apart else labels[:, draw])[found]
            table = np.zeros((number, number), dtype=int)
            np.add.at(table, (mine, theirs), 1)
            assert (joins.table[draw, run] == table).all()
            assert joins.matches[draw, run] == np.trace(table)
            one, other = stratum[rows], stratum[rows if apart else found]
            asked, returned, cells = (
                np.zeros((int(stratum.max()) + 1, size), dtype=int) for size in (number, number, 3)
            )
            np.add.at(asked, (one, mine), 1)
            np.add.at(returned, (other, theirs), 1)
            np.add.at(cells, (one, other), 1)
            assert (joins.asked[draw, run] == asked).all() and (joins.found[draw, run] == returned).all()
            assert (joins.cells[run].toarray() == cells[:, : len(asked)]).all()


def test_statistics_are_their_definitions() -> None:
    generator = np.random.default_rng(5)
    retrieval, groups = random_results(generator, 50, 7), make_groups(generator.integers(0, 3, 50))
    joins, labels = counted(retrieval, groups, 63, table=True)
    weighted, shares = joins.weigh(ALL), groups.shares
    rows, items = retrieval.edges()
    for draw in (0, 17):
        mine, theirs = labels[rows, draw], labels[items, draw]
        same = mine == theirs
        assert weighted.same_share[draw] == pytest.approx(same.mean())
        # Of 50 items, a query's own is not among its results.
        assert weighted.excess[draw] == pytest.approx(same.mean() - (shares * (50 * shares - 1) / 49).sum())
        alpha, phi = (np.bincount(each, minlength=3) / len(each) for each in (mine, theirs))
        one = phi / (groups.sizes - phi)
        psi = phi + alpha * one - phi * (alpha @ one)
        assert weighted.centred[draw] == pytest.approx(same.mean() - (alpha * (psi - one * (1 - phi))).sum())
        chance = alpha @ phi
        spread = np.sqrt(chance + chance**2 - (alpha * phi * (alpha + phi)).sum())
        assert weighted.standardized[draw] == pytest.approx(weighted.centred[draw] / spread)
        distance = 0.5 * np.abs(np.bincount(theirs, minlength=3) / len(theirs) - shares).sum()
        assert weighted.parity_distance[draw] == pytest.approx(distance)
        observed = np.histogram2d(mine, theirs, bins=(3, 3))[0]
        chi_square = stats.chi2_contingency(observed, correction=False)
        assert weighted.chi_square[draw] == pytest.approx(chi_square.statistic)
        kernel = -np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
        away = np.subtract.outer(mine, theirs)
        assert weighted.kernel_mean(kernel)[draw] == pytest.approx(np.abs(away).mean() - np.abs(mine - theirs).mean())
        assert weighted.kernel_mean(np.eye(3))[draw] == pytest.approx(same.mean() - chance)


def test_the_largest_shift_is_that_of_kolmogorov_and_smirnov() -> None:
    generator = np.random.default_rng(6)
    retrieval, groups = random_results(generator, 60, 5), make_groups(np.arange(60) % 6)
    weighted = counted(retrieval, groups, 63, table=True)[0].weigh(ALL)
    rows, items = retrieval.edges()
    codes = groups.codes
    largest = max(
        stats.ks_2samp(codes[items[codes[rows] // 2 == coarse]], codes[items], method="asymp").statistic
        for coarse in range(3)
    )
    assert weighted.largest_shift(np.array([0, 0, 1, 1, 2, 2]))[0] == pytest.approx(largest)


def test_renaming_the_groups_changes_nothing() -> None:
    generator = np.random.default_rng(7)
    retrieval, codes = random_results(generator, 40, 5), generator.integers(0, 4, 40)
    one = counted(retrieval, make_groups(codes), 255)[0].weigh(ALL)
    other = counted(retrieval, make_groups(np.array([2, 0, 3, 1])[codes]), 255)[0].weigh(ALL)
    assert one.centred == pytest.approx(other.centred) and one.same_share == pytest.approx(other.same_share)


def test_popular_items_of_one_group_move_the_share_and_not_the_centred_count() -> None:
    results = np.array([[other for other in (0, 1, 2) if other != query][:2] for query in range(100)])
    retrieval = Retrieval(results, 100, np.arange(100))
    weighted = counted(retrieval, make_groups([0] * 90 + [1] * 10), 63)[0].weigh(ALL)
    assert weighted.excess[0] > 0.07 and abs(weighted.centred[0]) < 0.002


def draw_popular(generator: np.random.Generator, asking: float | None, strata: np.ndarray) -> tuple[Retrieval, Groups]:
    """A tenth of 200 items is returned nine times as often as others, to whoever asks; all ask, or 60 drawn.

    The group and the results depend on the stratum, if there is more than one.
    """
    groups = make_groups(generator.permutation(np.repeat([0, 1], [180, 20])))
    if strata.any():
        groups = make_groups((generator.random(200) < np.array([0.05, 0.2, 0.7])[strata]).astype(int))
    likely = np.where(groups.codes == 1, 9.0, 1.0)
    queries = np.arange(200)
    if asking is not None:
        often = np.where(groups.codes == 1, asking, 1.0)
        queries = generator.choice(200, 60, replace=False, p=often / often.sum())
    scores = np.log(likely) + generator.gumbel(size=(len(queries), 200)) + 2.0 * (strata[queries][:, None] == strata)
    scores[np.arange(len(queries)), queries] = -np.inf
    return Retrieval(np.argsort(-scores, axis=1)[:, :8], 200, queries), groups


@pytest.mark.parametrize(
    ("count", "asking"), [(1, None), (1, 1.0), (1, 9.0), (1, 0.2), (3, None), (3, 1.0), (3, 3.0), (3, 0.2)]
)
def test_p_holds_its_level_where_a_group_is_popular_or_asks_more(count: int, asking: float | None) -> None:
    generator, small = np.random.default_rng(15), []
    for _ in range(300):
        strata = generator.integers(0, count, 200)
        retrieval, groups = draw_popular(generator, asking, strata)
        pairs = Pairs(retrieval, groups, Groups(groups.codes[retrieval.queries], 2), None, strata)
        small.append(relabel(pairs, 199, generator).p[0] <= 0.05)
    assert np.mean(small) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_rank_weights_are_sums_over_runs() -> None:
    generator = np.random.default_rng(8)
    retrieval, groups = random_results(generator, 40, 3), make_groups(generator.integers(0, 2, 40))
    joins = counted(retrieval, groups, 63, depths=[1, 2, 3])[0]
    weights = 1 / np.log2(np.arange(3) + 2)
    same = groups.codes[:, None] == groups.codes[retrieval.results]
    assert joins.weigh(weights).same_share[0] == pytest.approx((same * weights).sum() / weights.sum() / 40)
    assert joins.weigh(np.array([1.0, 1.0, 0.0])).same_share[0] == pytest.approx(same[:, :2].mean())


@pytest.mark.parametrize("strata", [None, np.array([0, 0, 0, 1, 1, 1, 1])])
def test_p_is_that_of_all_orders(strata: np.ndarray | None) -> None:
    generator = np.random.default_rng(9)
    retrieval, codes = random_results(generator, 7, 2), np.array([0, 1, 0, 0, 1, 1, 1])
    rows, items = retrieval.edges()

    def statistic(labels: np.ndarray) -> float:
        return float((labels[rows] == labels[items]).mean())

    place = np.zeros(7, dtype=int) if strata is None else strata
    inside = [np.flatnonzero(place == stratum) for stratum in np.unique(place)]
    orders = itertools.product(*(itertools.permutations(rows) for rows in inside))
    every = []
    for order in orders:
        labels = np.empty(7, dtype=int)
        labels[np.concatenate(inside)] = codes[np.concatenate(order)]
        every.append(statistic(labels))
    exact = float((np.array(every) >= statistic(codes) - 1e-12).mean())
    joins = counted(retrieval, make_groups(codes), 19_999, exchange=Exchange(strata))[0]
    found = permutation_p(joins.weigh(ALL).same_share)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_p_of_each_side() -> None:
    values = np.array([3.0, 1.0, 2.0, 3.0, 4.0])
    assert permutation_p(values) == 3 / 5
    assert permutation_p(values, "less") == 4 / 5
    assert permutation_p(values, "two-sided") == 1.0
    with pytest.raises(CompanionError, match="no test is 'both'"):
        permutation_p(values, "both")


def test_the_largest_of_several_is_compared_with_the_largest() -> None:
    draws = np.random.default_rng(1).normal(size=(2000, 3))
    alone, together = [permutation_p(column) for column in draws.T], max_p(draws)
    assert (together >= alone).all() and (together <= np.minimum(1, 3 * np.array(alone) + 0.05)).all()
    same = np.repeat(draws[:, :1], 3, axis=1)
    assert max_p(same) == pytest.approx([permutation_p(draws[:, 0])] * 3)


def drawn(retrieval: Retrieval, groups: Groups, seed: int, **options) -> Drawn:
    """At depths 2 and 5."""
    relabelling = Relabelling(groups, Exchange(), np.random.default_rng(seed))
    weights = np.array([[1.0, 0.0], [1.0, 1.0]])
    return draw_joins(retrieval, groups, relabelling, [2, 5], weights, **options)


@pytest.mark.parametrize("apart", [False, True])
def test_stopping_early_gives_the_p_of_going_on(apart: bool) -> None:
    generator = np.random.default_rng(11)
    retrieval, groups = random_results(generator, 60, 5), make_groups(generator.integers(0, 2, 60))
    if apart:
        retrieval = Retrieval(retrieval.results, 60)
    options = {"item_groups": groups if apart else None}
    whole = drawn(retrieval, groups, 2, enough=None, **options)
    early = drawn(retrieval, groups, 2, **options)
    assert (whole.draws == 9_999).all() and (early.draws < 2_000).all()
    assert early.p == pytest.approx(whole.p, rel=4 / np.sqrt(20))
    assert early.p_depths == pytest.approx(whole.p_depths, rel=4 / np.sqrt(20))
    assert (whole.p_depths >= whole.p).all() and len(early.values) % 512 == 0
    together, _ = counted(retrieval, groups, 99, seed=2, **options)
    assert early.values[:64, 1] == pytest.approx(together.weigh(ALL).centred[:64])


def test_stopping_early_goes_to_the_end_where_there_is_something() -> None:
    codes = np.arange(60) % 2
    results = np.array([[(query + 2 * step) % 60 for step in range(1, 6)] for query in range(60)])
    found = drawn(Retrieval(results, 60, np.arange(60)), make_groups(codes), 2, most=999)
    assert found.p.tolist() == [1 / 1000] * 2 and found.draws.tolist() == [999] * 2
    # Those that it is measured by do not count.
    assert found.p_depths.tolist() == [1 / (1000 - 255)] * 2


def test_the_largest_of_depths_keeps_its_level_when_it_stops_early() -> None:
    generator = np.random.default_rng(13)
    retrieval, smallest = random_results(generator, 80, 5), []
    for seed in range(400):
        groups = make_groups(generator.permutation(np.repeat([0, 1], [50, 30])))
        smallest.append(drawn(retrieval, groups, seed, most=1_100, enough=5).p_depths.min())
    for level in (0.05, 0.2, 0.5):
        rate = np.mean(np.array(smallest) <= level)
        assert rate <= level + 3 * np.sqrt(level / 400)
        assert rate >= level - 4 * np.sqrt(level / 400)


def test_parity_asks_who_is_returned_and_not_to_whom() -> None:
    generator = np.random.default_rng(14)
    groups = make_groups(np.repeat([0, 1], [70, 30]))
    likely = np.where(groups.codes == 1, 4.0, 1.0)
    results = []
    for query in range(100):
        weight = np.where(np.arange(100) == query, 0.0, likely)
        results.append(generator.choice(100, 5, replace=False, p=weight / weight.sum()))
    retrieval = Retrieval(np.array(results), 100, np.arange(100))
    found = drawn(retrieval, groups, 0, most=999)
    shares = np.bincount(groups.codes[retrieval.results.ravel()]) / 500
    assert found.parity[1] == pytest.approx(0.5 * np.abs(shares - groups.shares).sum())
    assert (found.p > 0.05).all() and found.p_parity.tolist() == [1 / 512] * 2 and found.parity_draws == 511
    assert (found.parity_mean < 0.1).all() and (found.parity > 0.2).all()
    apart = drawn(Retrieval(retrieval.results, 100), groups, 0, most=999, item_groups=groups)
    assert np.isnan(apart.p_parity).all() and apart.parity == pytest.approx(found.parity)


@pytest.mark.parametrize("make", [random_results, popular_results, lambda *given: near_results(*given, 2)])
def test_p_is_uniform_where_there_is_nothing(make) -> None:
    generator = np.random.default_rng(12)
    retrieval = make(generator, 120, 6)
    found = []
    for seed in range(400):
        groups = make_groups(generator.permutation(np.repeat([0, 1, 2], [70, 40, 10])))
        joins = counted(retrieval, groups, 127, seed=seed)[0].weigh(ALL)
        # A random number between the two p breaks the ties of a coarse statistic.
        above, same = (
            (joins.centred > joins.centred[0] + 1e-9).mean(),
            (np.abs(joins.centred - joins.centred[0]) < 1e-9),
        )
        found.append(above + generator.random() * same.mean())
    assert stats.kstest(found, "uniform").pvalue > 0.001


@pytest.mark.parametrize(
    ("depths", "sentence"), [([0], "so no depths"), ([3, 2], "so no depths"), ([9], "there are 5 ranks")]
)
def test_depths_that_are_not_there_are_refused(depths: list[int], sentence: str) -> None:
    retrieval = random_results(np.random.default_rng(0), 20, 5)
    with pytest.raises(CompanionError, match=sentence):
        counted(retrieval, make_groups(np.arange(20) % 2), 63, depths=depths)


def test_labels_that_do_not_fit_are_refused() -> None:
    retrieval = random_results(np.random.default_rng(0), 20, 5)
    with pytest.raises(CompanionError, match="19 labels do not fit 20"):
        counted(retrieval, make_groups(np.arange(19) % 2), 63)
    with pytest.raises(CompanionError, match="labels of their own"):
        counted(Retrieval(retrieval.results, 20), make_groups(np.arange(20) % 2), 63)
    with pytest.raises(CompanionError, match="same groups"):
        groups = make_groups(np.arange(20) % 2)
        counted(Retrieval(retrieval.results, 20), groups, 63, item_groups=make_groups(np.arange(20) % 3))
    with pytest.raises(CompanionError, match="was not counted"):
        counted(retrieval, make_groups(np.arange(20) % 2), 63)[0].weigh(ALL).chi_square  # noqa: B018
