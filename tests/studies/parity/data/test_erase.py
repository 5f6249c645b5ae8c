import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from companion.errors import CompanionError
from companion.studies.parity.data.erase import fit_class_means, fit_leace

FITS = (fit_class_means, fit_leace)


def draw(count: int = 300, width: int = 8, groups: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors with unequal spread whose groups differ in their means, and in their spread, which is not linear."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, groups, count)
    labels[:groups] = np.arange(groups)
    means = generator.normal(0, 2, (groups, width))
    spread = generator.normal(0, 1, (width, width))
    return (generator.normal(0, 1, (count, width)) * (1 + labels[:, None])) @ spread + means[labels], labels


def means(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([vectors[labels == label].mean(axis=0) for label in np.unique(labels)])


@pytest.mark.parametrize("fit", FITS)
@given(count=st.integers(40, 120), width=st.integers(2, 12), groups=st.integers(2, 5), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_the_groups_have_one_mean_afterwards(fit, count: int, width: int, groups: int, seed: int) -> None:
    vectors, labels = draw(count, width, groups, seed)
    eraser = fit(vectors, labels)
    erased = eraser.erase(vectors)
    assert 1 <= eraser.rank <= min(groups - 1, width)
    np.testing.assert_allclose(means(erased, labels), np.tile(means(erased, labels)[:1], (groups, 1)), atol=1e-8)
    np.testing.assert_allclose(eraser.erase(erased), erased, atol=1e-8)  # twice is once
    assert np.linalg.matrix_rank(erased - erased.mean(axis=0), tol=1e-7) == max(width - eraser.rank, 0)
    if fit is fit_leace:
        np.testing.assert_allclose(erased.mean(axis=0), vectors.mean(axis=0), atol=1e-8)


@pytest.mark.parametrize("fit", FITS)
def test_a_linear_classifier_is_at_chance_on_what_it_was_fitted_on(fit) -> None:
    vectors, labels = draw(600, groups=2)
    before = LogisticRegression(max_iter=2000).fit(vectors, labels).score(vectors, labels)
    erased = fit(vectors, labels).erase(vectors)
    model = LogisticRegression(max_iter=2000, tol=1e-10).fit(erased, labels)
    largest = np.bincount(labels).max() / len(labels)
    assert before > 0.75
    assert abs(model.coef_).max() < 1e-3 and abs(model.score(erased, labels) - largest) < 1e-9


def test_what_is_not_linear_is_left() -> None:
    vectors, labels = draw(2000, groups=2)
    erased = fit_leace(vectors, labels).erase(vectors)
    sizes = (erased**2).sum(axis=1)
    assert sizes[labels == 1].mean() > 2 * sizes[labels == 0].mean()


def test_leace_moves_the_vectors_less_than_any_other_way_to_the_same_end() -> None:
    """Taking out the means' difference at a right angle is one such way."""
    vectors, labels = draw(400, groups=2, seed=3)
    plain, leace = (((fit(vectors, labels).erase(vectors) - vectors) ** 2).sum() for fit in FITS)
    assert leace < plain


def test_leace_of_a_number_leaves_no_correlation() -> None:
    vectors, _ = draw(300)
    angle = vectors @ np.random.default_rng(1).normal(size=8) + np.random.default_rng(2).normal(size=300)
    erased = fit_leace(vectors, angle[:, None]).erase(vectors)
    assert abs(np.corrcoef(erased.T, angle)[-1, :-1]).max() < 1e-8


def test_leace_with_more_numbers_than_vectors() -> None:
    """As for 1,280 features of few pictures: the vectors span less than their space."""
    vectors, labels = draw(30, width=100, groups=2)
    eraser = fit_leace(vectors, labels)
    erased = eraser.erase(vectors)
    assert eraser.rank == 1 and np.isfinite(erased).all()
    np.testing.assert_allclose(*means(erased, labels), atol=1e-8)


def test_one_direction_from_the_two_ends_leaves_the_rest_of_the_groups_apart() -> None:
    vectors, labels = draw(500, groups=5)
    ends = np.select([labels == 0, labels == 4], [0, 1], -1)
    one, all_of_them = fit_class_means(vectors, ends), fit_class_means(vectors, labels)
    assert (one.rank, all_of_them.rank) == (1, 4)
    left = means(one.erase(vectors), labels)
    np.testing.assert_allclose(left[0], left[4], atol=1e-8)
    assert abs(left[2] - left[0]).max() > 0.1


@pytest.mark.parametrize("fit", FITS)
def test_others_than_those_it_was_fitted_on(fit) -> None:
    vectors, labels = draw(4000, groups=2)
    erased = fit(vectors[:2000], labels[:2000]).erase(vectors[2000:])
    one, other = means(erased, labels[2000:])
    before = np.linalg.norm(np.subtract(*means(vectors, labels)))
    assert np.linalg.norm(one - other) < 0.25 * before


@pytest.mark.parametrize("fit", FITS)
def test_mistakes(fit) -> None:
    vectors, labels = draw()
    with pytest.raises(CompanionError, match="fewer than two groups"):
        fit(vectors, np.zeros(300, dtype=int))
    with pytest.raises(CompanionError, match="fewer than two groups"):
        fit(vectors, np.where(labels, -1, 0))
    with pytest.raises(CompanionError, match=r"give \(n, d\) and \(n,\)"):
        fit(vectors, labels[:-1])
    with pytest.raises(CompanionError, match=r"give \(n, d\) and \(n,\)"):
        fit(np.where(vectors > 0, np.nan, vectors), labels)
    with pytest.raises(CompanionError, match="fitted on 8 numbers each"):
        fit(vectors, labels).erase(vectors[:, :7])
    with pytest.raises(CompanionError, match="constant or not one row"):
        fit_leace(vectors, np.ones((300, 1)))
