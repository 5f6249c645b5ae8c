"""Scoring: this project against a plain forward pass, `generate`, and lm-evaluation-harness' log-likelihoods."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np

from companion.bench.turns import Way, measure_rate
from companion.bench.workload import (
    ADAPTER,
    LABELS,
    SCORING,
    TRAINING,
    base,
    dtype,
    plain_model,
    prompts,
    recipe,
    sequences,
    tokenizer,
)

HARNESS = "lm-evaluation-harness"
AGREEMENT = "largest difference of a label's log-probability"
PROMPTS = 64
SCORED = 8
"""Prompts of a batch of the other tools, faster in trials than 32; this project takes 32."""
COMPARED = 8
"""Prompts on which scores are compared with the harness, in float32."""


def ways(cores: int) -> list[Way]:
    """One thread per process, batches sorted by length, the same dtype; the harness only where it is installed.

    The others are timed as PEFT leaves a model, and with the adapter merged into the weights, which ours never does.
    """
    note = f"left-padded batches of {SCORED} by length"
    head = "head at the last position only"
    found = [
        _way("companion", score_labels, "whole call, adapter set-up included", cores),
        _way("companion, with layer entropies", score_inside, "E1, E2, E3 at every block too", cores),
        _way("plain forward", forward, f"adapter merged, {head}, {note}", cores),
        _way("plain forward, prefix cached", forward_cached, f"the same, shared tokens computed once, {note}", cores),
        _way("generate", generate, f"one new token with its logits, {note}", cores),
        _way("generate, best settings", generate_best, f"adapter merged, rows of the head copied, {note}", cores),
    ]
    # lm-evaluation-harness comes with the extra `bench`.
    if importlib.util.find_spec("lm_eval") is not None:
        note = f"five one-token answers from one forward per prompt, batches of {SCORED}"
        found.append(_way(HARNESS, ask_harness, note, cores))
        found.append(_way(f"{HARNESS}, merged", ask_harness_merged, f"adapter merged, {note}", cores))
        note = f"{COMPARED} prompts, the base in float32, relative to the five labels"
        found.append(Way(HARNESS, (AGREEMENT,), agreement, note, unit="nats"))
    return found


def _way(name: str, work: Callable[[str], object], note: str, cores: int) -> Way:
    return Way(name, tuple(SCORING), partial(_rate, work), note, cores)


def _rate(work: Callable[[str], object], task: str) -> float:
    """Prompts per second; the first call of a process is not timed."""
    _once(work, task)
    return measure_rate(PROMPTS, lambda: work(task))


@lru_cache
def _once(work: Callable[[str], object], task: str) -> None:
    work(task)


def score_labels(task: str, inside: bool = False) -> None:
    """This project's `score`."""
    from companion.models.score import score

    score(_student(), prompts(task, PROMPTS), LABELS, inside)


def score_inside(task: str) -> None:
    """The same with the entropies of every block."""
    score_labels(task, inside=True)


@lru_cache(maxsize=1)
def _student() -> Any:
    from companion.models.finetune import finetune

    training = next(iter(TRAINING.values()))
    return finetune(base(), sequences(training.batches(1)), recipe(training.size), 0)[0]


def _batches(task: str, skipped: int = 0) -> Iterator[dict[str, Any]]:
    """Left-padded batches by length, without the first tokens of each prompt."""
    import torch

    ordered = sorted(prompts(task, PROMPTS), key=len)
    for start in range(0, PROMPTS, SCORED):
        chosen = [prompt[skipped:] for prompt in ordered[start : start + SCORED]]
        longest = len(chosen[-1])
        ids = torch.tensor([[2] * (longest - len(prompt)) + prompt for prompt in chosen])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in chosen])
        yield {"input_ids": ids, "attention_mask": mask}


def forward(task: str) -> list[Any]:
    """transformers' plain forward with the head at the last position only."""
    import torch

    with torch.inference_mode():
        return [_labels(_merged().model(**batch, use_cache=False)) for batch in _batches(task)]


def forward_cached(task: str) -> list[Any]:
    """The same after the keys and values of the tokens that all prompts share."""
    import copy

    import torch

    from companion.models.attention import find_common_prefix

    model = _merged().model
    chosen = prompts(task, PROMPTS)
    shared = find_common_prefix(chosen)
    with torch.inference_mode():
        start = model(torch.tensor([chosen[0][:shared]]), use_cache=True).past_key_values
        found = []
        for batch in _batches(task, shared):
            past = copy.deepcopy(start)
            past.batch_repeat_interleave(SCORED)
            mask = torch.cat([torch.ones(SCORED, shared, dtype=torch.long), batch["attention_mask"]], 1)
            places = (mask.cumsum(1) - 1)[:, shared:]
            found.append(_labels(model(batch["input_ids"], mask, places, past, use_cache=True)))
        return found


def _labels(output: Any) -> Any:
    """Log-probabilities of the labels at the last position.

    The head gets rows that lie together: given a slice of a batch, torch copies its matrix once per row.
    """
    rows = output.last_hidden_state[:, -1].contiguous()
    return _merged().lm_head(rows).float().log_softmax(-1)[:, LABELS]


def generate(task: str) -> None:
    """transformers' `generate` of one token with its logits."""
    _generate_token(_peft_model(), task)


def generate_best(task: str) -> None:
    """The same with the adapter merged, and the head's rows copied so that they lie together."""
    from companion.models.score import give_contiguous_rows

    with give_contiguous_rows(_merged()):
        _generate_token(_merged(), task)


def _generate_token(model: Any, task: str) -> None:
    settings = {"max_new_tokens": 1, "do_sample": False, "pad_token_id": 2}
    for batch in _batches(task):
        model.generate(**batch, output_logits=True, return_dict_in_generate=True, **settings)


def ask_harness(task: str) -> None:
    """The harness's log-likelihoods of the five labels after each prompt."""
    _log_likelihoods(_judge(_peft_model()), prompts(task, PROMPTS))


def ask_harness_merged(task: str) -> None:
    """The same with the adapter merged."""
    _log_likelihoods(_judge(_merged()), prompts(task, PROMPTS))


def agreement(_task: str) -> float:
    """Largest difference between our log-probabilities and the harness's, in nats.

    Both in float32, each relative to the five labels, since `score` gives their shares.
    """
    from companion.models.base import load_base
    from companion.models.lora import Student
    from companion.models.score import score

    chosen = [prompt for task in SCORING for prompt in prompts(task, COMPARED // 2)]
    ours = np.log(score(Student(load_base(dtype="float32")), chosen, LABELS, inside=False).probabilities)
    theirs = _log_likelihoods(_judge(plain_model("float32")), chosen)
    theirs -= np.log(np.exp(theirs).sum(1, keepdims=True))
    return float(np.abs(ours - theirs).max())


def _log_likelihoods(judge: Any, contexts: list[list[int]]) -> np.ndarray:
    """(prompts, labels), in nats."""
    requests = [(("", ""), context, [label]) for context in contexts for label in LABELS]
    found = judge._loglikelihood_tokens(requests, disable_tqdm=True)
    return np.array([value for value, _ in found]).reshape(len(contexts), len(LABELS))


@lru_cache
def _judge(model: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=tokenizer(), batch_size=SCORED, device="cpu", backend="causal")


@lru_cache
def _peft_model() -> Any:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(plain_model(dtype()), LoraConfig(**ADAPTER), autocast_adapter_dtype=False)
    return adapted.eval()


@lru_cache
def _merged() -> Any:
    """What merging leaves: a model without an adapter. Which weights it has makes no difference here."""
    return plain_model(dtype()).eval()
