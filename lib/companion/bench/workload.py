"""What all tools are given: prompts of random token ids, because only lengths matter, and one model with one adapter.

Prompts have 145 to 195 tokens, longer than most of the study's real ones (60 to 242, median 112); the first 95 are the
same in all, as instruction and rubric are.
"""

import random
from functools import lru_cache
from typing import Any

BATCH = 8
WHOLE = 1200
"""Tokens of the largest batch, and a little more."""
STEPS = 3
"""Optimiser steps that are measured, after one that is not."""
PROMPTS = 32
SHARED = 95
LABELS = [33, 34, 35, 36, 37]
"""Token ids of "1" to "5" in the embedded model's vocabulary."""
VOCABULARY = (100, 49_000)
TRAINING = {"train, targets of 2 tokens": 2, "train, targets of 40 tokens": 40}
"""Task -> about how many tokens a target has: a label alone, and a label with its explanation."""
SCORING = "score labels"
ADAPTER: dict[str, Any] = {
    "r": 16,
    "lora_alpha": 32,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}


def examples(count: int, response: int, rest: tuple[int, int] = (50, 100)) -> list[tuple[list[int], list[int]]]:
    """Prompts of `SHARED` tokens and `rest` more (lowest, highest), with responses of about `response` tokens."""
    draw = random.Random(0)

    def tokens(length: int) -> list[int]:
        return [draw.randrange(*VOCABULARY) for _ in range(length)]

    prefix = tokens(SHARED)
    spread = response // 4
    return [
        (prefix + tokens(draw.randint(*rest)), tokens(draw.randint(response - spread, response + spread)))
        for _ in range(count)
    ]


def dtype() -> str:
    """The number format that this project computes in here, such as "bfloat16"."""
    from companion.models.base import native_dtype

    return native_dtype()


def model_folder(kind: str) -> str:
    """Folder of the embedded model in this number format."""
    from companion.models.embedded import embedded_folder

    return str(embedded_folder(kind))


def plain_model(kind: str, **choice: str) -> Any:
    """The embedded model as transformers loads it, in this number format."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model_folder(kind), dtype=getattr(torch, kind), **choice)


@lru_cache(maxsize=1)
def base() -> Any:
    """The embedded model as this project loads it, once per process."""
    from companion.models.base import load_base

    return load_base(dtype="auto")


def recipe() -> Any:
    """The recipe all train with: rank 16, batches of 8 computed whole, a constant rate."""
    from companion.models.finetune import Recipe

    return Recipe(
        learning_rate=2e-4,
        epochs=1,
        batch_size=BATCH,
        lora_rank=ADAPTER["r"],
        lora_alpha=ADAPTER["lora_alpha"],
        warmup_ratio=0.0,
        decay_ratio=0.0,
        weight_decay=0.0,
        gradient_clip=1.0,
        max_length=1024,
        tokens_at_once=WHOLE,
    )


def sequences(pairs: list[tuple[list[int], list[int]]]) -> list[Any]:
    """The pairs as this project's training sequences."""
    from companion.models.finetune import Sequence

    return [Sequence(tuple(prompt), tuple(reply), (1 / len(reply),) * len(reply), 0) for prompt, reply in pairs]
