"""Whatever hits a grid, a plain re-run ends with the records of an undisturbed one, and nothing is made twice."""

import contextlib
import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import nbformat
import pytest

from companion.runs.notebook import execute
from companion.runs.spec import spec_id
from companion.runs.store import SUFFIX
from faulty import MOMENTS, RECORDED
from grids import (
    SOURCES,
    Grid,
    check_rerun,
    check_whole,
    end_at_random_points,
    kill,
    nothing_twice,
    one_sentence,
    records,
    snapshot,
    wait_for,
)
from workload import Job

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
pytestmark = [pytest.mark.golden, LINUX]


# --- killed processes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_workers_killed_at_random_points(grid, reference, seed):
    """While they start, work or write; most runs survive it, one that dies twice is reported."""
    chance, driver = random.Random(seed), grid.start()
    for _ in range(6):
        wait_for(lambda: driver.poll() is not None or set(grid.processes()) - {driver.pid}, 60)
        time.sleep(chance.uniform(0, 0.5))
        workers = sorted(set(grid.processes()) - {driver.pid})
        for process in chance.sample(workers, min(len(workers), chance.randint(1, 2))):
            kill(process)
    told = driver.communicate(timeout=120)[1]
    assert driver.returncode == 0 or "was killed by SIGKILL" in told
    check_rerun(grid, reference)


@pytest.mark.parametrize("times", [1, 2])
def test_workers_killed_at_every_step_of_writing(grid, reference, times):
    """Each run dies once, and is begun again, or twice, and is reported; one whose record is on disk is made."""
    driver = grid.start(fault=f"die{times}")
    if times == 1:
        told = driver.communicate(timeout=120)[1]
        assert driver.returncode == 0 and snapshot(grid.store.folder) == reference, told
    else:
        one_sentence(driver, "6 of 8 runs failed; the others are kept", "killed by SIGKILL")
    expected = {seed: 1 if seed % MOMENTS in RECORDED else 2 for seed in range(grid.count)}
    assert grid.starts() == {spec_id(Job(seed)): count for seed, count in expected.items()}
    check_rerun(grid, reference)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_driver_ended_at_random_points(grid, reference, number):
    """Also by a closed terminal; its workers end with it, and what they made is taken up."""
    end_at_random_points(grid, reference, random.Random(int(number)), (0, 1, 3, 5), number)
    check_rerun(grid, reference)


def test_a_suspended_machine(grid, reference):
    """All stand still in the middle of their work and go on: nothing is taken for dead."""
    driver = grid.start(fault="wait_halfway")
    wait_for(lambda: records(grid) == 4 and len(grid.starts()) == 6)
    everyone = grid.processes()
    assert len(everyone) == 3
    for process in everyone:
        os.kill(process, signal.SIGSTOP)
    (grid.folder / "marks" / "go").touch()
    time.sleep(1)
    assert records(grid) == 4
    for process in reversed(everyone):
        os.kill(process, signal.SIGCONT)
    driver.communicate(timeout=60)
    assert driver.returncode == 0 and set(grid.starts().values()) == {1}
    check_rerun(grid, reference)


# --- full, read-only and damaged disks -----------------------------------------------------------------------------

FULL = """
mount -t tmpfs -o size=256k tmpfs "$0" && mkdir "$0/marks" && head -c 208k /dev/zero >"$0/ballast"
"$@"; echo $? >"$0.code"
rm "$0/ballast"
cp -r "$0" "$0.full"
"$@" && cp -r "$0" "$0.whole"
"""
"""In a namespace of its own, whose mounts end with it: a driver on a full disk, and another after room was made."""


def test_a_full_disk(grid, reference):
    """A real one of 48 KiB, which takes some of the records, and no log after that."""
    if subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this system lets nobody but root mount a file system; the next test limits the size of files")
    driver = grid.start(command=[*NAMESPACE, "bash", "-c", FULL, str(grid.folder)])
    told = driver.communicate(timeout=120)[1]
    full, whole = (Grid(grid.folder.with_name(f"{grid.folder.name}.{name}")) for name in ("full", "whole"))
    assert driver.returncode == 0 and grid.folder.with_name(f"{grid.folder.name}.code").read_text() == "1\n", told
    assert "no record can be stored" in told and "No space left on device" in told and "Traceback" not in told
    assert 1 <= records(full) < 8 and snapshot(full.store.folder).items() <= reference.items()
    assert not list(full.store.folder.glob("*.tmp"))
    assert all(full.starts()[name] == whole.starts()[name] for name in full.store.ids())
    check_whole(whole, reference)


def test_files_that_cannot_grow(grid, reference):
    limit = (300, 300)
    driver = grid.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    one_sentence(driver, "no record can be stored", "File too large")
    assert records(grid) == 0
    check_rerun(grid, reference)


def without_power():
    """Root obeys permissions too: the program that is started next cannot have the power to pass over them."""
    drop_from_bounding_set, pass_over_permissions = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, pass_over_permissions, 0, 0, 0)


@contextlib.contextmanager
def read_only(folder):
    folder.chmod(0o555)
    yield
    folder.chmod(0o755)


def test_records_that_become_read_only_in_the_middle(grid, reference):
    driver = grid.start(preexec_fn=without_power, fault="wait_halfway")
    wait_for(lambda: records(grid) == 4)
    with read_only(grid.store.folder):
        (grid.folder / "marks" / "go").touch()
        one_sentence(driver, "no record can be stored", "Permission denied")
        with nothing_twice(grid, reference):
            one_sentence(grid.start(preexec_fn=without_power), "no record can be stored", "Permission denied")
    check_rerun(grid, reference)


def test_logs_that_cannot_be_written_cost_no_run(grid, reference):
    grid.logs.mkdir()
    with read_only(grid.logs):
        driver = grid.start(preexec_fn=without_power, fault="speak")
        told = driver.communicate(timeout=60)[1]
    assert driver.returncode == 0 and not list(grid.logs.iterdir()), told
    check_rerun(grid, reference)


def damage(grid, files):
    """Six damaged records of eight, and files that belong to no run."""
    flipped, cut, emptied, one, other, replaced = (grid.store.folder / name for name in files[:6])
    content = bytearray(flipped.read_bytes())
    content[-7] ^= 8
    flipped.write_bytes(content)
    cut.write_bytes(cut.read_bytes()[:-100])
    emptied.write_bytes(b"")
    contents = one.read_bytes(), other.read_bytes()
    other.write_bytes(contents[0]), one.write_bytes(contents[1])
    replaced.unlink()
    (replaced / "deep").mkdir(parents=True)
    (grid.store.folder / f"0123456789abcdef{SUFFIX}").write_bytes(b"of no run")
    (grid.store.folder / f"{cut.stem}.cut_off.tmp").touch()
    (grid.store.checkpoints).mkdir()
    (grid.store.checkpoints / flipped.name).write_bytes(b"rubbish")


def test_damaged_records(grid, reference):
    assert grid.start().wait() == 0
    files = sorted(reference)
    random.Random(4).shuffle(files)
    damage(grid, files)
    told = check_rerun(grid, reference)
    for name in (*(file.removesuffix(SUFFIX) for file in files[:6]), "0123456789abcdef"):
        assert f"Record {name} is damaged (" in told
    assert len(list((grid.store.folder / "damaged").iterdir())) == 7
    assert sum(grid.starts().values()) == 14


# --- want of memory, ports and time --------------------------------------------------------------------------------


def starve(grid, driver):
    """Let the driver's workers have no more memory than they hold, wherever each of them is."""
    while driver.poll() is None:
        for process in set(grid.processes()) - {driver.pid}:
            with contextlib.suppress(OSError, ProcessLookupError):
                pages = int(Path(f"/proc/{process}/statm").read_text().split()[0])
                if resource.prlimit(process, resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
                    limit = pages * resource.getpagesize() + 2**20
                    resource.prlimit(process, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        time.sleep(0.05)


def test_workers_without_memory(grid, reference):
    driver = grid.start()
    told = []
    reader = threading.Thread(target=lambda: told.append(driver.stderr.read()))
    reader.start()
    starve(grid, driver)
    reader.join(60)
    assert driver.returncode == 0 or "runs failed; the others are kept" in told[0], told
    check_rerun(grid, reference)


def test_runs_that_need_more_memory_than_they_get(grid, reference):
    """Every run raises, and the workers live on."""
    driver = grid.start(fault="be_greedy")
    one_sentence(driver, "8 of 8 runs failed", "MemoryError")
    check_rerun(grid, reference)


def test_workers_open_no_port_that_could_be_taken(grid, reference):
    assert grid.start(fault="refuse_ports").wait() == 0
    check_rerun(grid, reference)


PORTS = """
import sys
sys.path.append({sources!r})
from pathlib import Path
from faulty import open_sockets
low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
assert all(low <= int(line.split()[1].split(":")[1], 16) <= high for line in open_sockets())
"""


def test_a_notebook_opens_no_port_but_what_the_system_gives_it(tmp_path):
    """Of those that are free; a kernel talks through files, and ipykernel opens one port beside them."""
    cells = [nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell(PORTS.format(sources=str(SOURCES))))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "ports.ipynb")
    execute(tmp_path / "ports.ipynb", tmp_path / "out" / "ports.ipynb", {})


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory):
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("there is no C compiler to build a wrong clock with")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCES / "clock.c", "-ldl"], check=True)
    return str(library)


def times(grid):
    return [datetime.fromisoformat(one["time"]) for log in grid.events().values() for one in log]


def test_a_clock_that_jumps_by_months(grid, reference, wrong_clock):
    driver = grid.start(LD_PRELOAD=wrong_clock)
    told = driver.communicate(timeout=120)[1]
    assert driver.returncode == 0 and snapshot(grid.store.folder) == reference, told
    assert (max(times(grid)) - min(times(grid))).days >= 59
    check_rerun(grid, reference)


@pytest.mark.parametrize("year", [1971, 2099])
def test_files_of_another_time(grid, reference, year):
    """As a clock that was wrong leaves them; half of the runs are still to be made."""
    driver = grid.start()
    wait_for(lambda: records(grid) >= 4)
    driver.kill()
    driver.communicate()
    for file in grid.folder.rglob("*"):
        os.utime(file, (datetime(year, 1, 1).timestamp(),) * 2)
    check_rerun(grid, reference)
