"""GGUF files: transformers reads the same model and the same tokens back, and what cannot be written is told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from companion.errors import CompanionError
from companion.models.base import Base
from companion.models.gguf_file import check_gguf, write_gguf

TEXTS = [
    "Rating: 4\nExplanation: the reply answers what was asked",
    "the tea, the teapot and the theatre: 12 + 345",
] * 9
PROBES = ["Rating: 3\nExplanation: the tea", "teapots\n\n 2511.02044", "über <eos> the naïve ☃"]

Make = Callable[..., Base]


def byte_level(size: int = 300) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<eos>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<eos>", eos_token="<eos>")


def sentence_pieces(size: int = 300) -> PreTrainedTokenizerFast:
    """BPE as Llama 2 and Mistral have it: blanks are letters of their own, unknown letters fall back to bytes."""
    marked = [text.replace(" ", "▁") for text in TEXTS]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.train_from_iterator(marked, trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"]))
    learnt = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    merges = [tuple(merge) for merge in json.loads(trained.to_str())["model"]["merges"]]
    letters = {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    pieces = [token for token in learnt if token not in ("<unk>", "<s>", "</s>")]
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | letters
    vocabulary |= {token: 259 + number for number, token in enumerate(pieces)}
    whole = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(whole)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def read_back(file: Path, dtype: torch.dtype) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=dtype).eval()


@pytest.mark.parametrize("kind", ["llama", "mistral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_transformers_reads_the_same_model(make_base: Make, kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = make_base(kind, dtype).model
    write_gguf(model, byte_level(), tmp_path / "m.gguf", name="tiny")
    found = read_back(tmp_path / "m.gguf", dtype)
    expected = model.state_dict()
    assert set(found.state_dict()) == set(expected)
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    ids = torch.tensor([[5, 9, 33, 2, 250]])
    if dtype == torch.float32:
        torch.testing.assert_close(found(ids).logits, model(ids).logits)


def test_query_and_key_rows_are_in_pairs_in_the_file(make_base: Make, tmp_path: Path) -> None:
    model = make_base().model
    write_gguf(model, byte_level(), tmp_path / "m.gguf", name="tiny")
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    key = model.model.layers[0].self_attn.k_proj.weight
    half = key.shape[0] // 2 // 2
    assert torch.equal(torch.tensor(tensors["blk.0.attn_k.weight"][:4]), key[[0, half, 1, half + 1]])
    value = model.model.layers[0].self_attn.v_proj.weight
    assert torch.equal(torch.tensor(tensors["blk.0.attn_v.weight"]), value)


@pytest.mark.parametrize("make_tokenizer", [byte_level, sentence_pieces])
def test_transformers_reads_the_same_tokens(
    make_base: Make, make_tokenizer: Callable[[int], PreTrainedTokenizerFast], tmp_path: Path
) -> None:
    tokenizer, base = make_tokenizer(300), make_base()
    base.model.resize_token_embeddings(len(tokenizer) + 3)
    write_gguf(base.model, tokenizer, tmp_path / "m.gguf", name="tiny")
    found = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    for text in PROBES:
        assert found(text, add_special_tokens=False).input_ids == tokenizer(text, add_special_tokens=False).input_ids
    assert found.convert_ids_to_tokens(len(tokenizer) + 2) == f"[PAD{len(tokenizer) + 2}]"


def test_what_cannot_be_written_is_one_sentence(make_base: Make, tmp_path: Path) -> None:
    tokenizer = byte_level()
    with pytest.raises(CompanionError, match="Models of type qwen2 .* are not written as GGUF"):
        write_gguf(make_base("qwen2").model, tokenizer, tmp_path / "m.gguf", name="tiny")
    stretched = make_base().model
    stretched.config.rope_parameters = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
    with pytest.raises(CompanionError, match="with linear rotary embedding"):
        check_gguf(stretched.config, tokenizer)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(CompanionError, match=r"tokenizer \(BPE, Whitespace\) is not written as GGUF"):
        check_gguf(make_base().model.config, tokenizer)
    assert not list(tmp_path.iterdir())
