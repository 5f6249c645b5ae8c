"""How far a grid of runs is, from records and logs alone: what every view of progress shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from companion.runs.lock import is_locked
from companion.runs.log import LARGEST, Event, get_log_file, read_last_event, read_number
from companion.runs.spec import spec_id
from companion.runs.store import Store

PHASES = {"start": "starting", "sent": "on a node", "step": "step", "scoring": "scoring", "writing": "writing"}
"""Last event of a current run -> the phase shown for it."""


@dataclass(frozen=True)
class Counts:
    """How many runs of a group there are of each kind; ``failed`` are those whose last attempt failed."""

    group: str
    total: int
    done: int
    running: int
    failed: int

    @property
    def waiting(self) -> int:
        """Runs that are neither done nor failed nor running."""
        return self.total - self.done - self.running - self.failed


@dataclass(frozen=True)
class Running:
    """One current run, as its log describes it.

    Attributes:
        name: what a person calls it.
        phase: one of the values of ``PHASES``.
        done, total: steps of training, or items; 0 of 0 before the first report.
        examples: of training seen so far, or items.
        loss: of the last step, where there is one.
        per_second: examples of training, or items, a second.
        seconds: from its start to its last word.
    """

    name: str
    phase: str
    done: int = 0
    total: int = 0
    examples: int = 0
    loss: float | None = None
    per_second: float | None = None
    seconds: float = 0.0

    @property
    def phase_left(self) -> float | None:
        """Seconds to the end of the phase at its speed so far; None where that is not known."""
        if not (self.per_second and self.done):
            return None
        left = max(self.total - self.done, 0) * self.examples / self.done / self.per_second
        return left if left <= LARGEST else None


@dataclass(frozen=True)
class Failure:
    """A run whose last attempt failed: what a person calls it, its error in one line, and its log."""

    name: str
    error: str
    log: Path


@dataclass(frozen=True)
class Status:
    """A look at a grid.

    Attributes:
        groups: counts by group, in the order in which groups appear among the specs.
        running: the current runs, in the order of the specs.
        failures: the failed runs.
        live: whether a process is making runs of this store.
        seconds_left: estimated; None where nothing is being made or nothing is known yet.
        what: what the runs are called.
        optional: whether nothing waits for these runs.
    """

    groups: tuple[Counts, ...]
    running: tuple[Running, ...] = ()
    failures: tuple[Failure, ...] = ()
    live: bool = False
    seconds_left: float | None = None
    what: str = "runs"
    optional: bool = False

    @property
    def whole(self) -> Counts:
        """The counts of all groups together."""
        sums = (sum(getattr(one, name) for one in self.groups) for name in ("total", "done", "running", "failed"))
        return Counts("all", *sums)


class Grid:
    """Runs to be looked at again and again; a log is read only where it has grown.

    Args:
        specs: of one class; a run is called by ``str`` of its spec.
        group: spec to the name of its group, such as its arm.
        slots: how many runs are made at the same time, as far as is known.
        what: what the runs are called.
        optional: whether nothing waits for these runs.
    """

    def __init__(
        self,
        store: Store,
        specs: Sequence[Any],
        logs: Path,
        group: Callable[[Any], str],
        slots: int = 1,
        what: str = "runs",
        optional: bool = False,
    ) -> None:
        self.store, self.logs, self.slots, self.what, self.optional = store, logs, slots, what, optional
        self.runs = {spec_id(spec): (group(spec), str(spec)) for spec in specs}
        self._read: dict[str, tuple[tuple[int, int], Event]] = {}

    def get_status(self) -> Status:
        """Where the runs are now.

        Only names of records are looked at; whether they are valid is checked by
        :meth:`companion.runs.store.Store.verify`. A run is current if its log says so and a process holds the store:
        what was killed together with its driver is not. No clock is asked.
        """
        live, present = is_locked(self.store.folder), set(self.store.ids())
        lasts = {run_id: self._read_last(run_id) for run_id in self.runs}
        states = {
            run_id: "done" if run_id in present else _classify_state(last, live) for run_id, last in lasts.items()
        }
        running = {
            run_id: _describe_running(self.runs[run_id][1], lasts[run_id])
            for run_id in _select_state(states, "running")
        }
        failed = tuple(self._failure(run_id, lasts[run_id]) for run_id in _select_state(states, "failed"))
        known = {run_id: read_number(lasts[run_id], "seconds") for run_id in _select_state(states, "done")}
        took = {run_id: seconds for run_id, seconds in known.items() if seconds is not None}
        usual = self._estimate_usual_time(took, running)
        left = self._seconds_left(running, _select_state(states, "waiting"), usual) if live else None
        return Status(self._count_states(states), tuple(running.values()), failed, live, left, self.what, self.optional)

    def _read_last(self, run_id: str) -> Event:
        file = get_log_file(self.logs, run_id)
        try:
            about = file.stat()
        except OSError:
            return {"event": "none"}
        mark = (about.st_size, about.st_mtime_ns)
        if run_id not in self._read or self._read[run_id][0] != mark:
            self._read[run_id] = mark, read_last_event(file)
        return self._read[run_id][1]

    def _failure(self, run_id: str, last: Event) -> Failure:
        lines = str(last.get("error", "its process was killed")).strip().splitlines()
        return Failure(self.runs[run_id][1], lines[0] if lines else "", get_log_file(self.logs, run_id))

    def _count_states(self, states: Mapping[str, str]) -> tuple[Counts, ...]:
        groups: dict[str, list[str]] = {}
        for run_id, (group, _) in self.runs.items():
            groups.setdefault(group, []).append(states[run_id])
        kinds = ("done", "running", "failed")
        return tuple(Counts(name, len(found), *map(found.count, kinds)) for name, found in groups.items())

    def _estimate_usual_time(self, took: Mapping[str, float], running: Mapping[str, Running]) -> dict[str, float]:
        """Seconds that a run of each group takes: the mean of the finished ones, else the estimate of the current ones.

        Those made of other groups come last: where some runs train and others don't, the latter end first.
        """
        foreseen = {
            run_id: one.seconds + one.phase_left for run_id, one in running.items() if one.phase_left is not None
        }
        usual = {}
        for group in {group for group, _ in self.runs.values()}:
            same, in_hand = (
                [seconds for run_id, seconds in known.items() if self.runs[run_id][0] == group]
                for known in (took, foreseen)
            )
            if found := same or in_hand or list(foreseen.values()) or list(took.values()):
                usual[group] = fmean(found)
        return usual

    def _seconds_left(
        self, running: Mapping[str, Running], waiting: Sequence[str], usual: Mapping[str, float]
    ) -> float | None:
        """Remaining work divided by the slots, but never less than the longest current run needs."""
        if not usual or not (running or waiting):
            return None
        in_hand = [
            max(usual[self.runs[run_id][0]] - one.seconds, one.phase_left or 0.0) for run_id, one in running.items()
        ]
        slots = min(max(self.slots, len(running)), len(running) + len(waiting))
        work = sum(in_hand) + sum(usual[self.runs[run_id][0]] for run_id in waiting)
        return max([work / slots, *in_hand, 0.0])


def _select_state(states: Mapping[str, str], state: str) -> list[str]:
    return [run_id for run_id, one in states.items() if one == state]


def _classify_state(last: Event, live: bool) -> str:
    """What a run without a record is, by its last event."""
    if last["event"] in PHASES and live:
        return "running"
    # A killed run is started again as long as a driver is alive.
    return "failed" if last["event"] == "failed" or (last["event"] == "killed" and not live) else "waiting"


def _describe_running(name: str, last: Event) -> Running:
    done, total, examples = (int(read_number(last, key) or 0) for key in ("done", "total", "examples"))
    loss, per_second = read_number(last, "loss"), read_number(last, "per_second")
    return Running(
        name,
        PHASES[last["event"]],
        done,
        total,
        examples or done,
        loss,
        per_second,
        read_number(last, "seconds") or 0.0,
    )
