"""Export of students: the adapter of a recorded run, checked against its record, in a separate folder.

Beside PEFT's two files, the tokenizer and the card lies ``companion.json``, a `Usage`: what the student wants to be
asked, and how its labels are called.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from companion import paths
from companion.errors import CompanionError
from companion.files import whole_folder
from companion.runs.engine import run_all
from companion.runs.spec import spec_id
from companion.runs.store import Record, Store
from companion.studies.explanations.data import texts
from companion.studies.explanations.students.card import write_card
from companion.studies.explanations.students.usage import GGUF, MERGED, USAGE, Made, describe_usage
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.experiment import RunSpec, execute, load_base_of, score_student
from companion.studies.registry import open_study


@dataclass(frozen=True)
class Forms:
    """In which forms, beside the adapter, a student is written."""

    merged: bool = False
    gguf: bool = False


def export(
    profile: str,
    arm: str,
    seed: int,
    axis: str,
    folder: Path,
    forms: Forms,
    rerun: bool = False,
    quiet: bool = False,
) -> str:
    """Write the students of one arm and seed into ``folder``, or ``folder/<axis>`` where there are several.

    An adapter that was kept in training is taken (see ``paths.adapters``); another one is trained again from its spec,
    a minute on the recorded profile, and kept in the cache. Either is scored on the test items and compared with
    the record.

    Args:
        axis: one axis, or ``all``.

    Returns:
        Sentences for the user.

    Raises:
        CompanionError: there is no such run or no record of it, ``folder`` is not empty, or the base model cannot be
            written in one of the forms; nothing is then left behind.
    """
    study = open_study(ExplanationsStudy.name, profile, rerun)
    specs = choose_specs(study, arm, seed, axis)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise CompanionError(f"{folder} is there already: name a new folder.")
    if forms.gguf:
        _check_gguf(specs[0])
    if not quiet:
        print("What was not kept is trained again; each student is compared with its record.", file=sys.stderr)
    made = make_student(study, specs, quiet)
    with whole_folder(folder) as working:
        for one in made:
            place = working if len(made) == 1 else working / one.spec.axes[0]
            write_student(one, place, forms)
            write_card(study, [one], place)
        if len(made) > 1:
            write_card(study, made, working)
    return "\n".join(
        [*(one.agreement for one in made), f"{folder} holds the adapter{'s' * (len(made) > 1)} and a card."]
    )


def choose_specs(study: ExplanationsStudy, arm: str, seed: int, axis: str) -> list[RunSpec]:
    """Specs of the students of one arm and seed: every axis, or one; all are recorded.

    Raises:
        CompanionError: there is none, or one is not recorded.
    """
    specs = study.specs() if study.frozen() else []
    if not specs:
        raise CompanionError(f"{study.folder} holds no study; '{study.command}' makes it.")
    arms = list(dict.fromkeys(spec.arm for spec in specs if spec.recipe is not None))
    if arm not in arms:
        raise CompanionError(
            f"Profile {study.profile.name} has no student of arm {arm!r}; choose one of {_format_choices(arms)}."
        )
    of_arm = [spec for spec in specs if spec.arm == arm]
    if seed not in study.settings.seeds:
        raise CompanionError(f"There is no seed {seed}; choose one of {_format_choices(study.settings.seeds)}.")
    axes = list(dict.fromkeys("+".join(spec.axes) for spec in of_arm))
    if axis not in ("all", *axes):
        raise CompanionError(f"There is no student of axis {axis!r}; choose all or one of {_format_choices(axes)}.")
    found = [spec for spec in of_arm if spec.seed == seed and axis in ("all", "+".join(spec.axes))]
    if missing := [spec for spec in found if not study.store.has(spec_id(spec))]:
        raise CompanionError(f"Run {spec_id(missing[0])} is not recorded; '{study.command}' makes it.")
    return found


def _format_choices(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def make_student(study: ExplanationsStudy, specs: Sequence[RunSpec], quiet: bool) -> list[Made]:
    """Find or train the adapters, in worker processes set up as those of the study, and compare with the records.

    Raises:
        CompanionError: a training failed, or the texts cannot be rebuilt.
    """
    if not texts.get_texts_file(study.data.hash).exists():
        study.build_data()
    scratch = paths.cache() / "export"
    scratch.mkdir(parents=True, exist_ok=True)
    with _keep_adapters() as kept, tempfile.TemporaryDirectory(dir=scratch) as name:
        stores = {work: Store(Path(name) / work.__name__) for work in (execute, rescore)}
        ways = {spec_id(spec): rescore if (kept / spec_id(spec)).is_dir() else execute for spec in specs}
        for work, store in stores.items():
            some = [spec for spec in specs if ways[spec_id(spec)] is work]
            workers = min(study.slots(), max(1, len(some)))
            run_all(some, work, store, workers, scratch / "logs", quiet, study.environment()).raise_if_failed()
        now = {run_id: stores[work].read(run_id) for run_id, work in ways.items()}
    recorded = {run_id: study.store.read(run_id) for run_id in ways}
    ids = {spec_id(spec): spec for spec in specs}
    return [Made(spec, kept / one, measure_agreement(recorded[one], now[one])) for one, spec in ids.items()]


@contextmanager
def _keep_adapters() -> Iterator[Path]:
    """Have workers keep their adapters: where the user's variable says, else in the cache."""
    folder = paths.adapters() or paths.cache() / "adapters"
    before = os.environ.get(paths.ADAPTERS_VARIABLE)
    os.environ[paths.ADAPTERS_VARIABLE] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ[paths.ADAPTERS_VARIABLE]


def rescore(spec: RunSpec) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """As ``execute``, with the kept adapter instead of a training."""
    base, folder = load_base_of(spec), paths.adapters()  # the base first, which may import Unsloth
    from companion.models.lora import load_adapter
    from companion.origin import describe_origin

    assert folder is not None
    return score_student(spec, load_adapter(base, folder / spec_id(spec))), describe_origin()


def measure_agreement(recorded: Record, now: Record) -> str:
    """In one sentence whether a student's probabilities on the test items are those of its record."""
    then, found = recorded.arrays["probabilities"], now.arrays["probabilities"]
    what = f"{recorded.spec['arm']}, seed {recorded.spec['seed']}, {' and '.join(recorded.spec['axes'])}"
    if np.array_equal(then, found):
        return f"The student ({what}) gives the recorded probabilities on all {len(then)} test items, to the bit."
    others = int((then.argmax(1) != found.argmax(1)).sum())
    return (
        f"The student ({what}) differs from its record by up to {np.abs(then - found).max():.2g} in a probability and "
        f"in {others} of {len(then)} labels: recorded on {recorded.meta.get('processor', 'another machine')}, made "
        f"again on {now.meta.get('processor', 'this one')}."
    )


def write_student(made: Made, folder: Path, forms: Forms) -> None:
    """Write adapter, tokenizer and usage, and the forms asked for, into a folder."""
    base = load_base_of(made.spec)
    shutil.copytree(made.adapter, folder, dirs_exist_ok=True)
    base.tokenizer.save_pretrained(folder)
    text = json.dumps(asdict(describe_usage(made.spec, base.name, folder)), indent=1, ensure_ascii=False) + "\n"
    (folder / USAGE).write_text(text, encoding="utf-8")
    if forms.merged or forms.gguf:
        _write_merged(made, folder, forms)


def _write_merged(made: Made, folder: Path, forms: Forms) -> None:
    import torch

    from companion.models.base import hide_progress_bars, load_base
    from companion.models.gguf_file import write_gguf
    from companion.models.lora import load_adapter, merge

    spec = made.spec
    # A separate base, since merging changes it; 4-bit bases are merged in 16 bits.
    fresh = load_base(spec.model, spec.revision, spec.dtype if spec.dtype == "float32" else "bfloat16")
    # Ten times nearer to the student than bfloat16, whose 8 bits swallow much of what an adapter adds.
    model = merge(load_adapter(fresh, folder), torch.float16)
    if forms.merged:
        with hide_progress_bars():
            model.save_pretrained(folder / MERGED)
        fresh.tokenizer.save_pretrained(folder / MERGED)
    if forms.gguf:
        name = f"{fresh.name} {spec.arm} {'+'.join(spec.axes)} seed {spec.seed}"
        # In a separate folder: beside adapter_config.json transformers would take it for an adapter.
        (folder / GGUF).parent.mkdir()
        write_gguf(model, fresh.tokenizer, folder / GGUF, name)


def _check_gguf(spec: RunSpec) -> None:
    """Refuse before anything is trained; the model itself is not read."""
    from transformers import AutoConfig, AutoTokenizer

    from companion.models.base import locate
    from companion.models.gguf_file import check_gguf

    place = locate(spec.model, spec.revision, spec.dtype).folder
    check_gguf(AutoConfig.from_pretrained(place), AutoTokenizer.from_pretrained(place))
