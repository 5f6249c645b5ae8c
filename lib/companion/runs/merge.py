"""Bring records made on several machines into one store; nothing at home is overwritten, nothing is averaged."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from companion.errors import CompanionError
from companion.runs.lock import folder_lock
from companion.runs.store import Record, Store


@dataclass(frozen=True)
class Merged:
    """What became of the records found.

    Attributes:
        copied: ids of those brought home.
        same: how many were there already with equal results; facts such as the processor may differ.
        others: how many belong to no run of this plan and were left where they are.
        problems: one sentence for each record that is damaged, or whose results differ from those at home.
    """

    copied: tuple[str, ...]
    same: int
    others: int
    problems: tuple[str, ...]


def merge(store: Store, folders: Sequence[Path], wanted: Collection[str]) -> Merged:
    """Copy the records of a plan that are missing from the store, and compare those that are in it.

    Args:
        folders: folders of records.
        wanted: ids of the plan's runs.

    Raises:
        CompanionError: another process uses the store, or a record cannot be read or written.
    """
    copied: list[str] = []
    same = others = 0
    with folder_lock(store.folder):
        problems = store.repair()
        for source, run_id in ((Store(folder), run_id) for folder in folders for run_id in Store(folder).ids()):
            if run_id not in wanted:
                others += 1
            elif damage := source.find_damage(run_id):
                problems.append(f"{source.path(run_id)} is damaged ({damage}) and was left out.")
            elif not store.has(run_id):
                store.put(run_id, _read_content(source.path(run_id)))
                copied.append(run_id)
            elif gaps := compare_records(store.read(run_id), source.read(run_id)):
                problems.append(
                    f"Run {run_id} has two results: in {source.folder}, against the one kept in {store.folder}, {gaps}."
                )
            else:
                same += 1
    return Merged(tuple(copied), same, others, tuple(problems))


def _read_content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CompanionError(f"{file} cannot be read: {error.strerror}.") from error


def compare_records(kept: Record, other: Record) -> str:
    """How the arrays of two records of one run differ, to the bit; empty where they don't."""
    names = sorted({*kept.arrays, *other.arrays})
    gaps = [(name, _measure_gap(kept.arrays.get(name), other.arrays.get(name))) for name in names]
    return "; ".join(f"{name} {gap}" for name, gap in gaps if gap)


def _measure_gap(kept: np.ndarray | None, other: np.ndarray | None) -> str:
    if kept is None or other is None:
        return "is missing from one of them"
    if (kept.dtype, kept.shape) != (other.dtype, other.shape):
        return f"is {other.dtype} {other.shape} instead of {kept.dtype} {kept.shape}"
    if kept.tobytes() == other.tobytes():
        return ""
    unequal = (kept != other) & ~(np.isnan(kept) & np.isnan(other))
    largest = np.abs(kept[unequal].astype(complex) - other[unequal]).max(initial=0)
    return f"differs in {unequal.sum()} of {unequal.size} numbers by up to {largest:.2g}"
