"""One run of the study: its frozen spec, and the work that turns the spec into item-level results."""

import os
import re
import shutil
from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from companion import paths
from companion.errors import CompanionError
from companion.files import drop_unfinished, whole_folder
from companion.origin import describe_origin
from companion.runs.log import report_progress
from companion.runs.spec import spec_id
from companion.runs.store import SUFFIX
from companion.studies.explanations.data.texts import Example
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.training.targets import CODES, LABEL_LEAD, PRIMARY, make_scoring_prompt

CLOSE = f"\n{LABEL_LEAD}"
MAX_EXPLANATION_TOKENS = 64


@dataclass(frozen=True)
class RunSpec:
    """All that can change the result of one run; its hash names the record.

    Attributes:
        axes: what the student rates; one axis, or all of them for a joint student.
        model, revision, weights, dtype: the frozen base and the sha256 of its weights.
        data: hash of all texts and labels.
        score_split: ``test``, or ``validation`` while the recipe is chosen.
        inside: whether the entropies of every layer are stored.
        threads: threads of the run; bits differ between one and two.
        result_version: raised whenever a change of the code changes what a run gives.
    """

    arm: str
    axes: tuple[str, ...]
    seed: int
    model: str
    revision: str | None
    weights: str
    dtype: str
    data: str
    recipe: dict[str, Any] | None
    score_split: str
    inside: bool
    generation_items: int
    threads: int = 1
    result_version: int = 3

    def __str__(self) -> str:
        """What a person calls this run, such as ``label, on_topic, seed 3``; in tuning with the recipe tried."""
        name = f"{self.arm}, {'+'.join(self.axes)}, seed {self.seed}"
        if self.recipe is None or self.score_split == "test":
            return name
        rate, size, epochs = (self.recipe[key] for key in ("learning_rate", "batch_size", "epochs"))
        return f"{name}, rate {rate:g}, batch {size}, epochs {epochs}"


def plan(
    settings: ExplanationsSettings, base: dict[str, Any], data_hash: str, version: int = RunSpec.result_version
) -> list[RunSpec]:
    """Specs of every run of the study: seeds x students x arms; ``base`` is not trained, so it runs with one seed.

    All arms of a seed stand together, so that a study stopped midway holds whole seeds, made on one machine.

    Args:
        base: the facts of the base model, ``model``, ``revision``, ``weights`` and ``dtype``.
        version: result version of the runs.
    """
    facts = {**base, "data": data_hash, "result_version": version}
    return [
        _make_spec(settings, facts, arm, axes, seed)
        for seed, axes, arm in product(settings.seeds, _list_students(settings), settings.arms)
        if arm != "base" or seed == settings.seeds[0]
    ]


def _make_spec(
    settings: ExplanationsSettings, facts: dict[str, Any], arm: str, axes: tuple[str, ...], seed: int
) -> RunSpec:
    return RunSpec(
        arm=arm,
        axes=axes,
        seed=seed,
        **facts,
        # A setting that is not given leaves the spec, and with it the id, as they were before there was that setting.
        recipe=None if arm == "base" else {k: v for k, v in asdict(settings.recipe).items() if v is not None},
        score_split="test",
        inside=arm in ("base", *PRIMARY),
        generation_items=settings.generation_items,
    )


def plan_tuning(
    settings: ExplanationsSettings, base: dict[str, Any], data_hash: str, version: int = RunSpec.result_version
) -> list[RunSpec]:
    """Specs of the one choice of learning rate, epochs and batch size, scored on validation items only."""
    facts = {**base, "data": data_hash, "result_version": version}
    grid, specs = settings.tuning, []
    for batch_size, epochs, learning_rate in product(grid.batch_sizes, grid.epochs, grid.learning_rates):
        recipe = replace(settings.recipe, batch_size=batch_size, epochs=epochs, learning_rate=learning_rate)
        for arm, seed, axes in product(grid.arms, grid.seeds, _list_students(settings)):
            spec = _make_spec(replace(settings, recipe=recipe), facts, arm, axes, seed)
            specs.append(replace(spec, score_split="validation", inside=False, generation_items=0))
    return specs


def _list_students(settings: ExplanationsSettings) -> list[tuple[str, ...]]:
    """Axes of each student: all of them for one joint student, else one."""
    return [tuple(settings.axes)] if settings.students == "joint" else [(axis,) for axis in settings.axes]


def execute(spec: RunSpec) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Train (unless the arm is ``base``) and score one student.

    Returns:
        Arrays of the record and its facts. Arrays, with n scored items and L layers: ``row`` (n,) position of the
        item in the data table's rows of this split; ``probabilities`` (n, labels); ``entropy``, ``peak``,
        ``label_mass`` (n,); ``E1``, ``E2``, ``E3`` (n, L) as ``pack_entropies`` stores them; ``generated`` (g,) the
        label that greedy generation gives on g items spread over the scored ones, 0 where it does not parse, with
        ``generated_row``; and the training history.
    """
    base = load_base_of(spec)
    from companion.models.base import describe_base

    made_by = {**describe_origin(), **describe_base(base)}
    student, arrays = _train(spec, base)
    if spec.recipe is not None:
        made_by["parts_of_a_batch"] = str(int(arrays.pop("parts").max()))
        if folder := paths.adapters():
            _save_adapter(student, folder / spec_id(spec))
    return arrays | score_student(spec, student), made_by


def score_student(spec: RunSpec, student: Any) -> dict[str, np.ndarray]:
    """Score a student on the items of the split: the arrays of ``execute`` without the training history."""
    from companion.models.base import get_label_token_ids
    from companion.models.score import score
    from companion.studies.explanations.data.texts import count_labels

    tokenizer = student.base.tokenizer
    scored = _load_examples(spec.data, spec.score_split, spec.axes)
    asked = make_scoring_prompts(spec.arm, student, [example for _, example in scored])
    label_ids = get_label_token_ids(tokenizer, LABEL_LEAD, list(CODES[: count_labels(spec.data)]))
    scores = score(
        student, asked.prompts, label_ids, inside=spec.inside, on_progress=partial(report_progress, "scoring")
    )
    arrays: dict[str, np.ndarray] = {"row": np.array([row for row, _ in scored], np.int32)}
    arrays |= {"probabilities": scores.probabilities, "entropy": scores.entropy}
    arrays |= {"peak": scores.peak, "label_mass": scores.label_mass}
    if scores.layers is not None:
        arrays |= pack_entropies(scores.layers)
    return arrays | _generate_labels(spec, student, [row for row, _ in scored], asked, tokenizer)


def pack_entropies(layers: np.ndarray) -> dict[str, np.ndarray]:
    """Entropies (n, L, 3), shares of their maximum, in 16 bits: E1 and E3 in steps of 1/65535, E2 as a 16-bit float.

    E2 is near zero wherever one activation is very large, so it needs small steps there.
    """
    if not np.isfinite(layers).all():
        raise CompanionError("An entropy is not finite: the student's activations overflowed; lower the learning rate.")
    steps = np.round(np.clip(layers, 0, 1) * 65535).astype(np.uint16)
    return {"E1": steps[:, :, 0], "E2": layers[:, :, 1].astype(np.float16), "E3": steps[:, :, 2]}


def unpack_entropies(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Entropies (n, L, 3) as shares of their maximum, from a record's arrays."""
    return np.stack([arrays["E1"] / 65535, arrays["E2"].astype(float), arrays["E3"] / 65535], axis=-1)


def load_base_of(spec: RunSpec) -> Any:
    """The base model of a run.

    Raises:
        CompanionError: it has other weights than those the study was planned with.
    """
    base = _load_base(spec.model, spec.revision, spec.dtype)
    if base.sha256 != spec.weights:
        raise CompanionError(
            f"The base model {spec.model} has other weights than the study was planned with; use RERUN=1."
        )
    return base


@lru_cache(maxsize=1)
def _load_base(model: str, revision: str | None, dtype: str) -> Any:
    from companion.models import backend

    backend.start_backend()  # before anything imports transformers
    from companion.models.base import load_base

    return load_base(model, revision, dtype)


@lru_cache(maxsize=4)
def _load_examples(data: str, split: str, axes: tuple[str, ...]) -> list[tuple[int, Example]]:
    """Examples of one split and these axes, each with its row among that split's rows in the data table."""
    from companion.studies.explanations.data.texts import load_examples

    rows = enumerate(load_examples(data, split))
    return [(row, example) for row, example in rows if example.axis in axes]


def _train(spec: RunSpec, base: Any) -> tuple[Any, dict[str, np.ndarray]]:
    from companion.models.finetune import Recipe, finetune
    from companion.models.lora import Student
    from companion.studies.explanations.training.targets import Pool, make_target

    if spec.recipe is None:
        return Student(base), {}
    training = Pool(example for _, example in _load_examples(spec.data, "train", spec.axes))
    sequences = [make_target(example, spec.arm, spec.seed, base.tokenizer, training) for example in training]
    recipe, on_progress = Recipe(**spec.recipe), partial(report_progress, "step")
    student, history = finetune(base, sequences, recipe, spec.seed, _make_checkpoint(spec), on_progress)
    names = ("examples_seen", "loss", "label_loss", "rest_loss")
    arrays = {f"history_{name}": np.asarray(getattr(history, name), np.float32) for name in names}
    return student, arrays | {"parts": history.parts}


def _make_checkpoint(spec: RunSpec) -> Any:
    """Where and how often to save the training of a run; None without checkpoints."""
    from companion.models.checkpoint import Checkpoint

    if (folder := paths.checkpoints()) is None:
        return None
    run_id = spec_id(spec)
    return Checkpoint(folder / f"{run_id}{SUFFIX}", float(os.environ[paths.MINUTES_VARIABLE]), run_id)


def _save_adapter(student: Any, folder: Path) -> None:
    """Write the adapter in place of an earlier one of the same run."""
    from companion.models.lora import save_adapter

    drop_unfinished(folder)
    shutil.rmtree(folder, ignore_errors=True)
    with whole_folder(folder) as working:
        save_adapter(student, working)


@dataclass(frozen=True)
class ScoringPrompts:
    """Prompts (token ids) that end right before the label, and what the student wrote by itself to get there."""

    prompts: list[list[int]]
    written: list[str] | None


def make_scoring_prompts(arm: str, student: Any, examples: Many[Example]) -> ScoringPrompts:
    """Token ids up to the label; an explanation-first student writes its explanation before the label is read."""
    from companion.models.score import generate

    tokenizer = student.base.tokenizer
    prompts = [make_scoring_prompt(example, tokenizer, arm) for example in examples]
    if arm != "explanation_first":
        return ScoringPrompts(prompts, None)
    answers = generate(student, prompts, MAX_EXPLANATION_TOKENS, partial(report_progress, "writing"))
    written = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in answers]
    texts = [text.split(CLOSE)[0] + CLOSE for text in written]
    continued = [list(tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
    return ScoringPrompts([prompt + ids for prompt, ids in zip(prompts, continued, strict=True)], written)


def _generate_labels(
    spec: RunSpec, student: Any, rows: list[int], asked: ScoringPrompts, tokenizer: Any
) -> dict[str, np.ndarray]:
    """Greedy answers on a spread sample, to compare with scoring by one forward (the paper's second way to infer)."""
    from companion.models.score import generate

    if not spec.generation_items:
        return {}
    spread = np.linspace(0, len(rows) - 1, min(spec.generation_items, len(rows))).round().astype(int)
    if asked.written is not None:
        texts = [asked.written[i].partition(CLOSE)[2] for i in spread]
    else:
        answers = generate(student, [asked.prompts[i] for i in spread], 4, partial(report_progress, "writing"))
        texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in answers]
    labels = np.array([parse_label(text) for text in texts], np.int8)
    return {"generated": labels, "generated_row": np.array([rows[i] for i in spread], np.int32)}


def parse_label(text: str) -> int:
    """The label a generated answer opens with, 1 to 5, possibly repeated; 0 if it opens with anything else."""
    match = re.match(r"\s*([1-5])\1*(?!\w)", text)
    return int(match.group(1)) if match else 0
