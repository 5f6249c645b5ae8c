"""Things to measure for the benchmark's tests; its processes import this file by name."""

import os
import time
from pathlib import Path

from companion.bench.turns import wait_for_the_others

CALLS: list[str] = []


def rate(task: str) -> float:
    CALLS.append(task)
    return {"a": 4.0, "b": 6.0}[task] * len(CALLS)


def threads(_task: str) -> float:
    return float(os.environ["OMP_NUM_THREADS"])


def held(_task: str) -> float:
    return float(len(bytearray(200 * 2**20)))


def two(_task: str) -> float:
    return 2.0


def begun(_task: str) -> float:
    """Seconds that one of two processes waits for the other, which is half a second late."""
    try:
        Path("first").mkdir()
    except FileExistsError:
        time.sleep(0.5)
    start = time.perf_counter()
    wait_for_the_others()
    return time.perf_counter() - start


def asleep(task: str) -> float:
    """Write this process's id to the file `task`, and stay."""
    Path(task).write_text(str(os.getpid()), encoding="ascii")
    time.sleep(600)
    return 0.0
