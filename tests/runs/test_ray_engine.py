"""The engine on a cluster: what needs no Ray."""

import importlib
import os
import queue
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from companion.errors import CompanionError
from companion.runs import ray_cluster, ray_engine
from companion.runs.ray_cluster import VARIABLE, compute_demand
from companion.runs.ray_engine import RayPool, Slot, run_all
from companion.runs.spec import spec_id, to_json
from companion.runs.store import Store
from grids import (
    job_ids,
    made_locally,
)

HERE = Path(__file__).parent


@pytest.mark.parametrize("named", ["head", "head:", "ray://head:10001", "http://head:1", "auto", "a b:1", "Local"])
def test_a_cluster_is_named_by_host_and_port_or_started_here(monkeypatch, named):
    monkeypatch.setenv(VARIABLE, named)
    with pytest.raises(CompanionError, match=f"COMPANION_RAY is '{named}'; give HOST:PORT"):
        ray_cluster.get_cluster_address()


def test_without_the_variable_there_is_no_cluster(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert ray_cluster.get_cluster_address() == ""
    for named in ("local", "head.example:6379", "10.0.0.1:6379"):
        monkeypatch.setenv(VARIABLE, named)
        assert ray_cluster.get_cluster_address() == named


def test_a_missing_ray_is_one_sentence(workload, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "head:6379")
    monkeypatch.setitem(importlib.sys.modules, "ray", None)
    with pytest.raises(CompanionError, match=r"asks for Ray, which is not installed: run `pip .*\[cluster\]'`"):
        run_all([workload.Job(1)], workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs")


def test_slots_are_shares_of_gpus_or_else_processors():
    def node(alive=True, **resources):
        return {"Alive": alive, "Resources": resources}

    assert compute_demand([node(CPU=4.0), node(CPU=1.0, memory=9.0), node(False, CPU=8.0)], 3) == ({"num_cpus": 1}, 5)
    for workers in range(1, 40):
        takes, slots = compute_demand([node(CPU=2.0, GPU=2.0), node(CPU=64.0)], workers)
        assert slots == 2 * workers and takes["num_cpus"] == 0
        assert 0.99 < round(takes["num_gpus"], 4) * workers <= 1
    with pytest.raises(CompanionError, match="no node left"):
        compute_demand([node(False, CPU=8.0), node(memory=1.0)], 1)


def slot_elsewhere(workload, tmp_path, **files):
    """A slot on a machine that does not see the driver's folders."""
    settings = {"work": "workload:work", "kinds": "workload:Job", "driver": "1", "store": str(tmp_path / "not here")}
    return Slot({**settings, "logs": str(tmp_path / "nor here")}, {}, [], files)


def test_a_node_without_a_shared_folder_gives_back_record_and_logs(workload, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    slot = slot_elsewhere(workload, tmp_path)
    for spec in (workload.Job(1), workload.Job(2, "fail"), workload.Job(3)):
        run_id = spec_id(spec)
        answer, record, logs = slot.run(run_id, to_json(spec))
        assert not slot.scratch.exists() and f"{run_id}.jsonl" in logs
        if spec.action == "fail":
            assert (answer["error"], record) == ("ValueError: no luck with 2", b"")
            assert logs[f"{run_id}.out"] == b"seed 2, fail\n"
        else:
            (expected,) = made_locally([spec], workload, tmp_path / run_id).values()
            assert (answer, record) == ({}, expected)
    slot.pool.stop()
    assert not list(tmp_path.glob("no*"))


def test_a_disk_of_a_node_that_fails_stops_no_other_run(workload, tmp_path, monkeypatch):
    slot = slot_elsewhere(workload, tmp_path)
    refused = {"error": "Record 1 could not be written: No space left on device.", "stop": True}
    slot.pool = SimpleNamespace(run=lambda run_id, spec: refused)
    assert slot.run("1", "{}") == ({**refused, "stop": False}, b"", {})
    slot.pool = SimpleNamespace(run=lambda run_id, spec: {})
    for _ in range(2):
        answer, *nothing = slot.run("1", "{}")
        assert "failed: " in answer["error"] and "No such file" in answer["error"] and not answer["stop"]
        assert nothing == [b"", {}] and not slot.scratch.exists()
    (tmp_path / "file").touch()
    slot.scratch = tmp_path / "file" / "scratch"
    answer = slot.run("1", "{}")[0]
    assert "Not a directory" in answer["error"] and not answer["stop"]


def test_a_slot_that_cannot_be_asked_is_dropped_for_another(monkeypatch):
    """Not only one whose actor is lost; Ray itself is left out, for it reads its variables as it is imported."""

    class RayError(Exception):
        pass

    def complaint(code):
        raise RayError("Object lost")

    errors = SimpleNamespace(RayError=RayError, RayActorError=type("RayActorError", (RayError,), {}))
    monkeypatch.setitem(importlib.sys.modules, "ray", SimpleNamespace(exceptions=errors, get=lambda answer: answer))
    bad, good = (SimpleNamespace(complaint=SimpleNamespace(remote=ask)) for ask in (complaint, lambda code: ""))
    pool, waiting, dropped = object.__new__(RayPool), [bad, good], []
    pool.slots, pool.code, pool._next, pool._drop = 1, "", lambda: waiting.pop(0), dropped.append
    assert pool._slot() is good and dropped == [bad]


def test_a_thread_that_waits_begins_a_slot_when_the_one_it_waited_for_has_ended(monkeypatch):
    """The run of another thread took it along; nobody else would begin one."""
    nodes, begun, looks = [{"Alive": True, "Resources": {"CPU": 1.0}}], [], []
    soon = SimpleNamespace(future=lambda: SimpleNamespace(add_done_callback=lambda call: call(None)))
    actor = SimpleNamespace(complaint=SimpleNamespace(remote=lambda code: soon))
    options = SimpleNamespace(options=lambda **takes: SimpleNamespace(remote=lambda: begun.append(actor) or actor))

    def look():
        looks.append(len(begun))
        pool.open = 0
        return nodes

    monkeypatch.setitem(importlib.sys.modules, "ray", SimpleNamespace(nodes=look, remote=lambda slot: options))
    monkeypatch.setattr(ray_engine, "SECONDS_BETWEEN_LOOKS", 0.01)
    pool = object.__new__(RayPool)
    pool.free, pool.lock, pool.stopped = queue.SimpleQueue(), threading.Lock(), threading.Event()
    pool.slots, pool.open, pool.takes, pool.code, pool.actors, pool.arguments = 1, 1, {"num_cpus": 1}, "", [], ()
    assert pool._next() is actor and looks == [0] and pool.open == 1


def test_a_record_that_a_lost_slot_still_wrote_is_no_second_result(workload, tmp_path, monkeypatch):
    """In a shared folder; the record that is made again has another processor in it."""

    class RayError(Exception):
        pass

    store, spec, answers = Store(tmp_path / "records"), workload.Job(1), []

    def get(answer):
        answers.append(answer)
        if len(answers) == 1:
            raise RayError("the node is cut off")
        store.write(spec, workload.values(spec)[0], {"processor": "of the lost node"})
        return {"error": f"Record {spec_id(spec)} is there with other content", "stop": False}, b"", {}

    errors = SimpleNamespace(RayError=RayError, RayTaskError=type("RayTaskError", (RayError,), {}))
    monkeypatch.setitem(importlib.sys.modules, "ray", SimpleNamespace(exceptions=errors, get=get))
    pool, slot = object.__new__(RayPool), SimpleNamespace(run=SimpleNamespace(remote=lambda *run: run))
    pool.store, pool.logs, pool.stopped, pool.free = store, tmp_path, threading.Event(), queue.SimpleQueue()
    pool._slot, pool._drop, pool._give_up = lambda: slot, lambda slot: None, lambda slot, answer: ""
    assert pool.run(spec_id(spec), to_json(spec)) == {} and len(answers) == 2


def test_a_worker_that_cannot_be_started_fails_its_run_alone(workload, tmp_path):
    def run(run_id, spec):
        raise CompanionError("A worker cannot be started: Cannot allocate memory.")

    slot = slot_elsewhere(workload, tmp_path)
    slot.pool = SimpleNamespace(run=run)
    assert slot.run("1", "{}")[0] == {"error": "A worker cannot be started: Cannot allocate memory.", "stop": False}


def test_a_node_keeps_the_checkpoint_of_a_run_that_failed(workload, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    slot = slot_elsewhere(workload, tmp_path)
    specs = [workload.Job(1), workload.Job(2, "fail")]
    made, failed = files = [tmp_path / "checkpoints" / f"{run_id}.safetensors" for run_id in job_ids(specs)]
    made.parent.mkdir()
    for spec, file in zip(specs, files, strict=True):
        file.touch()
        slot.run(spec_id(spec), to_json(spec))
    slot.pool.stop()
    assert list(made.parent.iterdir()) == [failed]


def test_a_node_forgets_the_checkpoint_of_a_run_that_never_came_back(workload, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    old, young = (tmp_path / "checkpoints" / name for name in ("old.safetensors", "young.safetensors"))
    old.parent.mkdir()
    for file, days in ((old, 31), (young, 29)):
        file.touch()
        os.utime(file, (time.time() - days * 86_400,) * 2)
    slot_elsewhere(workload, tmp_path)
    assert list(old.parent.iterdir()) == [young]


def test_a_slot_removes_what_slots_that_are_gone_left_on_its_node(workload, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as ended:
        pass
    host, used = socket.gethostname(), os.getpid()
    names = [f"companion-{name}" for name in (f"{host}-{ended.pid}-a", f"{host}-{used}-a", f"else-{ended.pid}-a", "x")]
    for name in names:
        (tmp_path / name / "store").mkdir(parents=True)
    slot = slot_elsewhere(workload, tmp_path)
    assert slot.scratch.name.startswith(f"companion-{host}-{used}-")
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(names[1:])


def test_two_folders_without_a_name_are_not_taken_for_one(tmp_path):
    """A full disk may keep no name of the driver; its folder on the node holds none either."""
    settings = {"work": "", "kinds": "", "driver": "", "store": str(tmp_path / "not here"), "logs": ""}
    assert Slot(settings, {}, [], {}).scratch is not None


def test_a_node_is_given_what_its_cache_lacks(workload, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kept").write_bytes(b"own")
    slot_elsewhere(workload, tmp_path, **{"kept": b"other", "texts/a": b"given"})
    assert (tmp_path / "cache" / "kept").read_bytes() == b"own"
    assert (tmp_path / "cache" / "texts" / "a").read_bytes() == b"given"


def test_a_node_with_other_code_complains(workload, tmp_path):
    slot = slot_elsewhere(workload, tmp_path)
    assert slot.complaint(ray_engine.hash_code()) == ""
    assert "has another companion than this machine" in slot.complaint("other")
