"""How far a set of runs has come, from the files on disk alone."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from companion.runs.spec import spec_id
from companion.runs.store import Store


@dataclass(frozen=True)
class Status:
    """Counts of runs of one group; ``failed`` are those without a record whose last attempt failed."""

    group: str
    total: int
    done: int
    failed: int


def status(store: Store, specs: Sequence[Any], logs: Path, group: Callable[[Any], str]) -> list[Status]:
    """Count the runs of each group, in the order in which the groups appear among the specs.

    Only names are looked at; whether the records are sound is told by :meth:`companion.runs.store.Store.verify`.

    Args:
        group: spec to the name of its group, such as its arm.
    """
    present = set(store.ids())
    states: dict[str, list[str]] = {}
    for spec in specs:
        run_id = spec_id(spec)
        state = "done" if run_id in present else _last_event(logs / f"{run_id}.jsonl")
        states.setdefault(group(spec), []).append(state)
    return [
        Status(name, len(found), found.count("done"), found.count("failed") + found.count("killed"))
        for name, found in states.items()
    ]


def _last_event(log: Path) -> str:
    try:
        return str(json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["event"])
    except (OSError, IndexError, ValueError, KeyError):
        return "none"
