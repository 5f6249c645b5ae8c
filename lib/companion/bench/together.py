"""Would several runs in one pass over the base be faster? The most that could be won.

Adapters of several runs could share a pass if their rows lay side by side: the frozen products would be larger, and
every other operation would be called once instead of once per run. Nothing is saved otherwise, since each adapter
changes all rows of its run, those of the shared instruction included. So one adapter with twice the rows is an upper
bound of two, and a generous one: it shares its instruction among all of them.
"""

from companion.bench.turns import Way, rate
from companion.bench.workload import ADAPTER, SHARED, base, examples, sequences

BATCHES = {
    "one pass, 5 examples of about 115 tokens": (5, (15, 25)),
    "one pass, 8 examples of about 170 tokens": (8, (50, 100)),
}
"""Task -> examples of one run's batch and the tokens that a prompt adds to the shared ones."""


def ways(cores: int) -> list[Way]:
    """Rows that went through the model and back per second."""
    note = "upper bound of two adapters together"
    return [
        Way("one run's rows", tuple(BATCHES), alone, "", cores, unit="rows/s"),
        Way("twice the rows", tuple(BATCHES), doubled, note, cores, unit="rows/s"),
    ]


def alone(task: str) -> float:
    """Rows per second of one batch."""
    return _rows_per_second(task, 1)


def doubled(task: str) -> float:
    """Rows per second of two batches in one pass."""
    return _rows_per_second(task, 2)


def _rows_per_second(task: str, times: int) -> float:
    from companion.models.attention import pack
    from companion.models.finetune import batch_loss
    from companion.models.forward import attention_for, head_weight
    from companion.models.lora import fresh_adapter, inner

    count, rest = BATCHES[task]
    own = sum(rest) / 2 + 1
    batch = sequences(examples(round((times * (SHARED + count * own) - SHARED) / own), 2, rest))
    rows = pack([one.prompt + one.response[:-1] for one in batch], 100_000).ids.shape[1]
    with fresh_adapter(base(), ADAPTER["r"], ADAPTER["lora_alpha"], 0) as wrapped:
        model = inner(wrapped)
        head = head_weight(model)
        with attention_for(model):

            def run(steps: int) -> None:
                for _ in range(steps):
                    batch_loss(model, head, batch)[0].backward()

            run(1)
            steps = 4 // times
            return rate(rows * steps, lambda: run(steps))
