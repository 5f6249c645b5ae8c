"""Attributes become groups; ids stay as they are written."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from companion.errors import CompanionError
from companion.studies.parity.own.attributes import (
    Attribute,
    choose_attributes,
    join_codes,
    make_attribute,
    make_codes,
    open_table,
    read_table,
)

ROWS = [("01", "f", "20"), ("1", "m", ""), ("001", "", "35")]
TEXTS = {
    "items.csv": "id,sex,age\n01,f,20\n1,m,\n001,,35\n",
    "items.tsv": "id\tsex\tage\n01\tf\t20\n1\tm\t\n001\t\t35\n",
    "items.item": "item_id:token\tsex:token\tage:float\n01\tf\t20\n1\tm\t\n001\t\t35\n",
    "rows.json": json.dumps([{"id": i, "sex": s, "age": a} for i, s, a in ROWS]),
    "rows.jsonl": "\n".join(json.dumps({"id": i, "sex": s or None, "age": a}) for i, s, a in ROWS),
    "wandb.table.json": json.dumps({"columns": ["id", "sex", "age"], "data": ROWS}),
}


def one(frame: pd.DataFrame, name: str, **options: object) -> Attribute:
    return make_attribute(name, open_table(frame, {}), **options)[0]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_keeps_ids_and_what_is_missing(name: str, packed: bool, tmp_path: Path) -> None:
    file = tmp_path / (name + ".gz" * packed)
    content = TEXTS[name].encode()
    file.write_bytes(gzip.compress(content) if packed else content)
    table = open_table(read_table(file), {})
    assert table.ids.ids.to_pylist() == ["01", "1", "001"]
    sex, age = (make_attribute(each, table)[0] for each in ("sex", "age"))
    assert (sex.labels, list(sex.codes)) == (("f", "m"), [0, 1, -1])
    assert (age.labels, list(age.codes)) == (("20", "35"), [0, -1, 1])


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item": [3, 1, 2], "old": [True, False, True], "age": [1.5, np.nan, 2.5]})
    frame.to_parquet(tmp_path / "a.parquet")
    table = open_table(read_table(tmp_path / "a.parquet"), {})
    assert table.ids.ids.to_pylist() == ["3", "1", "2"]
    assert list(make_attribute("old", table)[0].codes) == [1, 0, 1]
    assert list(make_attribute("age", table)[0].codes) == [0, -1, 1]


def test_numbers_are_cut_at_quantiles_of_the_items_and_that_is_said() -> None:
    items = open_table(pd.DataFrame({"id": range(100), "age": range(100)}), {})
    queries = open_table(pd.DataFrame({"user": ["u", "v", "w"], "age": [-5, 1000, None]}), {}, "query")
    item, query = make_attribute("age", items, queries, bins=4)
    assert list(np.bincount(item.codes)) == [25, 25, 25, 25]
    assert list(query.codes) == [0, 3, -1]
    assert item.labels == ("to 24", "24 to 49", "49 to 74", "over 74")
    assert item.note == "age is cut into 4 groups at its quantiles 24, 49, 74."


@pytest.mark.parametrize("spike", [0, 50, 100])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_no_group_of_numbers_is_empty_where_many_are_alike(spike: int, share: float) -> None:
    numbers = np.where(np.arange(200) < 200 * share, spike, np.arange(200) % 101)
    found = one(pd.DataFrame({"id": range(200), "n": numbers}), "n")
    assert 2 <= len(found.labels) <= 5 and (np.bincount(found.codes, minlength=len(found.labels)) > 0).all()


def test_infinite_and_missing_numbers_are_told() -> None:
    frame = pd.DataFrame({"id": range(20), "n": np.arange(20.0)})
    frame.loc[3, "n"] = np.inf
    with pytest.raises(CompanionError, match="'n' has 1 infinite numbers"):
        one(frame, "n")
    with pytest.warns(UserWarning, match="has a group 'nan', which counts as one"):
        one(pd.DataFrame({"id": range(3), "tone": ["a", "b", "nan"]}), "tone")
    queries = open_table(pd.DataFrame({"user": range(20), "n": range(20)}), {}, "query")
    items = open_table(pd.DataFrame({"id": range(20), "n": [7] * 20}), {})
    with pytest.raises(CompanionError, match="are all alike or missing among the items"):
        make_attribute("n", items, queries)


def test_codes_with_leading_zeros_are_no_numbers() -> None:
    frame = pd.DataFrame({"id": range(24), "zip": [f"0{place % 12}" for place in range(24)]})
    assert len(one(frame, "zip").labels) == 12


def test_few_numbers_are_categories_in_their_order() -> None:
    assert one(pd.DataFrame({"id": range(4), "n": [10, 9, 10, 2]}), "n").labels == ("2", "9", "10")


def test_attributes_are_crossed() -> None:
    frame = pd.DataFrame({"id": range(5), "sex": list("fmfm") + [""], "age": ["old", "old", "young", "old", "old"]})
    crossed = one(frame, "sex x age")
    assert crossed.labels == ("f, old", "f, young", "m, old")
    assert list(crossed.codes) == [0, 2, 1, 2, -1]


def test_queries_and_items_share_their_groups() -> None:
    items = open_table(pd.DataFrame({"id": list("abc"), "sex": list("fmf")}), {})
    queries = open_table(pd.DataFrame({"user": list("xyz"), "sex": ["m", "d", ""]}), {}, "query")
    item, query = make_attribute("sex", items, queries)
    assert item.labels == query.labels == ("d", "f", "m")
    assert list(item.codes) == [1, 2, 1] and list(query.codes) == [2, 0, -1]
    mine, theirs = join_codes("sex", queries, items)
    assert mine[0] == theirs[1] and mine[2] == -1


def test_all_usable_columns_are_chosen_and_the_others_said() -> None:
    frame = {"id": range(60), "sex": list("fm") * 30, "url": [f"u{place}" for place in range(60)], "age": range(60)}
    table = open_table(pd.DataFrame(frame | {"one": 1, "brand": list("abc") * 20}), {})
    names, skipped = choose_attributes(table, (), ("brand",))
    assert names == ("sex", "age")
    assert skipped == "Not audited, since they have one value or too many: url, one."
    assert choose_attributes(table, ("url",), ()) == (("url",), "")
    with pytest.raises(CompanionError, match="No column of one has 2 to 50 groups"):
        choose_attributes(open_table(pd.DataFrame({"id": [1, 2], "one": 1}), {}), (), ())


def test_groups_that_differ_in_capitals_are_told() -> None:
    with pytest.warns(UserWarning, match="groups that differ in capitals only \\(F and f\\)"):
        one(pd.DataFrame({"id": range(3), "sex": ["F", "f ", "m"]}), "sex")


def test_a_column_of_a_million_values_is_refused_at_once() -> None:
    values = pa.array([f"v{place}" for place in range(1_000_000)], pa.large_string())
    table = open_table(pa.table({"id": values, "url": values}), {})
    with pytest.raises(CompanionError, match="'url' has 1,000,000 different values; 2 to 50 groups can be compared"):
        make_attribute("url", table)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ({"id": ["a", "b"], "sex": ["f", "f"]}, "'sex' has 1 different value; 2 to 50"),
        ({"id": ["a", "b"], "sex": ["", ""]}, "'sex' has 0 different values"),
        ({"id": ["a", "a", "b", "b"], "sex": list("fmfm")}, "has 2 ids twice or more, the first 'a'"),
        ({"id": ["a", ""], "sex": ["f", "m"]}, "has 1 rows without an id in 'id'"),
        ({"id": ["a"]}, "needs rows with an id and an attribute"),
        ({"id": [0.5, 1.5], "sex": ["f", "m"]}, "the column 'id' of item ids could not be read"),
        ({"id": ["a", "b"], "sex": [["f"], ["m"]]}, "'sex' holds lists or objects"),
        ({"id": ["a", "b"], "age": [1, 2]}, "has no column 'sex'; it has age"),
    ],
)
def test_bad_tables_are_one_sentence(frame: dict, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        one(pd.DataFrame(frame), "sex")


def test_the_id_can_be_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"sex": list("fm"), "code": ["x", "y"]})
    assert open_table(frame, {"item_id": "code"}).ids.ids.to_pylist() == ["x", "y"]
    assert list(make_codes(open_table(frame, {"item_id": "code"}), "sex")) == [0, 1]
    with pytest.raises(CompanionError, match="There is no file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_bytes(b"id,sex\n1,\xff\n")
    with pytest.raises(CompanionError, match="could not be read"):
        read_table(tmp_path / "bad.csv")
