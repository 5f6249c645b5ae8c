"""What the tests of both engines share: grids that must end alike, and looks at processes from outside."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from companion.errors import CompanionError
from companion.runs.spec import spec_id
from companion.runs.store import DTYPES, Store

DRIVER = Path(__file__).with_name("driver.py")


def snapshot(folder):
    return {file.name: file.read_bytes() for file in folder.glob("*.safetensors")}


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(process_id):
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_driver(folder, action, count, **streams):
    return subprocess.Popen([sys.executable, str(DRIVER), str(folder), action, str(count)], **streams)


def workers_of(folder):
    return [int(mark.read_text()) for mark in folder.glob("began-*") if mark.stat().st_size]


def check_failing_grid(run_all, workload, tmp_path, capfd):
    actions = ("work", "fail", "die", "die_once", "mistake", "leave", "unstorable", "work")
    specs = [workload.Job(seed, action, str(tmp_path)) for seed, action in enumerate(actions)]
    ids = [spec_id(spec) for spec in specs]
    store, logs = Store(tmp_path / "records"), tmp_path / "logs"
    report = run_all(specs, workload.work, store, 2, logs)
    assert report.done == (ids[0], ids[3], ids[7]) and store.verify(report.done) == []
    reasons = {
        ids[1]: "ValueError: no luck with 1",
        ids[2]: "its process was killed by SIGKILL (perhaps for want of memory) 2 times",
        ids[4]: "The item has no label; add one.",
        ids[5]: "SystemExit: 0",
        ids[6]: "Array 'values' of a record is str128; use NumPy arrays of " + ", ".join(DTYPES) + ".",
    }
    assert report.failed == {run_id: f"{reason} (log: {logs / run_id}.jsonl)" for run_id, reason in reasons.items()}
    with pytest.raises(CompanionError, match=r"5 of 8 runs failed; the others are kept:\n  .*no luck with 1"):
        report.raise_if_failed()
    shown = capfd.readouterr().err
    assert all(reason in shown for reason in reasons.values())
    assert "3 of 8 runs done, 5 failed" in shown.splitlines()[-1]
    check_logs(logs, ids)


def check_logs(logs, ids):
    events = {run_id: [json.loads(line) for line in (logs / f"{run_id}.jsonl").open()] for run_id in ids}
    names = {run_id: [event["event"] for event in events[run_id] if event["event"] != "sent"] for run_id in ids}
    assert names[ids[0]] == ["start", "end"]
    assert names[ids[1]] == names[ids[4]] == ["start", "failed"]
    assert names[ids[2]] == ["start", "killed", "start", "killed", "failed"]
    assert names[ids[3]] == ["start", "killed", "start", "end"]
    assert events[ids[0]][-2]["spec"]["fields"]["seed"] == 0
    assert events[ids[0]][-1]["seconds"] >= 0 and 10 < events[ids[0]][-1]["worker_peak_mib"] < 1000
    assert "in fail" in events[ids[1]][-1]["traceback"]
    assert (logs / f"{ids[3]}.out").read_text() == "seed 3, die_once\n" * 2
