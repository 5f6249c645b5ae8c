import numpy as np
import pytest

from companion.errors import CompanionError
from companion.stats.retrieval import Retrieval, make_groups

RESULTS = np.array([[1, 2], [0, -1], [0, 1]])


def test_edges_are_the_results_that_are_there() -> None:
    retrieval = Retrieval(RESULTS, 3, np.arange(3))
    rows, items = retrieval.edges()
    assert list(rows) == [0, 0, 1, 2, 2] and list(items) == [1, 2, 0, 0, 1]
    assert list(retrieval.edges(1)[1]) == [1, 0, 0]


def test_the_graph_is_symmetric_and_counts_both_directions() -> None:
    retrieval = Retrieval(RESULTS, 3, np.arange(3))
    assert retrieval.matrix.toarray().tolist() == [[0, 2, 2], [2, 0, 1], [2, 1, 0]]
    assert retrieval.reciprocity == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("results", "queries", "sentence"),
    [
        ([[3]], [0], "a result is none of the 3 items"),
        ([[1]], [5], "a query is none of the 3 items"),
        ([[0]], [0], "a query is among its own results"),
        ([[1, 1]], [0], "an item is found twice"),
        ([], [], "give a row of items"),
    ],
)
def test_what_is_no_retrieval_is_refused(results: list, queries: list, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        Retrieval(np.array(results, dtype=int), 3, np.array(queries, dtype=int))


def test_queries_that_are_no_items_have_no_graph() -> None:
    retrieval = Retrieval(RESULTS, 3)
    assert retrieval.nodes == 3
    with pytest.raises(CompanionError, match="no graph among items"):
        retrieval.matrix  # noqa: B018


def test_groups_are_counted() -> None:
    groups = make_groups([0, 2, 2, 1])
    assert list(groups.sizes) == [1, 1, 2] and list(groups.shares) == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("codes", [[0.5, 1.0], [-1, 0], [], [[0, 1]]])
def test_what_are_no_groups_is_refused(codes: list) -> None:
    with pytest.raises(CompanionError, match="whole numbers from 0 on"):
        make_groups(codes)


def test_one_group_alone_is_refused() -> None:
    with pytest.raises(CompanionError, match="all items are in one group"):
        make_groups([1, 1, 1])
