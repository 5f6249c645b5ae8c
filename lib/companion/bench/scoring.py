"""Scoring: this project against `generate` and the log-likelihoods of lm-evaluation-harness."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from companion.bench.turns import Way, rate
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
    plain_model,
)

HARNESS = "lm-evaluation-harness"
AGREEMENT = "largest difference of a label's log-probability"
SCORED = 8
"""Prompts of a batch of the other tools: the faster of 8 and 32 here; this project takes 32."""
COMPARED = 8
"""Prompts on which scores are compared with the harness, in float32."""


def ways(cores: int) -> list[Way]:
    """One thread per process, batches sorted by length, the same dtype; the harness only where it is installed."""
    note = f"left-padded batches of {SCORED} by length"
    found = [
        Way("companion", (SCORING,), companion, "whole call, adapter set-up included", cores),
        Way("companion, with layer entropies", (SCORING,), companion_inside, "E1, E2, E3 at every block too", cores),
        Way("plain forward", (SCORING,), forward, f"logits at the last position only, {note}", cores),
        Way("generate", (SCORING,), generate, f"one new token with its logits, {note}", cores),
    ]
    if installed():
        note = f"five one-token answers from one forward per prompt, batches of {SCORED}"
        found.append(Way(HARNESS, (SCORING,), harness, note, cores))
        note = f"{COMPARED} prompts, the base in float32, relative to the five labels"
        found.append(Way(HARNESS, (AGREEMENT,), agreement, note, unit="nats"))
    return found


def installed() -> bool:
    """Whether lm-evaluation-harness is there (extra `bench`)."""
    return importlib.util.find_spec("lm_eval") is not None


def prompts(count: int = PROMPTS) -> list[list[int]]:
    """The prompts that all ways score."""
    return [prompt for prompt, _ in examples(count, 2)]


def companion(_task: str) -> float:
    """This project's `score`; prompts per second."""
    return _rate(_score)


def companion_inside(_task: str) -> float:
    """The same with the entropies of every block."""
    return _rate(_score_inside)


def forward(_task: str) -> float:
    """transformers' plain forward with the head at the last position only."""
    return _rate(_forward)


def generate(_task: str) -> float:
    """transformers' `generate` of one token with its logits."""
    return _rate(_generate)


def harness(_task: str) -> float:
    """The harness's log-likelihoods of the five labels after each prompt."""
    return _rate(_harness)


def _rate(work: Callable[[], object]) -> float:
    """Prompts per second; the first call of a process is not timed."""
    _once(work)
    return rate(PROMPTS, work)


@lru_cache
def _once(work: Callable[[], object]) -> None:
    work()


def _score() -> None:
    from companion.models.score import score

    score(_student(), prompts(), LABELS, inside=False)


def _score_inside() -> None:
    from companion.models.score import score

    score(_student(), prompts(), LABELS, inside=True)


@lru_cache(maxsize=1)
def _student() -> Any:
    from companion.bench.workload import recipe, sequences
    from companion.models.finetune import finetune

    return finetune(base(), sequences(examples(BATCH, 1)), recipe(), 0)[0]


def _batches() -> Iterator[dict[str, Any]]:
    """Left-padded batches by length."""
    import torch

    ordered = sorted(prompts(), key=len)
    for start in range(0, PROMPTS, SCORED):
        chosen = ordered[start : start + SCORED]
        longest = len(chosen[-1])
        ids = torch.tensor([[2] * (longest - len(prompt)) + prompt for prompt in chosen])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in chosen])
        yield {"input_ids": ids, "attention_mask": mask}


def _forward() -> None:
    import torch

    model = _peft_model(dtype())
    with torch.inference_mode():
        for batch in _batches():
            model(**batch, use_cache=False, logits_to_keep=1).logits[:, -1].float().log_softmax(-1)[:, LABELS]


def _generate() -> None:
    settings = {"max_new_tokens": 1, "do_sample": False, "pad_token_id": 2}
    for batch in _batches():
        _peft_model(dtype()).generate(**batch, output_logits=True, return_dict_in_generate=True, **settings)


def _harness() -> None:
    _log_likelihoods(_judge(dtype()), prompts())


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
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder(kind))
    model = plain_model(kind) if kind == "float32" else _peft_model(kind)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=SCORED, device="cpu", backend="causal")


@lru_cache(maxsize=1)
def _peft_model(kind: str) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(plain_model(kind), LoraConfig(**ADAPTER)).eval()
