import numpy as np
import pytest

from companion.errors import CompanionError
from companion.stats.detectable import bias_from_spread, catalogue_needed, detectable_bias
from companion.stats.graphs import Graph, make_retrieval
from companion.stats.joins import count_joins
from companion.stats.relabelling import Exchange, Relabelling
from companion.studies.parity.simulation.bias import draw_groups


def test_two_groups_of_any_shares_have_one_limit() -> None:
    expected = 2.4865 * np.sqrt((1 - 10 / 999) / 10_000)
    for share in (0.5, 0.2, 0.05):
        assert detectable_bias(1000, 10, [share, 1 - share]) == pytest.approx(expected, rel=1e-3)


def test_reciprocity_and_groups_count() -> None:
    assert detectable_bias(100_000, 10, [0.5, 0.5], reciprocity=1) == pytest.approx(
        np.sqrt(2) * detectable_bias(100_000, 10, [0.5, 0.5]), rel=1e-3
    )
    assert detectable_bias(1000, 10, [0.25] * 4) < detectable_bias(1000, 10, [0.5, 0.5])


@pytest.mark.parametrize(("graph", "tolerance"), [("random", 0.03), ("near_low", 0.03), ("hubs", 0.12)])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.2), (0.6, 0.3, 0.1)])
def test_the_plan_is_near_the_spread_of_relabellings(graph: Graph, tolerance: float, shares: tuple[float, ...]) -> None:
    generator, items, depth = np.random.default_rng(4), 200, 10
    room, spreads, mutual = 1 - sum(share**2 for share in shares), [], []
    for _ in range(20):
        retrieval, groups = make_retrieval(generator, graph, items, depth), draw_groups(generator, shares, items)
        drawn = count_joins(retrieval, groups, Relabelling(groups, Exchange(), generator), 499)
        spreads.append(drawn.weigh(np.ones(1)).centred[1:].std())
        mutual.append(retrieval.reciprocity)
    planned = detectable_bias(items, depth, shares, float(np.mean(mutual)))
    exact = bias_from_spread(float(np.mean(spreads)), room)
    assert planned == pytest.approx(exact, rel=tolerance)
    assert graph != "hubs" or planned > exact


def test_a_quarter_of_the_bias_needs_sixteen_times_the_items() -> None:
    assert catalogue_needed(1000, 0.04, 0.01) == 16_000
    with pytest.raises(CompanionError, match="above 0"):
        catalogue_needed(1000, 0.04, 0.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"items": 0}, "reveals nothing"),
        ({"depth": 0}, "take K from 1 to 8"),
        ({"depth": 9}, "reveals nothing"),
        ({"reciprocity": 2.0}, "no plan has"),
        ({"power": 0.01}, "no plan has"),
        ({"alpha": 0.0}, "no plan has"),
    ],
)
def test_what_is_no_plan_is_refused(change: dict, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        detectable_bias(**({"items": 10, "depth": 5, "shares": [0.5, 0.5]} | change))


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.6], [1.2, -0.2], [[0.5, 0.5]]])
def test_shares_that_are_none_are_refused(shares: list) -> None:
    with pytest.raises(CompanionError, match="must be positive and sum to 1"):
        detectable_bias(10, 5, shares)
