"""The engine on a cluster: what needs no Ray, then two real nodes of one core each on this machine."""

import contextlib
import importlib
import json
import os
import queue
import random
import signal
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from companion.errors import CompanionError
from companion.runs import engine, ray_cluster, ray_engine
from companion.runs.ray_cluster import VARIABLE, demand
from companion.runs.ray_engine import RayPool, Slot, run_all
from companion.runs.spec import spec_id, to_json
from companion.runs.store import Store
from faulty import MOMENTS, RECORDED
from grids import (
    Grid,
    alive,
    check_failing_grid,
    check_rerun,
    end_at_random_points,
    kill,
    one_sentence,
    parent,
    records,
    snapshot,
    start_driver,
    wait_for,
    workers_of,
)
from workload import Job

HERE = Path(__file__).parent


def job_ids(specs):
    return tuple(map(spec_id, specs))


def events(logs, run_id):
    found = [json.loads(line)["event"] for line in (logs / f"{run_id}.jsonl").open()]
    assert found[0] == "sent"
    return [event for event in found if event != "sent"]


def made_locally(specs, workload, folder):
    engine.run_all(specs, workload.work, Store(folder / "records"), 1, folder / "logs", quiet=True)
    return snapshot(folder / "records")


# --- without Ray ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["head", "head:", "ray://head:10001", "http://head:1", "auto", "a b:1", "Local"])
def test_a_cluster_is_named_by_host_and_port_or_started_here(monkeypatch, named):
    monkeypatch.setenv(VARIABLE, named)
    with pytest.raises(CompanionError, match=f"COMPANION_RAY is '{named}'; give HOST:PORT"):
        ray_cluster.address()


def test_without_the_variable_there_is_no_cluster(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert ray_cluster.address() == ""
    for named in ("local", "head.example:6379", "10.0.0.1:6379"):
        monkeypatch.setenv(VARIABLE, named)
        assert ray_cluster.address() == named


def test_a_missing_ray_is_one_sentence(workload, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "head:6379")
    monkeypatch.setitem(importlib.sys.modules, "ray", None)
    with pytest.raises(CompanionError, match=r"asks for Ray, which is not installed: run `pip .*\[cluster\]'`"):
        run_all([workload.Job(1)], workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs")


def test_slots_are_shares_of_gpus_or_else_processors():
    def node(alive=True, **resources):
        return {"Alive": alive, "Resources": resources}

    assert demand([node(CPU=4.0), node(CPU=1.0, memory=9.0), node(False, CPU=8.0)], 3) == ({"num_cpus": 1}, 5)
    for workers in range(1, 40):
        takes, slots = demand([node(CPU=2.0, GPU=2.0), node(CPU=64.0)], workers)
        assert slots == 2 * workers and takes["num_cpus"] == 0
        assert 0.99 < round(takes["num_gpus"], 4) * workers <= 1
    with pytest.raises(CompanionError, match="no node left"):
        demand([node(False, CPU=8.0), node(memory=1.0)], 1)


def slot_elsewhere(workload, tmp_path, **files):
    """A slot on a machine that does not see the driver's folders."""
    settings = {"work": "workload:work", "kind": "workload:Job", "driver": "1", "store": str(tmp_path / "not here")}
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
    settings = {"work": "", "kind": "", "driver": "", "store": str(tmp_path / "not here"), "logs": ""}
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
    assert slot.complaint(ray_engine.code()) == ""
    assert "has another companion than this machine" in slot.complaint("other")


# --- with Ray ------------------------------------------------------------------------------------------------------


def once(condition, action):
    """Act from a thread of its own as soon as the condition holds."""
    thread = threading.Thread(target=lambda: (wait_for(condition, 120), action()))
    thread.start()
    return thread


def raylet_of(process):
    """Which node's raylet a worker process belongs to."""
    try:
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next(int(value[15:]) for value in variables if value.startswith(b"RAY_RAYLET_PID="))


@pytest.mark.slow
def test_a_node_can_be_asked_what_it_has(cluster, workload):
    assert ray_cluster.ask("companion.models.base:native_dtype", 1) in ("bfloat16", "float16", "float32")
    assert ray_cluster.elsewhere() and ray_cluster.ask("os:getenv", 1, "RAY_RAYLET_PID") in map(str, cluster.raylets())
    with pytest.raises(CompanionError, match="The backend unsloth needs a CUDA GPU and torch sees none here"):
        ray_cluster.ask("companion.models.backend:choose", 1, "unsloth")
    with pytest.raises(CompanionError, match="A node cannot take runs: .*No module named 'nowhere'") as told:
        ray_cluster.ask("nowhere:function", 1)
    assert "\n" not in str(told.value)


@pytest.mark.golden
def test_a_failing_run_is_reported_as_by_the_local_engine(cluster, workload, tmp_path, capfd):
    check_failing_grid(run_all, workload, tmp_path, capfd)


@pytest.mark.slow
def test_a_slot_has_the_variables_of_a_local_worker_and_keeps_what_it_loaded(cluster, workload, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_ADAPTERS", str(tmp_path / "adapters"))
    specs, chosen = [workload.Job(seed) for seed in range(4)], {"COMPANION_BACKEND": "transformers"}
    for name, run in (("here", engine.run_all), ("there", run_all)):
        store = Store(tmp_path / name)
        run(specs, workload.environment, store, 2, tmp_path / "logs", quiet=True, environment=chosen)
    facts = {name: [Store(tmp_path / name).read(one).meta for one in job_ids(specs)] for name in ("here", "there")}
    loaded = [fact.pop("loaded_for") for fact in facts["there"]]
    assert len(set(loaded)) <= 2 and {fact.pop("loaded_for") for fact in facts["here"]} <= {0, 1}
    assert facts["there"] == facts["here"]
    assert {fact["COMPANION_ADAPTERS"] for fact in facts["there"]} == {str(tmp_path / "adapters")}


@pytest.mark.golden
def test_a_node_killed_in_the_middle_costs_nothing(cluster, workload, tmp_path):
    folder = tmp_path / "Ünï {cödé} 数据"
    folder.mkdir()
    specs = [workload.Job(seed, "linger_at_first", str(folder)) for seed in range(10)]
    store, logs, seen = Store(folder / "records"), folder / "logs", set()
    raylets = cluster.raylets()

    def second_has_just_begun():
        seen.update({raylet_of(process) for process in workers_of(folder)} - {None})
        young = [mark for mark in folder.glob("began-[0-5]") if time.time() - mark.stat().st_mtime < 1]
        return seen == set(raylets) and store.ids() and any(raylet_of(mark.read_text()) == raylets[1] for mark in young)

    killer = once(second_has_just_begun, cluster.lose_second)
    report = run_all(specs, workload.work, store, 1, logs)
    killer.join()
    assert seen == set(raylets) and cluster.second is None
    assert report == engine.Report(job_ids(specs), (), {})
    assert store.verify(job_ids(specs)) == [] and sorted(job_ids(specs)) == store.ids()
    assert snapshot(store.folder) == made_locally(specs, workload, tmp_path / "local")
    logged = [events(logs, run_id) for run_id in job_ids(specs)]
    assert {names[-1] for names in logged} == {"end"} and [names.count("killed") for names in logged].count(1) == 1


@pytest.mark.slow
def test_a_run_that_takes_its_node_along_is_begun_twice_and_the_others_are_made(cluster, workload, tmp_path):
    specs = [workload.Job(seed, "die_with_parent" if seed == 1 else "work", str(tmp_path)) for seed in range(5)]
    report = run_all(specs, workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs", quiet=True)
    poison = spec_id(specs[1])
    assert list(report.failed) == [poison] and "its node was lost 2 times" in report.failed[poison]
    assert len(report.done) == 4
    assert events(tmp_path / "logs", poison) == ["start", "killed", "start", "killed", "failed"]


@pytest.fixture
def bad_node(cluster):
    """Give a third node its own variables for the length of a test."""
    made = []

    def add(**variables):
        made.append(cluster.cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, env_vars=variables))

    yield add
    for node in made:
        cluster.cluster.remove_node(node)


@pytest.mark.slow
def test_a_node_where_every_run_fails_does_not_take_the_queue(bad_node, workload, tmp_path):
    bad_node(TEST_BAD_NODE="1")
    specs, logs = [workload.Job(seed, "fail_on_bad_node") for seed in range(9)], tmp_path / "logs"
    with pytest.warns(UserWarning, match="takes fewer runs from now on: 2 in a row failed"):
        report = run_all(specs, workload.work, Store(tmp_path / "records"), 1, logs, quiet=True)
    assert len(report.failed) == 1 and len(report.done) == 8
    again = [names for names in (events(logs, run_id) for run_id in report.done) if names != ["start", "end"]]
    assert again == [["start", "failed", "queued", "start", "end"]]


@pytest.mark.slow
def test_where_every_run_fails_each_is_reported_and_no_slot_is_lost(cluster, workload, tmp_path, monkeypatch):
    left, stop = [], RayPool.stop
    monkeypatch.setattr(RayPool, "stop", lambda pool: (left.append(pool.slots), stop(pool)))
    specs = [workload.Job(seed, "fail") for seed in range(8)]
    report = run_all(specs, workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs", quiet=True)
    assert list(report.failed) == list(job_ids(specs)) and left == [2]
    assert all(f"no luck with {seed}" in reason for seed, reason in enumerate(report.failed.values()))


@pytest.mark.slow
def test_a_node_that_cannot_take_runs_leaves_them_to_the_others(bad_node, workload, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    (tmp_path / "text").touch()
    bad_node(COMPANION_CACHE="/dev/null")
    specs = [workload.Job(seed) for seed in range(6)]
    with pytest.warns(UserWarning, match=r"A node cannot take runs: .* could not be written"):
        report = run_all(
            specs, workload.work, Store(tmp_path / "r"), 1, tmp_path / "logs", quiet=True, needed=[tmp_path / "text"]
        )
    assert report == engine.Report(job_ids(specs), (), {})


@pytest.mark.slow
def test_runs_share_the_gpus_that_there_are_and_end_with_them(cluster, workload, tmp_path):
    gpus = cluster.cluster.add_node(num_cpus=1, num_gpus=2, object_store_memory=80 * 2**20)
    specs, store = [workload.Job(seed, folder=str(tmp_path)) for seed in range(4)], Store(tmp_path / "records")
    run_all(specs, workload.device, store, 2, tmp_path / "logs", quiet=True).raise_if_failed()
    assert sorted(store.read(run_id).meta["device"] for run_id in job_ids(specs)) == ["0", "0", "1", "1"]
    folder = tmp_path / "lost"
    folder.mkdir()
    specs, store = [workload.Job(seed, "hang_from_one", str(folder)) for seed in range(3)], Store(folder / "records")
    once(
        lambda: len(workers_of(folder)) == 2 and store.ids(),
        lambda: cluster.cluster.remove_node(gpus, allow_graceful=False),
    )
    with pytest.raises(CompanionError, match="no node left that takes runs"):
        run_all(specs, workload.work, store, 2, folder / "logs", quiet=True)
    assert store.ids() == [spec_id(specs[0])]


@pytest.mark.golden
def test_without_a_shared_folder_records_and_logs_come_back(cluster, workload, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "holder", lambda folder: "a process of another machine")
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path / "cache"))
    texts = tmp_path / "cache" / "texts" / "some"
    texts.parent.mkdir(parents=True)
    texts.write_bytes(b"words")
    specs = [workload.Job(seed) for seed in range(3)] + [workload.Job(3, "die_once", str(tmp_path))]
    store, logs = Store(tmp_path / "records"), tmp_path / "logs"
    report = run_all(specs, workload.work, store, 1, logs, quiet=True, needed=[texts])
    assert report == engine.Report(job_ids(specs), (), {})
    assert snapshot(store.folder) == made_locally(specs, workload, tmp_path / "local")
    assert events(logs, job_ids(specs)[0]) == ["start", "end"]
    assert events(logs, job_ids(specs)[3]) == ["start", "killed", "start", "end"]
    assert (cluster.cache / "texts" / "some").read_bytes() == b"words"


@pytest.mark.slow
def test_without_a_shared_folder_a_run_goes_on_from_the_checkpoint_of_a_lost_slot(
    cluster, workload, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray_engine, "holder", lambda folder: "a process of another machine")
    specs, told = [workload.Job(1, "go_on")], {"COMPANION_CHECKPOINTS": str(tmp_path / "not here")}
    report = run_all(
        specs, workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs", quiet=True, environment=told
    )
    assert report == engine.Report(job_ids(specs), (), {})
    assert not list((cluster.cache / "checkpoints").iterdir())


@pytest.mark.golden
def test_a_disk_that_is_full_here_stops_the_grid(cluster, workload, full_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "holder", lambda folder: "a process of another machine")
    specs = [workload.Job(seed) for seed in range(4)]
    with pytest.raises(CompanionError, match="Stopped after 0 of 4 runs done, 1 failed, because no record can be"):
        run_all(specs, workload.big, Store(full_disk), 1, tmp_path / "logs", quiet=True)
    assert Store(full_disk).verify() == []


@pytest.mark.slow
def test_a_node_that_cannot_take_runs_is_one_sentence(cluster, workload, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    cluster.cache.mkdir(exist_ok=True)
    (cluster.cache / "blocked").touch()
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "texts").touch()
    store, needed = Store(tmp_path / "records"), [tmp_path / "blocked" / "texts"]
    with (
        pytest.warns(UserWarning, match="A node cannot take runs"),
        pytest.raises(CompanionError, match=r"A node cannot take runs: .* could not be written"),
    ):
        run_all([workload.Job(1)], workload.work, store, 1, tmp_path / "logs", quiet=True, needed=needed)
    monkeypatch.setattr(ray_engine, "code", lambda: "other")
    with pytest.raises(CompanionError, match="has another companion than this machine"):
        run_all([workload.Job(1)], workload.work, store, 1, tmp_path / "logs", quiet=True)


@pytest.mark.slow
def test_ctrl_c_ends_the_slots_and_keeps_what_was_done(cluster, tmp_path):
    driver = start_driver(tmp_path, "hang_from_one", 6, stderr=subprocess.PIPE, text=True)
    store = Store(tmp_path / "records")
    wait_for(lambda: len(store.ids()) == 1 and len(workers_of(tmp_path)) == 2, 120)
    driver.send_signal(signal.SIGINT)
    error = driver.communicate(timeout=60)[1]
    assert driver.returncode != 0 and "KeyboardInterrupt" in error and "1 of 6 runs done" in error
    wait_for(lambda: not any(map(alive, workers_of(tmp_path))), 10)
    assert len(store.ids()) == 1 and store.verify(store.ids()) == []


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_sentence(nodes, workload, tmp_path, monkeypatch):
    for place in ("127.0.0.1:1", "127.0.0.1:99999", "no-such-host.invalid:6379"):
        monkeypatch.setenv(VARIABLE, place)
        with pytest.raises(CompanionError, match=f"The Ray cluster '{place}' cannot be used: .") as told:
            run_all([workload.Job(1)], workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs")
        assert "\n" not in str(told.value)


@pytest.mark.slow
def test_a_cluster_started_here_listens_on_the_loopback_address_alone(nodes, workload, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv(VARIABLE, "local")
    store, seen = Store(tmp_path / "records"), []
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda *record: (seen.extend(ray.nodes()), put(*record)))
    report = run_all([workload.Job(1)], workload.work, store, 3, tmp_path / "logs", quiet=True)
    assert len(report.done) == 1
    assert [node["NodeManagerAddress"] for node in seen] == ["127.0.0.1"]
    assert seen[0]["Resources"]["CPU"] == 3 and not ray.is_initialized()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


# --- faults, as in test_faults.py for the local engine --------------------------------------------------------------


@pytest.fixture
def ray_grid(grid, cluster):
    grid.variables[VARIABLE] = cluster.address
    return grid


@pytest.mark.golden
def test_workers_killed_at_every_step_of_writing(ray_grid, reference):
    driver = ray_grid.start(fault="die1")
    told = driver.communicate(timeout=120)[1]
    assert driver.returncode == 0 and snapshot(ray_grid.store.folder) == reference, told
    expected = {seed: 1 if seed % MOMENTS in RECORDED else 2 for seed in range(ray_grid.count)}
    assert ray_grid.starts() == {spec_id(Job(seed)): count for seed, count in expected.items()}
    check_rerun(ray_grid, reference)


@pytest.mark.golden
def test_slots_and_workers_killed_at_random_points(ray_grid, reference):
    chance, driver = random.Random(7), ray_grid.start()
    for _ in range(4):
        wait_for(lambda: driver.poll() is not None or ray_grid.started(), 120)
        time.sleep(chance.uniform(0, 0.4))
        for process in ray_grid.started()[:1]:
            with contextlib.suppress(OSError):
                kill(chance.choice([process, parent(process)]))
    told = driver.communicate(timeout=120)[1]
    assert driver.returncode == 0 or "was killed by SIGKILL" in told or "node was lost" in told, told
    check_rerun(ray_grid, reference)


@pytest.mark.golden
def test_a_driver_killed_at_random_points(ray_grid, reference):
    end_at_random_points(ray_grid, reference, random.Random(8), (0, 2))
    check_rerun(ray_grid, reference)


@pytest.mark.golden
def test_a_driver_killed_with_the_cluster_that_it_started(nodes, grid, reference):
    """Its cluster ends with it, and does without the ports that are known for Ray: those are taken."""
    grid.variables[VARIABLE] = "local"
    with contextlib.ExitStack() as taken:
        for port in (6379, 8265, 10001):
            with contextlib.suppress(OSError):  # someone else has it
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
        end_at_random_points(grid, reference, random.Random(9), (3,))
        check_rerun(grid, reference)


class Page(BaseHTTPRequestHandler):
    """What answers where another program has the port."""

    def log_message(self, *_):
        pass


@pytest.mark.golden
def test_a_port_that_another_program_has_is_one_sentence(nodes, tmp_path):
    """A program that says nothing, a web server, and a Ray cluster at the port of a node."""
    ray = pytest.importorskip("ray")
    ray.init(nodes.address, **ray_cluster.QUIET)
    ports = [ray.nodes()[0]["NodeManagerPort"]]
    ray.shutdown()
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadingHTTPServer(("127.0.0.1", 0), Page) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        ports += [silent.getsockname()[1], web.server_port]
        grids = [Grid(tmp_path / str(port), variables={VARIABLE: f"127.0.0.1:{port}"}) for port in ports]
        for grid, driver in [(grid, grid.start()) for grid in grids]:
            place = grid.variables[VARIABLE]
            one_sentence(driver, f"The Ray cluster '{place}' cannot be used", "is not the head", timeout=90)
            assert records(grid) == 0 and not grid.processes()
        web.shutdown()


@pytest.mark.golden
def test_a_wrong_token_is_one_sentence(ray_grid):
    one_sentence(ray_grid.start(RAY_AUTH_TOKEN="1" * 64), "it wants another token", timeout=90)
