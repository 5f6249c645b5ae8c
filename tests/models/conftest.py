"""Tiny random models with a byte tokenizer: whole code paths in milliseconds, no download."""

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from companion.models.base import Base
from companion.models.batches import Sequence
from companion.models.finetune import Recipe

VOCABULARY = 300
SIZE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and an end-of-sequence token."""
    vocabulary = {
        letter: number for number, letter in enumerate(["<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


def tiny_model(kind: str, dtype: torch.dtype) -> PreTrainedModel:
    torch.manual_seed(11)
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SIZE, num_key_value_heads=2, tie_word_embeddings=True))
    elif kind == "llama for 4 bits":  # bitsandbytes wants whole blocks of 64
        wide = {**SIZE, "intermediate_size": 128}
        model = LlamaForCausalLM(LlamaConfig(**wide, num_key_value_heads=2, tie_word_embeddings=True))
    elif kind == "mistral":
        model = MistralForCausalLM(MistralConfig(**SIZE, num_key_value_heads=1, sliding_window=64))
    elif kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SIZE, num_key_value_heads=2))
    else:
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**SIZE))
    # Larger weights than the default make attention and probabilities uneven, so that a mistake shows.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6 if parameter.dim() == 2 else 1)
    return model.to(dtype).requires_grad_(False).eval()


@pytest.fixture
def make_base() -> Callable[..., Base]:
    def make(kind: str = "llama", dtype: torch.dtype = torch.float32) -> Base:
        return Base(f"tiny-{kind}", "0", "0" * 64, tiny_model(kind, dtype), byte_tokenizer())

    return make


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        learning_rate=5e-3,
        epochs=2,
        batch_size=4,
        lora_rank=4,
        lora_alpha=8,
        warmup_ratio=0.1,
        decay_ratio=0.3,
        weight_decay=0.01,
        gradient_clip=1.0,
        max_length=64,
    )


@pytest.fixture
def make_sequences() -> Callable[..., list[Sequence]]:
    def make(count: int, shared: int, seed: int = 0, response: int = 6) -> list[Sequence]:
        """Ragged random sequences whose prompts start with the same `shared` tokens; uneven weights."""
        draw = torch.Generator().manual_seed(seed)

        def tokens(length: int) -> tuple[int, ...]:
            return tuple(torch.randint(1, 250, (length,), generator=draw).tolist())

        def number(low: int, high: int) -> int:
            return int(torch.randint(low, high, (1,), generator=draw))

        prefix = tokens(shared)
        made = []
        for _ in range(count):
            length = number(1, response + 1)
            weights = tuple((torch.rand(length, generator=draw) + 0.1).tolist())
            made.append(Sequence(prefix + tokens(number(1, 20)), tokens(length), weights, number(0, length)))
        return made

    return make
