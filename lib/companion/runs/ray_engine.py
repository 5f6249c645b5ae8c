"""Make records on the nodes of a Ray cluster: the same specs, records, logs and report as with local processes.

Each slot is an actor that keeps one worker process of :mod:`companion.runs.worker`: records have the bytes of the local
engine's, and a run that crashes takes nothing with it. Every record comes back to this process, which puts it on disk
before the run counts as done.
"""

import contextlib
import os
import queue
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from companion import paths
from companion.errors import CompanionError
from companion.files import write_whole
from companion.origin import hash_code
from companion.runs.engine import ATTEMPTS, LocalPool, Report, Work, group_all, python_path, run_with
from companion.runs.lock import get_lock_holder
from companion.runs.log import log_event
from companion.runs.ray_cluster import NO_NODE, compute_demand, connect_to_cluster, count_resource, explain_refusal
from companion.runs.store import Store
from companion.runs.worker import Answer, make_storage_failure

SECONDS_BETWEEN_LOOKS = 5
FAILURES = 2
"""After so many runs in a row that a slot could not make, the next is tried elsewhere before the run has the blame."""
SECONDS_KEPT = 30 * 24 * 3600
"""How long a node that does not see the driver's folders keeps the checkpoint of a run that it has not ended."""


def run_all(
    specs: Sequence[Any],
    work: Work,
    store: Store,
    workers: int,
    logs: Path,
    quiet: bool = False,
    environment: Mapping[str, str] | None = None,
    group: Callable[[Any], str] = group_all,
    needed: Sequence[Path] = (),
) -> Report:
    """Make every record that is missing from the store on the cluster that ``$COMPANION_RAY`` names.

    As :func:`companion.runs.engine.run_all`; a run whose node is lost starts again on another. Every node needs this
    library, as it is here, and this version of Python and Ray. Where a node sees the store's folder its worker writes
    there itself, and logs too.

    Args:
        specs, work, store, logs, quiet, environment, group: as for local processes.
        workers: runs that share a GPU, if the cluster has any; else each takes a processor, and a cluster that is
            started here has as many.
        needed: files below the cache folder that the runs read; a node without one receives it.

    Raises:
        CompanionError: as for local processes; Ray is not installed; the cluster cannot be reached, has other code, or
            has no node left.
    """
    if workers < 1:
        raise CompanionError(f"There must be at least 1 worker, not {workers}.")

    told = dict(environment or {})
    if adapters := paths.adapters():
        # A node has the variables of where it was started, not those of here.
        told[paths.ADAPTERS_VARIABLE] = str(adapters)

    @contextlib.contextmanager
    def open_pool(settings: dict[str, str]) -> Iterator[RayPool]:
        files = {file.relative_to(paths.cache()).as_posix(): file.read_bytes() for file in needed}
        with connect_to_cluster(workers):
            yield RayPool({**settings, "driver": get_lock_holder(store.folder)}, told, files, workers)

    return run_with(open_pool, specs, work, store, logs, quiet, group)


class RayPool:
    """Slots on the nodes of the cluster that this process is connected to; each is started when there is a run for it.

    Args:
        settings: what a worker must know, with the process that holds the store's lock as ``driver``.
        environment: variables for the workers.
        files: path below the cache folder to content.
        workers: runs that share a GPU.

    Raises:
        CompanionError: no node can take a run.
    """

    def __init__(
        self, settings: Mapping[str, str], environment: Mapping[str, str], files: Mapping[str, bytes], workers: int
    ) -> None:
        import ray

        self.takes, self.slots = compute_demand(ray.nodes(), workers)
        self.store, self.logs = Store(Path(settings["store"])), Path(settings["logs"])
        self.arguments = (dict(settings), dict(environment), list(sys.path), ray.put(dict(files)))
        self.code = hash_code()
        self.actors: list[Any] = []
        self.failures: Counter[Any] = Counter()
        self.free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.lock, self.stopped, self.open, self.answered = threading.Lock(), threading.Event(), 0, False
        with contextlib.suppress(OSError):
            self.logs.mkdir(parents=True, exist_ok=True)

    def run(self, run_id: str, spec_json: str) -> Answer:
        """Make one record in a free slot; called from a thread.

        It starts again in another slot if its node is lost, or if its slot fails it as it failed the run before. Such
        a slot is given up, so that a node that fails everything does not take the queue, and had back if the run fails
        elsewhere too.
        """
        import ray

        lost, given_up = 0, list[str]()
        while lost < ATTEMPTS:
            slot = self._slot()
            log_event(self.logs, run_id, "sent")
            try:
                answer = self._keep(run_id, *ray.get(slot.run.remote(run_id, spec_json)))
                if lost and answer and self.store.is_valid(run_id):
                    # The worker of the lost slot lived on, and put it into the shared folder.
                    answer = {}
                node = self._give_up(slot, answer)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                self._drop(slot)
                if self.stopped.is_set():
                    break
                if self.store.is_valid(run_id):
                    # The worker put it into the shared folder and was lost before it could say so.
                    return self._set_result(given_up, {})
                lost += 1
                log_event(self.logs, run_id, "killed", attempt=lost, reason=str(error))
                continue
            if not node:
                self.free.put(slot)
                return self._set_result(given_up, answer)
            log_event(self.logs, run_id, "queued", reason=f"{FAILURES} runs in a row failed in a slot of {node}")
            given_up.append(node)
        lost_again = f"its node was lost {ATTEMPTS} times (or had no memory left)"
        return self._set_result(given_up, {"error": lost_again, "stop": False})

    def _set_result(self, given_up: Sequence[str], answer: Answer) -> Answer:
        """Have slots given up for the run back if it failed elsewhere too, else name their nodes; gives the answer."""
        if answer:
            with self.lock:
                self.slots += len(given_up)
            return answer
        for node in given_up:
            warnings.warn(
                f"The Ray node {node} takes fewer runs from now on: {FAILURES} in a row failed in one of its slots, "
                "and the last of them was made elsewhere.",
                stacklevel=1,
            )
        return answer

    def stop(self) -> None:
        """Stop all slots; the current runs are lost."""
        import ray

        self.stopped.set()
        for actor in self.actors:
            ray.kill(actor)

    def _slot(self) -> Any:
        """A free slot that answers; the node of one that waited for its next run may be gone."""
        import ray

        for _ in range(self.slots + ATTEMPTS):
            slot = self._next()
            try:
                complaint = ray.get(slot.complaint.remote(self.code))
            except ray.exceptions.RayError as error:
                self._drop(slot)
                if getattr(error, "actor_init_failed", False):
                    if not self._remove_slot() and not self.answered:
                        raise CompanionError(explain_refusal(error)) from error
                    warnings.warn(explain_refusal(error), stacklevel=1)
            else:
                if complaint:
                    raise CompanionError(complaint)
                self.answered = True
                return slot
        raise CompanionError("The slots of the Ray cluster end as soon as they are started; see its logs.")

    def _next(self) -> Any:
        """The next slot that is free."""
        import ray

        while not self.stopped.is_set():
            # At every look: the slot that was waited for may have ended under another thread's run.
            self._begin_slot()
            with contextlib.suppress(queue.Empty):
                return self.free.get(timeout=SECONDS_BETWEEN_LOOKS)
            if not count_resource(ray.nodes(), "GPU" if "num_gpus" in self.takes else "CPU"):
                raise CompanionError(NO_NODE)
        raise CompanionError("The runs were stopped.")

    def _begin_slot(self) -> None:
        """Start one more slot if none is free and there are fewer than the cluster has room for."""
        import ray

        with self.lock:
            begin = self.free.empty() and self.open < self.slots
            self.open += begin
        if begin:
            # Spread, so that a slot in place of another comes to another node.
            takes = {**self.takes, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
            actor: Any = ray.remote(Slot).options(**takes).remote(*self.arguments)
            self.actors.append(actor)
            # The slot may have to wait for room, and others may become free before it.
            placed = actor.complaint.remote(self.code)
            placed.future().add_done_callback(lambda _: self.free.put(actor))

    def _give_up(self, slot: Any, answer: Answer) -> str:
        """End a slot that now failed ``FAILURES`` runs in a row; its node, or nothing where it stays or is the last."""
        import ray

        self.failures[slot] = self.failures[slot] + 1 if answer else 0
        if self.failures[slot] < FAILURES or answer["stop"]:
            return ""
        node = str(ray.get(slot.node.remote()))
        if not self._remove_slot():
            return ""
        self._drop(slot)
        return node

    def _remove_slot(self) -> bool:
        """Count on one slot less; False where there is only one."""
        with self.lock:
            less = self.slots > 1
            self.slots -= less
        return less

    def _drop(self, slot: Any) -> None:
        import ray

        ray.kill(slot)
        with self.lock:
            self.open -= 1

    def _keep(self, run_id: str, answer: Answer, record: bytes, files: Mapping[str, bytes]) -> Answer:
        """Put on disk what came back; the record may be there already, the logs are not."""
        for name, content in files.items():
            with contextlib.suppress(OSError), (self.logs / name).open("ab") as file:
                file.write(content)
        if answer:
            return answer
        try:
            self.store.put(run_id, record)
        except CompanionError as error:
            return make_storage_failure(error)
        return {}


def _get_checkpoint_folder() -> Path:
    """Where a node that does not see the driver's folders keeps the checkpoints of runs that it has not ended."""
    return paths.cache() / "checkpoints"


def _remove_old_checkpoints() -> None:
    """Remove the checkpoints of runs that were lost here and resumed on another node."""
    for file in _get_checkpoint_folder().glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > SECONDS_KEPT:
                file.unlink()


def _create_scratch() -> Path:
    """Name of a new folder for this process's runs; those of processes that are gone are removed."""
    ours = Path(tempfile.gettempdir()) / f"companion-{socket.gethostname()}"
    for folder in ours.parent.glob(f"{ours.name}-*-*"):
        try:
            os.kill(int(folder.name.split("-")[-2]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError, OverflowError):
            continue  # of another user, or not ours
    return ours.with_name(f"{ours.name}-{os.getpid()}-{secrets.token_hex(8)}")


class Slot:
    """One place for runs on a node, a Ray actor: a pool of one worker process, which keeps its base loaded.

    Args:
        settings, environment, files: as :class:`RayPool` has them.
        places: where the driver's Python finds its modules.
    """

    def __init__(
        self,
        settings: dict[str, str],
        environment: dict[str, str],
        places: list[str],
        files: dict[str, bytes],
    ) -> None:
        self.scratch: Path | None = None
        _remove_old_checkpoints()
        if get_lock_holder(Path(settings["store"])) != (settings.pop("driver") or None):  # a full disk may keep no name
            self.scratch = _create_scratch()
            settings |= {name: str(self.scratch / name) for name in ("store", "logs")}
            # The driver's folders may hold something else on this machine.
            places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
        self.store, self.logs = Store(Path(settings["store"])), Path(settings["logs"])
        for name, content in files.items():
            if not (file := paths.cache() / name).exists():
                write_whole(file, content)
        if paths.CHECKPOINTS_VARIABLE in environment:
            # What is left of a lost slot is gone on from where the next one finds it.
            environment[paths.CHECKPOINTS_VARIABLE] = str(
                _get_checkpoint_folder() if self.scratch else self.store.checkpoints
            )
        self.pool = LocalPool(settings, {**environment, "PYTHONPATH": python_path(places)})

    def complaint(self, driver_code: str) -> str:
        """Why no run can be made here, in one sentence; empty where nothing is wrong."""
        if hash_code() == driver_code:
            return ""
        return (
            f"The Ray node {self.node()} has another companion than this machine; install the same commit "
            "there, without local changes."
        )

    def node(self) -> str:
        """The name of this node."""
        return socket.gethostname()

    def run(self, run_id: str, spec_json: str) -> tuple[Answer, bytes, dict[str, bytes]]:
        """Make one record; gives the answer, the record and, where the driver's folders are not seen, the logs.

        What this node refuses, a full disk or a worker that cannot be started, fails this run and stops no other.
        """
        try:
            return self._run(run_id, spec_json)
        except OSError as error:
            return {"error": f"the disk of node {self.node()} failed: {error}", "stop": False}, b"", {}
        except CompanionError as error:
            return {"error": str(error), "stop": False}, b"", {}
        finally:
            if self.scratch:
                shutil.rmtree(self.scratch, ignore_errors=True)

    def _run(self, run_id: str, spec_json: str) -> tuple[Answer, bytes, dict[str, bytes]]:
        if self.scratch:
            self.scratch.mkdir(mode=0o700)
        with contextlib.suppress(OSError):
            self.logs.mkdir(parents=True, exist_ok=True)
        answer = self.pool.run(run_id, spec_json)
        record = b"" if answer else self.store.path(run_id).read_bytes()
        if self.scratch is None:
            return answer, record, {}
        logs = {file.name: file.read_bytes() for file in self.logs.glob("*")}
        if not answer:
            for file in _get_checkpoint_folder().glob(f"{run_id}.*"):
                file.unlink(missing_ok=True)
        return {**answer, "stop": False} if answer else answer, record, logs
