"""The child process of the engine: it takes runs from its input, one JSON text a line, and answers one line for each.

Started by :mod:`companion.runs.engine` only, on this machine or on a node of a cluster. It ends itself as soon as the
process that started it is gone, however that ended.
"""

import contextlib
import ctypes
import errno
import faulthandler
import gc
import json
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from companion.errors import CompanionError
from companion.runs.log import open_run_log
from companion.runs.spec import from_json
from companion.runs.store import Store

Answer = dict[str, Any]
"""``{}`` for a record that is on disk, else ``error`` (one sentence) and ``stop`` (no other run can be stored)."""


def resolve(address: str) -> Any:
    """Find what is named by ``module:name``."""
    module, name = address.split(":")
    return attrgetter(name)(import_module(module))


def main() -> None:
    """Serve runs until the input ends."""
    settings = json.loads(sys.argv[1])
    die_with_parent(settings["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    # What a run prints must not mix with the answers, so they get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    while True:
        job = json.loads(jobs.get())
        output = Path(settings["logs"]) / f"{job['id']}.out"
        _send_output_to(output)
        answer = _run(job, settings)
        _drop_if_empty(output)
        release_memory()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies; on other systems a worker notices the end of its input."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _read(jobs: queue.SimpleQueue[str]) -> None:
    try:
        for line in sys.stdin:
            jobs.put(line)
    finally:
        # Also if this thread fails, for example out of memory: nothing else would wake the other one.
        os._exit(0)


def _send_output_to(file: Path) -> None:
    _flush()
    with contextlib.suppress(OSError), file.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def _drop_if_empty(file: Path) -> None:
    _flush()
    with contextlib.suppress(OSError):
        if file.stat().st_size == 0:
            file.unlink()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A full disk takes no log; the outcome of the run must still be reported.
        with contextlib.suppress(OSError):
            stream.flush()


def release_memory() -> None:
    """Return freed memory to the system; else glibc keeps fragments of every run."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _run(job: dict[str, str], settings: dict[str, str]) -> Answer:
    with open_run_log(Path(settings["logs"]), job["id"]) as log:
        log.event("start", spec=json.loads(job["spec"]), process=os.getpid())
        answer, trace = _work(job, settings)
        facts = {"seconds": log.seconds, "worker_peak_mib": get_peak_memory() // 2**20}
        if answer:
            log.event("failed", **facts, error=answer["error"], traceback=trace)
        else:
            log.event("end", **facts)
    return answer


def _work(job: dict[str, str], settings: dict[str, str]) -> tuple[Answer, str]:
    try:
        work = resolve(settings["work"])
        spec = _read_spec(job["spec"], [resolve(address) for address in settings["kinds"].split()])
        arrays, meta = work(spec)
    except (Exception, SystemExit) as error:
        sentence = str(error) if isinstance(error, CompanionError) else f"{type(error).__name__}: {error}"
        return {"error": sentence, "stop": _is_disk_full(error)}, traceback.format_exc()
    try:
        Store(Path(settings["store"])).write(spec, arrays, meta)
    except CompanionError as error:
        return make_storage_failure(error), traceback.format_exc()
    return {}, ""


def _read_spec(text: str, kinds: Sequence[type]) -> Any:
    """The spec, of the class that it names."""
    name = json.loads(text)["class"]
    return from_json(text, next((kind for kind in kinds if kind.__name__ == name), kinds[0]))


def _is_disk_full(error: BaseException) -> bool:
    """Whether a run found a disk full: what it kept beside its record, or printed, could not be written."""
    cause = error.__cause__ if isinstance(error, CompanionError) else error
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def make_storage_failure(error: CompanionError) -> Answer:
    """The answer for a record that could not be written; a disk that is full or read-only takes no other either."""
    return {"error": str(error), "stop": isinstance(error.__cause__, OSError)}


def get_peak_memory() -> int:
    """Most memory this process ever held, in bytes.

    Linux hands the parent's peak down to ``getrusage`` of a child, so its own figure is read where there is one.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
