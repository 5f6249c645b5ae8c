"""Work of the fault tests: tiny runs, with what $TEST_FAULT asks for; worker processes import this file by name."""

import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from workload import Job, values

FAULT, MARKS = "TEST_FAULT", "TEST_FAULT_MARKS"
MOMENTS = 5
RECORDED = (3, 4)
"""Moments at which the record of a run is on disk and its answer not given."""


def work(spec: Job):
    fault = os.environ.get(FAULT, "")
    if fault.startswith("die"):
        _die_while_writing(spec.seed, int(fault.removeprefix("die")))
    elif fault:
        globals()[fault](spec)
    scratch = np.ones(4 * 2**20)  # 32 MiB, so that a run feels a want of memory
    time.sleep(0.1)
    del scratch
    return values(spec)


def wait_halfway(spec: Job):
    """From the fifth run on, until the test says go on."""
    while spec.seed >= 4 and not (Path(os.environ[MARKS]) / "go").exists():
        time.sleep(0.02)


def speak(spec: Job):
    print("A run speaks.", flush=True)


def be_greedy(spec: Job):
    resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
    np.ones(2**32)


def refuse_ports(spec: Job):
    if found := open_sockets():
        raise RuntimeError(f"a worker holds {found}")


def open_sockets() -> list[str]:
    """The internet sockets of this process, as Linux lists them."""
    held = {str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
    tables = [Path("/proc/self/net") / name for name in ("tcp", "tcp6", "udp", "udp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return [line for line in lines if f"socket:[{line.split()[9]}]" in held]


def _die_while_writing(seed: int, times: int) -> None:
    """Let this process be killed as it writes its record, at the moment of this seed, the first times that it does."""
    marks, worker = Path(os.environ[MARKS]), sys.modules["__main__"]
    if len(list(marks.glob(f"{seed}-*"))) >= times:
        return

    def die(*arguments, **named):
        (marks / f"{seed}-{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    moments = [
        (tempfile, "mkstemp"),
        (os, "fsync"),
        (Path, "replace"),
        (worker, "log_event"),
        (worker, "_drop_if_empty"),
    ]
    setattr(*moments[seed % MOMENTS], die)
