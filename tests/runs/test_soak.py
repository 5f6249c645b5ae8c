"""Hundreds of trainings in the same workers: memory, files, threads and processes stay what they are.

$TEST_SOAK_RUNS says how many, else 500; the figures are printed (pytest -s).
"""

import getpass
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from companion.runs.ray_cluster import CLOSED, VARIABLE
from companion.runs.store import Store
from grids import MARK, SOURCES, marked, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
RUNS = int(os.environ.get("TEST_SOAK_RUNS", "500"))
SETTLED = 0.2
"""Share of the runs after which nothing may grow: until then allocators and caches of code fill up."""
WORKER, DRIVER = 1.0, 2.0
"""MiB in a hundred runs that are no growth: samples of one process differ by 1 MiB. Half of the runs are a worker's, so
one that kept the adapter of every run (28 KiB) would grow by 1.4, with its optimiser by 4. Ray's books of the tasks it
was given, in the driver, grow by 0.8."""


def figures(process):
    """MiB of this process: all, and what is no file's; open files, threads, and mapped pieces of shared memory."""
    folder = Path("/proc") / str(process)
    fields = dict(line.split(":") for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
    return {
        "rss": int(fields["Rss"].split()[0]) / 1024,
        "own": int(fields["Anonymous"].split()[0]) / 1024,
        "files": len(list((folder / "fd").iterdir())),
        "threads": len(list((folder / "task").iterdir())),
        "shared": (folder / "maps").read_text().count("/dev/shm/"),
    }


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def is_worker(process):
    return b"companion.runs.worker" in Path(f"/proc/{process}/cmdline").read_bytes()


def sample(driver, folder, made):
    processes = marked(f"{MARK}={folder}")
    return {
        "made": made,
        "processes": processes,
        "driver": figures(driver.pid),
        "workers": {process: figures(process) for process in processes if is_worker(process)},
        "tmp": sorted(str(file) for file in (folder / "tmp").rglob("*")),
    }


def soak(folder, runs, **variables):
    """Make the grid; gives seconds and samples, every 25 runs while it runs."""
    (folder / "tmp").mkdir()
    places = os.pathsep.join([str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = {**os.environ, "PYTHONPATH": places, MARK: str(folder), "TMPDIR": str(folder / "tmp"), **variables}
    begun, samples, store = time.monotonic(), [], Store(folder / "records")
    driver = subprocess.Popen([sys.executable, "-P", SOURCES / "soak_driver.py", folder, str(runs)], env=told)
    for goal in range(25, runs, 25):
        wait_for(lambda goal=goal: driver.poll() is not None or len(store.ids()) >= goal, 600)
        samples.append(sample(driver, folder, goal))
    assert driver.wait() == 0
    seconds = time.monotonic() - begun
    wait_for(lambda: not marked(f"{MARK}={folder}"), 60)
    return seconds, samples


def report(name, seconds, samples):
    print(f"\n{name}: {seconds:.0f} s; of the driver and each worker RSS and own memory in MiB, open files, threads")
    for one in samples:
        parts = [one["driver"], *one["workers"].values()]
        text = "  ".join(
            f"{part['rss']:6.1f} {part['own']:6.1f} {part['files']:3} {part['threads']:3}" for part in parts
        )
        print(f"{one['made']:5} runs: {text}  of {len(one['processes'])} processes")


def slope(samples, values):
    """Growth in MiB per hundred runs."""
    return float(np.polyfit([one["made"] for one in samples], values, 1)[0] * 100)


def check(folder, runs, samples):
    settled = [one for one in samples if one["made"] >= runs * SETTLED]
    first = settled[0]
    assert len(first["workers"]) == 2
    for one in settled:
        assert one["workers"].keys() == first["workers"].keys() and one["processes"] == first["processes"]
        assert one["tmp"] == first["tmp"]
    growth = {}
    for process in ("driver", *first["workers"]):
        series = [one["driver"] if process == "driver" else one["workers"][process] for one in settled]
        growth[process] = round(slope(settled, [figure["own"] for figure in series]), 2)
        for part in ("files", "threads", "shared"):
            assert len({figure[part] for figure in series}) == 1, f"{part} of {process}"
    print("growth in MiB per hundred runs:", growth)
    assert growth.pop("driver") < DRIVER and max(growth.values()) < WORKER
    store = Store(folder / "records")
    assert store.verify() == [] and len(store.ids()) == runs
    assert names(store.folder) == [".lock", *(f"{name}.safetensors" for name in store.ids())]
    assert names(folder / "logs") == [f"{name}.jsonl" for name in store.ids()]


def test_local_workers_do_not_grow(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    seconds, samples = soak(tmp_path, RUNS)
    report(f"{RUNS} runs by local processes", seconds, samples)
    check(tmp_path, RUNS, samples)
    assert set(names(tmp_path / "tmp")) <= {f"torchinductor_{getpass.getuser()}"}


def test_workers_of_a_cluster_do_not_grow(tmp_path):
    pytest.importorskip("ray")
    seconds, samples = soak(tmp_path, RUNS // 2, **{**CLOSED, VARIABLE: "local", "RAY_TMPDIR": tempfile.gettempdir()})
    report(f"{RUNS // 2} runs on a cluster", seconds, samples)
    check(tmp_path, RUNS // 2, samples)
