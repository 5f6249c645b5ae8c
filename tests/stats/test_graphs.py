import numpy as np
import pytest

from companion.stats.graphs import GRAPHS, find_repeats, make_retrieval


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_query_has_its_results(graph) -> None:
    retrieval = make_retrieval(np.random.default_rng(0), graph, 60, 7)
    assert retrieval.results.shape == (60, 7) and (retrieval.results >= 0).all()
    again = make_retrieval(np.random.default_rng(0), graph, 60, 7)
    assert (retrieval.results == again.results).all()


def test_neighbours_are_mutual_and_popular_items_are_found_by_many() -> None:
    found = {graph: make_retrieval(np.random.default_rng(1), graph, 400, 10) for graph in GRAPHS}
    assert found["near_low"].reciprocity > 0.6 > found["random"].reciprocity
    spread = {graph: np.bincount(one.results.ravel(), minlength=400).var() for graph, one in found.items()}
    assert spread["hubs"] > 5 * spread["random"] and spread["near_high"] > 5 * spread["random"]


def test_items_of_a_block_find_each_other() -> None:
    blocks = np.arange(80) // 4
    retrieval = make_retrieval(np.random.default_rng(2), "near_low", 80, 3, blocks)
    same = (blocks[retrieval.results] == blocks[:, None]).mean()
    assert same > 0.3


def test_repeats_are_found_and_what_is_kept_stays() -> None:
    results = np.array([[0, 2, 3], [2, 2, 4], [1, 1, 3]])
    drawn = np.array([[True, True, True], [False, True, True], [True, False, True]])
    assert find_repeats(results, drawn).tolist() == [[True, False, False], [False, True, False], [True, False, False]]
