"""The state of a training on disk, so that an interrupted training resumes with the same result.

A checkpoint is one safetensors file with a checksum, written whole or not at all, each in place of the last. One that
is damaged or of another training is not used, and one that cannot be written is done without: neither costs more than
time.
"""

import contextlib
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from companion.errors import CompanionError
from companion.files import write_whole

Step = tuple[int, float, float, float, int]
"""One entry of each column of a training's history."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a training keeps its state, and how often.

    Attributes:
        file: safetensors file, written by this training alone.
        minutes: time between two writes; the state after the last step is always written.
        run: name of the run, so that the training of another one is not gone on with.
    """

    file: Path
    minutes: float
    run: str = ""


@dataclass
class State:
    """All that the next step of a training depends on beside its settings, and the history so far.

    Torch's random state belongs to it too; a training draws from no other.
    """

    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    room: int
    steps: list[Step] = field(default_factory=list)


class _UnusableCheckpoint(Exception):
    """The reason why a file is not a checkpoint to go on from."""


class Checkpoints:
    """Reads the checkpoint of one training at its start and writes it from time to time; `of` names the training."""

    def __init__(self, place: Checkpoint, of: str) -> None:
        self.place, self.of, self.written = place, of, time.monotonic()

    def resume(self, state: State) -> None:
        """Bring the state to where the last checkpoint was written, if there is a sound one of this training."""
        if not self.place.file.exists():
            return
        try:
            tensors, facts = _read(self.place.file, self.of)
        except _UnusableCheckpoint as reason:
            _print_notice(f"The checkpoint {self.place.file} is not used, because {reason}; training starts again.")
            return
        _restore(state, tensors, facts)
        _print_notice(f"Training resumes after step {len(state.steps)}, from the checkpoint {self.place.file}.")

    def save_state(self, state: State, last: bool) -> None:
        """Write the state if it is the last one, or if the last write was long enough ago."""
        if not last and time.monotonic() - self.written < self.place.minutes * 60:
            return
        try:
            write_whole(self.place.file, _encode(_tensors(state), {"of": self.of, **_facts(state)}))
        except CompanionError as error:
            _print_notice(f"Training continues without a checkpoint of step {len(state.steps)}: {error}")
        self.written = time.monotonic()


def _tensors(state: State) -> dict[str, Tensor]:
    found = {f"parameter {number}": parameter.detach() for number, parameter in enumerate(state.parameters)}
    for number, values in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer {number} {name}": value for name, value in values.items()}
    found["random"] = torch.get_rng_state()
    if (device := state.parameters[0].device).type == "cuda":
        found["random on the GPU"] = torch.cuda.get_rng_state(device)
    found["steps"] = torch.tensor(state.steps, dtype=torch.float64)
    return {name: tensor.cpu() for name, tensor in found.items()}


def _facts(state: State) -> dict[str, Any]:
    groups = state.optimizer.state_dict()["param_groups"]
    parts = {"schedule": state.schedule.state_dict(), "scaler": state.scaler.state_dict()}
    return {"groups": groups, "room": state.room, **parts}


def _restore(state: State, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    with torch.no_grad():
        for number, parameter in enumerate(state.parameters):
            parameter.copy_(tensors[f"parameter {number}"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name in (name for name in tensors if name.startswith("optimizer ")):
        _, place, key = name.split(" ")
        # A copy, because a tensor read from a file lies in memory as it did there, and kernels may round by alignment.
        moments.setdefault(int(place), {})[key] = tensors[name].clone()
    state.optimizer.load_state_dict({"state": moments, "param_groups": facts["groups"]})
    state.schedule.load_state_dict(facts["schedule"])
    state.scaler.load_state_dict(facts["scaler"])
    state.room = facts["room"]
    rows = tensors["steps"].tolist()
    state.steps = [(int(seen), loss, label, rest, int(parts)) for seen, loss, label, rest, parts in rows]
    torch.set_rng_state(tensors["random"])
    if (device := state.parameters[0].device).type == "cuda":
        torch.cuda.set_rng_state(tensors["random on the GPU"], device)


def _encode(tensors: dict[str, Tensor], facts: dict[str, Any]) -> bytes:
    text = json.dumps(facts)
    return save(tensors, {"facts": text, "sha256": _checksum(tensors, text)})


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    return hashlib.sha256(save(tensors, {"facts": text})).hexdigest()


def _read(file: Path, of: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(file, "pt") as content:
            header = content.metadata()
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        text, checksum = header["facts"], header["sha256"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _UnusableCheckpoint("it is cut off or its header cannot be read") from error
    if _checksum(tensors, text) != checksum:
        raise _UnusableCheckpoint("its content does not match its checksum")
    facts = json.loads(text)
    if facts["of"] != of:
        raise _UnusableCheckpoint("it is of a training with other settings, data, code or machine")
    return tensors, facts


def _print_notice(sentence: str) -> None:
    # The disk of the log may be as full as that of the checkpoint.
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)
