"""Trivial work for the engine's tests; worker processes import this file by name."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from companion.errors import CompanionError
from companion.runs.log import read_last_event, report_progress
from companion.runs.spec import spec_id

LOADED: list[int] = []


@dataclass(frozen=True)
class Job:
    seed: int
    action: str = "work"
    folder: str = ""
    result_version: int = 1


@dataclass(frozen=True)
class Task(Job):
    """Another kind of run."""


def work(spec: Job):
    if spec.action == "unstorable":
        return {"values": np.array(["text"])}, {}
    if spec.action != "work":
        print(f"seed {spec.seed}, {spec.action}")
        ACTIONS[spec.action](spec)
    return values(spec)


def values(spec: Job):
    random = np.random.default_rng(spec.seed)
    return {"values": random.normal(size=50), "count": np.array(spec.seed, np.int32)}, {"seed": spec.seed}


def big(spec: Job):
    print(f"seed {spec.seed}, big")
    return {"values": np.random.default_rng(spec.seed).normal(size=20_000)}, {}


def environment(spec: Job):
    if not LOADED:
        LOADED.append(spec.seed)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM", "PYTHONHASHSEED")
    names = (*names, "COMPANION_BACKEND", "COMPANION_ADAPTERS")
    return {}, {"loaded_for": LOADED[0], "hash": hash("text"), **{name: os.environ.get(name) for name in names}}


def fail(spec: Job):
    raise ValueError(f"no luck with {spec.seed}")


def mistake(spec: Job):
    raise CompanionError("The item has no label; add one.")


def fail_on_bad_node(spec: Job):
    if "TEST_BAD_NODE" in os.environ:
        raise OSError("No space left on device")
    time.sleep(0.5)


def leave(spec: Job):
    raise SystemExit(0)


def die(spec: Job):
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def die_with_parent(spec: Job):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def go_on(spec: Job):
    checkpoint = Path(os.environ["COMPANION_CHECKPOINTS"]) / f"{spec_id(spec)}.safetensors"
    if not checkpoint.exists():
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        die_with_parent(spec)


def device(spec: Job):
    """Wait for three other runs, so that four slots are seen."""
    begin(spec)
    while len(list(Path(spec.folder).glob("began-*"))) < 4:
        time.sleep(0.05)
    return {}, {"device": os.environ["CUDA_VISIBLE_DEVICES"]}


def die_once(spec: Job):
    mark = Path(spec.folder) / f"died-{spec.seed}"
    if not mark.exists():
        mark.touch()
        die(spec)


def begin(spec: Job):
    (Path(spec.folder) / f"began-{spec.seed}").write_text(str(os.getpid()))


def linger(spec: Job):
    begin(spec)
    time.sleep(0.4)


def linger_at_first(spec: Job):
    begin(spec)
    time.sleep(2 if spec.seed < 6 else 0.2)


def hang_from_one(spec: Job):
    if spec.seed > 0:
        begin(spec)
        time.sleep(60)


def steps(spec: Job):
    begin(spec)
    for done in range(9):
        report_progress("step", done, 8, 5 * done, 2.0 / (done + 1))
        time.sleep(0.3)
    report_progress("scoring", 4, 4)


def see_logs(spec: Job):
    """Note the last event of every run, as a look from outside would find it now."""
    last = {log.stem: read_last_event(log)["event"] for log in (Path(spec.folder) / "logs").glob("*.jsonl")}
    (Path(spec.folder) / "seen").write_text(json.dumps(last))


def fail_once(spec: Job):
    mark = Path(spec.folder) / "failed"
    if not mark.exists():
        mark.touch()
        raise ValueError("once")


ACTIONS = {
    f.__name__: f
    for f in (
        fail,
        fail_once,
        fail_on_bad_node,
        go_on,
        mistake,
        leave,
        die,
        die_with_parent,
        die_once,
        linger,
        linger_at_first,
        hang_from_one,
        steps,
        see_logs,
    )
}
