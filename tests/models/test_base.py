"""Loading a base: what is accepted, and the sentence for what is not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from companion.errors import CompanionError
from companion.models.base import Base, get_label_token_ids, get_native_dtype, load_base

Make = Callable[..., Base]


@pytest.fixture
def folder(make_base: Make, tmp_path: Path) -> Path:
    base = make_base()
    base.model.save_pretrained(tmp_path / "model")
    base.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_local_folder(folder: Path, make_base: Make) -> None:
    base = load_base(str(folder), dtype="float32")
    expected = make_base().model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in base.model.state_dict().items())
    assert base.name == "model" and len(base.sha256) == 64 and base.revision == base.sha256[:12]
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert load_base(str(folder), dtype="bfloat16").model.dtype == torch.bfloat16


def test_changed_weights_change_the_checksum(folder: Path, make_base: Make) -> None:
    before = load_base(str(folder), dtype="float32").sha256
    model = make_base().model
    with torch.no_grad():
        model.model.norm.weight.add_(1)
    model.save_pretrained(folder)
    assert load_base(str(folder), dtype="float32").sha256 != before


def test_auto_is_the_native_dtype(folder: Path) -> None:
    assert load_base(str(folder)).model.dtype == getattr(torch, get_native_dtype())


@pytest.mark.parametrize(
    ("model", "revision", "dtype", "part"),
    [
        ("no/such/folder", None, "auto", "no folder"),
        ("nothing", None, "auto", "no folder"),
        ("owner/name", None, "auto", "pinned revision"),
        ("./nosuch", None, "auto", "no folder './nosuch'"),
        ("owner/name", "main", "auto", "pinned revision"),
        ("embedded", None, "int3", "dtype 'int3'"),
    ],
)
def test_mistakes_get_a_sentence(model: str, revision: str | None, dtype: str, part: str) -> None:
    with pytest.raises(CompanionError, match=part):
        load_base(model, revision, dtype)


def test_hub_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(CompanionError, match="owner/name at aaaaaaaaaaaa could not be fetched"):
        load_base("owner/name", "a" * 40)


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="no usable model"):
        load_base(str(tmp_path))


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CompanionError, match="safetensors"):
        load_base(str(folder))


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CompanionError, match="could not be read"):
        load_base(str(folder))


def test_code_that_comes_with_a_model_is_not_run(folder: Path) -> None:
    ran = folder / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass Thing: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "new_thing",
        "auto_map": {"AutoConfig": "code.Thing", "AutoModelForCausalLM": "code.Thing"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CompanionError, match="could not be read"):
        load_base(str(folder))
    assert not ran.exists()


def test_label_tokens(make_base: Make) -> None:
    tokenizer = make_base().tokenizer
    found = get_label_token_ids(tokenizer, "Rating: ", ("1", "2", "5"))
    assert tokenizer.decode(found) == "125"
    with pytest.raises(CompanionError, match="not one token"):
        get_label_token_ids(tokenizer, "Rating: ", ("1", "10"))
    with pytest.raises(CompanionError, match="not one token"):
        get_label_token_ids(tokenizer, "Rating: ", ("",))
    with pytest.raises(CompanionError, match="same token"):
        get_label_token_ids(tokenizer, "Rating: ", ("1", "1"))
