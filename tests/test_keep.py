"""Results outlive the machine: what is new is copied, what is lost is fetched, one bad file keeps no other from it."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import keep

    return keep


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    here, kept = tmp_path / "ein Ordner", tmp_path / "mounted"
    (here / "paper" / "records").mkdir(parents=True)
    (here / "paper" / "records" / "0a.safetensors").write_bytes(b"one")
    (here / "paper" / "claims.md").write_text("undecided")
    for name in (".lock", "0b.safetensors.1.tmp", "1_data.running.ipynb"):
        (here / "paper" / name).write_text("of this process")
    return here, kept


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_new_or_changed_is_saved_once(keep, folders) -> None:
    here, kept = folders
    assert keep.save(here, kept) == 2
    assert contents(kept) == {"paper/records/0a.safetensors": b"one", "paper/claims.md": b"undecided"}
    assert keep.save(here, kept) == 0
    claims = here / "paper" / "claims.md"
    claims.write_text("SUPPORTED")
    os.utime(claims, (time.time() + 10,) * 2)
    assert keep.save(here, kept) == 1
    assert (kept / "paper" / "claims.md").read_text() == "SUPPORTED"


def test_a_new_machine_fetches_what_it_lacks_and_overwrites_nothing(keep, folders, tmp_path: Path) -> None:
    here, kept = folders
    keep.save(here, kept)
    fresh = tmp_path / "a new machine"
    (fresh / "paper").mkdir(parents=True)
    (fresh / "paper" / "claims.md").write_text("its own")
    assert keep.fetch(fresh, kept) == 1
    assert contents(fresh) == {"paper/records/0a.safetensors": b"one", "paper/claims.md": b"its own"}
    assert keep.fetch(fresh, tmp_path / "nothing there") == 0


def test_a_file_that_can_not_be_copied_is_told_and_tried_again(
    keep, folders, capsys: pytest.CaptureFixture[str]
) -> None:
    here, kept = folders
    (kept / "paper" / "claims.md.tmp").mkdir(parents=True)
    assert keep.save(here, kept) == 1
    assert "claims.md was not copied to" in capsys.readouterr().err
    (kept / "paper" / "claims.md.tmp").rmdir()
    assert keep.save(here, kept) == 1


def test_one_thread_keeps_a_folder(keep, folders, monkeypatch: pytest.MonkeyPatch) -> None:
    here, kept = folders
    monkeypatch.setattr(keep, "SECONDS", 0.05)
    thread = keep.keep(here, kept)
    assert keep.keep(here, kept) is thread and thread.daemon
    deadline = time.monotonic() + 10
    while len(contents(kept)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(contents(kept)) == 2
    assert threading.active_count() >= 2


def test_checkpoints_are_kept_until_the_record_of_their_run_is(
    keep, folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, kept = folders
    records = here / "paper" / "records"
    (records / "checkpoints").mkdir()
    checkpoint = records / "checkpoints" / "0b.safetensors"
    copy = kept / checkpoint.relative_to(here)
    checkpoint.write_bytes(b"step 10")
    keep.save(here, kept)
    assert copy.read_bytes() == b"step 10"
    checkpoint.write_bytes(b"step 20")
    os.utime(checkpoint, (time.time() + 10,) * 2)
    emptied = []
    monkeypatch.setattr(os, "truncate", lambda path, size: emptied.append((path, size)))
    assert keep.save(here, kept) == 1 and copy.read_bytes() == b"step 20"
    assert keep.fetch(tmp_path / "another machine", kept) == 3
    checkpoint.unlink()
    keep.save(here, kept)
    assert copy.exists(), "without its record, what is gone here may be all there is"
    (records / "0b.safetensors").write_bytes(b"record")
    keep.save(here, kept)
    assert not copy.exists() and (kept / "paper" / "records" / "0b.safetensors").exists()
    assert emptied[0] == emptied[-1] == (copy, 0), "a replaced and a removed file take no room in the bin of Drive"


@pytest.mark.parametrize("arguments", [(), ("one",), ("one", "two", "--once")])
def test_a_wrong_call_is_told(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, str(ROOT / "tools" / "keep.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "keep.py FOLDER KEPT" in done.stderr
