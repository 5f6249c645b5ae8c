"""Which library holds the model and where: Unsloth or plain transformers on a CUDA GPU, plain transformers on a CPU.

Unsloth changes transformers, PEFT and TRL as it is imported, so a process that uses it must call `start_backend`
before any module that imports one of them; the run of a study does.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from companion.errors import CompanionError
from companion.paths import cache

VARIABLE = "COMPANION_BACKEND"
"""Environment variable that carries a profile's `backend` to its worker processes; it is no part of a run's spec."""

NAMES = ("auto", "unsloth", "transformers")


def choose_backend(wanted: str = "auto") -> str:
    """ "unsloth" or "transformers": "auto" takes Unsloth where there is a CUDA GPU and Unsloth is installed.

    Raises:
        CompanionError: an unknown name, or Unsloth is requested and not available.
    """
    if wanted not in NAMES:
        raise CompanionError(f"The backend {wanted!r} is not known: use {', '.join(NAMES[:-1])} or {NAMES[-1]}.")
    there, installed = has_gpu(), importlib.util.find_spec("unsloth") is not None
    if wanted == "unsloth" and not there:
        raise CompanionError(
            "The backend unsloth needs a CUDA GPU and torch sees none here: write `backend: auto`, "
            "which takes the processor, or install a CUDA build of torch."
        )
    if wanted == "unsloth" and not installed:
        raise CompanionError(
            "The backend unsloth is not installed: run `pip install --no-deps -r no-deps.txt`, "
            "or write `backend: transformers`."
        )
    return "unsloth" if wanted != "transformers" and there and installed else "transformers"


@lru_cache(maxsize=1)
def start_backend() -> str:
    """Choose as `$COMPANION_BACKEND` says and import Unsloth if it is chosen; once per process.

    Raises:
        CompanionError: as `choose_backend`.
    """
    chosen = choose_backend(os.environ.get(VARIABLE, "auto"))
    if chosen == "unsloth":
        import_unsloth()
    return chosen


def import_unsloth() -> None:
    """Import Unsloth quietly: no usage statistics, its files in the cache folder, no compiling of blocks.

    Compiled blocks would be compiled again for every length of a batch.
    """
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache() / "unsloth"))
    os.environ.setdefault("UNSLOTH_BLOCK_COMPILE_LEGACY", "0")
    importlib.import_module("unsloth")


def has_gpu() -> bool:
    """Whether torch sees a CUDA GPU."""
    return torch.cuda.is_available()


def get_device() -> str:
    """The device of the model: the first CUDA GPU, else the processor."""
    return "cuda:0" if has_gpu() else "cpu"


def get_device_name() -> str:
    """Name of the GPU and its memory, or "cpu"."""
    if not has_gpu():
        return "cpu"
    return f"{torch.cuda.get_device_name(0)}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB"


@contextmanager
def explain_memory_errors(purpose: str) -> Iterator[None]:
    """Say in one sentence that the GPU's memory did not suffice for `purpose`.

    Raises:
        CompanionError: torch ran out of GPU memory inside.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise CompanionError(
            f"The GPU ran out of memory {purpose} ({get_device_name()}): set `dtype: nf4` and `workers: 1`, end what "
            "else uses the card, or take shorter texts, a smaller model or a larger card."
        ) from error
