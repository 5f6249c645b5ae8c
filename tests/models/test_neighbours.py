"""Faiss's answers beside plain numpy, ties, exclusions, and what is refused."""

import numpy as np
import pytest

from companion.errors import CompanionError
from companion.models import neighbours
from companion.models.neighbours import Neighbours, find_neighbours, search

METRICS = ("cosine", "l2")


def draw(count: int, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 1, (count, width))


def measure(queries: np.ndarray, items: np.ndarray, metric: str) -> np.ndarray:
    """All distances in double precision."""
    if metric == "l2":
        return np.sqrt(((queries[:, None] - items[None]) ** 2).sum(axis=2))
    queries, items = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (queries, items))
    return 1 - queries @ items.T


def check(found: Neighbours, distances: np.ndarray) -> None:
    """The items found are the nearest; which of two that differ by no more than rounding comes first is free."""
    k = found.indices.shape[1]
    assert (np.diff(np.sort(found.indices, axis=1), axis=1) > 0).all()
    expected = np.sort(distances, axis=1)[:, :k]
    np.testing.assert_allclose(np.take_along_axis(distances, found.indices, axis=1), expected, atol=1e-4)
    np.testing.assert_allclose(found.distances, expected, atol=1e-4)
    nearest = np.argsort(distances, axis=1)[:, :k]
    assert (found.indices == nearest).mean() > 0.99


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("count", "k"), [(300, 10), (300, 1), (7, 6), (2, 1)])
def test_it_equals_plain_numpy(metric: str, count: int, k: int) -> None:
    vectors = draw(count)
    distances = measure(vectors, vectors, metric)
    np.fill_diagonal(distances, np.inf)
    found = find_neighbours(vectors, k, metric=metric)
    check(found, distances)
    assert found.indices.dtype == np.int64 and found.tied.mean() < 0.02 and found.drawn.mean() < 0.01


@pytest.mark.parametrize("metric", METRICS)
def test_queries_that_are_no_items(metric: str) -> None:
    queries, items = draw(40, seed=1), draw(200)
    check(search(queries, items, 5, metric=metric), measure(queries, items, metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("groups", [1.5, 4, 60])
def test_no_item_of_the_querys_own_code(metric: str, groups: float) -> None:
    """Small codes, and codes of a fifth and two thirds of all items, for which more candidates must be fetched."""
    vectors = draw(600)
    codes = np.arange(600) % 60 if groups == 60 else (np.random.default_rng(5).random(600) * groups).astype(int)
    distances = measure(vectors, vectors, metric)
    distances[codes[:, None] == codes[None]] = np.inf
    check(find_neighbours(vectors, 12, metric=metric, exclude=np.array([f"model {code}" for code in codes])), distances)


def test_few_candidates_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.round(draw(200, 3))
    vectors[~vectors.any(axis=1)] = 1
    codes = np.arange(200) // 50
    whole = find_neighbours(vectors, 7, exclude=codes, seed=3)
    monkeypatch.setattr(neighbours, "ENTRIES", 300)
    monkeypatch.setattr(neighbours, "SPARE", 1)
    parts = find_neighbours(vectors, 7, exclude=codes, seed=3)
    assert (whole.indices == parts.indices).all() and (whole.drawn == parts.drawn).all()
    assert whole.drawn.any() and not whole.drawn.all()


# --- ties ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_chance_decides_among_copies(metric: str) -> None:
    """Five copies of each of 60 vectors, k = 3 of the 4 others: each is left out a quarter of the time."""
    vectors = np.repeat(draw(60), 5, axis=0)
    counts = np.zeros(300)
    for seed in range(40):
        found = find_neighbours(vectors, 3, metric=metric, seed=seed)
        assert (found.indices // 5 == np.arange(300)[:, None] // 5).all()
        assert (found.indices != np.arange(300)[:, None]).all()
        assert found.tied.all() and found.drawn.all()
        counts += np.bincount(found.indices.ravel(), minlength=300)
    assert counts.sum() == 300 * 3 * 40
    assert abs(counts.reshape(60, 5).mean(axis=0) / 120 - 1).max() < 0.05  # no copy is favoured for its place
    same = find_neighbours(vectors, 3, metric=metric, seed=39)
    assert (same.indices == found.indices).all()


def test_a_tie_that_is_wholly_returned_is_tied_and_not_drawn() -> None:
    vectors = np.array([[1.0, 0], [1, 0.1], [1, 0.1], [1, 0.5], [1, 0.6], [1, 2.0]])
    found = search(vectors[:1], vectors[1:], 2)
    assert found.tied.tolist() == [True] and found.drawn.tolist() == [False]
    assert sorted(found.indices[0]) == [0, 1]
    found = search(vectors[:1], vectors[1:], 1)
    assert found.tied.tolist() == [True] and found.drawn.tolist() == [True]
    found = search(vectors[:1], vectors[1:], 3)
    assert found.drawn.tolist() == [False] and found.indices[0, 2] == 2


@pytest.mark.parametrize("metric", METRICS)
def test_more_ties_than_first_candidates(metric: str) -> None:
    """300 copies: all must be seen before chance may choose ten of them."""
    vectors = np.repeat(draw(3), 300, axis=0)
    found = find_neighbours(vectors, 10, metric=metric)
    assert found.drawn.all() and (found.indices // 300 == np.arange(900)[:, None] // 300).all()
    counts = np.bincount(found.indices.ravel(), minlength=900)
    assert counts.min() > 0 and counts.max() < 35  # Poisson of mean 10


def test_ties_see_through_the_rounding_of_single_precision() -> None:
    """The same direction at other lengths has cosines that differ in the last digit."""
    vectors = np.concatenate([draw(1, 50) * scale for scale in np.linspace(0.1, 7, 40)] + [draw(5, 50, seed=2)])
    found = find_neighbours(vectors, 5)
    assert found.tied[:40].all() and found.drawn[:40].all()


def test_far_from_the_origin_l2_still_tells_items_apart() -> None:
    vectors = draw(50, 3) + 1000
    distances = measure(vectors, vectors, "l2")
    np.fill_diagonal(distances, np.inf)
    check(find_neighbours(vectors, 3, metric="l2"), distances)


# --- refused -------------------------------------------------------------------------------------------------------


def broken(row: int, value: float) -> np.ndarray:
    vectors = draw(9)
    vectors[row] = value
    return vectors


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_not_finite(value: float) -> None:
    with pytest.raises(CompanionError, match="vector of item 4 holds a number that is not finite"):
        find_neighbours(broken(4, value), 2)
    with pytest.raises(CompanionError, match="vector of query 4 holds a number that is not finite"):
        search(broken(4, value), draw(9), 2)


def test_zero_has_no_direction_but_a_place() -> None:
    with pytest.raises(CompanionError, match="vector of item 3 is zero"):
        find_neighbours(broken(3, 0), 2)
    assert find_neighbours(broken(3, 0), 2, metric="l2").indices.shape == (9, 2)


def test_more_neighbours_than_there_are() -> None:
    vectors, codes = draw(9), np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
    assert find_neighbours(vectors, 8).indices.shape == (9, 8)
    assert search(vectors, vectors[:4], 4).indices.shape == (9, 4)
    with pytest.raises(CompanionError, match=r"9 neighbours of query 0 are asked for, and there are 8"):
        find_neighbours(vectors, 9)
    with pytest.raises(CompanionError, match=r"6 neighbours of query 3 are asked for, and there are 5"):
        find_neighbours(vectors, 6, exclude=codes)
    assert find_neighbours(vectors, 5, exclude=codes).indices.shape == (9, 5)
    with pytest.raises(CompanionError, match="ask for at least 1"):
        find_neighbours(vectors, 0)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(CompanionError, match="queries have 5 numbers each and items 6"):
        search(draw(3, 5), draw(4), 2)
    with pytest.raises(CompanionError, match="give a row of numbers for each"):
        find_neighbours(draw(3)[0], 2)
    with pytest.raises(CompanionError, match="give a row of numbers for each"):
        find_neighbours(np.array([["a"]]), 1)
    with pytest.raises(CompanionError, match="not one for each vector"):
        find_neighbours(draw(3), 1, exclude=np.arange(2))
    with pytest.raises(CompanionError, match="no metric 'dot'"):
        find_neighbours(draw(3), 1, metric="dot")
