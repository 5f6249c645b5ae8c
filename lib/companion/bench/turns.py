"""Ways to do one thing take turns, each in its own processes, so that a slow spell of the machine hits all alike."""

import contextlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from companion.runs.worker import die_with_parent, get_peak_memory, release_memory

PATIENCE = 600
"""Seconds that a process waits for the others of its way to be ready."""
_ready: Any = None
SECONDS = "s"
"""Unit in which less is better; in all others more is."""


@dataclass(frozen=True)
class Way:
    """One way to do some tasks: `measure(task)` gives a figure of one process.

    Attributes:
        tasks: the first way of a task is the one that the others are compared with.
        processes: how many measure at the same time; with a rate as `unit` their figures are added up.
        threads: of each process.
        unit: such as `examples/s` or `s`.
        note: how it is done, for the table.
    """

    name: str
    tasks: tuple[str, ...]
    measure: Callable[[str], float]
    note: str
    processes: int = 1
    threads: int = 1
    unit: str = "examples/s"


@dataclass
class Measured:
    """Figures of one way and task: one per round, and the most memory of one process in MiB."""

    way: Way
    task: str
    values: list[float] = field(default_factory=list)
    memory: int = 0


def take_turns(ways: Sequence[Way], rounds: int, report: Callable[[str], None]) -> list[Measured]:
    """Measure every task of every way `rounds` times, a round of all before the next, with its own order of ways.

    A way keeps its processes, and with them what it has loaded, from round to round.
    """
    found = [Measured(way, task) for way in ways for task in way.tasks]
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        pools = {way: _pools(way, scratch) for way in ways}
        try:
            for turn in range(1, rounds + 1):
                for way in order.sample(ways, len(ways)):
                    for one in (one for one in found if one.way is way):
                        _take_turn(one, pools[way])
                        report(f"{turn}/{rounds}  {one.task}, {way.name}: {one.values[-1]:.3g} {way.unit}")
        finally:
            for pool in (pool for group in pools.values() for pool in group):
                pool.shutdown(cancel_futures=True)
    return found


def _take_turn(one: Measured, pools: list[ProcessPoolExecutor]) -> None:
    results = [pool.submit(_measure_task, one.way.measure, one.task) for pool in pools]
    values, memory = zip(*(result.result() for result in results), strict=True)
    one.values.append(max(values) if one.way.unit == SECONDS else sum(values))
    one.memory = max(one.memory, *memory)


def make_rows(part: str, found: Sequence[Measured]) -> list[dict[str, Any]]:
    """One row per way and task: median, lowest and highest over the rounds, and how many times better the first way is.

    That ratio is taken round by round, so what slows a whole round down leaves it alone.
    """
    first: dict[str, Measured] = {}
    table = []
    for one in found:
        ratios = _ratios(first.setdefault(one.task, one), one)
        table.append(
            {
                "part": part,
                "task": one.task,
                "way": one.way.name,
                "processes": one.way.processes,
                "threads": one.way.threads,
                "unit": one.way.unit,
                "median": statistics.median(one.values),
                "lowest": min(one.values),
                "highest": max(one.values),
                "rounds": len(one.values),
                "times": statistics.median(ratios),
                "times_lowest": min(ratios),
                "times_highest": max(ratios),
                "memory_mib": one.memory,
                "note": one.way.note,
            }
        )
    return table


def _ratios(first: Measured, one: Measured) -> list[float]:
    pairs = zip(first.values, one.values, strict=True)
    return [other / own if one.way.unit == SECONDS else own / other for own, other in pairs]


def measure_rate(count: int, work: Callable[[], object]) -> float:
    """How many of `count` a second `work` does; all processes of a way begin at the same time."""
    wait_for_the_others()
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def wait_for_the_others() -> None:
    """Return as soon as every process of the way is here; at once where there is no other."""
    if _ready:
        _ready.wait(PATIENCE)


def _pools(way: Way, scratch: str) -> list[ProcessPoolExecutor]:
    """A fresh process for each that measures."""
    fresh = get_context("spawn")
    ready = fresh.Barrier(way.processes)
    chosen = (way.threads, scratch, ready, os.getpid())
    return [ProcessPoolExecutor(1, fresh, initializer=_start, initargs=chosen) for _ in range(way.processes)]


def _start(threads: int, scratch: str, ready: Any, parent: int) -> None:
    global _ready
    die_with_parent(parent)
    _ready = ready
    os.chdir(scratch)  # some tools write caches into the working folder
    os.environ["OMP_NUM_THREADS"] = str(threads)  # torch reads it when it is first imported


def _measure_task(measure: Callable[[str], float], task: str) -> tuple[float, int]:
    """The figure, and this process's highest memory meanwhile in MiB; memory is given back before and after."""
    forget_peak()
    value = measure(task)
    peak = get_peak_memory() // 2**20
    release_memory()
    return value, peak


def forget_peak() -> None:
    """Give memory back, and count the most of this process from here on; a measure may call it when it is prepared."""
    release_memory()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: forget the peak so far
