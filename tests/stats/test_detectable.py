import numpy as np
import pytest
from graphs import popular_results, random_results

from companion.errors import CompanionError
from companion.stats.detectable import bias_from_spread, catalogue_needed, detectable_bias
from companion.stats.join_moments import centred_kernel, join_moments
from companion.stats.retrieval import Retrieval, make_groups


def test_two_groups_of_any_shares_have_one_limit() -> None:
    expected = 2.4865 * np.sqrt(1 / 10_000)
    for share in (0.5, 0.2, 0.05):
        assert detectable_bias(1000, 10, [share, 1 - share]) == pytest.approx(expected, rel=1e-3)


def test_reciprocity_and_groups_count() -> None:
    assert detectable_bias(1000, 10, [0.5, 0.5], reciprocity=1) == pytest.approx(
        np.sqrt(2) * detectable_bias(1000, 10, [0.5, 0.5])
    )
    assert detectable_bias(1000, 10, [0.25] * 4) < detectable_bias(1000, 10, [0.5, 0.5])


@pytest.mark.parametrize("make", [random_results, popular_results])
@pytest.mark.parametrize("shares", [(400, 100), (300, 150, 50)])
def test_the_plan_is_near_the_exact_spread(make, shares: tuple[int, ...]) -> None:
    generator = np.random.default_rng(4)
    retrieval: Retrieval = make(generator, 500, 10)
    groups = make_groups(generator.permutation(np.repeat(np.arange(len(shares)), shares)))
    exact = join_moments(retrieval, groups, centred_kernel(groups.shares)).scale(1 / 5000)
    planned = detectable_bias(500, 10, groups.shares, retrieval.reciprocity)
    assert planned == pytest.approx(bias_from_spread(np.sqrt(exact.variance), 1 - (groups.shares**2).sum()), rel=0.1)


def test_a_quarter_of_the_bias_needs_sixteen_times_the_items() -> None:
    assert catalogue_needed(1000, 0.04, 0.01) == 16_000
    with pytest.raises(CompanionError, match="above 0"):
        catalogue_needed(1000, 0.04, 0.0)


@pytest.mark.parametrize(
    "change", [{"queries": 0}, {"depth": 0}, {"reciprocity": 2.0}, {"power": 0.01}, {"alpha": 0.0}]
)
def test_what_is_no_plan_is_refused(change: dict) -> None:
    with pytest.raises(CompanionError, match="no plan has"):
        detectable_bias(**({"queries": 10, "depth": 5, "shares": [0.5, 0.5]} | change))


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.6], [1.2, -0.2], [[0.5, 0.5]]])
def test_shares_that_are_none_are_refused(shares: list) -> None:
    with pytest.raises(CompanionError, match="must be positive and sum to 1"):
        detectable_bias(10, 5, shares)
