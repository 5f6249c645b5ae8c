import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from companion.errors import CompanionError
from companion.studies.explanations.own.table import Labelled, read_labelled

COLUMNS = {"text": "answer", "label": "verdict", "explanation": "why"}
PLAIN = {"text": "answer", "label": "verdict"}
ROWS = [
    {"answer": "It  works.", "verdict": "good", "why": "Says\nso."},
    {"answer": "Banana.", "verdict": "bad", "why": ""},
    {"answer": "It may.", "verdict": "good", "why": "NA"},
]


def written(folder: Path, ending: str, rows: list[dict[str, object]] = ROWS) -> str:
    file, table = folder / f"rows{ending}", pd.DataFrame(rows)
    if ending == ".parquet":
        table.to_parquet(file)
    elif ending == ".jsonl":
        table.to_json(file, orient="records", lines=True)
    elif ending == ".json":
        table.to_json(file, orient="records")
    else:
        table.to_csv(file, index=False, sep="\t" if ending == ".tsv" else ",")
    return str(file)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str):
    found = read_labelled(written(tmp_path, ending), COLUMNS)
    assert found.labels == ("bad", "good")
    assert found.rows.to_dict("list") == {
        "text": ["It works.", "Banana.", "It may."],
        "label": [2, 1, 2],
        "explanation": ["Says so.", "", "NA"],
        "group": ["It works.", "Banana.", "It may."],
    }


def labels_of(folder: Path, *given: object, labels: tuple[str, ...] = ()) -> Labelled:
    rows = [{"answer": f"text {place}", "verdict": label} for place, label in enumerate(given)]
    return read_labelled(written(folder, ".parquet", rows), PLAIN, labels)


def test_numbers_are_ordered_by_size(tmp_path: Path):
    assert labels_of(tmp_path, 10, 9, 1).labels == ("1", "9", "10")
    assert labels_of(tmp_path, 1.5, 1.0, 3.0).labels == ("1", "1.5", "3")


def test_named_labels_keep_their_order_even_where_one_is_not_used(tmp_path: Path):
    with pytest.warns(UserWarning, match="has no row with the label fair; it can be answered all the same"):
        found = labels_of(tmp_path, "poor", "fine", labels=("poor", "fair", "fine"))
    assert found.labels == ("poor", "fair", "fine") and list(found.rows["label"]) == [1, 3]


def test_labels_that_differ_in_capitals_only_are_told(tmp_path: Path):
    with pytest.warns(UserWarning, match=r"differ in capitals only \(Good and good\); each counts"):
        assert labels_of(tmp_path, "good", "bad", "Good").labels == ("bad", "Good", "good")


@pytest.mark.parametrize(
    ("given", "labels", "message"),
    [
        (["yes", "yes"], (), "1 different label \\(yes\\); 2 to 20"),
        ([str(n) for n in range(21)], (), "21 different labels"),
        (["yes", "maybe"], ("yes", "no"), "outside the set yes, no: maybe"),
        (["yes", "x" * 60], (), "is a text"),
    ],
)
def test_labels_that_cannot_be_told_apart(tmp_path: Path, given: list[str], labels: tuple[str, ...], message: str):
    with pytest.raises(CompanionError, match=message):
        labels_of(tmp_path, *given, labels=labels)


def test_unknown_columns_are_named_with_those_there_are(tmp_path: Path):
    with pytest.raises(CompanionError, match="no column 'reason'; its columns are answer, verdict, why"):
        read_labelled(written(tmp_path, ".csv"), PLAIN | {"explanation": "reason"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.xlsx", b"", "none of the formats"),
        ("rows.csv", b"", "could not be read as csv: it is empty"),
        (
            "rows.csv",
            b"answer;verdict\nopen;1\n",
            "no column .*; its columns are answer;verdict. .* save it with commas",
        ),
        ("rows.csv", b"answer,verdict\n", "has no rows"),
        ("rows.csv", b'answer,verdict\n"open,1\n', "could not be read as csv"),
        ("rows.csv", b"answer,verdict\n\xff\xfe,1\n", "could not be read as csv: it is not in UTF-8"),
        ("rows.parquet", b"PAR1", "could not be read as parquet"),
        ("rows.json", b"[1, 2]", "no column"),
        ("rows.json", b"{", "could not be read as json"),
        ("rows.jsonl", b"{}\n[\n", "has no rows"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_get_a_sentence(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CompanionError, match=message):
        read_labelled(str(tmp_path / name), PLAIN)


def test_a_few_malformed_lines_are_left_out_and_told(tmp_path: Path):
    good = [json.dumps({"answer": f"text {n}", "verdict": n % 2}) for n in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([*good[:10], "{oops", *good[10:], json.dumps({"answer": "", "verdict": 1})]))
    with pytest.warns(UserWarning) as told:
        found = read_labelled(str(file), PLAIN)
    assert len(found.rows) == 40
    messages = [str(one.message) for one in told]
    assert any("are no JSON objects (rows 11)" in message for message in messages)
    assert any("have no text or no label (rows 41)" in message for message in messages)


def test_too_many_malformed_lines_are_an_error(tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(['{"answer": "a", "verdict": 1}'] * 20 + ["{"] * 6))
    with pytest.raises(CompanionError, match="6 of 26 rows"):
        read_labelled(str(file), PLAIN)


@pytest.mark.parametrize(
    ("data", "revision", "message"),
    [
        ("nothing.csv", None, "no file nothing.csv; give the path of a table"),
        ("owner/name", None, "pinned revision"),
        ("owner/name", "main", "pinned revision"),
        ("owner/name", "a" * 40, "could not be fetched"),
    ],
)
def test_what_is_not_there_gets_a_sentence(data: str, revision: str | None, message: str):
    with pytest.raises(CompanionError, match=message):
        read_labelled(data, COLUMNS, revision=revision)


def test_the_digest_is_that_of_the_bytes_read(tmp_path: Path):
    for ending in (".csv", ".jsonl"):
        file = written(tmp_path, ending)
        assert read_labelled(file, COLUMNS).digest == hashlib.sha256(Path(file).read_bytes()).hexdigest()


def test_a_revision_beside_a_file_is_refused(tmp_path: Path):
    with pytest.raises(CompanionError, match="only a data set of the hub has a revision"):
        read_labelled(written(tmp_path, ".csv"), COLUMNS, revision="0" * 40)


def test_nesting_without_end_is_one_sentence(tmp_path: Path):
    file = tmp_path / "rows.json"
    file.write_text("[" * 100_000)
    with pytest.raises(CompanionError, match="could not be read as json"):
        read_labelled(str(file), COLUMNS)
