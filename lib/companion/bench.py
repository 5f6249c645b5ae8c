"""Measure this project's training and scoring against the usual tools, side by side on one machine.

Every method lives in processes of its own; the rounds alternate between methods, so that a busy moment of the machine
hits all of them alike. Prompts are random token ids, because only lengths matter: 145 to 195, longer than most of
the study's real prompts (60 to 242, median 112).
"""

import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from companion.files import write_whole
from companion.origin import processor, versions
from companion.paths import home

BATCH = 8
STEPS = 2
PROMPTS = 32
SHARED = 95
LABELS = [33, 34, 35, 36, 37]
TARGETS = {"train, target of 2 tokens": 2, "train, target of 40 tokens": 40}
SCORING = "score labels"
ADAPTER: dict[str, Any] = {
    "r": 16,
    "lora_alpha": 32,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "UNSLOTH_DISABLE_STATISTICS": "1", "CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Method:
    """A way to do some tasks: `measure(task)` gives examples per second of one process."""

    name: str
    processes: int
    threads: int
    tasks: tuple[str, ...]
    measure: Callable[[str], float]
    note: str


def examples(count: int, response: int) -> list[tuple[list[int], list[int]]]:
    """Prompts of 145 to 195 random tokens, the first 95 shared by all, with responses of about `response` tokens."""
    draw = random.Random(0)

    def tokens(length: int) -> list[int]:
        return [draw.randrange(100, 49_000) for _ in range(length)]

    prefix = tokens(SHARED)
    spread = response // 4
    return [
        (prefix + tokens(draw.randint(50, 100)), tokens(draw.randint(response - spread, response + spread)))
        for _ in range(count)
    ]


def measure_companion(task: str) -> float:
    """This project's `finetune` or `score`, the whole call counted."""
    from companion.models import finetune, score
    from companion.models.base import load_base

    recipe = _recipe(finetune.Recipe)
    if "base" not in _KEPT:
        _KEPT["base"] = load_base(dtype="auto")
        # The first step of the trainers is not counted either.
        warm = [finetune.Sequence(tuple(prompt), (7,), (1.0,), 0) for prompt, _ in examples(BATCH, 1)]
        _KEPT["student"], _ = finetune.finetune(_KEPT["base"], warm, recipe, 0)
    base, student = _KEPT["base"], _KEPT["student"]
    if task == SCORING:
        prompts = [prompt for prompt, _ in examples(PROMPTS, 2)]
        return _rate(PROMPTS, lambda: score.score(student, prompts, LABELS, inside=False))
    pairs = examples(BATCH * 2 * STEPS, TARGETS[task])
    sequences = [
        finetune.Sequence(tuple(prompt), tuple(target), (1 / len(target),) * len(target), 0) for prompt, target in pairs
    ]
    return _rate(len(pairs), lambda: finetune.finetune(base, sequences, recipe, 0))


def measure_unsloth(task: str) -> float:
    """SFTTrainer on a model prepared by Unsloth's own CPU backend, in our dtype, no gradient checkpointing."""
    import unsloth  # isort: skip  (must come before transformers and trl)
    import torch

    dtype = _dtype()
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        _model_folder(dtype), max_seq_length=512, dtype=getattr(torch, dtype), load_in_4bit=False
    )
    model = unsloth.FastLanguageModel.get_peft_model(model, **ADAPTER, use_gradient_checkpointing=False)
    from trl import SFTTrainer  # type: ignore[attr-defined]

    return _trainer_rate(SFTTrainer, task, {"gradient_checkpointing": False}, model=model, processing_class=tokenizer)


def measure_trl(task: str) -> float:
    """SFTTrainer alone with its default settings; the loss is the model's own, because TRL's fused one needs a GPU."""
    from peft import LoraConfig
    from trl import SFTTrainer  # type: ignore[attr-defined]

    class CpuTrainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:  # type: ignore[override]
            outputs = model(**inputs, use_cache=False)
            return (outputs.loss, outputs) if return_outputs else outputs.loss

    return _trainer_rate(CpuTrainer, task, {}, model=_model_folder("float32"), peft_config=LoraConfig(**ADAPTER))


def measure_generate(task: str) -> float:
    """transformers' `generate` of one token with its logits: prompts left-padded, plain PEFT, in our dtype."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    if "model" not in _KEPT:
        dtype = _dtype()
        plain = AutoModelForCausalLM.from_pretrained(_model_folder(dtype), dtype=getattr(torch, dtype))
        _KEPT["model"] = get_peft_model(plain, LoraConfig(**ADAPTER)).eval()
    prompts = sorted((prompt for prompt, _ in examples(PROMPTS, 2)), key=len)

    def run() -> None:
        for start in range(0, PROMPTS, BATCH):
            chosen = prompts[start : start + BATCH]
            longest = len(chosen[-1])
            ids = torch.tensor([[2] * (longest - len(prompt)) + prompt for prompt in chosen])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in chosen])
            settings = {"max_new_tokens": 1, "do_sample": False, "pad_token_id": 2}
            _KEPT["model"].generate(
                input_ids=ids, attention_mask=mask, output_logits=True, return_dict_in_generate=True, **settings
            )

    return _rate(PROMPTS, run)


def methods(cores: int) -> list[Method]:
    """What is compared: ours as in the study, one thread per process; Unsloth and generate too; TRL as it comes."""
    tasks = tuple(TARGETS)
    return [
        Method("companion", cores, 1, (*tasks, SCORING), measure_companion, "whole call, adapter set-up included"),
        Method("SFTTrainer + Unsloth", cores, 1, tasks, measure_unsloth, "same dtype, no gradient checkpointing"),
        Method("SFTTrainer", 1, cores, tasks, measure_trl, "its defaults; the model's own loss: TRL's needs a GPU"),
        Method("generate", cores, 1, (SCORING,), measure_generate, "one new token, same dtype, sorted by length"),
    ]


def compare(chosen: list[Method], rounds: int, report: Callable[[str], None] = print) -> pd.DataFrame:
    """Run every method `rounds` times, taking turns; loading and the set-up of other tools are not counted.

    Returns one row per task and method: processes, threads, examples per second of the whole machine (median, lowest,
    highest over rounds), and how many times slower than the first method that does the task.
    """
    rates: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        pools = [[_pool(method.threads, scratch) for _ in range(method.processes)] for method in chosen]
        try:
            for turn in range(1, rounds + 1):
                for number, method in enumerate(chosen):
                    for task in method.tasks:
                        jobs = [pool.submit(method.measure, task) for pool in pools[number]]
                        rate = sum(job.result() for job in jobs)
                        report(f"round {turn}/{rounds}: {task}, {method.name}: {rate:.2f} examples/s")
                        rates.setdefault((task, number), []).append(rate)
        finally:
            for pool in (pool for group in pools for pool in group):
                pool.shutdown(cancel_futures=True)
    return table(chosen, rates)


def table(chosen: list[Method], rates: dict[tuple[str, int], list[float]]) -> pd.DataFrame:
    """Rates by (task, method number) as the frame that `compare` returns."""
    first: dict[str, float] = {}
    rows = []
    for (task, number), values in sorted(rates.items()):
        method, median = chosen[number], statistics.median(values)
        rows.append(
            {
                "task": task,
                "method": method.name,
                "processes": method.processes,
                "threads": method.threads,
                "examples_per_second": median,
                "lowest": min(values),
                "highest": max(values),
                "rounds": len(values),
                "times_slower": first.setdefault(task, median) / median,
                "note": method.note,
            }
        )
    return pd.DataFrame(rows)


def machine() -> str:
    """Processor, cores, and versions of the libraries whose speed is measured."""
    found = versions(("torch", "transformers", "peft", "trl", "unsloth"))
    libraries = ", ".join(f"{package} {version}" for package, version in found.items())
    return f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {libraries}"


def run(rounds: int = 3, folder: Path | None = None) -> str:
    """Measure, write `bench.csv` and `bench.md` into `folder` (default: figures) and return the latter's text."""
    os.environ.update(OFFLINE)
    target = folder or home() / "figures"
    result = compare(methods(os.cpu_count() or 1), rounds)
    text = page(result)
    write_whole(target / "bench.csv", result.to_csv(index=False, float_format="%.3f").encode())
    write_whole(target / "bench.md", text.encode())
    return text


def page(result: pd.DataFrame) -> str:
    """The Markdown page: what was measured on which machine, and the table."""
    shown = result.assign(
        processes=[f"{row.processes} x {row.threads}" for row in result.itertuples()],
        spread=[f"{row.lowest:.2f} to {row.highest:.2f}" for row in result.itertuples()],
    )[["task", "method", "processes", "examples_per_second", "spread", "times_slower", "note"]]
    shown.columns = pd.Index(
        ["task", "method", "processes x threads", "examples/s (median)", "spread", "times slower", "how"]
    )
    return (
        "# Speed against the usual tools\n\n"
        f"Machine: {machine()}.\n\n"
        "SmolLM2-135M-Instruct, LoRA rank 16 on all projections, batches of 8. Prompts of 145 to 195 tokens, the first "
        f"95 shared. {int(result['rounds'].min())} rounds, methods taking turns; rates are those of the whole machine, "
        "all processes together.\n\n" + shown.to_markdown(index=False, floatfmt=".2f") + "\n"
    )


_KEPT: dict[str, Any] = {}
"""What a measuring process keeps between rounds."""


def _pool(threads: int, scratch: str) -> ProcessPoolExecutor:
    """One fresh process with its thread count set before torch is first imported."""
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=_start, initargs=(threads, scratch))


def _start(threads: int, scratch: str) -> None:
    # Unsloth writes a cache into the working folder.
    os.chdir(scratch)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)


def _rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def _dtype() -> str:
    from companion.models.base import native_dtype

    return native_dtype()


def _model_folder(dtype: str) -> str:
    from companion.models.embedded import embedded_folder

    return str(embedded_folder(dtype))


def _recipe(kind: Any) -> Any:
    return kind(
        learning_rate=2e-4,
        epochs=1,
        batch_size=BATCH,
        lora_rank=16,
        lora_alpha=32,
        warmup_ratio=0.0,
        decay_ratio=0.0,
        weight_decay=0.0,
        gradient_clip=1.0,
        max_length=512,
    )


def _trainer_rate(trainer_class: Any, task: str, settings: dict[str, Any], **parts: Any) -> float:
    """Examples per second of a TRL trainer over the steps after its first."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig  # type: ignore[attr-defined]

    class Clock(TrainerCallback):
        times: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.times.append(time.perf_counter())

    rows = [
        {"input_ids": prompt + target, "labels": [-100] * len(prompt) + target}
        for prompt, target in examples(BATCH * (STEPS + 1), TARGETS[task])
    ]
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(dir="."),
        max_steps=STEPS + 1,
        per_device_train_batch_size=BATCH,
        learning_rate=2e-4,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        max_length=512,
        **settings,
    )
    clock = Clock()
    trainer_class(args=config, train_dataset=Dataset.from_list(rows), callbacks=[clock], **parts).train()
    return BATCH * STEPS / (clock.times[-1] - clock.times[0])
