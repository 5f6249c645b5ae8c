"""A grid of short runs: the real engine against a process for every run."""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from companion.bench.turns import SECONDS, Way
from companion.bench.workload import LABEL, LABELS, VERSIONS, base, batch_of_study, recipe, sequences, tokens
from companion.runs.engine import THREAD_VARIABLES, run_all
from companion.runs.spec import from_json, to_json
from companion.runs.store import Store
from companion.runs.worker import die_with_parent

RUNS = 8


@dataclass(frozen=True)
class Run:
    """`train` steps of a batch with targets of `target` tokens, then `items` scored; `length` is the prompts'."""

    seed: int = 0
    target: int = LABEL
    train: int = 4
    items: int = 40
    length: int = 115
    result_version: int = 1


GRID = f"grid of {RUNS} runs of {Run.train} steps and {Run.items} items"


def work(spec: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train and score, without layer entropies."""
    from companion.models.finetune import finetune
    from companion.models.score import score

    draw = random.Random(0)
    batches = [batch_of_study(draw, spec.target, spec.length) for _ in range(spec.train)]
    opening = tokens(draw, 16)
    prompts = [opening + tokens(draw, spec.length - 16 - item % 20) for item in range(spec.items)]
    student, _ = finetune(base(), sequences(batches), recipe(VERSIONS), spec.seed)
    return {"probabilities": score(student, prompts, LABELS, inside=False).probabilities}, {}


def ways(cores: int) -> list[Way]:
    """Eight runs by the engine, each in a separate process, and by a pool; as many at a time."""
    return [
        Way("companion", (GRID,), engine, f"{cores} workers that keep the base", 1, 1, SECONDS),
        Way("a process for every run", (GRID,), processes, f"{cores} at a time, each loads the base", 1, 1, SECONDS),
        Way("a plain pool", (GRID,), pool, f"{cores} processes that keep the base, nothing watched", 1, 1, SECONDS),
    ]


def specs(count: int = RUNS) -> list[Run]:
    """Runs that differ by seed."""
    return [Run(seed=seed) for seed in range(count)]


def engine(_task: str) -> float:
    """Seconds of the whole grid, start of the workers included."""
    return seconds(specs(), os.cpu_count() or 1)


def seconds(chosen: Sequence[Run], workers: int) -> float:
    """Whole seconds that the local engine takes for these runs.

    Raises:
        CompanionError: a run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        report = run_all(chosen, work, Store(Path(folder) / "records"), workers, Path(folder) / "logs", quiet=True)
        report.raise_if_failed()
        return time.perf_counter() - start


def processes(_task: str) -> float:
    """Seconds of as many fresh processes as there are runs."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        start = time.perf_counter()
        list(threads.map(lambda spec: _alone(spec, folder), specs()))
        return time.perf_counter() - start


def pool(_task: str) -> float:
    """Seconds of Python's process pool, which stops when a process dies and cannot resume."""
    cores, fresh = os.cpu_count() or 1, get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with ProcessPoolExecutor(cores, fresh, initializer=die_with_parent, initargs=(os.getpid(),)) as workers:
            list(workers.map(partial(record, folder=folder), specs()))
        return time.perf_counter() - start


def _alone(spec: Run, folder: str) -> None:
    environment = os.environ | {f"{name}_NUM_THREADS": "1" for name in THREAD_VARIABLES}
    command = [sys.executable, "-P", "-m", "companion.bench.grid", to_json(spec), folder]
    subprocess.run(command, check=True, env=environment, capture_output=True)


def record(spec: Run, folder: str) -> None:
    """Make one run with one thread and write its record."""
    import torch

    torch.set_num_threads(1)
    Store(Path(folder)).write(spec, *work(spec))


if __name__ == "__main__":
    # Make one run in this process: `python -m companion.bench.grid SPEC FOLDER`.
    record(from_json(sys.argv[1], Run), sys.argv[2])
