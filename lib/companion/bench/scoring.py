"""Scoring: this project against `generate` and the log-likelihoods of lm-evaluation-harness."""

import importlib.util
from functools import lru_cache
from typing import Any

import numpy as np

from companion.bench.turns import Way
from companion.bench.workload import (
    ADAPTER,
    BATCH,
    LABELS,
    PROMPTS,
    SCORING,
    base,
    dtype,
    examples,
    model_folder,
    rate,
)

HARNESS = "lm-evaluation-harness"
AGREEMENT = "largest difference of a label's log-probability"
COMPARED = 8
"""Prompts on which scores are compared with the harness, in float32."""


def ways(cores: int) -> list[Way]:
    """One thread per process, batches sorted by length, the same dtype; the harness only where it is installed."""
    found = [
        Way("companion", (SCORING,), companion, "whole call, adapter set-up included", cores),
        Way("companion, with layer entropies", (SCORING,), companion_inside, "E1, E2, E3 at every block too", cores),
        Way("generate", (SCORING,), generate, "one new token with its logits, left-padded", cores),
    ]
    if installed():
        note = "five one-token answers from one forward per prompt"
        found.append(Way(HARNESS, (SCORING,), harness, note, cores))
        found.append(Way(HARNESS, (AGREEMENT,), agreement, f"{COMPARED} prompts, float32", unit="nats"))
    return found


def installed() -> bool:
    """Whether lm-evaluation-harness is there (extra `bench`)."""
    return importlib.util.find_spec("lm_eval") is not None


def prompts(count: int = PROMPTS) -> list[list[int]]:
    """The prompts that all ways score."""
    return [prompt for prompt, _ in examples(count, 2)]


def companion(_task: str) -> float:
    """This project's `score`; prompts per second."""
    return _ours(inside=False)


def companion_inside(_task: str) -> float:
    """The same with the entropies of every block."""
    return _ours(inside=True)


def _ours(inside: bool) -> float:
    from companion.models.score import score

    student = _student()
    return rate(PROMPTS, lambda: score(student, prompts(), LABELS, inside=inside))


@lru_cache(maxsize=1)
def _student() -> Any:
    from companion.bench.workload import recipe, sequences
    from companion.models.finetune import finetune

    return finetune(base(), sequences(examples(BATCH, 1)), recipe(), 0)[0]


def generate(_task: str) -> float:
    """transformers' `generate` of one token with its logits: prompts left-padded, plain PEFT."""
    import torch

    ordered = sorted(prompts(), key=len)
    model = _peft_model(dtype())

    def run() -> None:
        for start in range(0, PROMPTS, BATCH):
            chosen = ordered[start : start + BATCH]
            longest = len(chosen[-1])
            ids = torch.tensor([[2] * (longest - len(prompt)) + prompt for prompt in chosen])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in chosen])
            settings = {"max_new_tokens": 1, "do_sample": False, "pad_token_id": 2}
            model.generate(
                input_ids=ids, attention_mask=mask, output_logits=True, return_dict_in_generate=True, **settings
            )

    return rate(PROMPTS, run)


def harness(_task: str) -> float:
    """The harness's log-likelihoods of the five labels after each prompt; prompts per second."""
    judge = _judge(dtype())
    return rate(PROMPTS, lambda: _log_likelihoods(judge, prompts()))


def agreement(_task: str) -> float:
    """Largest difference between our log-probabilities and the harness's, in nats.

    Both in float32, each relative to the five labels, since `score` gives their shares.
    """
    from companion.models.base import load_base
    from companion.models.lora import Student
    from companion.models.score import score

    chosen = prompts(COMPARED)
    ours = np.log(score(Student(load_base(dtype="float32")), chosen, LABELS, inside=False).probabilities)
    theirs = _log_likelihoods(_judge("float32"), chosen)
    theirs -= np.log(np.exp(theirs).sum(1, keepdims=True))
    return float(np.abs(ours - theirs).max())


def _log_likelihoods(judge: Any, contexts: list[list[int]]) -> np.ndarray:
    """(prompts, labels), in nats."""
    requests = [(("", ""), context, [label]) for context in contexts for label in LABELS]
    found = judge._loglikelihood_tokens(requests, disable_tqdm=True)
    return np.array([value for value, _ in found]).reshape(len(contexts), len(LABELS))


@lru_cache(maxsize=2)
def _judge(kind: str) -> Any:
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_folder(kind)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # An adapter that is all zeros says what the base says: what `agreement` compares; its cost is an adapter's.
    model = (
        _peft_model(kind) if kind != "float32" else AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    )
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=BATCH, device="cpu", backend="causal")


@lru_cache(maxsize=1)
def _peft_model(kind: str) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(model_folder(kind), dtype=getattr(torch, kind))
    return get_peft_model(plain, LoraConfig(**ADAPTER)).eval()
