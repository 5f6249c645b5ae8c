"""Write a Llama or Mistral model as one GGUF file, which llama.cpp and the programs built on it read.

Format and tensor names are those of the `gguf` package. llama.cpp rotates neighbouring pairs of a head where
transformers rotates its two halves, so the rows of the query and key matrices change places.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, get_tensor_name_map, quantize
from numpy.typing import NDArray
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from companion.errors import CompanionError

TYPES = {
    torch.float32: (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    torch.float16: (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    torch.bfloat16: (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
}
SPLITTERS = {
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",
}
"""Pre-tokenizers of byte-level tokenizers -> what llama.cpp calls that way of splitting a text."""


def check_gguf(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse what this module cannot write.

    Raises:
        CompanionError: an architecture, a rotary embedding or a tokenizer other than those below.
    """
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    biased = getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)
    if config.model_type not in ("llama", "mistral") or rope != "default" or biased:
        raise CompanionError(
            f"Models of type {config.model_type} with {rope} rotary embedding{' and biases' * bool(biased)} are not "
            "written as GGUF: use a plain Llama or Mistral model, or llama.cpp's own converter on a --merged folder."
        )
    _splitter(_parts(tokenizer))


def write_gguf(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, file: Path, name: str) -> None:
    """Write a model and its tokenizer; matrices keep the model's dtype (fp32, fp16 or bf16), vectors are fp32.

    Raises:
        CompanionError: as `check_gguf`.
    """
    check_gguf(model.config, tokenizer)
    kind, file_type = TYPES[model.dtype]
    writer = GGUFWriter(file, "llama")
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(file_type)
    _add_sizes(writer, model.config)
    _add_tokenizer(writer, tokenizer, model.config.vocab_size)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        target = names.get_name(key, try_suffixes=(".weight",))
        if target is None:
            raise CompanionError(f"The tensor {key} has no name in a GGUF file: use a plain Llama or Mistral model.")
        of_type = kind if tensor.dim() > 1 else GGMLQuantizationType.F32
        writer.add_tensor(target, quantize(_rotate_projection(key, tensor, model.config), of_type), raw_dtype=of_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_sizes(writer: GGUFWriter, config: PretrainedConfig) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # llama.cpp would attend beyond a sliding window; within it the two are the same.
    writer.add_context_length(min(config.max_position_embeddings, getattr(config, "sliding_window", None) or 2**31))
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _rotate_projection(key: str, tensor: Tensor, config: PretrainedConfig) -> NDArray[np.float32]:
    """The tensor in fp32; rows of query and key heads go from halves (a0 a1 .. b0 b1 ..) to pairs (a0 b0 a1 b1 ..)."""
    rows: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(key.split(".")[-2])
    if heads is None:
        return rows
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _parts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The tokenizer as its own JSON."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {"model": {"type": "slow"}}
    return parts


def _splitter(parts: dict[str, Any]) -> str | None:
    """How a byte-level tokenizer splits a text, by llama.cpp's name; None for one with SentencePiece's conventions."""
    before, model = parts.get("pre_tokenizer") or {}, parts["model"]
    steps = tuple(step["type"] for step in before.get("pretokenizers", [before]) if step)
    if model["type"] == "BPE" and steps in SPLITTERS and model["merges"]:
        return SPLITTERS[steps]
    if model["type"] == "BPE" and model.get("byte_fallback") and set(steps) <= {"Metaspace"}:
        return None
    raise CompanionError(
        f"This model's tokenizer ({model['type']}, {', '.join(steps) or 'no splitting'}) is not written as GGUF: use "
        "llama.cpp's own converter on a --merged folder."
    )


def _add_tokenizer(writer: GGUFWriter, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Vocabulary (filled up to `size`), merges or their ranks as scores, special tokens and chat template."""
    parts = _parts(tokenizer)
    splitter, merges = _splitter(parts), [tuple(merge) for merge in parts["model"]["merges"]]
    tokens: list[str] = list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    tokens += [f"[PAD{number}]" for number in range(len(tokens), size)]
    writer.add_tokenizer_model("llama" if splitter is None else "gpt2")
    writer.add_tokenizer_pre(splitter or "default")
    writer.add_token_list(tokens)
    writer.add_token_types([_token_type(number, token, tokenizer) for number, token in enumerate(tokens)])
    if splitter is None:
        # The score of a piece says when it is merged; its rank among the merges says the same.
        ranks: dict[str, int] = {}
        for rank, pair in enumerate(merges):
            ranks.setdefault("".join(pair), rank)
        writer.add_token_scores([-float(ranks.get(token, len(merges))) for token in tokens])
    else:
        writer.add_token_merges([" ".join(merge) for merge in merges])
    plain = tokenizer("a").input_ids
    writer.add_add_bos_token(plain[0] == tokenizer.bos_token_id)
    writer.add_add_space_prefix(tokenizer.tokenize("a")[0] != "a")
    for kind in ("bos", "eos", "unk", "pad"):
        if (number := getattr(tokenizer, f"{kind}_token_id")) is not None:
            getattr(writer, f"add_{kind}_token_id")(number)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _token_type(number: int, token: str, tokenizer: PreTrainedTokenizerBase) -> TokenType:
    added = tokenizer.added_tokens_decoder.get(number)
    if number >= len(tokenizer):
        return TokenType.UNUSED
    if token == "<unk>":
        return TokenType.UNKNOWN
    if added is not None:
        return TokenType.CONTROL if added.special else TokenType.USER_DEFINED
    is_byte = len(token) == 6 and token.startswith("<0x") and token.endswith(">")
    return TokenType.BYTE if is_byte else TokenType.NORMAL
