import json
from pathlib import Path

import pytest

from companion.errors import CompanionError
from companion.show.outputs import Legend, check_outputs, natural_key, read_outputs, write_output
from companion.show.provenance import Provenance

PROVENANCE = Provenance("explanations", "quick", ("b", "a"), "abc1234")


def written(folder: Path, name: str = "T1", content: bytes = b"x") -> tuple[Path, ...]:
    return write_output(folder, name, {"csv": content, "md": b"y"}, Legend("table", "caption", "note"), PROVENANCE)


def test_output_and_sidecar_are_written_and_read_back(tmp_path: Path) -> None:
    paths = written(tmp_path / "größe mit leer")
    assert [path.name for path in paths] == ["T1.csv", "T1.md"]
    [output] = read_outputs(tmp_path / "größe mit leer")
    assert (output.name, output.kind, output.caption, output.note) == ("T1", "table", "caption", "note")
    assert output.provenance == Provenance("explanations", "quick", ("a", "b"), "abc1234")
    assert set(output.files) == {"T1.csv", "T1.md"}
    assert check_outputs(tmp_path / "größe mit leer") == []


def test_nothing_but_the_outputs_is_left(tmp_path: Path) -> None:
    written(tmp_path)
    written(tmp_path, content=b"second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["T1.csv", "T1.md", "T1.provenance.json"]
    assert (tmp_path / "T1.csv").read_bytes() == b"second"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "a\n"])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(CompanionError, match="no name for an output"):
        written(tmp_path, name)


def test_check_finds_changed_missing_and_damaged_files(tmp_path: Path) -> None:
    changed, missing = written(tmp_path)
    changed.write_bytes(b"other")
    missing.unlink()
    (tmp_path / "T2.provenance.json").write_text("{")
    problems = check_outputs(tmp_path)
    assert len(problems) == 3
    assert "T1.csv was changed" in problems[0]
    assert "T1.md is missing" in problems[1]
    assert "T2.provenance.json is damaged" in problems[2]


def test_a_sidecar_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    written(tmp_path)
    sidecar = tmp_path / "T1.provenance.json"
    page = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(page | {"files": {"../../secret.txt": "0"}}))
    assert list(read_outputs(tmp_path)[0].files) == ["secret.txt"]


@pytest.mark.parametrize("damage", ["[]", '{"name": 1}', "\xff", '{"files": null}', "[" * 100_000])
def test_a_damaged_sidecar_is_one_sentence(tmp_path: Path, damage: str) -> None:
    (tmp_path / "T1.provenance.json").write_bytes(damage.encode("latin-1"))
    with pytest.raises(CompanionError, match="damaged"):
        read_outputs(tmp_path)


@pytest.mark.parametrize(
    "change", [{"name": [1]}, {"caption": 5}, {"table": "cells"}, {"runs": {"a": 1}}, {"kind": None}]
)
def test_a_sidecar_with_fields_of_another_kind_is_damaged(tmp_path: Path, change: dict[str, object]) -> None:
    written(tmp_path)
    sidecar = tmp_path / "T1.provenance.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | change))
    assert "T1.provenance.json is damaged" in check_outputs(tmp_path)[0]


def test_numbers_in_names_sort_as_numbers() -> None:
    assert sorted(["F10", "F2_b", "F2_a", "T1"], key=natural_key) == ["F2_a", "F2_b", "F10", "T1"]
    long = "1" * 5000
    assert sorted([f"a{long}", "a2", "a02", "b", "a10"], key=natural_key) == ["a2", "a02", "a10", f"a{long}", "b"]
