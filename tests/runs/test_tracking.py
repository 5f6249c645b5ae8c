import json
import os
import subprocess
import sys

import pytest

from companion import cli
from companion.errors import CompanionError
from companion.runs import tracking
from companion.runs.engine import run_all
from companion.runs.log import log_event
from companion.runs.spec import spec_id
from companion.runs.store import Store
from companion.runs.tracking import get_tracker, track_runs
from grids import snapshot

FAKE = """
import json, os, time
print("a tracker talks to the user")

class Run:
    def __init__(self, name): self.name = name
    def write(self, *what):
        with open(os.environ["TRACKED"], "a") as file: file.write(json.dumps([self.name, *what]) + "\\n")
    def log(self, metrics, step): self.write(step, metrics)
    def finish(self): self.write("finish")

def init(project, name, config, **_):
    run = Run(name)
    run.write(project, config)
    BEHAVE
    return run
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A package that is taken for trackio and writes down its calls."""

    def install(behave="pass"):
        folder = tmp_path / "packages"
        folder.mkdir()
        (folder / "trackio.py").write_text(FAKE.replace("BEHAVE", behave))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("TRACKED", str(tmp_path / "calls"))
        monkeypatch.setenv(tracking.VARIABLE, "trackio")

    return install


def calls(tmp_path):
    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def make(workload, folder, count=2):
    specs = [workload.Job(seed, "steps", str(folder)) for seed in range(count)]
    store = Store(folder / "quick" / "explanations" / "records")
    run_all(specs, workload.work, store, 2, folder / "quick" / "explanations" / "logs", quiet=True).raise_if_failed()
    return specs, store


def test_a_grid_is_told_run_by_run_and_its_records_are_the_same(workload, tmp_path, fake, monkeypatch):
    fake()
    specs, store = make(workload, tmp_path)
    told = calls(tmp_path)
    for spec in specs:
        (project, config), *steps, (last,) = [what for name, *what in told if name == str(spec)]
        assert project == "quick-explanations" and last == "finish"
        assert config == {"seed": spec.seed, "action": "steps", "folder": str(tmp_path), "run": spec_id(spec)}
        assert steps[0] == [0, {"loss": 2.0, "examples": 0}] and steps[-1][0] == 8
        assert set(steps[-1][1]) == {"loss", "examples", "examples_per_second"}
    begun = [number for number, call in enumerate(told) if call[1] == "quick-explanations"]
    assert begun[1] < next(number for number, call in enumerate(told) if call[1] == "finish"), "side by side"
    assert "talks" in (tmp_path / "quick" / "explanations" / "logs" / "trackio.out").read_text()
    monkeypatch.delenv(tracking.VARIABLE)
    whole = Store(tmp_path / "whole")
    for spec in specs:
        whole.write(spec, *workload.values(spec))
    assert snapshot(store.folder) == snapshot(whole.folder)


@pytest.mark.parametrize("behave", ["raise OSError('no network')", "os._exit(3)", "time.sleep(600)"])
def test_a_tracker_that_fails_fails_no_run(workload, tmp_path, fake, monkeypatch, behave):
    monkeypatch.setattr(tracking, "SECONDS_TO_END", 1)
    fake(behave)
    with pytest.warns(UserWarning, match=r"^trackio failed, the runs did not; .*trackio\.out says why$"):
        _, store = make(workload, tmp_path)
    assert len(store.ids()) == 2


@pytest.mark.parametrize("blocked", ["logs", "trackio.out", "Popen"])
def test_a_tracker_that_cannot_be_started_fails_no_run(tmp_path, fake, monkeypatch, blocked):
    fake()
    logs = tmp_path / "logs"
    if blocked == "Popen":
        monkeypatch.setattr(tracking.sys, "executable", str(tmp_path / "no python"))
    elif blocked == "logs":
        logs.touch()
    else:
        (logs / blocked).mkdir(parents=True)
    made, said = [], "^trackio cannot be started, the runs are made without it: "
    with pytest.warns(UserWarning, match=said), track_runs(tmp_path, logs, {"a": "one"}, ""):
        made.append("one")
    assert made == ["one"]


def test_a_tracker_that_hangs_ends_itself_when_its_driver_was_killed(tmp_path, fake):
    fake("time.sleep(600)")
    log_event(tmp_path, "a", "start", spec={"fields": {}})
    code = "from companion.runs import tracking; tracking.SECONDS_TO_END = 1; tracking.main()"
    told = {"tracker": "trackio", "project": "p", "logs": str(tmp_path), "runs": {"a": ["one", 0]}}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(command, input=json.dumps(told) + "\n", text=True, env=environment, timeout=60)
    assert ended.returncode == 1 and calls(tmp_path) == [["one", "p", {"run": "a"}]]


def test_only_what_is_new_is_told_and_an_attempt_that_was_killed_is_closed(tmp_path, fake):
    fake()
    folder = tmp_path / "quick" / "explanations"
    (folder / "logs").mkdir(parents=True)

    def start(run_id):
        log_event(folder / "logs", run_id, "start", spec={"fields": {}})

    start("a")
    log_event(folder / "logs", "a", "step", done=1, loss=1.0)
    with track_runs(folder, folder / "logs", {"a": "one", "b": "two"}, os.pathsep.join(sys.path)):
        start("a")
        log_event(folder / "logs", "a", "killed")
        start("a")
        log_event(folder / "logs", "a", "step", done=7)
        start("b")
        (folder / "logs" / "b.jsonl").open("a").write('{"event": "st')
    of_one = [what[0] for name, *what in calls(tmp_path) if name == "one"]
    assert of_one == ["quick-explanations", "finish", "quick-explanations", 7, "finish"]
    assert [what[0] for name, *what in calls(tmp_path) if name == "two"] == ["quick-explanations", "finish"]


def test_nobody_asked_for_it_and_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.delenv(tracking.VARIABLE, raising=False)
    monkeypatch.setattr(tracking.subprocess, "Popen", None)
    with track_runs(tmp_path, tmp_path / "logs", {"a": "one"}, ""):
        pass
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_is_not_there_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv(tracking.VARIABLE, "mlflow")
    with pytest.raises(CompanionError, match=r"^There is no tracker 'mlflow'; choose trackio or wandb\.$"):
        get_tracker()
    for command in ("run", "figures", "tune"):
        monkeypatch.setattr("sys.argv", ["companion", command, "-p", "smoke", "--track", "trackio"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        assert capsys.readouterr().err == (
            "companion: The tracker trackio is not installed: run `.venv/bin/pip install --no-deps trackio "
            "gradio-client orjson brotli python-multipart uvicorn starlette`.\n"
        )


@pytest.mark.parametrize("name", list(tracking.TRACKERS))
def test_the_real_package_keeps_every_step(workload, tmp_path, monkeypatch, name):
    pytest.importorskip(name)
    monkeypatch.setenv(tracking.VARIABLE, name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    specs, _ = make(workload, tmp_path)
    if name == "wandb":
        logs = tmp_path / "quick" / "explanations" / "logs"
        assert len(list(logs.glob("wandb/offline-run-*/*.wandb"))) == len(specs)
        return
    import sqlite3

    with sqlite3.connect(tmp_path / "trackio" / "quick-explanations.db") as base:
        rows = base.execute("select run_name, max(step) from metrics group by run_name").fetchall()
    assert sorted(rows) == sorted((str(spec), 8) for spec in specs)
