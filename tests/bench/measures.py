"""Things to measure for the benchmark's tests; its processes import this file by name."""

import contextlib
import os
import tempfile
import time
from pathlib import Path

from companion.bench.turns import wait_for_the_others

CALLS: list[str] = []


def rate(task: str) -> float:
    CALLS.append(task)
    return {"a": 4.0, "b": 6.0}[task] * len(CALLS)


def threads(_task: str) -> float:
    return float(os.environ["OMP_NUM_THREADS"])


def held(_task: str) -> float:
    return float(len(bytearray(200 * 2**20)))


def two(_task: str) -> float:
    return 2.0


def begun(_task: str) -> float:
    """Seconds that one of two processes waits for the other, which is half a second late."""
    try:
        Path("first").mkdir()
    except FileExistsError:
        time.sleep(0.5)
    start = time.perf_counter()
    wait_for_the_others()
    return time.perf_counter() - start


def asleep(task: str) -> float:
    """Write this process's id to the file `task`, and stay."""
    Path(task).write_text(str(os.getpid()), encoding="ascii")
    time.sleep(600)
    return 0.0


def first_loss(name: str, task: str) -> tuple[float, int]:
    """Loss of a trainer's first step, and how many weights it trains; no second step is made, so there is no rate."""
    if "unsloth" in name:
        import unsloth  # noqa: F401  (before transformers)
    import transformers

    from companion.bench import training
    from companion.models import finetune

    training.WARMUP, training.STEPS = 1, 0
    seen: list[tuple[float, int]] = []
    step, whole = transformers.Trainer.training_step, finetune.finetune

    def told_step(trainer, model, *arguments, **others):
        loss = step(trainer, model, *arguments, **others)
        seen.append((float(loss), sum(weight.numel() for weight in model.parameters() if weight.requires_grad)))
        return loss

    def told_whole(*arguments, **others):
        student, history = whole(*arguments, **others)
        seen.append((float(history.loss[0]), sum(weight.numel() for weight in student.weights.values())))
        return student, history

    transformers.Trainer.training_step, finetune.finetune = told_step, told_whole
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.suppress(ZeroDivisionError):
        getattr(training, name)(task)
    return seen[0]
