import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companion.errors import CompanionError
from companion.runs.lock import folder_lock
from companion.runs.spec import spec_id
from companion.runs.store import DTYPES, Store


@dataclass(frozen=True)
class Spec:
    seed: int
    result_version: int = 1
    axes: tuple[str, ...] = ("on_topic",)


ARRAYS = {"probabilities": np.linspace(0, 1, 10, dtype=np.float32).reshape(2, 5), "row": np.arange(2)}
META = {"note": "fiancé", "share": 0.1}


@pytest.fixture
def store(odd_folder):
    return Store(odd_folder / "records")


def checkpoint(store, run_id, ending=".safetensors"):
    store.checkpoints.mkdir(parents=True, exist_ok=True)
    file = store.checkpoints / f"{run_id}{ending}"
    file.write_bytes(b"step 10")
    return file


def files(store):
    return sorted(file.name for file in store.folder.rglob("*") if file.is_file())


def test_a_record_reads_back(store):
    run_id = store.write(Spec(1), ARRAYS, META)
    record = store.read(run_id)
    assert run_id == record.id == spec_id(Spec(1))
    assert record.spec == {"seed": 1, "axes": ["on_topic"]}
    assert record.meta == META
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(record.arrays[name], array, strict=True)
    assert store.has(run_id) and store.is_valid(run_id) and store.ids() == [run_id]
    assert store.verify([run_id]) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_array_reads_back_bit_for_bit(data, tmp_path):
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES))).newbyteorder(data.draw(st.sampled_from("<>")))
    shape = data.draw(npst.array_shapes(min_dims=0, min_side=0, max_side=3))
    array = np.asarray(data.draw(npst.arrays(dtype, shape)), order=data.draw(st.sampled_from("CF")))
    store = Store(tmp_path / os.urandom(8).hex())
    back = store.read(store.write(Spec(1), {"x": array}, {})).arrays["x"]
    assert back.shape == array.shape and back.dtype.name == array.dtype.name
    assert back.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


def test_same_content_gives_same_bytes_in_any_process(store, tmp_path):
    arrays = {name: np.arange(3) for name in "dbca"}
    path = store.path(store.write(Spec(1), arrays, {"b": 1, "a": 2}))
    assert path.stat().st_mode & 0o777 == 0o644
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np; from pathlib import Path; from companion.runs.store import Store\n"
        "from test_store import Spec\n"
        "arrays = {name: np.arange(3) for name in 'abcd'}\n"
        "Store(Path(sys.argv[2])).write(Spec(1), arrays, {'a': 2, 'b': 1})\n"
    )
    subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)], check=True)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_writing_the_same_again_does_nothing(store):
    path = store.path(store.write(Spec(1), ARRAYS, META))
    before = path.stat()
    store.write(Spec(1), dict(reversed(ARRAYS.items())), META)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    ("arrays", "meta"), [({**ARRAYS, "row": np.array([0, 2])}, META), (ARRAYS, {"note": "other"}), ({}, META)]
)
def test_another_result_for_the_same_spec_is_refused(store, arrays, meta):
    path = store.path(store.write(Spec(1), ARRAYS, META))
    before = path.read_bytes()
    with pytest.raises(CompanionError, match="two different results"):
        store.write(Spec(1), arrays, meta)
    assert path.read_bytes() == before and files(store) == [path.name]


def test_no_flipped_bit_is_believed(store):
    run_id = store.write(Spec(1), {"x": np.arange(3, dtype=np.int16)}, {"a": 1})
    sound = store.path(run_id).read_bytes()
    end_of_header = 8 + int.from_bytes(sound[:8], "little")
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        store.path(run_id).write_bytes(damaged)
        if store.is_valid(run_id):
            # Only the blanks that fill up the header may change into other white space.
            assert sound[place:end_of_header].strip() == b"" and place < end_of_header
        else:
            assert "is damaged" in store.verify()[0]


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_record_is_moved_aside_and_made_anew(store, share):
    path = store.path(run_id := store.write(Spec(1), ARRAYS, META))
    sound = path.read_bytes()
    path.write_bytes(sound[: int(share * len(sound))])
    with pytest.raises(CompanionError, match=f"{run_id} is damaged .* now lies in .*damaged.* run again"):
        store.read(run_id)
    assert not store.has(run_id) and files(store) == [f"{run_id}.1.safetensors"]
    store.write(Spec(1), ARRAYS, META)
    assert path.read_bytes() == sound


def test_writing_over_a_damaged_record_keeps_it_aside(store):
    path = store.path(run_id := store.write(Spec(1), ARRAYS, META))
    for number in (1, 2):
        path.write_bytes(b"rubbish")
        store.write(Spec(1), ARRAYS, META)
        assert (store.folder / "damaged" / f"{run_id}.{number}.safetensors").read_bytes() == b"rubbish"
    assert store.verify([run_id]) == []


def test_verify_names_every_problem_and_changes_nothing(store):
    good, renamed, cut = (store.write(Spec(seed), ARRAYS, META) for seed in range(3))
    other_name = "0123456789abcdef.safetensors"
    store.path(renamed).rename(store.folder / other_name)
    store.path(cut).write_bytes(store.path(cut).read_bytes()[:-1])
    (store.folder / f"{good}.x.tmp").touch()
    (store.folder / "notes.txt").touch()
    before = files(store)
    problems = {sentence.split(" ", 1)[0]: sentence for sentence in store.verify([good, renamed, "f" * 16])}
    assert problems == {
        other_name: f"{other_name} is damaged: its name does not match its spec, which is that of {renamed}; "
        "the next run makes it again.",
        f"{cut}.safetensors": f"{cut}.safetensors is damaged: it is cut off or its header cannot be read; "
        "the next run makes it again.",
        f"{good}.x.tmp": f"{good}.x.tmp was left by a write that was cut off; the next run removes it.",
        "notes.txt": "notes.txt is not the name of a record; move it elsewhere.",
        f"{renamed}.safetensors": f"{renamed}.safetensors is missing; run again to make it.",
        f"{'f' * 16}.safetensors": f"{'f' * 16}.safetensors is missing; run again to make it.",
    }
    assert files(store) == before


def test_verify_goes_on_after_a_record_that_cannot_be_read(store):
    loop, cut = (store.write(Spec(seed), ARRAYS, META) for seed in range(2))
    store.path(loop).unlink()
    store.path(loop).symlink_to(store.path(loop).name)
    store.path(cut).write_bytes(store.path(cut).read_bytes()[:-1])
    problems = store.verify()
    assert len(problems) == 2
    assert any(f"Record {loop} in {store.folder} cannot be read: Too many levels" in problem for problem in problems)


def test_verify_takes_no_write_in_progress_and_no_run_to_come_for_a_problem(store):
    good, cut = (store.write(Spec(seed), ARRAYS, META) for seed in range(2))
    store.path(cut).write_bytes(store.path(cut).read_bytes()[:-1])
    (store.folder / f"{good}.x.tmp").touch()
    with folder_lock(store.folder):
        damaged, live = store.verify([good, cut, "f" * 16])
    assert damaged.startswith(f"{cut}.safetensors is damaged: ")
    assert live == f"Runs of {store.folder} are being made now; verify again when they are done."
    assert len(store.verify([good, cut, "f" * 16])) == 3


def test_a_folder_in_place_of_a_record_is_moved_aside(store):
    path = store.path(run_id := store.write(Spec(1), ARRAYS, META))
    sound = path.read_bytes()
    for remedy in (lambda: store.write(Spec(1), ARRAYS, META), store.repair):
        path.unlink()
        path.mkdir()
        assert store.verify() == [f"{path.name} is damaged: a folder is in its place; the next run makes it again."]
        remedy()
        assert not path.is_dir()
        store.write(Spec(1), ARRAYS, META)
    assert path.read_bytes() == sound
    assert [file.is_dir() for file in (store.folder / "damaged").glob(f"{run_id}.*")] == [True, True]


def test_mend_moves_damage_and_removes_cut_off_writes(store):
    good, cut = (store.write(Spec(seed), ARRAYS, META) for seed in range(2))
    store.path(cut).write_bytes(b"")
    (store.folder / f"{good}.x.tmp").touch()
    (sentence,) = store.repair()
    assert cut in sentence
    assert store.verify() == [] and store.ids() == [good]


def test_files_that_go_while_they_are_swept_are_no_mistake(store, monkeypatch):
    """A worker that outlives its driver for a moment ends its write."""
    mark = checkpoint(store, store.write(Spec(1), ARRAYS, META))
    monkeypatch.setattr(Store, "_files", lambda store: [store.folder / "renamed.tmp"])
    monkeypatch.setattr(Store, "is_valid", lambda store, run_id: mark.unlink() is None)
    store.remove_leftovers()
    assert not list(store.checkpoints.iterdir())


def test_an_empty_or_absent_folder_has_no_records(store):
    assert store.ids() == [] and store.verify() == [] and store.repair() == []
    assert store.verify(["0" * 16]) == [f"{'0' * 16}.safetensors is missing; run again to make it."]
    with pytest.raises(CompanionError, match="There is no record"):
        store.read("0" * 16)


@pytest.mark.parametrize(
    ("arrays", "meta"),
    [
        ({"x": np.array(["text"])}, {}),
        ({"x": np.array([None])}, {}),
        ({"x": np.zeros(2, np.complex128)}, {}),
        ({"x": [1, 2]}, {}),
        ({"__metadata__": np.zeros(2)}, {}),
        ({}, {"x": float("nan")}),
        ({}, {"x": Path("x")}),
    ],
)
def test_what_the_format_cannot_hold_is_refused(store, arrays, meta):
    with pytest.raises(CompanionError, match=r"^(Array '|The facts of a record)"):
        store.write(Spec(1), arrays, meta)
    assert not store.folder.exists()


def test_a_full_disk_leaves_nothing_half_written(full_disk):
    store = Store(full_disk)
    small = store.write(Spec(1), ARRAYS, META)
    with pytest.raises(CompanionError, match=r"could not be written .*(No space left|too large)"):
        store.write(Spec(2), {"x": np.random.default_rng(0).normal(size=20_000)}, {})
    assert files(store) == [f"{small}.safetensors"]
    assert store.verify([small]) == []


def test_a_read_only_folder_is_told_in_a_sentence(read_only):
    with pytest.raises(CompanionError, match="could not be written .*Permission denied"):
        Store(read_only).write(Spec(1), ARRAYS, META)
    with pytest.raises(CompanionError, match="could not be written .*Permission denied"):
        Store(read_only / "new").write(Spec(1), ARRAYS, META)


def test_a_cut_off_write_in_a_read_only_folder_is_told_in_a_sentence(read_only, monkeypatch):
    # Nothing can be put there, so what is there stands for such a file.
    monkeypatch.setattr("companion.runs.store.TEMPORARY", read_only.name)
    monkeypatch.setattr(Store, "_files", lambda store: [read_only])
    with pytest.raises(CompanionError, match=r"cannot be changed \(Permission denied\); choose another folder"):
        Store(read_only).repair()


def test_damage_in_a_read_only_folder_is_not_believed_either(read_only, monkeypatch):
    store = Store(read_only)
    run_id = spec_id(Spec(1))
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"rubbish")
    with pytest.raises(CompanionError, match="is damaged and cannot be moved aside"):
        store.read(run_id)


def test_an_interrupted_write_leaves_nothing(store, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write(Spec(1), ARRAYS, META)
    assert files(store) == []


def test_a_checkpoint_goes_when_its_record_is_there(store):
    run_id, other = spec_id(Spec(1)), checkpoint(store, spec_id(Spec(2)))
    checkpoint(store, run_id), checkpoint(store, run_id, ".cut_off.tmp")
    store.write(Spec(1), ARRAYS, META)
    assert list(store.checkpoints.iterdir()) == [other]
    assert store.verify([run_id]) == [] and store.ids() == [run_id]


def test_a_checkpoint_left_by_a_crash_goes_with_the_next_run(store):
    done = store.write(Spec(1), ARRAYS, META)
    damaged, missing = store.write(Spec(2), ARRAYS, META), checkpoint(store, spec_id(Spec(3)))
    checkpoint(store, done), checkpoint(store, missing.stem, ".cut_off.tmp")
    of_damaged = checkpoint(store, damaged)
    store.path(damaged).write_bytes(b"")
    assert len(store.repair()) == 1
    assert sorted(store.checkpoints.iterdir()) == sorted([missing, of_damaged])


def test_a_checkpoint_that_cannot_be_removed_costs_no_record(store):
    run_id = spec_id(Spec(1))
    (store.checkpoints / f"{run_id}.safetensors").mkdir(parents=True)
    assert store.write(Spec(1), ARRAYS, META) == run_id and store.is_valid(run_id)


def test_a_record_of_another_machine_is_put_whole_or_refused(store, tmp_path):
    there, other = Store(tmp_path / "there"), Store(tmp_path / "other")
    run_id = there.write(Spec(1), ARRAYS, META)
    content = there.path(run_id).read_bytes()
    with pytest.raises(CompanionError, match="damaged on its way here"):
        store.put(run_id, content[:-1])
    with pytest.raises(CompanionError, match="does not match its spec"):
        store.put("0" * 16, content)
    assert store.ids() == []
    checkpoint(store, run_id)
    store.put(run_id, content)
    store.put(run_id, content)
    assert store.path(run_id).read_bytes() == content and not list(store.checkpoints.iterdir())
    other.write(Spec(1), {}, {})
    with pytest.raises(CompanionError, match="two different results"):
        other.put(run_id, content)
