"""Records on disk: one safetensors file per run, there whole or not at all, checked whenever it is read."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from companion.errors import CompanionError
from companion.files import TEMPORARY, write_whole
from companion.runs.lock import is_locked
from companion.runs.spec import hash_json, to_json

SUFFIX = ".safetensors"
INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DTYPES = (*INTEGERS, "float16", "float32", "float64", "complex64")
HEADER_KEY = "companion"

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Record:
    """One run read from disk.

    Attributes:
        id: name of the run.
        spec: fields of the spec as JSON types (tuples come back as lists).
        arrays: the stored arrays, sorted by name.
        meta: the facts stored beside them.
    """

    id: str
    spec: dict[str, Any]
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


class _Damage(Exception):
    """The reason why a file is not a valid record."""


@dataclass(frozen=True)
class Store:
    """A folder of records named ``<id>.safetensors``; damaged ones are moved to ``damaged/`` inside it.

    ``checkpoints/`` inside it is for the checkpoints of runs that have no record yet.
    """

    folder: Path

    def path(self, run_id: str) -> Path:
        """File of one record, whether or not it exists."""
        return self.folder / f"{run_id}{SUFFIX}"

    @property
    def checkpoints(self) -> Path:
        """Folder in which a run may keep ``<id>.safetensors`` while it is made; removed as its record is written."""
        return self.folder / "checkpoints"

    def has(self, run_id: str) -> bool:
        """Whether a record of this id exists (not whether it is valid, see :meth:`verify`)."""
        return self.path(run_id).exists()

    def is_valid(self, run_id: str) -> bool:
        """Whether a record of this id exists and matches its checksum.

        Raises:
            CompanionError: it exists and cannot be read.
        """
        return self.has(run_id) and not self.find_damage(run_id)

    def ids(self) -> list[str]:
        """Ids of all records, sorted; CompanionError if the folder cannot be read."""
        return sorted(file.name.removesuffix(SUFFIX) for file in self._files() if _is_record_name(file.name))

    def write(self, spec: Any, arrays: Arrays, meta: Mapping[str, Any]) -> str:
        """Write one record and give its id. The same content gives the same bytes; a record once there never changes.

        Args:
            spec: frozen dataclass.
            arrays: NumPy arrays of any shape, of the types in ``DTYPES``.
            meta: facts as JSON types, such as the commit and kind of processor; part of the record, so no times.

        Raises:
            CompanionError: something JSON or safetensors cannot hold; a record of this id with other content is there;
                or the disk is full or the folder read-only. Nothing half-written is left.
        """
        text = to_json(spec)
        run_id = hash_json(text)
        self._keep(run_id, _encode(text, arrays, meta))
        return run_id

    def put(self, run_id: str, content: bytes) -> None:
        """Write the bytes of a record that was made on another machine, unless they are there.

        Raises:
            CompanionError: they are no valid record of this id; or as :meth:`write`.
        """
        try:
            _decode(content, run_id)
        except _Damage as damage:
            raise CompanionError(f"Record {run_id} was damaged on its way here ({damage}); run again.") from None
        self._keep(run_id, content)

    def read(self, run_id: str) -> Record:
        """Read one record and verify its checksum.

        Raises:
            CompanionError: there is no such record, or it is damaged; it was then moved aside, so that running again
                makes it again.
        """
        try:
            return _decode(self._read_bytes(run_id), run_id)
        except _Damage as damage:
            moved = self._move_aside(run_id)
            raise CompanionError(f"Record {run_id} is damaged ({damage}) and now lies in {moved}; run again.") from None

    def verify(self, expected: Iterable[str] = ()) -> list[str]:
        """Look at every file and change nothing; give one sentence per problem, none when all is well.

        While a process makes runs, writes in progress and runs to come are no problems; one sentence stands for them.

        Args:
            expected: ids that must be there.
        """
        problems, live = [], is_locked(self.folder)
        for file in self._files():
            if file.name.endswith(TEMPORARY):
                if not live:
                    problems.append(f"{file.name} was left by a write that was cut off; the next run removes it.")
            elif not _is_record_name(file.name):
                problems.append(f"{file.name} is not the name of a record; move it elsewhere.")
            elif problem := self._describe_problem(file.name.removesuffix(SUFFIX)):
                problems.append(problem)
        if live:
            return [*problems, f"Runs of {self.folder} are being made now; verify again when they are done."]
        present = set(self.ids())
        missing = [run_id for run_id in dict.fromkeys(expected) if run_id not in present]
        return problems + [f"{run_id}{SUFFIX} is missing; run again to make it." for run_id in missing]

    def _describe_problem(self, run_id: str) -> str:
        """What is wrong with a record, in one sentence."""
        try:
            damage = self.find_damage(run_id)
        except CompanionError as error:
            return str(error)
        return damage and f"{run_id}{SUFFIX} is damaged: {damage}; the next run makes it again."

    def repair(self) -> list[str]:
        """Move damaged records to ``damaged/``, after :meth:`remove_leftovers`; give one sentence for each.

        Call it only while holding the folder's lock: another process may be writing.

        Raises:
            CompanionError: the folder cannot be changed.
        """
        self.remove_leftovers()
        damages = [(run_id, self.find_damage(run_id)) for run_id in self.ids()]
        return [
            f"Record {run_id} is damaged ({damage}) and was moved to {self._move_aside(run_id)}; it is made again."
            for run_id, damage in damages
            if damage
        ]

    def remove_leftovers(self) -> None:
        """Remove cut-off writes, and checkpoints of runs whose record is there; under the folder's lock, as `repair`.

        A worker that outlives its driver for a moment may still rename or remove what is listed here.

        Raises:
            CompanionError: the folder cannot be changed.
        """
        try:
            for file in self._files():
                if file.name.endswith(TEMPORARY):
                    file.unlink(missing_ok=True)
            for file in self.checkpoints.glob("*"):
                if file.name.endswith(TEMPORARY) or self.is_valid(file.stem):
                    file.unlink(missing_ok=True)
        except OSError as error:
            raise CompanionError(
                f"{self.folder} cannot be changed ({error.strerror}); choose another folder."
            ) from error

    def _keep(self, run_id: str, content: bytes) -> None:
        if not (self.has(run_id) and self._holds_same(run_id, content)):
            write_whole(self.path(run_id), content)
        # The record is there; what cannot be removed now is left for `repair`.
        with contextlib.suppress(OSError):
            for file in self.checkpoints.glob(f"{run_id}.*"):
                file.unlink()

    def _files(self) -> list[Path]:
        try:
            there = [file for file in self.folder.iterdir() if not file.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise CompanionError(f"{self.folder} cannot be read: {error.strerror}.") from error
        return sorted(file for file in there if file.is_file() or _is_record_name(file.name))

    def _read_bytes(self, run_id: str) -> bytes:
        try:
            return self.path(run_id).read_bytes()
        except FileNotFoundError:
            raise CompanionError(f"There is no record {run_id} in {self.folder}; run the study to make it.") from None
        except IsADirectoryError as error:
            raise _Damage("a folder is in its place") from error
        except OSError as error:
            raise CompanionError(f"Record {run_id} in {self.folder} cannot be read: {error.strerror}.") from error

    def find_damage(self, run_id: str) -> str:
        """Why the record is damaged; empty when it is valid.

        Raises:
            CompanionError: it is not there or cannot be read.
        """
        try:
            _decode(self._read_bytes(run_id), run_id)
        except _Damage as damage:
            return str(damage)
        return ""

    def _holds_same(self, run_id: str, content: bytes) -> bool:
        if self.find_damage(run_id):
            self._move_aside(run_id)
            return False
        if self._read_bytes(run_id) == content:
            return True
        raise CompanionError(
            f"Record {run_id} in {self.folder} is there with other content: the same spec gave two different results. "
            "Raise result_version in the class of its spec if the code changed, or move the old record away."
        )

    def _move_aside(self, run_id: str) -> Path:
        folder = self.folder / "damaged"
        number = 1
        while (target := folder / f"{run_id}.{number}{SUFFIX}").exists():
            number += 1
        try:
            folder.mkdir(exist_ok=True)
            self.path(run_id).rename(target)
        except OSError as error:
            raise CompanionError(
                f"Record {run_id} in {self.folder} is damaged and cannot be moved aside ({error.strerror}); delete it."
            ) from error
        return target


def _is_record_name(name: str) -> bool:
    return re.fullmatch(rf"[0-9a-f]{{16}}{re.escape(SUFFIX)}", name) is not None


def _encode(spec_json: str, arrays: Arrays, meta: Mapping[str, Any]) -> bytes:
    tensors = {name: _to_portable(name, arrays[name]) for name in sorted(arrays)}
    try:
        meta_json = json.dumps(dict(meta), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CompanionError(f"The facts of a record must be JSON types with finite numbers: {error}.") from error
    header = {"meta": meta_json, "sha256": _compute_checksum(spec_json, meta_json, tensors), "spec": spec_json}
    # One key only: safetensors writes several in random order, and equal records must be equal bytes.
    return bytes(save(tensors, {HEADER_KEY: json.dumps(header, sort_keys=True, separators=(",", ":"))}))


def _to_portable(name: str, array: np.ndarray) -> np.ndarray:
    """The array in C order and little-endian, as safetensors stores it."""
    if not isinstance(array, np.ndarray) or array.dtype.name not in DTYPES or name in ("", "__metadata__"):
        kind = array.dtype.name if isinstance(array, np.ndarray) else type(array).__name__
        raise CompanionError(f"Array {name!r} of a record is {kind}; use NumPy arrays of {', '.join(DTYPES)}.")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _compute_checksum(spec_json: str, meta_json: str, tensors: Arrays) -> str:
    digest = hashlib.sha256()
    parts = [spec_json, meta_json]
    parts += [json.dumps([name, array.dtype.name, list(array.shape)]) for name, array in tensors.items()]
    digest.update(json.dumps(parts).encode())
    for array in tensors.values():
        digest.update(array.tobytes())
    return digest.hexdigest()


def _decode(content: bytes, run_id: str) -> Record:
    """Read a record from its bytes; raises _Damage with the reason unless every part is as it was written."""
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][HEADER_KEY])
        spec_json, meta_json, checksum = header["spec"], header["meta"], header["sha256"]
        tensors = dict(sorted(load(content).items()))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _Damage("it is cut off or its header cannot be read") from error
    if _compute_checksum(spec_json, meta_json, tensors) != checksum:
        raise _Damage("its content does not match its checksum")
    if hash_json(spec_json) != run_id:
        raise _Damage(f"its name does not match its spec, which is that of {hash_json(spec_json)}")
    return Record(run_id, json.loads(spec_json)["fields"], tensors, json.loads(meta_json))
