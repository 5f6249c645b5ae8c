"""Order, what is left out, and what is refused."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from companion.errors import CompanionError
from companion.studies.parity.own import results
from companion.studies.parity.own.audit import audit
from companion.studies.parity.own.formats import Source, open_frame, open_matrix
from companion.studies.parity.own.results import Ids, Ranking, find_codes, find_neighbours, rank_results

ITEMS = Ids(pa.array(["a", "b", "c", "d"], pa.large_string()))
QUERIES = Ids(ITEMS.ids, "query")


def rank(frame: pd.DataFrame, depths: tuple[int, ...] = (2,), **options: object) -> Ranking:
    return rank_results(find_codes(open_frame(frame), ITEMS, QUERIES), ITEMS, QUERIES, depths, **options)


def rows(text: str, **columns: object) -> pd.DataFrame:
    pairs = [word.split(">") for word in text.split()]
    return pd.DataFrame({"query": [q for q, _ in pairs], "item": [i for _, i in pairs], **columns})


def test_without_numbers_the_order_of_the_file_counts_also_where_queries_are_scattered() -> None:
    ranking = rank(rows("a>b c>a a>c c>d"))
    assert list(ranking.queries) == [0, 2]
    assert ranking.results.tolist() == [[1, 2], [0, 3]]
    assert ranking.notes == ("Results are in the order of the file.",)


def test_scores_rank_downwards_and_equal_ones_stay_in_order() -> None:
    ranking = rank(rows("a>b a>c a>d", score=[1.0, 2.0, 2.0]))
    assert ranking.results.tolist() == [[2, 3]]
    assert ranking.ties == 0.5


def test_rank_and_score_that_disagree_ask_for_the_order() -> None:
    frame = rows("a>b a>c b>a", rank=[1, 2, 1], score=[0.1, 0.9, 1.0])
    with pytest.raises(CompanionError, match="rank and score of the results disagree for 1 queries, the first 'a': "):
        rank(frame)
    assert rank(frame, order="rank").results.tolist() == [[1, 2], [0, -1]]
    assert rank(frame, order="score").results.tolist() == [[2, 1], [0, -1]]
    assert rank(frame, order="file").results.tolist() == [[1, 2], [0, -1]]
    with pytest.raises(CompanionError, match="cannot be ordered by 'distance'; it has rank, score, file"):
        rank(frame, order="distance")


def test_the_query_itself_and_its_own_kind_are_left_out_and_others_move_up() -> None:
    ranking = rank(rows("a>a a>b a>c a>d b>c"), same=(np.array([0, 0, 1, -1]), np.array([0, 0, 1, -1])))
    assert ranking.results.tolist() == [[2, 3], [2, -1]]
    assert "1 results that are the query itself are left out." in ranking.notes
    assert "1 results of the query's own kind are left out." in ranking.notes
    assert "1 of 2 queries have fewer than 2 results." in ranking.notes


def test_a_query_without_results_is_kept_and_said() -> None:
    frame = pd.DataFrame({"query": ["a", "b", "c"], "retrieved_ids": [["b", "c"], [], ["a", "d"]]})
    ranking = rank(frame)
    assert sorted(ranking.queries) == [0, 1, 2]
    assert ranking.results[list(ranking.queries).index(1)].tolist() == [-1, -1]
    assert "1 of 3 queries have no results; they are kept." in ranking.notes


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (rows("a>b a>x a>y"), "2 rows of an unknown item, the first 'x': give each a row in the table"),
        (rows("a>B "), "unknown item, the first 'B': the table has 'b', which differs in blanks or capitals only"),
        (rows("z>a"), "1 rows of an unknown query, the first 'z': queries that are no items need --query-attributes"),
        (rows("a>b a>b"), "1 results twice for one query, the first 'b' for 'a'"),
        (rows("a>b a>c", score=[1.0, np.nan]), "1 rows whose score is no number"),
        (rows("a>b"), "K = 2 is more than the results has: at most 1 results of a query"),
    ],
)
def test_bad_rows_are_one_sentence(frame: pd.DataFrame, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        rank(frame)


def test_a_row_number_outside_the_table_is_refused() -> None:
    with pytest.raises(CompanionError, match="names item number 4, but the table has 4 rows"):
        find_codes(open_matrix(np.array([[1, 4]]), "I"), ITEMS, QUERIES)
    with pytest.raises(CompanionError, match="names query number 4, but the table has 4 rows"):
        find_codes(open_matrix(np.zeros((5, 1), dtype=int), "I"), ITEMS, QUERIES)


def embeddings(vectors: np.ndarray) -> Source:
    return Source("e", lambda: iter([]), "", True, vectors)


def test_embeddings_that_are_not_one_for_each_row_are_refused() -> None:
    with pytest.raises(CompanionError, match="e has 4 vectors, but the table has 5 rows"):
        find_neighbours(embeddings(np.ones((4, 2))), 5, 2)


def test_embeddings_are_searched() -> None:
    pytest.importorskip("faiss")
    angles = np.array([0.0, 0.1, 1.0, 1.15])
    source = embeddings(np.stack([np.cos(angles), np.sin(angles)], 1))
    found = find_codes(find_neighbours(source, 4, 3), ITEMS, QUERIES)
    assert rank_results(found, ITEMS, QUERIES, (1,)).results.tolist() == [[1], [0], [3], [2]]
    apart = find_codes(find_neighbours(source, 4, 2, np.array([0, 0, -1, -1])), ITEMS, QUERIES)
    assert rank_results(apart, ITEMS, QUERIES, (1,)).results.tolist() == [[2], [2], [3], [2]]
    for bad, sentence in ((np.nan, "not finite"), (0.0, "no direction|zero|length")):
        with pytest.raises(CompanionError, match=sentence):
            find_neighbours(embeddings(np.where(np.arange(4)[:, None] == 2, bad, 1.0)), 4, 2)


def test_a_search_is_audited_with_the_chance_in_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    indices = np.array([rng.choice(np.delete(np.arange(40), place), 5, replace=False) for place in range(40)])
    monkeypatch.setattr(results, "_search", lambda *_: (indices, 0.25))
    table = pd.DataFrame({"id": range(40), "tone": ["a", "b"] * 20})
    found = audit(embeddings(rng.normal(size=(40, 3))), table, k=(5,), draws=99)
    assert found.overall["n_results"].tolist() == [200]
    assert "chance decides among equally near ones for 25.0% of them" in found.notes[0]
    with pytest.raises(CompanionError, match="Embeddings are of the items alone"):
        audit(embeddings(rng.normal(size=(40, 3))), table, query_attributes=table.rename(columns={"id": "user"}))
