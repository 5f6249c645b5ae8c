"""Golden records: a small real run of each kind, kept in the repository, so that no change of results goes unseen.

A test makes the same run again. On the kind of processor and the library versions that made the record, the arrays must
be equal to the byte; elsewhere they must agree within a band. ``pytest --write-golden`` writes the record of a new
result version.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from companion.runs.spec import VERSION_FIELD, current_version, spec_id
from companion.runs.store import Record, Store

BAND = 2e-5
"""Largest difference on another kind of processor, relative for values above 1.

Measured on the record of the explanations study: other kernels (scalar, SSE4.2, AVX2), two threads, an optimiser
without fused kernels and a batch computed in other parts move probabilities and losses by at most 7e-7, so the band
leaves a factor of 30. Changes of the code move the arm that they change most by 3e-3 and more: another order of batches
by 0.12, a cosine in place of the linear decay by 0.04, another adapter seed by 0.13, a space in the prompt by 0.04.
"""
STEPS = 2
"""Steps of packed values that the band allows: half the last bit of a 16-bit number may round either way."""
MADE_BY = ("processor", "torch", "transformers", "peft", "numpy")
"""Facts of a record that must agree before its arrays are compared to the byte."""

Run = Callable[[Any], tuple[dict[str, np.ndarray], dict[str, Any]]]


@dataclass(frozen=True)
class Golden:
    """The golden records of one kind of run.

    Attributes:
        kind: the class of the specs.
        folder: holds one folder per kind and result version, such as ``RunSpec-3``.
        command: writes the records of the current version.
    """

    kind: type
    folder: Path
    command: str

    @property
    def store(self) -> Store:
        """Records of the current version."""
        return Store(self.folder / f"{self.kind.__name__}-{current_version(self.kind)}")

    @property
    def inputs_file(self) -> Path:
        """Digests of the inputs of the current version."""
        return self.store.folder / "inputs.json"

    @property
    def missing(self) -> str:
        """What to do where the current version has no record; empty where it has one."""
        version = current_version(self.kind)
        if self.inputs_file.exists():
            return ""
        return (
            f"{self.kind.__name__} has no golden record of {VERSION_FIELD} {version}: run '{self.command}', look at "
            f"what changed, and commit {self.store.folder.name}; the folders of older versions may be deleted."
        )

    def write(self, specs: Iterable[Any], run: Run, inputs: Mapping[str, Any]) -> None:
        """Make the records of the current version, which must not be there.

        Raises:
            AssertionError: they are there.
        """
        assert self.missing, (
            f"{self.store.folder} is there: raise {VERSION_FIELD} of {self.kind.__name__} first, so that old records "
            "are not taken for new ones; delete that folder only if no record of this version was ever published."
        )
        for spec in specs:
            self.store.write(spec, *run(spec))
        self.inputs_file.write_text(json.dumps(inputs, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def inputs(self) -> dict[str, Any]:
        """The recorded digests of the inputs."""
        return dict(json.loads(self.inputs_file.read_text(encoding="utf-8")))

    def unplanned(self, specs: Iterable[Any]) -> set[str]:
        """Ids that only the plan has or only the records have: a field of a spec or its default has changed."""
        return set(self.store.ids()) ^ set(map(spec_id, specs))


def same_machine(record: Record, made_by: Mapping[str, Any]) -> bool:
    """Whether a record was made by this kind of processor and these library versions."""
    return all(record.meta[name] == made_by[name] for name in MADE_BY)


def differences(record: Record, arrays: Mapping[str, np.ndarray], exact: bool) -> list[str]:
    """Names of the arrays that differ from the record's, each with its largest difference.

    Args:
        exact: every byte must agree; else floats within ``BAND``, packed values within ``STEPS``, integers exactly.
    """
    names = sorted(record.arrays.keys() ^ arrays.keys())
    return [f"{name} is in one of the two only" for name in names] + [
        f"{name}: {problem}"
        for name in sorted(record.arrays.keys() & arrays.keys())
        if (problem := _difference(record.arrays[name], arrays[name], exact))
    ]


def _difference(old: np.ndarray, new: np.ndarray, exact: bool) -> str:
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{new.dtype}{new.shape} instead of {old.dtype}{old.shape}"
    if old.tobytes() == new.tobytes():
        return ""
    before, after = old.astype(float), new.astype(float)
    gap = np.abs(before - after) / np.maximum(1, np.abs(before))
    largest = (
        "another place of NaN" if (np.isnan(before) != np.isnan(after)).any() else f"{np.nanmax(gap, initial=0):.2g}"
    )
    if exact or "NaN" in largest:
        return largest
    if old.dtype == np.uint16:  # packed, in steps of 1/65535
        return largest if np.abs(before - after).max() > STEPS else ""
    room = STEPS * np.spacing(np.abs(old)).astype(float) if old.dtype == np.float16 else np.full(old.shape, BAND)
    room = np.maximum(room, BAND) if old.dtype.kind == "f" else np.zeros(old.shape)
    return largest if (np.nan_to_num(gap) > room).any() else ""
