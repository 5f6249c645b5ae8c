"""The log of a run, ``<logs>/<id>.jsonl``: one JSON text a line, for whatever shows the run.

Events of one attempt: ``start``; ``step`` (of training), ``scoring`` (items read) and ``writing`` (answers), about one
a second; ``end`` or ``failed``, or ``killed`` where the process died. ``queued`` and ``sent`` (to a node) come from the
process that drives the grid. A log holds times and is no part of a result.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]

SECONDS_BETWEEN = 1.0
LINES_OF_A_PHASE = 1000
"""About the most lines that training, scoring or writing leave in a log, however long they take."""
TAIL = 4096
"""Bytes of a log's end that are read first when its last event is wanted."""
LARGEST = 1e9

_tell: Callable[..., None] | None = None


def get_log_file(logs: Path, run_id: str) -> Path:
    """Where the log of a run lies."""
    return logs / f"{run_id}.jsonl"


def log_event(logs: Path, run_id: str, event: str, **facts: Any) -> None:
    """Append one line of JSON to the run's log.

    A log is no result: a full disk must not turn a good run into a failed one, so errors of the file are ignored.
    """
    line = {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
    with contextlib.suppress(OSError), get_log_file(logs, run_id).open("ab+") as file:
        # A line truncated by a full disk must not damage this one.
        whole = file.seek(0, os.SEEK_END) == 0 or (file.seek(-1, os.SEEK_END), file.read(1))[1] == b"\n"
        file.write(("" if whole else "\n").encode() + json.dumps(line).encode() + b"\n")


class RunLog:
    """Log of the current run; its seconds are counted from here by a monotonic clock."""

    def __init__(self, logs: Path, run_id: str) -> None:
        self.logs, self.run_id, self.begun = logs, run_id, time.monotonic()
        self.phase = ""
        self.first = self.last = (0, self.begun)
        self.logged = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start of the run."""
        return round(time.monotonic() - self.begun, 3)

    def event(self, event: str, **facts: Any) -> None:
        """Append one line."""
        log_event(self.logs, self.run_id, event, **facts)

    def report_progress(
        self, phase: str, done: int, total: int, examples: int | None = None, loss: float | None = None
    ) -> None:
        """Append how far a phase is, unless the last line of it is too young or too near."""
        now, count = time.monotonic(), done if examples is None else examples
        if phase != self.phase or done < self.logged:
            self.phase, self.first = phase, (count, now)
        elif done < total and (
            now - self.last[1] < SECONDS_BETWEEN or done - self.logged < math.ceil(total / LINES_OF_A_PHASE)
        ):
            return
        self.last, self.logged = (count, now), done
        facts = {"examples": examples, "loss": loss, "per_second": self._measure_speed()}
        known = {name: value for name, value in facts.items() if value is not None and math.isfinite(value)}
        self.event(phase, seconds=self.seconds, done=done, total=total, **known)

    def _measure_speed(self) -> float | None:
        """Examples or items a second since the phase began here; unknown at its first line."""
        count, seconds = (last - first for last, first in zip(self.last, self.first, strict=True))
        return round(count / seconds, 3) if count > 0 and seconds > 0 else None


@contextlib.contextmanager
def open_run_log(logs: Path, run_id: str) -> Iterator[RunLog]:
    """Open the log of this process's run; :func:`report_progress` writes there inside the ``with`` block."""
    global _tell
    log = RunLog(logs, run_id)
    _tell = log.report_progress
    try:
        yield log
    finally:
        _tell = None


def report_progress(phase: str, done: int, total: int, examples: int | None = None, loss: float | None = None) -> None:
    """Say how far the run of this process is; to be called often, and without effect outside of a worker.

    Args:
        phase: ``step``, ``scoring`` or ``writing``.
        done, total: steps, or items.
        examples: seen so far, where ``done`` does not count them.
        loss: of the last step; left out of the log where it is not finite.
    """
    if _tell:
        _tell(phase, done, total, examples, loss)


def parse_events(lines: bytes) -> list[Event]:
    """Parse the events in some lines of a log; truncated or damaged lines are skipped."""
    found = []
    for line in lines.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                found.append(event)
    return found


def read_last_event(log: Path) -> Event:
    """The last whole event of a log, read from its end; ``{"event": "none"}`` where there is none."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        size, tail = file.seek(0, os.SEEK_END), TAIL
        while True:
            file.seek(max(size - tail, 0))
            found = parse_events(file.read())
            if found:
                return found[-1]
            if tail >= size:
                break
            tail *= 8
    return {"event": "none"}


def read_number(event: Event, name: str) -> float | None:
    """A fact of an event that must be a number from 0 to ``LARGEST``; None where it is missing or anything else."""
    value = event.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        return None
    return float(value)
