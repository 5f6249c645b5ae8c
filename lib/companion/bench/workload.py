"""What all tools are given: random token ids, because only lengths matter, and one model with one adapter.

Two kinds of training are measured. In one all prompts share a long instruction, with a rubric. The other has the
lengths of the study's profile `cpu`: a batch is five versions of one conversation, which share what comes before the
reply (medians there: prompts of 110 tokens, 38 of them shared).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

WHOLE = 1200
"""Tokens of the largest batch, and a little more."""
WARMUP, STEPS = 2, 2
"""Optimiser steps that are not measured, in which memory is touched for the first time, and those that are."""
SEED = 0
"""Of adapters and of the order of batches."""
LABELS = [33, 34, 35, 36, 37]
"""Token ids of "1" to "5" in the embedded model's vocabulary."""
VOCABULARY = (100, 49_000)
ADAPTER: dict[str, Any] = {
    "r": 16,
    "lora_alpha": 32,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
VERSIONS = 5
"""Versions of one conversation, which are a batch of the study."""
LABEL, EXPLANATION = 2, 40
"""Tokens of a target: a label alone, and about those of a label with its explanation."""

Pair = tuple[list[int], list[int]]
"""Token ids of a prompt and of its target."""


def batch_of_study(draw: random.Random, target: int, length: int = 115) -> list[Pair]:
    """Versions of one conversation: prompts of about `length` tokens, of which they share more than a third."""
    shared = tokens(draw, _about(draw, 0.36 * length, 0.4))
    return [(shared + tokens(draw, _about(draw, 0.64 * length, 0.45)), _target(draw, target)) for _ in range(VERSIONS)]


def batch_with_rubric(draw: random.Random, target: int) -> list[Pair]:
    """Eight prompts of 145 to 195 tokens, the first 95 the same in all batches."""
    rubric = tokens(random.Random(95), 95)
    return [(rubric + tokens(draw, draw.randint(50, 100)), _target(draw, target)) for _ in range(8)]


@dataclass(frozen=True)
class Training:
    """One training to be timed: batches of `size` pairs with targets of about `target` tokens."""

    size: int
    batch: Callable[[random.Random, int], list[Pair]]
    target: int

    def batches(self, count: int) -> list[list[Pair]]:
        """The same every time."""
        draw = random.Random(0)
        return [self.batch(draw, self.target) for _ in range(count)]


TRAINING = {
    "train, long rubric, label": Training(8, batch_with_rubric, LABEL),
    "train, long rubric, explanation": Training(8, batch_with_rubric, EXPLANATION),
    "train as the study, label": Training(VERSIONS, batch_of_study, LABEL),
    "train as the study, explanation": Training(VERSIONS, batch_of_study, EXPLANATION),
}

SCORING = {
    "score, long rubric": lambda draw: (95, draw.randint(50, 100)),
    "score as the study": lambda draw: (16, draw.choice((46, 60, 75, 90, 105, 120, 145))),
}
"""Task -> tokens of a prompt that all share, and its own; the study's own prompts have 62 to 213 and share 16."""


def prompts(task: str, count: int) -> list[list[int]]:
    """Prompts to be scored, the same every time."""
    draw = random.Random(0)
    lengths = [SCORING[task](draw) for _ in range(count)]
    shared = tokens(draw, lengths[0][0])
    return [shared + tokens(draw, own) for _, own in lengths]


def tokens(draw: random.Random, length: int) -> list[int]:
    """This many random token ids."""
    return [draw.randrange(*VOCABULARY) for _ in range(length)]


def _about(draw: random.Random, length: float, spread: float) -> int:
    return round(length * draw.uniform(1 - spread, 1 + spread))


def _target(draw: random.Random, length: int) -> list[int]:
    return tokens(draw, length if length == LABEL else _about(draw, length, 0.25))


def dtype() -> str:
    """The number format that this project computes in here, such as "bfloat16"."""
    from companion.models.base import get_native_dtype

    return get_native_dtype()


def model_folder(kind: str) -> str:
    """Folder of the embedded model in this number format."""
    from companion.models.embedded import prepare_embedded_model

    return str(prepare_embedded_model(kind))


def tokenizer() -> Any:
    """Tokenizer of the embedded model."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_folder(dtype()))


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


def recipe(batch_size: int, tokens_at_once: int = WHOLE) -> Any:
    """The recipe of this project's trainings: rank 16, a constant rate, batches computed whole if nothing is said."""
    from companion.models.finetune import Recipe

    return Recipe(
        learning_rate=2e-4,
        epochs=1,
        batch_size=batch_size,
        lora_rank=ADAPTER["r"],
        lora_alpha=ADAPTER["lora_alpha"],
        warmup_ratio=0.0,
        decay_ratio=0.0,
        weight_decay=0.0,
        gradient_clip=1.0,
        max_length=1024,
        tokens_at_once=tokens_at_once,
    )


def sequences(batches: list[list[Pair]]) -> list[Any]:
    """The pairs as this project's training sequences; a batch stays one."""
    from companion.models.batches import Sequence

    return [
        Sequence(tuple(prompt), tuple(reply), (1 / len(reply),) * len(reply), 0, str(number))
        for number, batch in enumerate(batches)
        for prompt, reply in batch
    ]
