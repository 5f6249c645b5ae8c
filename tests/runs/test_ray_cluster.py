"""The engine on a cluster of two real nodes of one core each on this machine."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from companion.errors import CompanionError
from companion.runs import engine, ray_cluster, ray_engine
from companion.runs.ray_cluster import VARIABLE
from companion.runs.ray_engine import RayPool, run_all
from companion.runs.spec import spec_id
from companion.runs.store import Store
from grids import (
    alive,
    check_failing_grid,
    job_ids,
    made_locally,
    snapshot,
    start_driver,
    wait_for,
    workers_of,
)


def events(logs, run_id):
    found = [json.loads(line)["event"] for line in (logs / f"{run_id}.jsonl").open()]
    assert found[0] == "sent"
    return [event for event in found if event != "sent"]


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
    assert ray_cluster.ask_cluster("companion.models.base:get_native_dtype", 1) in ("bfloat16", "float16", "float32")
    assert ray_cluster.is_remote() and ray_cluster.ask_cluster("os:getenv", 1, "RAY_RAYLET_PID") in map(
        str, cluster.raylets()
    )
    with pytest.raises(CompanionError, match="The backend unsloth needs a CUDA GPU and torch sees none here"):
        ray_cluster.ask_cluster("companion.models.backend:choose_backend", 1, "unsloth")
    with pytest.raises(CompanionError, match="A node cannot take runs: .*No module named 'nowhere'") as told:
        ray_cluster.ask_cluster("nowhere:function", 1)
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
    monkeypatch.setattr(ray_engine, "get_lock_holder", lambda folder: "a process of another machine")
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
    monkeypatch.setattr(ray_engine, "get_lock_holder", lambda folder: "a process of another machine")
    specs, told = [workload.Job(1, "go_on")], {"COMPANION_CHECKPOINTS": str(tmp_path / "not here")}
    report = run_all(
        specs, workload.work, Store(tmp_path / "records"), 1, tmp_path / "logs", quiet=True, environment=told
    )
    assert report == engine.Report(job_ids(specs), (), {})
    assert not list((cluster.cache / "checkpoints").iterdir())


@pytest.mark.golden
def test_a_disk_that_is_full_here_stops_the_grid(cluster, workload, full_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "get_lock_holder", lambda folder: "a process of another machine")
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
    monkeypatch.setattr(ray_engine, "hash_code", lambda: "other")
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
