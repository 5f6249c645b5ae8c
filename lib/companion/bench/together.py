"""Would two runs in one pass over the base be faster? An estimate before building it.

Adapters of two runs could share a pass if their rows lay side by side: the frozen products would be larger, and every
other operation would be called once instead of once per run. Nothing is saved otherwise, since each adapter changes all
rows of its run, those of the shared instruction included. So one adapter is timed with the examples of two batches
after one instruction, and with those of one: how many rows a second go through.
"""

import random

from companion.bench.turns import Way, measure_rate
from companion.bench.workload import ADAPTER, LABEL, Pair, base, batch_of_study, batch_with_rubric, sequences, tokens

BATCHES = {
    "one pass, a batch as the study": batch_of_study,
    "one pass, a batch with a long rubric": batch_with_rubric,
}


def ways(cores: int) -> list[Way]:
    """Rows that went through the model and back per second."""
    note = "as two adapters together would"
    return [
        Way("one batch", tuple(BATCHES), alone, "", cores, unit="rows/s"),
        Way("two batches", tuple(BATCHES), doubled, note, cores, unit="rows/s"),
        Way("two batches, one process", tuple(BATCHES), doubled, note, 1, cores, unit="rows/s"),
    ]


def alone(task: str) -> float:
    """Rows per second of one batch."""
    return _rows_per_second(task, 1)


def doubled(task: str) -> float:
    """Rows per second of two batches in one pass."""
    return _rows_per_second(task, 2)


def two_batches(batch: list[Pair]) -> list[Pair]:
    """The batch and another of the same lengths, after the same shared tokens."""
    from companion.models.attention import find_common_prefix

    draw = random.Random(1)
    shared = find_common_prefix([prompt for prompt, _ in batch])
    return batch + [(prompt[:shared] + tokens(draw, len(prompt) - shared), reply) for prompt, reply in batch]


def _rows_per_second(task: str, times: int) -> float:
    from companion.models.attention import pack
    from companion.models.forward import get_head_weight, prepare_attention
    from companion.models.lora import create_adapter, unwrap_model
    from companion.models.loss import batch_loss

    pairs = BATCHES[task](random.Random(0), LABEL)
    batch = sequences([pairs if times == 1 else two_batches(pairs)])
    rows = pack([one.prompt + one.response[:-1] for one in batch], 100_000).ids.shape[1]
    with create_adapter(base(), ADAPTER["r"], ADAPTER["lora_alpha"], 0) as wrapped:
        model = unwrap_model(wrapped)
        head = get_head_weight(model)
        with prepare_attention(model):

            def run(steps: int) -> None:
                for _ in range(steps):
                    batch_loss(model, head, batch)[0].backward()

            run(1)
            steps = 4 // times
            return measure_rate(rows * steps, lambda: run(steps))
