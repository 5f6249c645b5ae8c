"""Make records from specs with local child processes, one thread each; nothing in the store is made again."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from companion.errors import CompanionError
from companion.runs.lock import folder_lock
from companion.runs.log import get_log_file, log_event, read_last_event
from companion.runs.progress import SECONDS_BETWEEN_LOOKS, Progress
from companion.runs.spec import hash_json, to_json
from companion.runs.status import PHASES, Grid
from companion.runs.store import Arrays, Store
from companion.runs.tracking import get_tracker, track_runs
from companion.runs.worker import Answer

Work = Callable[[Any], tuple[Arrays, Mapping[str, Any]]]

THREAD_VARIABLES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "RAYON")
ATTEMPTS = 2
"""How often a run is started if its worker dies; a run that raises is not started again."""


def group_all(spec: Any) -> str:
    """Put every spec into one group."""
    return "all"


@dataclass(frozen=True)
class Report:
    """What became of the specs; ids in the order given.

    Attributes:
        done: made now.
        skipped: in the store before.
        failed: id to the reason, with the path of the log.
    """

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: dict[str, str]

    def raise_if_failed(self) -> None:
        """Raise CompanionError with one line per failed run, if there is one."""
        if self.failed:
            total = len(self.done) + len(self.skipped) + len(self.failed)
            lines = [f"  {run_id}: {reason}" for run_id, reason in self.failed.items()]
            raise CompanionError(
                "\n".join([f"{len(self.failed)} of {total} runs failed; the others are kept:", *lines])
            )


class Pool(Protocol):
    """What makes records in a number of slots; :meth:`run` is called from as many threads."""

    @property
    def slots(self) -> int:
        """How many runs are made at the same time."""

    def run(self, run_id: str, spec_json: str) -> Answer:
        """Make one record and put it on disk."""

    def stop(self) -> None:
        """Stop everything that was started; the current runs are lost."""


def run_all(
    specs: Sequence[Any],
    work: Work,
    store: Store,
    workers: int,
    logs: Path,
    quiet: bool = False,
    environment: Mapping[str, str] | None = None,
    group: Callable[[Any], str] = group_all,
) -> Report:
    """Make every record that is missing from the store.

    Runs are made in child processes even when ``workers`` is 1, so that a crash, the number of threads and the order
    of Python's hashes are the same however this is called (script, pytest, Jupyter). A run that raises, or whose
    process dies twice, is reported as failed and the others go on. Ctrl-C ends all workers; what was done is kept.

    Args:
        specs: frozen dataclasses of one class.
        work: function of a module, spec to arrays and facts; it runs in the worker and may keep its base model in a
            cache of that module. It seeds itself, its arrays depend on the spec alone and its facts not on the time.
        workers: number of processes, at least 1.
        logs: folder for ``<id>.jsonl`` (see :mod:`companion.runs.log`) and ``<id>.out`` (what the run printed).
        quiet: show no progress.
        environment: variables for the workers, for what says how a record is made and not what is in it.
        group: spec to the name of the group in which its run is counted, such as its arm.

    Raises:
        CompanionError: a spec or ``work`` cannot be sent to a worker; the tracker that was asked for is not there;
            another process uses the store, or it cannot be read; no worker can be started; or records cannot be
            written. In the last two cases no further run starts.
    """
    if workers < 1:
        raise CompanionError(f"There must be at least 1 worker, not {workers}.")
    return run_with(
        lambda settings: contextlib.nullcontext(LocalPool(settings, environment or {}, workers)),
        specs,
        work,
        store,
        logs,
        quiet,
        group,
    )


def run_with(
    open_pool: Callable[[dict[str, str]], contextlib.AbstractContextManager[Pool]],
    specs: Sequence[Any],
    work: Work,
    store: Store,
    logs: Path,
    quiet: bool,
    group: Callable[[Any], str],
) -> Report:
    """Do as :func:`run_all` with any pool.

    Args:
        open_pool: opens the pool, where something is missing, from what a worker must know: the addresses of ``work``
            and of the classes of the specs, and the folders of records and logs.

    Raises:
        CompanionError: as :func:`run_all`, or the pool is not available.
    """
    if not specs:
        return Report((), (), {})
    texts = {hash_json(text): text for text in map(to_json, specs)}
    kinds = " ".join(map(_get_address, dict.fromkeys(map(type, specs))))
    settings = {"work": _get_address(work), "kinds": kinds}
    settings |= {"store": str(store.folder.resolve()), "logs": str(logs.resolve())}
    if all(store.is_valid(run_id) for run_id in texts):
        return Report((), tuple(texts), {})
    get_tracker()  # report a missing tracker before a log or a cluster is touched
    with folder_lock(store.folder):
        damages = store.repair()
        missing = {run_id: text for run_id, text in texts.items() if not store.has(run_id)}
        with open_pool(settings) as pool:
            _queue(missing, store, logs)
            grid = Grid(store, specs, logs, group, pool.slots)
            names = {run_id: grid.runs[run_id][1] for run_id in missing}
            with (
                track_runs(store.folder.parent, logs, names, python_path(sys.path)),
                Progress(len(texts), len(texts) - len(missing), lambda: [grid.get_status()], quiet) as progress,
            ):
                for sentence in damages:
                    progress.print_sentence(sentence)
                failed = _run_missing(missing, pool, logs, progress)
        # A worker that was killed while writing left its file. The records are complete, so a failure costs nothing.
        with contextlib.suppress(CompanionError):
            store.remove_leftovers()
    done = tuple(run_id for run_id in missing if run_id not in failed)
    return Report(done, tuple(run_id for run_id in texts if run_id not in missing), failed)


def _queue(missing: Collection[str], store: Store, logs: Path) -> None:
    """Mark the unfinished runs of all grids, and the failed ones of this grid, as waiting in the logs.

    Grids may share store and logs. This process holds the store's lock, so unfinished runs have lost their driver.
    """
    for log in logs.glob("*.jsonl"):
        if log.stem in missing or (not store.has(log.stem) and read_last_event(log)["event"] in PHASES):
            log_event(logs, log.stem, "queued")


def _run_missing(missing: Mapping[str, str], pool: Pool, logs: Path, progress: Progress) -> dict[str, str]:
    """Hand the runs to the pool; give the failed ones with their reasons, in the order of ``missing``."""
    failed: dict[str, str] = {}
    with ThreadPoolExecutor(pool.slots) as threads:
        try:
            futures = {threads.submit(pool.run, run_id, text): run_id for run_id, text in missing.items()}
            pending = set(futures)
            while pending:
                ended, pending = wait(pending, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                for future in ended:
                    _count(future, futures[future], failed, logs, progress)
                progress.refresh(ended=bool(ended))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.stop()
    return {run_id: failed[run_id] for run_id in missing if run_id in failed}


def _count(future: Future[Answer], run_id: str, failed: dict[str, str], logs: Path, progress: Progress) -> None:
    answer = future.result()
    progress.finish(failed=bool(answer))
    if answer and read_last_event(get_log_file(logs, run_id))["event"] != "failed":
        log_event(logs, run_id, "failed", error=answer["error"])
    if answer.get("stop"):
        raise CompanionError(f"Stopped after {progress.summary()}, because no record can be stored: {answer['error']}")
    if answer:
        failed[run_id] = f"{answer['error']} (log: {get_log_file(logs, run_id)})"
        progress.print_sentence(f"Run {run_id} failed: {failed[run_id]}")


@dataclass
class LocalPool:
    """Child processes, one for each thread that calls :meth:`run`.

    Attributes:
        settings: what a worker must know, see :func:`run_with`.
        environment: variables for the workers beside those that all have.
    """

    settings: Mapping[str, str]
    environment: Mapping[str, str]
    slots: int = 1
    local: threading.local = field(default_factory=threading.local)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def logs(self) -> Path:
        """Folder of the run logs."""
        return Path(self.settings["logs"])

    def run(self, run_id: str, spec_json: str) -> Answer:
        """Make one record in this thread's worker, and again in a new worker if it dies; called from a thread.

        Raises:
            CompanionError: a worker cannot be started.
        """
        for attempt in range(1, ATTEMPTS + 1):
            worker = self._worker(run_id)
            answer = _send_job(worker, {"id": run_id, "spec": spec_json})
            if answer == {}:
                return answer
            # A run that failed may leave its process in a bad state (a broken GPU context), so the next gets a new one.
            self.local.worker = None
            _end_worker(worker)
            if answer or self.stopped.is_set():
                break
            if Store(Path(self.settings["store"])).is_valid(run_id):
                # The worker put it there and died before it could say so.
                return {}
            log_event(self.logs, run_id, "killed", attempt=attempt, code=worker.returncode)
        return answer or {"error": f"its process {_explain_death(worker.returncode)} {ATTEMPTS} times", "stop": False}

    def stop(self) -> None:
        """Stop all workers; the current runs are lost."""
        self.stopped.set()
        # All before the first wait: a second Ctrl-C there must leave none at work, whose thread would be waited for.
        for worker in self.started:
            worker.kill()
        for worker in self.started:
            _end_worker(worker)

    def _worker(self, run_id: str) -> subprocess.Popen[str]:
        worker: subprocess.Popen[str] | None = getattr(self.local, "worker", None)
        if worker is None:
            worker = self.local.worker = _start(self.settings, self.environment, self.logs / f"{run_id}.out")
            self.started.append(worker)
            # Appended before this look, and stopped before stop() goes through the list: one of the two sees the other.
            if self.stopped.is_set():
                worker.kill()
        return worker


def _start(settings: Mapping[str, str], added: Mapping[str, str], output: Path) -> subprocess.Popen[str]:
    told = json.dumps({**settings, "parent": os.getpid()})
    command = [sys.executable, "-P", "-m", "companion.runs.worker", told]
    pipe, environment = subprocess.PIPE, {**_environment(), **added}
    try:
        with _get_log(output) as stderr:
            return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, env=environment, encoding="utf-8")
    except OSError as error:
        raise CompanionError(f"A worker cannot be started: {error}.") from error


def _get_log(file: Path) -> IO[bytes]:
    """The file to append to, or nowhere: a log is no result, and a folder that takes none must not stop a run."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("ab")
    except OSError:
        return Path(os.devnull).open("ab")


def _environment() -> dict[str, str]:
    """Variables that must be set before NumPy or torch are loaded; more threads or other hashes change results.

    oneDNN keeps a compiled kernel for each of the last 1,024 matrix shapes, and every batch has a shape of its own: a
    short memory keeps a long-lived worker small.
    """
    threads = {f"{name}_NUM_THREADS": "1" for name in THREAD_VARIABLES}
    fixed = {"TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
    return {**os.environ, **threads, **fixed, "PYTHONPATH": python_path(sys.path)}


def python_path(places: Iterable[str]) -> str:
    """``PYTHONPATH`` of a worker.

    This library comes first, so that workers run the code that plans their runs.
    """
    return os.pathsep.join(str(Path(place).resolve()) for place in (str(Path(__file__).parents[2]), *places))


def _send_job(worker: subprocess.Popen[str], job: Mapping[str, str]) -> Answer | None:
    """Send a run and wait for the answer; None when the worker died."""
    assert worker.stdin is not None and worker.stdout is not None
    try:
        worker.stdin.write(json.dumps(job) + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
    except OSError:
        return None
    answer: Answer | None = json.loads(line) if line.endswith("\n") else None
    return answer


def _end_worker(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    for stream in (worker.stdin, worker.stdout):
        # What is still waiting to be sent is lost with the worker.
        with contextlib.suppress(OSError):
            stream.close()  # type: ignore[union-attr]


def _explain_death(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    name = signal.Signals(-code).name
    return f"was killed by {name}{' (possibly out of memory)' if name == 'SIGKILL' else ''}"


def _get_address(thing: Any) -> str:
    """Name a function or class so that a worker finds it."""
    if thing.__module__ == "__main__" or "<" in thing.__qualname__:
        raise CompanionError(f"{thing.__qualname__} must stand in a module, where worker processes can import it.")
    return f"{thing.__module__}:{thing.__qualname__}"
