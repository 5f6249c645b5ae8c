"""Every format in its native layout gives the same ranking."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from companion.errors import CompanionError
from companion.studies.parity.own.formats import Source, find_columns, open_frame, open_results
from companion.studies.parity.own.results import Ids, find_codes, rank_results

FOUND = {"001": {"02": 3.0, "003": 2.5, "4": 1.0}, "02": {"4": 9.0, "001": 8.0}, "4": {"003": 0.5, "02": 0.25}}
ITEMS = ["001", "02", "003", "4"]
RANKING = {"001": ["02", "003", "4"], "02": ["4", "001"], "4": ["003", "02"]}
ROWS = [
    (query, item, rank, score) for query, found in FOUND.items() for rank, (item, score) in enumerate(found.items(), 1)
]


def read(source: Source, ids: list[str] = ITEMS) -> dict[str, list[str]]:
    items = Ids(pa.array(ids, pa.large_string()))
    found = find_codes(source, items, Ids(items.ids, "query"))
    ranking = rank_results(found, items, items, (3,))
    return {
        ids[query]: [ids[item] for item in row if item >= 0]
        for query, row in zip(ranking.queries, ranking.results, strict=True)
    }


def lines(pattern: str, header: str = "") -> bytes:
    made = [pattern.format(q=q, i=i, r=r, s=s) for q, i, r, s in ROWS]
    return ("\n".join([header, *made] if header else made) + "\n").encode()


TEXTS = {
    "run.trec": lines("{q} Q0 {i} {r} {s} tag"),
    "tabs.run": lines("{q}\tQ0\t{i}\t{r}\t{s}\ttag"),
    "mixed.run": lines("{q}  Q0\t{i}   {r} {s} tag"),
    "marco.tsv": lines("{q}\t{i}\t{r}"),
    "terrier.csv": lines("{q},{i},{r},{s}", "qid,docno,rank,score"),
    "measures.csv": lines("{q};{i};{s}", "query_id;doc_id;score"),
    "recbole.inter": lines("{q}\t{i}\t{s}", "user_id:token\titem_id:token\trating:float"),
    "crlf.csv": lines("{q},{i},{r}", "query,item,rank").replace(b"\n", b"\r\n"),
    "quoted.csv": lines('"{q}","{i}",{r}', '"query","item","rank"'),
    "beir.json": json.dumps(FOUND).encode(),
    "rows.jsonl": b"\n".join(json.dumps({"q_id": q, "doc_id": i, "score": s}).encode() for q, i, _, s in ROWS),
    "lists.json": json.dumps([{"query": q, "retrieved_ids": found} for q, found in RANKING.items()]).encode(),
    "wandb.table.json": json.dumps({"columns": ["query", "item", "rank"], "data": [r[:3] for r in ROWS]}).encode(),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_text_format_gives_the_same_ranking(name: str, packed: bool, tmp_path: Path) -> None:
    file = tmp_path / (name + ".gz" * packed)
    file.write_bytes(gzip.compress(TEXTS[name]) if packed else TEXTS[name])
    assert read(open_results(file)) == RANKING


def test_ranx_in_lz4(tmp_path: Path) -> None:
    with pa.output_stream(str(tmp_path / "run.lz4"), compression="lz4") as stream:
        stream.write(json.dumps(FOUND).encode())
    assert read(open_results(tmp_path / "run.lz4")) == RANKING


FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "ranx": lambda: pd.DataFrame(ROWS, columns=["q_id", "doc_id", "r", "score"]).drop(columns="r"),
    "lenskit": lambda: pd.DataFrame(ROWS, columns=["user_id", "item_id", "rank", "score"]),
    "llama_index": lambda: pd.DataFrame({"query": list(RANKING), "retrieved_ids": list(RANKING.values())}),
    "shuffled": lambda: pd.DataFrame(ROWS, columns=["qid", "docno", "rank", "score"]).sample(frac=1, random_state=0),
    "distances": lambda: pd.DataFrame(ROWS, columns=["query", "item", "rank", "s"]).assign(
        distance=lambda frame: -frame["s"]
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_every_table_gives_the_same_ranking_from_parquet_and_from_memory(name: str, tmp_path: Path) -> None:
    FRAMES[name]().to_parquet(tmp_path / "run.parquet")
    assert read(open_results(tmp_path / "run.parquet")) == RANKING
    assert read(open_frame(FRAMES[name]())) == RANKING


def test_whole_numbers_are_ids_too() -> None:
    frame = pd.DataFrame({"user": [1, 1, 2], "item": [2.0, 3.0, 1.0], "rank": [1, 2, 1]})
    items = Ids(pa.array(["1", "2", "3"], pa.large_string()))
    assert list(find_codes(open_frame(frame), items, items).items) == [1, 2, 0]


def test_a_matrix_of_faiss_is_read_by_position_and_its_holes_are_dropped(tmp_path: Path) -> None:
    matrix = np.array([[0, 1, 2, 3], [3, 1, 0, -1], [-1, -1, -1, -1], [2, 3, 1, -1]])
    np.save(tmp_path / "I.npy", matrix)
    (tmp_path / "J.npy.gz").write_bytes(gzip.compress((tmp_path / "I.npy").read_bytes()))
    for name in ("I.npy", "J.npy.gz"):
        found = read(open_results(tmp_path / name))
        assert found == RANKING | {"003": []}


def test_embeddings_are_told_from_results(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "e.npy", vectors)
    save_file({"embeddings": vectors}, tmp_path / "e.safetensors")
    head = b"IxFI" + (3).to_bytes(4, "little") + (4).to_bytes(8, "little") + (1 << 20).to_bytes(8, "little") * 2
    flat = head + b"\1" + (0).to_bytes(4, "little") + (12).to_bytes(8, "little") + vectors.tobytes()
    (tmp_path / "e.index").write_bytes(flat)
    for name in ("e.npy", "e.safetensors", "e.index"):
        source = open_results(tmp_path / name)
        assert source.vectors is not None
        np.testing.assert_array_equal(source.vectors, vectors)


def test_the_mapping_is_told_and_can_be_chosen(tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    file.write_text("who,what,when\n001,02,1\n", encoding="utf-8")
    with pytest.raises(CompanionError, match="no column for the query among who, what, when; use --columns query=COL"):
        open_results(file)
    source = open_results(file, {"query": "who", "item": "what"})
    assert source.mapping == "query = who, item = what"
    assert read_small(source) == {"001": ["02"]}


def read_small(source: Source) -> dict[str, list[str]]:
    items = Ids(pa.array(ITEMS, pa.large_string()))
    ranking = rank_results(find_codes(source, items, items), items, items, (1,))
    return {ITEMS[q]: [ITEMS[i] for i in row] for q, row in zip(ranking.queries, ranking.results, strict=True)}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.csv", b"", "empty or begins with an empty line"),
        ("nothing.csv", b"query,item,rank\n", "has no rows"),
        ("latin.csv", "query,item\n\xe4,b\n".encode("latin-1"), "could not be read"),
        ("ragged.csv", b"query,item\n1,2\n1,2,3\n", "could not be read"),
        ("words.csv", b"query,item,rank\n001,02,first\n", "could not be read"),
        ("broken.json", b"{", "could not be read"),
        ("deep.json", b"[" * 100_000, "could not be read"),
        ("words.json", b'{"001": {"02": "high"}}', "could not be read"),
        ("nested.json", b'[{"query": "001", "item": {"a": 1}}]', "could not be read"),
        ("halves.json", b'[{"query": 1.5, "item": "02"}]', "could not be read"),
        ("nobody.json", b'[{"query": null, "item": "02"}]', "1 rows of an unknown query, the first 'None'"),
        ("twice.csv", b"query,item,item\n001,02,02\n", "two columns called 'item'"),
        ("numbers.json", b"[1, 2]", "holds neither rows nor a score"),
        ("run.parquet", b"PAR1", "could not be read"),
        ("run.npy", b"\x93NUMPY", "could not be read"),
        ("pickled.npy", None, "could not be read"),
        ("flat.npy", None, "holds an array of shape"),
        ("e.safetensors", b"nonsense", "is no safetensors file"),
        ("e.faiss", b"IwFl", "is no flat index of faiss"),
        ("torn.csv.gz", gzip.compress(b"query,item\n" + b"1,2\n" * 999, mtime=0)[:40], "could not be read"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(name: str, content: bytes | None, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if content is None:
        np.save(file, np.array([{}]) if name == "pickled.npy" else np.zeros(3), allow_pickle=True)
    else:
        file.write_bytes(content)
    with pytest.raises(CompanionError, match=sentence) as error:
        read(open_results(file))
    assert "\n" not in str(error.value)


def test_a_missing_file_and_an_unknown_role_are_told(tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="There is no file"):
        open_results(tmp_path / "none.csv")
    with pytest.raises(CompanionError, match="no role 'colour'"):
        find_columns(["a"], {"colour": "a"}, "x")
    with pytest.raises(CompanionError, match="has no column 'b'; its columns are a"):
        find_columns(["a"], {"query": "b"}, "x")
