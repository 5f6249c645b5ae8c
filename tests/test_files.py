"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest

from companion.errors import CompanionError
from companion.files import whole_folder, write_whole


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CompanionError, match="No space left"):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompanionError, match="could not be written"):
        write_whole(tmp_path / "file" / "a", b"")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "deep" / "made") as working:
        (working / "a").touch()
        assert not (tmp_path / "deep" / "made").exists()
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "deep" / "other") as working:
        (working / "a").touch()
        raise RuntimeError("stop")
    with (
        pytest.raises(CompanionError, match="could not be written"),
        whole_folder(tmp_path / "deep" / "made") as working,
    ):
        (working / "b").touch()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]
    assert [path.name for path in (tmp_path / "deep" / "made").iterdir()] == ["a"]
