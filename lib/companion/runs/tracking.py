"""A copy of the runs' logs for trackio or W&B, for those who ask for it.

A separate process follows the logs, so that nothing a tracker does (ask, print, fail, hang) can touch a run.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

from companion.errors import CompanionError
from companion.runs.log import Event, get_log_file, parse_events

VARIABLE = "COMPANION_TRACK"
TRACKERS = {
    # trackio asks for an older Pillow than the one that draws the figures, and works with it.
    "trackio": "--no-deps trackio gradio-client orjson brotli python-multipart uvicorn starlette",
    "wandb": "-c constraints.txt wandb",
}
"""Tracker -> arguments of pip that keep every pinned package; tried with trackio 0.43 and wandb 0.31."""
METRICS = {"loss": "loss", "examples": "examples", "per_second": "examples_per_second"}
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_END = 60
"""How long the tracker may take for what is left when the grid has ended."""


def get_tracker() -> str:
    """The tracker that ``$COMPANION_TRACK`` names, or nothing.

    Raises:
        CompanionError: it names another one, or one that is not installed.
    """
    name = os.environ.get(VARIABLE, "")
    if name and name not in TRACKERS:
        raise CompanionError(f"There is no tracker {name!r}; choose {' or '.join(TRACKERS)}.")
    if name and importlib.util.find_spec(name) is None:
        raise CompanionError(f"The tracker {name} is not installed: run `.venv/bin/pip install {TRACKERS[name]}`.")
    return name


@contextlib.contextmanager
def track_runs(folder: Path, logs: Path, names: Mapping[str, str], path: str) -> Iterator[None]:
    """While open, forward new events of these runs' logs to the tracker, if there is one.

    A tracker that cannot be started, or fails, is a warning and no more.

    Args:
        folder: of the study; profile and study name the tracker's project.
        names: run to what a person calls it.
        path: ``PYTHONPATH`` of the process.

    Raises:
        CompanionError: as :func:`get_tracker`.
    """
    if not (name := get_tracker()):
        yield
        return
    runs = {run_id: (called, _size(get_log_file(logs, run_id))) for run_id, called in names.items()}
    told = {"tracker": name, "project": f"{folder.parent.name}-{folder.name}", "logs": str(logs), "runs": runs}
    output, child = logs / f"{name}.out", None
    try:
        child = _start(output, path)
    except OSError as error:
        warnings.warn(f"{name} cannot be started, the runs are made without it: {error}", stacklevel=3)
    try:
        if child:
            with contextlib.suppress(OSError):
                child.stdin.write(json.dumps(told).encode() + b"\n")  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]
        yield
    finally:
        if child and not _has_ended_well(child):
            warnings.warn(f"{name} failed, the runs did not; {output} says why", stacklevel=3)


def _start(output: Path, path: str) -> "subprocess.Popen[bytes]":
    output.parent.mkdir(parents=True, exist_ok=True)
    command, environment = [sys.executable, "-P", "-m", __name__], {**os.environ, "PYTHONPATH": path}
    with output.open("ab") as file:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment)


def _has_ended_well(child: "subprocess.Popen[bytes]") -> bool:
    """Tell the process, by the end of its input, that no more comes, and wait for it."""
    try:
        with contextlib.suppress(OSError):
            child.stdin.close()  # type: ignore[union-attr]
        return child.wait(SECONDS_TO_END) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        child.kill()
        child.wait()


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def main() -> None:
    """Follow the logs that the first line of the input names until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told, over = json.loads(sys.stdin.readline()), threading.Event()
    threading.Thread(target=_read_to_the_end, args=(over,), daemon=True).start()
    opener = _make_opener(told["tracker"], told["project"], told["logs"])
    follower = _Follower(opener, told["runs"], Path(told["logs"]))
    while not over.wait(SECONDS_BETWEEN_LOOKS):
        follower.read_logs()
    follower.read_logs()
    for run in follower.open.values():
        run.finish()


def _read_to_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()
    # After the driver was killed, no other process stops a tracker that hangs.
    time.sleep(SECONDS_TO_END)
    os._exit(1)


class _Follower:
    """Hands on each new event; runs are open side by side, as they are made."""

    def __init__(self, opener: Callable[..., Any], runs: Mapping[str, tuple[str, int]], logs: Path) -> None:
        self.opener, self.runs, self.logs = opener, dict(runs), logs
        self.open: dict[str, Any] = {}

    def read_logs(self) -> None:
        for run_id, (name, place) in self.runs.items():
            log = get_log_file(self.logs, run_id)
            if _size(log) <= place:
                continue
            with log.open("rb") as file:
                file.seek(place)
                whole, end, _ = file.read().rpartition(b"\n")
            self.runs[run_id] = (name, place + len(whole + end))
            for event in parse_events(whole):
                self._take(run_id, name, event)

    def _take(self, run_id: str, name: str, event: Event) -> None:
        if event["event"] in ("start", "end", "failed", "killed") and run_id in self.open:
            self.open.pop(run_id).finish()
        if event["event"] == "start":
            config = {**event["spec"]["fields"], "run": run_id}
            # In a separate context, because trackio ends an earlier run in the same one.
            self.open[run_id] = copy_context().run(self.opener, name=name, config=config)
        elif event["event"] == "step" and run_id in self.open:
            metrics = {METRICS[fact]: event[fact] for fact in METRICS if fact in event}
            self.open[run_id].log(metrics, step=event["done"])


def _make_opener(name: str, project: str, logs: str) -> Callable[..., Any]:
    """Opens a run from its name and settings; both packages share their interface but for a few arguments."""
    package: Any = importlib.import_module(name)
    if name == "trackio":
        return partial(package.init, project, embed=False, auto_log_gpu=False, auto_log_cpu=False)
    # Without a login it must neither ask nor fail.
    mode = os.environ.get("WANDB_MODE") or ("online" if package.login(prompt=False) else "offline")
    settings = package.Settings(console="off")
    return partial(package.init, project=project, dir=logs, mode=mode, reinit="create_new", settings=settings)


if __name__ == "__main__":
    main()
