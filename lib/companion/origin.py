"""Where a result comes from: the commit of this library and the machine, stored beside every result."""

import hashlib
import platform
import re
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "transformers", "peft", "numpy")


@lru_cache(maxsize=1)
def get_commit() -> str:
    """Commit of this checkout, ``-dirty`` where the library differs from it, ``unknown`` outside a checkout.

    Looked up once per process, as the code is loaded once.
    """
    library = Path(__file__).parent
    try:
        head = _run_git(library, "rev-parse", "HEAD")
        changed = _run_git(library, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("-dirty" if changed else "")


@lru_cache(maxsize=1)
def hash_code() -> str:
    """Hash of all modules of this library, looked up once per process, as the code is loaded once."""
    library = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(library.rglob("*.py")):
        digest.update(file.relative_to(library).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def describe_origin() -> dict[str, str]:
    """Commit, library versions and processor: on another kind of machine the last bits of a result may differ."""
    return {
        "commit": get_commit(),
        "processor": get_processor(),
        "python": platform.python_version(),
        **get_versions(LIBRARIES),
    }


def get_versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed version of each package, ``none`` of one that is not installed."""
    return {name: _get_version(name) for name in packages}


def get_processor() -> str:
    """Model name and the flags that decide which kernels run."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"model name\s*:\s*(.*)", text)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{flag}\b", text)]
    return f"{name.group(1) if name else platform.machine()} ({' '.join(flags)})"


def _get_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _run_git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()
