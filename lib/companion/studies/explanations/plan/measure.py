"""Train, score and write a little with a profile's own model and recipe, to know this machine's speed."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from companion.profiles import Profile
from companion.studies.explanations.plan.planner import GIB, Lengths, Load
from companion.studies.explanations.settings import RecipeSettings

STEPS = 3
WRITTEN = 8
"""Tokens written after each prompt."""


@dataclass(frozen=True)
class Speed:
    """Tokens a second of all workers together, trained on, scored and written, and the most memory of one in GiB."""

    trained: float
    scored: float
    written: float
    peak: float

    def hours(self, load: Load) -> float:
        """Hours that this machine takes."""
        return (load.trained / self.trained + load.scored / self.scored + load.written / self.written) / 3600


def measure(profile: Profile, recipe: RecipeSettings, lengths: Lengths, steps: int = STEPS) -> Speed:
    """Speed on random tokens of the mean lengths, in batches of the recipe's size.

    On a processor one thread is used, as in a worker, and the workers are taken not to disturb each other.

    Raises:
        CompanionError: the model cannot be loaded.
    """
    import torch

    from companion.models import backend

    os.environ[backend.VARIABLE] = profile.backend
    backend.start_backend()  # before anything imports transformers
    from companion.models.base import load_base
    from companion.models.batches import Sequence
    from companion.models.finetune import Recipe, finetune
    from companion.models.score import generate, score

    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    base = load_base(profile.model, profile.revision, profile.dtype)
    prompt, response = round(lengths.prompt), round(lengths.response("explanation"))
    draw, size = random.Random(0), recipe.batch_size

    def example() -> Sequence:
        tokens = [draw.randrange(100, len(base.tokenizer) - 100) for _ in range(prompt + response)]
        return Sequence(tuple(tokens[:prompt]), tuple(tokens[prompt:]), (1 / response,) * response, 0)

    sequences = [example() for _ in range(size * (1 + steps))]
    prompts = [list(sequence.prompt) for sequence in sequences]
    given = {name: value for name, value in asdict(replace(recipe, epochs=1)).items() if value is not None}
    student, _ = finetune(base, sequences[:size], Recipe(**given), 0)
    seconds = [
        _seconds_a_step(lambda n: finetune(base, sequences[: size * n], Recipe(**given), 0), steps),
        _seconds_a_step(lambda n: score(student, prompts[: size * n], list(range(5)), inside=True), steps),
        _seconds_a_step(lambda n: generate(student, prompts[: size * n], WRITTEN), steps),
    ]
    tokens = (prompt + response, prompt, WRITTEN)
    trained, scored, written = (
        profile.workers * size * count / time for count, time in zip(tokens, seconds, strict=True)
    )
    return Speed(trained, scored, written, _peak() / GIB)


def _seconds_a_step(work: Callable[[int], object], steps: int) -> float:
    """Seconds of one batch more, so that what is done once a call does not count."""
    times = []
    for batches in (1, 1 + steps):
        begun = time.perf_counter()
        work(batches)
        times.append(time.perf_counter() - begun)
    once, all_of_it = times
    return (all_of_it - once if all_of_it > once else all_of_it) / steps


def _peak() -> int:
    """Most memory ever held, in bytes: the card's where there is one, else this process's."""
    import torch

    from companion.runs.worker import get_peak_memory

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else get_peak_memory()
