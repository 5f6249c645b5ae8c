"""Real trainings of a tiny random model, for the soak; worker processes import this file by name."""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Tiny:
    seed: int
    result_version: int = 1


@lru_cache(maxsize=1)
def base():
    import torch

    from companion.models.base import Base

    file = Path(__file__).parents[1] / "models" / "conftest.py"
    models = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("tiny_models", file))
    spec.loader.exec_module(models)
    return Base("tiny-mistral", "0", "0" * 64, models.tiny_model("mistral", torch.float32), models.byte_tokenizer())


def work(spec: Tiny):
    """A LoRA adapter on ragged random sequences in four steps, then probabilities of three labels on eight prompts."""
    from companion.models.finetune import Recipe, finetune
    from companion.models.score import score

    rates = {"learning_rate": 5e-3, "warmup_ratio": 0.1, "decay_ratio": 0.3, "weight_decay": 0.01, "gradient_clip": 1.0}
    sizes = {"epochs": 2, "batch_size": 4, "lora_rank": 4, "lora_alpha": 8, "max_length": 64}
    student, history = finetune(base(), sequences(spec.seed), Recipe(**rates, **sizes), spec.seed)
    prompts = [list(sequence.prompt) for sequence in sequences(spec.seed + 10_000)]
    scores = score(student, prompts, [7, 8, 9], inside=True)
    return {"loss": history.loss, "probabilities": scores.probabilities, "layers": scores.layers}, {}


def sequences(seed: int):
    """Eight with the same first tokens, of other lengths for every seed, so that every batch has a shape of its own."""
    from companion.models.batches import Sequence

    draw = np.random.default_rng(seed)
    shared, made = tuple(draw.integers(1, 250, 12).tolist()), []
    for _ in range(8):
        prompt, response = (tuple(draw.integers(1, 250, draw.integers(2, 20)).tolist()) for _ in range(2))
        made.append(Sequence(shared + prompt, response, (1 / len(response),) * len(response), 0))
    return made
