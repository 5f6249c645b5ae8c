"""What the tests of both engines share: grids that must end alike, and looks at processes from outside."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from companion.errors import CompanionError
from companion.runs import engine
from companion.runs.lock import folder_lock
from companion.runs.spec import spec_id
from companion.runs.store import DTYPES, SUFFIX, Store

SOURCES = Path(__file__).parent
DRIVER = SOURCES / "driver.py"
MARK = "TEST_GRID"
AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
"""Helpers of a Ray cluster that was killed: they look for its head for a minute, then they end too."""


def snapshot(folder):
    return {file.name: file.read_bytes() for file in folder.glob("*.safetensors") if file.is_file()}


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
        ids[2]: "its process was killed by SIGKILL (possibly out of memory) 2 times",
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
    names = {run_id: [event["event"] for event in events[run_id]] for run_id in ids}
    # A cluster may begin a failed run again in another slot, and says so.
    last = {run_id: len(found) - (["queued", *found][::-1].index("queued")) for run_id, found in names.items()}
    names = {run_id: [name for name in found[last[run_id] :] if name != "sent"] for run_id, found in names.items()}
    assert names[ids[0]] == ["start", "end"]
    assert names[ids[1]] == names[ids[4]] == ["start", "failed"]
    assert names[ids[2]] == ["start", "killed", "start", "killed", "failed"]
    assert names[ids[3]] == ["start", "killed", "start", "end"]
    assert events[ids[0]][-2]["spec"]["fields"]["seed"] == 0
    assert events[ids[0]][-1]["seconds"] >= 0 and 10 < events[ids[0]][-1]["worker_peak_mib"] < 1000
    assert "in fail" in events[ids[1]][-1]["traceback"]
    assert (logs / f"{ids[3]}.out").read_text() == "seed 3, die_once\n" * 2


class Nodes:
    """A cluster of two nodes of one core each, whose second node can be lost and replaced."""

    def __init__(self, folder):
        from ray.cluster_utils import Cluster

        self.cache, memory = folder / "cache", 80 * 2**20
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": memory},
        )
        self.address, self.second = self.cluster.address, None
        self.complete()

    def complete(self):
        if self.second is None:
            self.second = self.cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
            self.cluster.wait_for_nodes()

    def raylets(self):
        return [node.all_processes["raylet"][0].process.pid for node in (self.cluster.head_node, self.second)]

    def lose_second(self):
        os.kill(self.raylets()[1], signal.SIGKILL)
        node, self.second = self.second, None
        self.cluster.remove_node(node, allow_graceful=False)


@dataclass
class Grid:
    """The runs of `faulty` in a folder, made by drivers in processes of their own; all they start carries a mark.

    `variables` are those of every driver.
    """

    folder: Path
    count: int = 8
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.folder.mkdir(exist_ok=True)
        (self.folder / "marks").mkdir(exist_ok=True)
        self.store, self.logs = Store(self.folder / "records"), self.folder / "logs"

    def command(self):
        return [sys.executable, "-P", str(SOURCES / "fault_driver.py"), str(self.folder), str(self.count)]

    def start(self, command=(), fault="", preexec_fn=None, **variables):
        """A driver under a fault; `fault` is one of `faulty`, which the workers call."""
        told = {"TEST_FAULT": fault, "TEST_FAULT_MARKS": str(self.folder / "marks")} if fault else {}
        path = os.pathsep.join([str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, MARK: str(self.folder), **self.variables, **told, **variables}
        errors = subprocess.PIPE
        return subprocess.Popen(
            [*command, *self.command()], env=environment, stderr=errors, text=True, preexec_fn=preexec_fn
        )

    def events(self):
        """Id to the events of its log; a line that was cut off is left out."""
        found = {}
        for log in self.logs.glob("*.jsonl"):
            found[log.stem] = events = []
            for line in log.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    events.append(json.loads(line))
        return found

    def starts(self):
        return Counter({name: sum(one["event"] == "start" for one in log) for name, log in self.events().items()})

    def started(self):
        """Workers that began a run and are alive."""
        noted = {one["process"] for log in self.events().values() for one in log if one["event"] == "start"}
        return sorted(filter(alive, noted))

    def processes(self):
        """Whatever a driver of this grid started and is alive."""
        return sorted({*marked(f"{MARK}={self.folder}"), *self.started()})


def marked(variable):
    """Processes of which this is a variable, but for Ray's agents."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            agent = (folder / "cmdline").read_bytes().startswith(AGENTS)
            if variable.encode() in (folder / "environ").read_bytes().split(b"\0") and alive(folder.name) and not agent:
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def nothing_twice(grid, reference):
    """What is recorded soundly now is not made again in the block; its end waits for all processes of the grid."""
    wait_for(lambda: not grid.processes(), 60)
    kept, begun = snapshot(grid.store.folder), grid.starts()
    sound = [name.removesuffix(SUFFIX) for name, content in kept.items() if reference.get(name) == content]
    yield
    wait_for(lambda: not grid.processes(), 60)
    again = {name: (begun[name], grid.starts()[name]) for name in sound if grid.starts()[name] != begun[name]}
    assert not again, f"made again: {again}"


def check_rerun(grid, reference):
    """After a fault, a plain re-run ends with the reference; gives what it told."""
    with nothing_twice(grid, reference):
        driver = grid.start()
        told = driver.communicate(timeout=120)[1]
        assert driver.returncode == 0, told
    check_whole(grid, reference)
    return told


def check_whole(grid, reference):
    """The grid's records are the reference's, each once; there is no other file, no process and no lock."""
    assert snapshot(grid.store.folder) == reference
    names = {file.name for file in grid.store.folder.iterdir()}
    assert names - {"damaged", "checkpoints"} == {*reference, ".lock"}
    assert not list(grid.store.checkpoints.glob("*")) and grid.store.verify() == []
    with folder_lock(grid.store.folder):
        assert not grid.processes()


def one_sentence(driver, *parts, timeout=120):
    """A driver that ends with code 1 and says why in one sentence at the end, without a traceback."""
    told = driver.communicate(timeout=timeout)[1]
    assert driver.returncode == 1 and "Traceback" not in told, told
    sentence = told[told.rindex("companion: ") :]
    assert all(part in sentence for part in parts), told
    return sentence


def records(grid):
    return len(grid.store.ids())


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def end_at_random_points(grid, reference, chance, goals, number=signal.SIGKILL):
    """Drivers that are ended a while after so many records are there; their workers end with them."""
    for goal in goals:
        with nothing_twice(grid, reference):
            driver = grid.start()
            wait_for(lambda goal=goal, driver=driver: driver.poll() is not None or records(grid) >= goal, 120)
            time.sleep(chance.uniform(0, 0.3 if goal else 1))
            driver.send_signal(number)
            driver.communicate(timeout=60)


def job_ids(specs):
    return tuple(map(spec_id, specs))


def made_locally(specs, workload, folder):
    engine.run_all(specs, workload.work, Store(folder / "records"), 1, folder / "logs", quiet=True)
    return snapshot(folder / "records")
