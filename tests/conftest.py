"""Settings of the whole test session; they must stand before torch, transformers or matplotlib are first imported."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
)
# Kept between sessions: converting the base model once costs more than all quick tests that use it.
os.environ.setdefault("COMPANION_CACHE", str(ROOT / ".cache"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a test of golden records write those of a new result version instead of failing."""
    parser.addoption("--write-golden", action="store_true", help="write the golden records of new result versions")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where there is no CUDA device; torch is imported only if there is such a test."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
