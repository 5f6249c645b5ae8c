import contextlib
import json
import os
import pty
import signal
import subprocess
import sys

import numpy as np
import pytest

from companion.errors import CompanionError
from companion.runs import engine
from companion.runs.engine import Report, group_all, run_all, run_with
from companion.runs.lock import folder_lock
from companion.runs.log import get_log_file, log_event, parse_events, read_last_event
from companion.runs.spec import spec_id
from companion.runs.store import Store
from grids import DRIVER, alive, check_failing_grid, snapshot, start_driver, wait_for, workers_of


def test_records_do_not_depend_on_number_of_workers_order_or_process(workload, odd_folder):
    specs = [workload.Job(seed) for seed in range(5)]
    two, one = Store(odd_folder / "two"), Store(odd_folder / "one")
    report = run_all(specs, workload.work, two, 2, odd_folder / "logs")
    assert report == Report(tuple(map(spec_id, specs)), (), {})
    run_all(specs[::-1], workload.work, one, 1, odd_folder / "logs")
    here = Store(odd_folder / "here")
    for spec in specs:
        here.write(spec, *workload.work(spec))
    assert snapshot(two.folder) == snapshot(one.folder) == snapshot(here.folder)
    assert two.verify(map(spec_id, specs)) == []
    assert sorted(file.name for file in two.folder.iterdir() if file.suffix != ".safetensors") == [".lock"]


def test_runs_of_two_kinds_share_their_workers(workload, tmp_path):
    specs = [kind(seed) for seed in range(2) for kind in (workload.Job, workload.Task)]
    store = Store(tmp_path / "records")
    assert run_all(specs, workload.environment, store, 1, tmp_path / "logs").done == tuple(map(spec_id, specs))
    records = [store.read(spec_id(spec)) for spec in specs]
    assert {record.meta["loaded_for"] for record in records} == {0}


def test_what_is_in_the_store_is_not_made_again(workload, tmp_path, monkeypatch):
    specs = [workload.Job(seed) for seed in range(3)]
    store = Store(tmp_path / "records")
    for spec in specs[:2]:
        store.write(spec, *workload.work(spec))
    assert run_all(specs, workload.work, store, 1, tmp_path / "logs").skipped == tuple(map(spec_id, specs[:2]))
    monkeypatch.setattr(engine.subprocess, "Popen", None)
    report = run_all([*specs, specs[0]], workload.work, store, 1, tmp_path / "logs")
    assert report == Report((), tuple(map(spec_id, specs)), {})
    assert run_all([], workload.work, store, 1, tmp_path / "logs") == Report((), (), {})


def test_a_failing_run_leaves_the_others_intact_and_is_reported(workload, tmp_path, capfd):
    check_failing_grid(run_all, workload, tmp_path, capfd)


def test_a_worker_has_one_thread_fixed_hashes_and_keeps_what_it_loaded(workload, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    store = Store(tmp_path / "records")
    specs = [workload.Job(seed) for seed in range(2)]
    chosen = {"COMPANION_BACKEND": "transformers"}
    run_all(specs, workload.environment, store, 1, tmp_path / "logs", quiet=True, environment=chosen)
    facts = [store.read(spec_id(spec)).meta for spec in specs]
    expected = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    assert all(fact.items() >= {**expected, **chosen, "PYTHONHASHSEED": "0"}.items() for fact in facts)
    assert facts[0]["hash"] == facts[1]["hash"] and [fact["loaded_for"] for fact in facts] == [0, 0]
    assert not list((tmp_path / "logs").glob("*.out"))
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_workers_run_the_code_that_plans_their_runs(workload, tmp_path, monkeypatch):
    """A folder put in front of the path holds another version of the library; the workers must not take that one."""
    other = tmp_path / "other" / "companion" / "runs"
    other.mkdir(parents=True)
    (other.parent / "__init__.py").touch()
    (other / "__init__.py").write_text("raise SystemExit('the wrong library')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    report = run_all([workload.Job(1)], workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs", quiet=True)
    assert len(report.done) == 1


def test_a_damaged_record_is_made_anew(workload, tmp_path, capfd):
    spec, store = workload.Job(1), Store(tmp_path / "records")
    path = store.path(store.write(spec, *workload.work(spec)))
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    report = run_all([spec], workload.work, store, 1, tmp_path / "logs")
    assert report.done == (spec_id(spec),) and path.read_bytes() == sound
    assert "does not match its checksum) and was moved to" in capfd.readouterr().err
    assert len(snapshot(store.folder / "damaged")) == 1


def test_logs_that_cannot_be_written_cost_no_run(workload, tmp_path, capfd):
    (tmp_path / "logs").touch()
    specs, store = [workload.Job(1, "linger", str(tmp_path)), workload.Job(2, "fail")], Store(tmp_path / "records")
    report = run_all(specs, workload.work, store, 1, tmp_path / "logs", quiet=True)
    assert report.done == (spec_id(specs[0]),) and "no luck with 2" in report.failed[spec_id(specs[1])]


def test_a_killed_driver_leaves_no_orphan_and_a_rerun_gives_the_same_bytes(workload, odd_folder):
    driver = start_driver(odd_folder, "linger", 6, stderr=subprocess.DEVNULL)
    store = Store(odd_folder / "records")
    wait_for(lambda: len(store.ids()) >= 1 and len(workers_of(odd_folder)) >= 3)
    driver.kill()
    driver.wait()
    workers = workers_of(odd_folder)
    wait_for(lambda: not any(map(alive, workers)), seconds=2)
    kept = snapshot(store.folder)
    assert 1 <= len(kept) < 6
    (store.folder / "cut-off.tmp").touch()
    assert start_driver(odd_folder, "linger", 6, stderr=subprocess.DEVNULL).wait() == 0
    specs = [workload.Job(seed, "linger", str(odd_folder)) for seed in range(6)]
    whole = Store(odd_folder / "whole")
    for spec in specs:
        whole.write(spec, *workload.values(spec))
    assert snapshot(store.folder) == snapshot(whole.folder)
    assert store.verify(map(spec_id, specs)) == []


def test_ctrl_c_ends_at_once_and_keeps_what_was_done(odd_folder):
    driver = start_driver(odd_folder, "hang_from_one", 6, stderr=subprocess.PIPE, text=True)
    store = Store(odd_folder / "records")
    wait_for(lambda: len(store.ids()) == 1 and len(workers_of(odd_folder)) == 2)
    driver.send_signal(signal.SIGINT)
    error = driver.communicate(timeout=60)[1]
    assert driver.returncode != 0 and "KeyboardInterrupt" in error and "1 of 6 runs done" in error
    assert not any(map(alive, workers_of(odd_folder)))
    assert store.verify(store.ids()) == []
    with folder_lock(store.folder):
        assert len(store.ids()) == 1


PRESS_AGAIN = """
import runpy, signal, subprocess, sys, threading
from pathlib import Path

wait, pressed = subprocess.Popen.wait, []

def press(worker, timeout=None):
    if threading.current_thread() is threading.main_thread() and not pressed:
        pressed.append("once more")
        signal.raise_signal(signal.SIGINT)
    return wait(worker, timeout)

subprocess.Popen.wait = press
sys.argv.pop(0)
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a driver in which Ctrl-C is pressed once more as soon as its main thread waits for a worker to end."""


def test_a_second_ctrl_c_leaves_no_worker(tmp_path):
    command = [sys.executable, "-c", PRESS_AGAIN, str(DRIVER), str(tmp_path), "hang_from_one", "6"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        wait_for(lambda: len(workers_of(tmp_path)) == 2)
        driver.send_signal(signal.SIGINT)
        error = driver.communicate(timeout=30)[1]
    assert error.count("\nKeyboardInterrupt") == 2
    assert not any(map(alive, workers_of(tmp_path)))


def test_a_full_disk_stops_the_grid(workload, full_disk, tmp_path):
    store = Store(full_disk)
    specs = [workload.Job(seed) for seed in range(4)]
    with pytest.raises(
        CompanionError, match="Stopped after 0 of 4 runs done, 1 failed, because no record can be stored"
    ):
        run_all(specs, workload.big, store, 1, tmp_path / "logs", quiet=True)
    assert store.ids() == [] and store.verify() == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_that_takes_no_log_either_stops_the_grid(workload, full_disk, monkeypatch, unbuffered):
    """What a run prints cannot be written then, in the run or after it, which must not hide what became of the run."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    store = Store(full_disk)
    with contextlib.suppress(OSError), (full_disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    specs = [workload.Job(seed) for seed in range(4)]
    with pytest.raises(
        CompanionError, match="Stopped after 0 of 4 runs done, 1 failed, because no record can be stored"
    ):
        run_all(specs, workload.big, store, 1, full_disk / "logs", quiet=True)
    assert store.ids() == [] and store.verify() == ["ballast is not the name of a record; move it elsewhere."]


def test_what_cannot_be_sent_to_a_worker_is_refused(workload, tmp_path):
    store, logs = Store(tmp_path / "records"), tmp_path / "logs"
    with pytest.raises(CompanionError, match="must stand in a module"):
        run_all([workload.Job(1)], lambda spec: ({}, {}), store, 1, logs)
    with pytest.raises(CompanionError, match="at least 1 worker, not 0"):
        run_all([workload.Job(1)], workload.work, store, 0, logs)
    assert not store.folder.exists()


def test_two_drivers_do_not_share_a_store(workload, tmp_path):
    store = Store(tmp_path / "records")
    with folder_lock(store.folder), pytest.raises(CompanionError, match=f"in use by process {os.getpid()}"):
        run_all([workload.Job(1)], workload.work, store, 1, tmp_path / "logs")


def test_frozen_records_in_a_read_only_folder_are_enough(workload, read_only, monkeypatch):
    monkeypatch.setattr(Store, "is_valid", lambda store, run_id: True)
    spec = workload.Job(1)
    assert run_all([spec], workload.work, Store(read_only), 1, read_only).skipped == (spec_id(spec),)
    monkeypatch.undo()
    with pytest.raises(CompanionError, match="cannot be written"):
        run_all([spec], workload.work, Store(read_only), 1, read_only)


def test_a_terminal_sees_a_live_bar(tmp_path):
    ours, theirs = pty.openpty()
    driver = start_driver(tmp_path, "linger", 3, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"})
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass  # Linux tells the end of a terminal by an error.
    os.close(ours)
    assert driver.wait() == 0
    assert b"running" in shown and b"s left" in shown and b"3 of 3 runs done, 0 failed" in shown


def test_a_reader_of_the_view_that_ends_does_not_end_the_grid(tmp_path):
    """As with ``companion run 2>&1 | head -1``."""
    driver = start_driver(tmp_path, "fail", 3, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    driver.stdout.close()
    driver.wait(60)
    last = [read_last_event(log)["event"] for log in (tmp_path / "logs").glob("*.jsonl")]
    assert last == ["failed"] * 3


def test_a_pool_that_cannot_be_had_changes_no_log(workload, tmp_path):
    spec, logs = workload.Job(1, "fail"), tmp_path / "logs"
    run_all([spec], workload.work, Store(tmp_path / "records"), 1, logs, quiet=True)

    def unreachable(settings):
        raise CompanionError("no cluster")

    with pytest.raises(CompanionError, match="no cluster"):
        run_with(unreachable, [spec], workload.work, Store(tmp_path / "records"), logs, True, group_all)
    assert read_last_event(get_log_file(logs, spec_id(spec)))["event"] == "failed"


def test_a_tracker_that_is_not_there_changes_no_log(workload, tmp_path, monkeypatch):
    spec, store, logs = workload.Job(1, "fail"), Store(tmp_path / "records"), tmp_path / "logs"
    run_all([spec], workload.work, store, 1, logs, quiet=True)
    monkeypatch.setenv("COMPANION_TRACK", "mlflow")
    with pytest.raises(CompanionError, match="There is no tracker 'mlflow'"):
        run_all([spec], workload.work, store, 1, logs, quiet=True)
    assert read_last_event(get_log_file(logs, spec_id(spec)))["event"] == "failed"


def test_runs_of_another_grid_that_died_with_its_driver_are_not_taken_for_running(workload, tmp_path):
    """Tuning grid and main grid share store and logs; a run of each was in hand as its driver was killed."""
    here, died, failed = workload.Job(0, "see_logs", str(tmp_path)), workload.Job(1), workload.Job(2)
    store, logs = Store(tmp_path / "records"), tmp_path / "logs"
    logs.mkdir()
    for spec, event in ((here, "start"), (died, "step"), (failed, "failed")):
        log_event(logs, spec_id(spec), event)
    run_all([here], workload.work, store, 1, logs, quiet=True)
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen == {spec_id(here): "start", spec_id(died): "queued", spec_id(failed): "failed"}
    names = [event["event"] for event in parse_events(get_log_file(logs, spec_id(here)).read_bytes())]
    assert names == ["start", "queued", "start", "end"]


def test_quiet_prints_nothing(workload, tmp_path, capfd):
    run_all([workload.Job(1)], workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs", quiet=True)
    assert capfd.readouterr() == ("", "")
    np.testing.assert_equal(Store(tmp_path / "records").read(spec_id(workload.Job(1))).meta, {"seed": 1})
