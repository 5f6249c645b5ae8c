"""Intervals of join counts against a plain formula over all pairs of nodes, and how often they cover."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import near_results, random_results, take_nearest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.stats import mutual, retrieval
from companion.stats.dyadic import estimate_cell, estimate_centred, estimate_change, estimate_excess
from companion.stats.estimate import Estimate
from companion.stats.margins import Margins, Pairs
from companion.stats.mutual import Side, find_shared
from companion.stats.retrieval import Groups, Retrieval, make_groups

Dense = tuple[float, np.ndarray, np.ndarray]
CLOSE = {"rel": 1e-11, "abs": 1e-14, "nan_ok": True}


def dense(pairs: Pairs, weights: np.ndarray, centred: bool) -> Dense:
    """The statistic, the influence of each node, and the residuals of each ordered pair of nodes."""
    search, items = pairs.retrieval, pairs.retrieval.items
    apart, number = search.queries is None, pairs.item_groups.number
    count = items + len(search.results) * apart
    place = np.zeros(len(pairs.labelled.codes), dtype=int) if pairs.strata is None else pairs.strata
    links = []
    for row, found in enumerate(search.results):
        for weight, item in zip(weights, found, strict=True):
            if item >= 0 and weight > 0:
                own = items + row if apart else search.queries[row]
                one = place[row if apart else own]
                ends = one, one if apart else place[item]
                links.append((own, item, *ends, pairs.query_groups.codes[row], pairs.item_groups.codes[item], weight))
    total = sum(weight for *_, weight in links)

    def share(rows: list, of: int, stratum: int) -> np.ndarray:
        """Shares of the groups, at place ``of`` of a link, among these links; ``stratum`` is where its stratum is."""
        sums = {s: np.zeros(number) for s in set(place)}
        for link in rows:
            sums[link[stratum]][link[of]] += link[-1]
        return {s: each / each.sum() if each.sum() else each for s, each in sums.items()}

    alpha, phi = share(links, 4, 2), share(links, 5, 3)
    pi = (
        {s: np.bincount(pairs.item_groups.codes[place == s], minlength=number) for s in set(place)} if not apart else {}
    )
    pi = {s: pi[s] / pi[s].sum() if pi else pairs.item_groups.shares for s in set(place)}
    x = phi if centred else pi
    value = sum(((link[4] == link[5]) - alpha[link[2]] @ x[link[3]]) * link[-1] for link in links) / total
    if not apart:
        # A query does not return itself, nor its block.
        units = np.arange(items) if pairs.blocks is None else pairs.blocks
        for t in set(place):
            towards = [link for link in links if link[3] == t]
            inside = sum(link[-1] for link in towards if link[2] == t)
            one = np.zeros(number)
            for g in range(number):
                rest = len(set(units[(place == t) & (pairs.item_groups.codes == g)])) - x[t][g]
                one[g] = x[t][g] / rest if rest > 1e-9 else 0.0
            psi = x[t]
            if centred and towards:
                share_inside = inside / sum(link[-1] for link in towards)
                psi = psi + share_inside * (alpha[t] * one - x[t] * (alpha[t] @ one))
            value -= sum(alpha[link[2]] @ (psi - x[t]) * link[-1] for link in towards) / total
            value += (alpha[t] * one * (1 - x[t])).sum() * inside / total

    def mean(of: int, stratum: int, values: dict, at: int) -> np.ndarray:
        """Mean of the values at the other end, of links at one stratum."""
        inside = [link for link in links if link[of] == stratum]
        return sum(values[link[at]] * link[-1] for link in inside) / max(sum(link[-1] for link in inside), 1e-300)

    by_query = {s: mean(2, s, x, 3) + np.zeros(number) for s in set(place)}
    by_item = {s: mean(3, s, alpha, 2) + np.zeros(number) for s in set(place)}
    raw = []
    for _, _, s, t, g, h, _ in links:
        residual = (g == h) - alpha[s] @ phi[t] - by_query[s][g] + alpha[s] @ by_query[s]
        raw.append(residual - centred * (by_item[t][h] - phi[t] @ by_item[t]))
    centre = sum(each * link[-1] for each, link in zip(raw, links, strict=True)) / total
    influence, residuals = np.zeros(count), np.zeros((count, count))
    for each, (own, item, *_, weight) in zip(raw, links, strict=True):
        moved = (each - centre) * weight / total
        influence[own] += moved
        influence[item] += moved
        residuals[own, item] += moved
    if not centred:
        for _, _, s, t, *_, weight in links:
            inside = np.arange(items) if apart else np.flatnonzero(place == t)
            pull = alpha[s][pairs.item_groups.codes[inside]] - alpha[s] @ pi[t]
            influence[inside] -= weight / total * pull / len(inside)
    units = np.arange(count)
    if pairs.blocks is not None:
        first = items if apart else 0
        units[first : first + len(pairs.blocks)] = first + np.unique(pairs.blocks, return_inverse=True)[1]
    member = np.eye(units.max() + 1)[units]
    return value, influence @ member, member.T @ residuals @ member


def interval(value: float, influence: np.ndarray, residuals: np.ndarray) -> tuple[float, float, float]:
    squares = (influence**2).sum()
    both = np.triu(residuals + residuals.T, 1)
    twice = (both**2).sum() + (np.diag(residuals) ** 2).sum()
    error = max(squares - twice, twice) ** 0.5
    if error < 1e-9:
        return value, np.nan, np.nan
    reach = stats.t.ppf(0.975, squares**2 / (influence**4).sum() - 1) * error
    return value, value - reach, value + reach


def ends(found: Estimate) -> tuple[float, float, float]:
    return found.estimate, found.low, found.high


def draw_pairs(
    generator: np.random.Generator, apart: bool, blocks: bool, thin: bool, strata: bool = False
) -> list[Pairs]:
    """Two searches of one catalogue."""
    groups = make_groups(generator.permutation(np.arange(60) % 3))
    asked = Groups(generator.permutation(np.arange(25) % 3), 3) if apart else groups
    if blocks:
        asked = Groups(generator.permutation(np.arange(15) % 3)[np.arange(len(asked.codes)) // 4], 3)
        groups = groups if apart else asked
    place = generator.integers(0, 4, len(asked.codes))[np.arange(len(asked.codes)) // (4 if blocks else 1)]
    made = []
    for dimensions in (2, 3):
        found = near_results(generator, 60, 6, dimensions)
        results = np.where(generator.random((60, 6)) < 0.2 * thin, -1, found.results)
        search = Retrieval(results[:25], 60) if apart else Retrieval(results, 60, found.queries)
        made.append(
            Pairs(
                search, groups, asked, np.arange(len(asked.codes)) // 4 if blocks else None, place if strata else None
            )
        )
    return made


@given(st.integers(0, 1000), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_intervals_are_those_of_the_plain_formula(
    seed: int, apart: bool, blocks: bool, thin: bool, strata: bool, pieces: bool
) -> None:
    generator = np.random.default_rng(seed)
    new, old = draw_pairs(generator, apart, blocks, thin, strata)
    weights = 1 / np.log2(np.arange(6) + 2) if seed % 2 else np.array([1.0, 1, 1, 0, 0, 0])
    with pytest.MonkeyPatch.context() as patch:
        if pieces:
            patch.setattr(mutual, "SORTED", 50)
            patch.setattr(mutual, "PIECE", 7)
            patch.setattr(retrieval, "PIECE", 31)
        centred, excess = estimate_centred(new, weights), estimate_excess(new, weights)
        change = estimate_change(new, old, weights)
    assert ends(centred) == pytest.approx(interval(*dense(new, weights, True)), **CLOSE)
    assert ends(excess) == pytest.approx(interval(*dense(new, weights, False)), **CLOSE)
    now, then = dense(new, weights, True), dense(old, weights, True)
    differences = [one - other for one, other in zip(now, then, strict=True)]
    assert ends(change) == pytest.approx(interval(*differences), **CLOSE)
    assert centred.unit == ("block" if blocks else "query" if apart else "item")


@pytest.mark.parametrize("apart", [False, True])
def test_one_stratum_is_none(apart: bool) -> None:
    pairs = draw_pairs(np.random.default_rng(1), apart, False, False)[0]
    whole = replace(pairs, strata=np.zeros(len(pairs.labelled.codes), dtype=np.int64))
    one, other = (estimate_centred(each, np.ones(6)) for each in (pairs, whole))
    assert ends(one) == pytest.approx(ends(other), rel=1e-9)


@pytest.mark.parametrize("apart", [False, True])
def test_intervals_inside_strata_cover_as_often_as_they_say(apart: bool) -> None:
    generator, inside, free = np.random.default_rng(2), [], []
    for _ in range(200):
        strata = generator.integers(0, 3, 240)
        likely = np.array([0.2, 0.5, 0.8])[strata]
        groups = make_groups((generator.random(240) < likely).astype(np.int64))
        scores = generator.random((240, 240)) - 0.04 * (strata[:, None] == strata)
        results = take_nearest(scores, 6)
        if apart:
            results = Retrieval(results.results, 240)
        for place, found in ((strata, inside), (None, free)):
            one = estimate_centred(Pairs(results, groups, groups, None, place), np.ones(6))
            found.append((one.low < 0 < one.high, one.high - one.low))
    covered, width = np.mean(inside, axis=0)
    assert 0.91 <= covered <= 0.985
    assert width < 0.9 * np.mean(free, axis=0)[1]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("strata", [False, True])
def test_cells_add_up_to_c_and_to_nothing(apart: bool, strata: bool) -> None:
    pairs = draw_pairs(np.random.default_rng(1), apart, False, False, strata)[0]
    cells = np.array(
        [[estimate_cell(pairs, np.ones(6), (one, other)).estimate for other in range(3)] for one in range(3)]
    )
    margins = Margins(pairs, np.ones(6))
    assert np.trace(cells) == pytest.approx(estimate_centred(pairs, np.ones(6)).estimate)
    assert cells == pytest.approx(margins.table / margins.total - margins.expect())
    assert cells.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-12)
    assert cells.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)


def test_no_change_has_no_interval() -> None:
    pairs = draw_pairs(np.random.default_rng(0), False, False, False)[0]
    found = estimate_change(pairs, pairs, np.ones(6))
    assert found.estimate == 0 and np.isnan(found.low)


@given(st.integers(0, 1000), st.sampled_from([5, 40, 10_000]))
@settings(max_examples=30, deadline=None)
def test_shared_results_are_those_of_a_pair_that_occurs_again(seed: int, part: int) -> None:
    generator = np.random.default_rng(seed)
    one, other = random_results(generator, 20, 4), random_results(generator, 20, 3)
    units = generator.integers(0, 8, 20) if seed % 2 else np.arange(20)
    sides = [Side(each.results, units[each.queries], units if seed % 2 else None) for each in (one, other)]
    of: dict[tuple[int, int], set[int]] = {}
    place = 0
    for side in sides:
        for asked, row in zip(side.asked, side.results, strict=True):
            for item in row:
                of.setdefault(tuple(sorted((int(asked), int(units[item])))), set()).add(place)
                place += 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mutual, "SORTED", part)
        patch.setattr(mutual, "PIECE", 9)
        shared = find_shared(sides, 20)
        found = [
            set(run.tolist()) for places, starts in shared.runs() for run in np.split(places, np.asarray(starts)[1:])
        ]
    assert sorted(map(sorted, found)) == sorted(sorted(each) for each in of.values() if len(each) > 1)
