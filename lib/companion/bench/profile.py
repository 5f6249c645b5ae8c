"""Where the time of this project's training goes, by torch's profiler."""

from typing import Any

from companion.bench.turns import Way
from companion.bench.workload import ADAPTER, SEED, TRAINING, base, recipe, sequences

PROFILED = ("train, long rubric, label", "train as the study, explanation")
PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_")
KINDS = ("frozen layers", "adapter", "head", "attention", "softmax of attention", "all else")
"""The first three are matrix products of two dimensions, distinguished by their shapes."""
_shares: dict[str, float] = {}


def ways() -> list[Way]:
    """One way; the kinds of a training follow each other, so that the first can profile for the rest."""
    tasks = tuple(f"{kind}: {task}" for task in PROFILED for kind in KINDS)
    return [Way("companion", tasks, measure_shares, "of the time of all operations", unit="of 1")]


def measure_shares(task: str) -> float:
    """Share of one kind of operation in the third step of a training; the first kind profiles it again."""
    kind, _, training = task.partition(": ")
    if kind == KINDS[0]:
        _shares.update(_profile_task(training))
    return _shares[kind]


def _profile_task(task: str) -> dict[str, float]:
    from torch.profiler import ProfilerActivity, profile

    from companion.models.finetune import finetune

    watched = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
    made = sequences(TRAINING[task].batches(3))

    def on_progress(done: int, *_: Any) -> None:
        if done == 2:
            watched.start()

    finetune(base(), made, recipe(TRAINING[task].size), SEED, on_progress=on_progress)
    watched.stop()
    spent = dict.fromkeys(KINDS, 0.0)
    for event in watched.key_averages(group_by_input_shape=True):
        spent[classify_operation(event.key, event.input_shapes)] += event.self_cpu_time_total
    total = sum(spent.values())
    return {kind: time / total for kind, time in spent.items()}


def classify_operation(operation: str, shapes: list[list[int]]) -> str:
    """Which of `KINDS` an operation of torch with inputs of these shapes is."""
    if operation in ("aten::bmm", "aten::baddbmm"):
        return "attention"
    if operation in ("aten::_softmax", "aten::_softmax_backward_data"):
        return "softmax of attention"
    if operation not in PRODUCTS:
        return "all else"
    widths = {width for shape in shapes for width in shape}
    if base().model.config.vocab_size in widths:
        return "head"
    return "adapter" if ADAPTER["r"] in widths else "frozen layers"
