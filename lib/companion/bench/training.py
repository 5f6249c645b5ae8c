"""Training: this project, TRL, Unsloth's CPU backend, the Trainer of transformers, and the limit of the machine."""

import os
import shutil
import tempfile
import time
from typing import Any

from companion.bench.turns import Measured, Way, measure_rate, wait_for_the_others
from companion.bench.workload import (
    ADAPTER,
    SEED,
    STEPS,
    TRAINING,
    WARMUP,
    WHOLE,
    Pair,
    Training,
    base,
    dtype,
    model_folder,
    plain_model,
    recipe,
    sequences,
    tokenizer,
)

PRODUCTS = "matrix products of the model alone"
LIMIT = "train, long rubric, explanation"
"""The task whose batches' rows the products have."""
FAST = {"gradient_checkpointing": False, "train_sampling_strategy": "sequential"}
"""Settings of a trainer that make it faster here; `sort_by_length` has sorted what it takes in order.

With them PEFT's casts of the adapter's inputs to float32 are left out too, which autocast takes back at once.
"""
PASSES = 5
"""Passes of the products, of which the fastest counts: they are the limit."""


def ways(cores: int) -> list[Way]:
    """Ours computing batches whole and as the profiles do; the others as they come and with what is faster here."""
    tasks = tuple(TRAINING)
    loss = "loss at target tokens only, as TRL's own, which needs a GPU"
    best = f"{dtype()}, no checkpointing, sorted by length, adapter's inputs not cast"
    fast = "Unsloth's CPU backend, compiled" if compiles() else "Unsloth's CPU backend"
    return [
        Way("companion", tasks, companion, "one adapter, batches computed whole", cores),
        Way("products", (PRODUCTS,), products, "frozen weights, forward and backward", cores, unit="GFLOP/s"),
        Way("companion, in parts", tasks, companion_in_parts, "as the profiles: 600 tokens at a time", cores),
        Way("SFTTrainer", tasks, sft_defaults, f"its defaults, {loss}", 1, cores),
        Way("SFTTrainer, best settings", tasks, sft_best, f"{best}, eager attention, {loss}", cores),
        Way("SFTTrainer + Unsloth", tasks, sft_unsloth, f"Unsloth's CPU backend, {best}", cores),
        Way("SFTTrainer + Unsloth, best settings", tasks, sft_unsloth_best, f"{fast}, eager attention, {best}", cores),
        Way("Trainer + PEFT", tasks, trainer, f"{best}, eager attention, the model's own loss", cores),
    ]


def companion(task: str, tokens_at_once: int = WHOLE) -> float:
    """This project's `finetune`; examples per second over the steps after the warm-up."""
    from companion.models.finetune import finetune

    chosen = recipe(TRAINING[task].size, tokens_at_once)
    clock = Clock(chosen.batch_size)
    made = sequences(TRAINING[task].batches(WARMUP + STEPS))
    finetune(base(), made, chosen, SEED, on_progress=lambda done, *_: clock.record_step() if done else None)
    return clock.rate()


def companion_in_parts(task: str) -> float:
    """The same with batches cut into parts as the recorded profiles do, which leave `tokens_at_once` out."""
    from companion.models.finetune import TOKENS_AT_ONCE

    return companion(task, TOKENS_AT_ONCE)


class Clock:
    """Examples per second over the steps after the warm-up; all processes begin the first of them together."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.times: list[float] = []

    def record_step(self) -> None:
        """A step is done."""
        if len(self.times) == WARMUP - 1:
            wait_for_the_others()
        self.times.append(time.perf_counter())

    def rate(self) -> float:
        """Examples per second."""
        return self.size * (len(self.times) - WARMUP) / (self.times[-1] - self.times[WARMUP - 1])


def sft_defaults(task: str) -> float:
    """TRL's SFTTrainer with its defaults: fp32 weights under bf16 autocast, gradient checkpointing."""
    from peft import LoraConfig

    return _sft_rate(_cpu_sft(), task, {}, model=model_folder("float32"), peft_config=LoraConfig(**ADAPTER))


def sft_best(task: str) -> float:
    """TRL's SFTTrainer with what it offers for speed on a CPU; fused losses need a GPU, compiling gained nothing."""
    from peft import LoraConfig

    return _sft_rate(_cpu_sft(), task, FAST, model=_eager_model(), peft_config=LoraConfig(**ADAPTER))


def sft_unsloth(task: str, **choice: str) -> float:
    """TRL's SFTTrainer on a model prepared by Unsloth's own CPU backend."""
    import unsloth  # isort: skip  (must come before transformers and trl)
    import torch

    kind = dtype()
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        model_folder(kind), max_seq_length=512, dtype=getattr(torch, kind), load_in_4bit=False, **choice
    )
    model = unsloth.FastLanguageModel.get_peft_model(model, **ADAPTER, use_gradient_checkpointing=False)
    from trl import SFTTrainer  # type: ignore[attr-defined]

    return _sft_rate(SFTTrainer, task, FAST, model=model, processing_class=tokenizer)


def sft_unsloth_best(task: str) -> float:
    """The same compiled, if this machine can, and with an attention whose backward pass is faster on a CPU."""
    if compiles():
        os.environ["UNSLOTH_CPU_COMPILE"] = "1"
    return sft_unsloth(task, attn_implementation="eager")


def compiles() -> bool:
    """Whether there is a compiler, which torch.compile needs on a CPU."""
    return shutil.which("g++") is not None


def trainer(task: str) -> float:
    """The Trainer of transformers on a PEFT model."""
    from peft import LoraConfig, get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    model = get_peft_model(_eager_model(), LoraConfig(**ADAPTER))
    collator = DataCollatorForSeq2Seq(tokenizer())
    return _steps_per_second(
        lambda arguments, **parts: Trainer(args=TrainingArguments(**arguments), **parts),
        task,
        FAST | {"bf16": dtype() == "bfloat16"},
        model=model,
        data_collator=collator,
    )


def products(_task: str) -> float:
    """GFLOP/s of the products of the model's frozen projections with the rows of a batch, forward and backward.

    The rows are those of a batch with the long targets as this project lays it out: the limit of its training.
    """
    import torch

    count = sum(tokens_computed(batch) for batch in TRAINING[LIMIT].batches(STEPS)) // STEPS
    kind = getattr(torch, dtype())
    weights = _frozen_weights()
    rows = {width: torch.randn(count, width).to(kind) for weight in weights for width in weight.shape}

    def multiply() -> None:
        for weight in weights:
            rows[weight.shape[1]] @ weight.t()
        for weight in reversed(weights):
            rows[weight.shape[0]] @ weight

    multiply()
    return max(measure_rate(count, multiply) for _ in range(PASSES)) * flops_per_token() / 1e9


def flops_per_token() -> float:
    """Operations of one trained token in the frozen projections: a product and an addition per weight, there and back.

    Gradients of the frozen weights are not needed; head, attention and adapter are left out.
    """
    return 4.0 * sum(weight.numel() for weight in _frozen_weights())


def _frozen_weights() -> list[Any]:
    import torch

    modules = base().model.get_decoder().layers.modules()
    return [module.weight.detach() for module in modules if isinstance(module, torch.nn.Linear)]


def tokens_computed(batch: list[Pair]) -> int:
    """Rows that this project sends through the model for a batch computed whole: shared tokens once."""
    from companion.models.attention import find_common_prefix

    shared = find_common_prefix([tuple(prompt) for prompt, _ in batch])
    return shared + sum(len(prompt) + len(reply) - 1 - shared for prompt, reply in batch)


def compute_shares(found: list[Measured]) -> list[Measured]:
    """What this project's training reaches of the rate of the model's own products, round by round.

    For the tokens that are computed, those that a batch shares once.
    """
    rates = {(one.way.name, one.task): one.values for one in found}
    limit = rates["products", PRODUCTS]
    made = []
    for task, training in TRAINING.items():
        tokens = sum(tokens_computed(batch) for batch in select_timed_batches(training))
        flops = tokens / (STEPS * training.size) * flops_per_token() / 1e9
        way = Way("companion", (), companion, "of the rate of the matrix products alone", unit="of 1")
        reached = [rate * flops / most for rate, most in zip(rates["companion", task], limit, strict=True)]
        made.append(Measured(way, f"share of the limit: {task}", reached))
    return made


def select_timed_batches(training: Training) -> list[list[Pair]]:
    """The batches of this project's steps after the warm-up, in the order of its seed."""
    from companion.models.batches import epoch_batches

    batches = training.batches(WARMUP + STEPS)
    made = sequences(batches)
    order = epoch_batches(made, training.size, SEED, epoch=0)
    return [batches[int(made[numbers[0]].group)] for numbers in order[WARMUP:]]


def _eager_model() -> Any:
    """Eager, because torch's fused attention has a slow backward pass on a CPU."""
    return plain_model(dtype(), attn_implementation="eager")


def _cpu_sft() -> Any:
    """SFTTrainer with the head at the labelled positions only, in plain torch.

    That is what TRL 1.15 computes with a kernel that needs a GPU (`trl.trainer.utils.add_fused_lm_head`).
    """
    import torch
    from trl import SFTTrainer  # type: ignore[attr-defined]

    class CpuTrainer(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:  # type: ignore[override]
            labels = inputs.pop("labels")[:, 1:]
            causal = model.get_base_model()
            with self.accelerator.autocast():
                outputs = causal.model(**inputs, use_cache=False)
                rows = outputs.last_hidden_state[:, :-1][labels != -100]
                logits = causal.lm_head(rows)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[labels != -100])
            return (loss, outputs) if return_outputs else loss

    return CpuTrainer


def _sft_rate(trainer_class: Any, task: str, settings: dict[str, Any], **parts: Any) -> float:
    from trl import SFTConfig  # type: ignore[attr-defined]

    return _steps_per_second(
        lambda arguments, **others: trainer_class(args=SFTConfig(max_length=512, **arguments), **others),
        task,
        settings,
        **parts,
    )


def sort_by_length(batches: list[list[Pair]]) -> list[Pair]:
    """The pairs in batches of like length, the longest first, then the shortest, which are not timed."""
    size = len(batches[0])
    pairs = sorted((pair for batch in batches for pair in batch), key=lambda pair: len(pair[0]) + len(pair[1]))
    return pairs[-size:] + pairs[:-size]


def _steps_per_second(make: Any, task: str, settings: dict[str, Any], **parts: Any) -> float:
    """Examples per second of a trainer over the steps after the warm-up."""
    from datasets import Dataset
    from peft.helpers import disable_input_dtype_casting
    from transformers import TrainerCallback

    training = TRAINING[task]
    clock = Clock(training.size)

    class StepTimer(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.record_step()

    made = [
        {"input_ids": prompt + target, "labels": [-100] * len(prompt) + target}
        for prompt, target in sort_by_length(training.batches(WARMUP + STEPS))
    ]
    arguments = {
        "output_dir": tempfile.mkdtemp(dir="."),
        "max_steps": WARMUP + STEPS,
        "per_device_train_batch_size": training.size,
        "learning_rate": 2e-4,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
        **settings,
    }
    trainer = make(arguments, train_dataset=Dataset.from_list(made), callbacks=[StepTimer()], **parts)
    with disable_input_dtype_casting(trainer.model, active=settings != {}):
        trainer.train()
    return clock.rate()
