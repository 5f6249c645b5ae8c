"""How an exported student is used (``companion.json`` in its folder): what it is asked, what its labels mean."""

import json
from pathlib import Path
from typing import Literal

from pydantic.dataclasses import dataclass

from companion.corpora.conversation import Conversation, Turn
from companion.errors import CompanionError
from companion.files import file_sha256
from companion.profiles import STRICT, validate
from companion.runs.spec import spec_id
from companion.studies.explanations.data.prompts import make_prompt
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.experiment import RunSpec
from companion.studies.explanations.training.targets import LABEL_LEAD, LEVELS

USAGE = "companion.json"
MERGED, GGUF = "merged", "gguf/model-f16.gguf"
WEIGHTS = "adapter_model.safetensors"
SILENT = ("label", "label_token_matched")
"""Arms whose students write no explanation."""


@dataclass(frozen=True, config=STRICT)
class Usage:
    """How a student is used; the content of ``companion.json``.

    Attributes:
        version: of this file.
        arm, seed, run: what the student was trained to write, with which seed, and the id of its record.
        model, revision, weights, dtype: the base, as `load_base` takes it, and the sha256 of its weights; a model from
            a local folder is called by the folder's name.
        adapter: sha256 of the adapter's weights.
        prompts: by axis, the prompt with ``{context}`` and ``{reply}`` in the places of the texts.
        lead: what follows the prompt, right before the label.
        codes: what the student writes for each label, in order; each one token after the lead.
        names: how these labels are called.
        explanation: whether the student explains ``after`` the label, ``before`` it, or not at all (``none``).
    """

    version: Literal[1]
    study: str
    arm: str
    seed: int
    run: str
    model: str
    revision: str | None
    weights: str
    dtype: str
    adapter: str
    prompts: dict[str, str]
    lead: str
    codes: tuple[str, ...]
    names: tuple[str, ...]
    explanation: Literal["none", "after", "before"]


@dataclass(frozen=True)
class Made:
    """A student made again: its spec, the folder of its adapter, and in a sentence how it agrees with its record."""

    spec: RunSpec
    adapter: Path
    agreement: str


def describe_usage(spec: RunSpec, base: str, folder: Path) -> Usage:
    """What ``companion.json`` says of a student whose adapter lies in ``folder``; ``base`` is the base's name."""
    local = spec.model != "embedded" and Path(spec.model).is_dir()
    return Usage(
        version=1,
        study=ExplanationsStudy.name,
        arm=spec.arm,
        seed=spec.seed,
        run=spec_id(spec),
        model=base if local else spec.model,
        revision=spec.revision,
        weights=spec.weights,
        dtype=spec.dtype,
        adapter=file_sha256(folder / WEIGHTS),
        prompts={axis: make_template(axis) for axis in spec.axes},
        lead=LABEL_LEAD,
        codes=LEVELS,
        names=LEVELS,
        explanation=get_explanation_place(spec.arm),
    )


def get_explanation_place(arm: str) -> Literal["none", "after", "before"]:
    """Where the students of an arm write their explanation, after the label or before it."""
    return "none" if arm in SILENT else "before" if arm == "explanation_first" else "after"


def make_template(axis: str) -> str:
    """The prompt of one axis with ``{context}`` and ``{reply}`` for a single turn and the reply to it."""
    return make_prompt(Conversation("", "", "", (Turn("A", "{context}"),), "{reply}"), axis)


def read_usage(folder: Path) -> Usage:
    """Read ``companion.json`` and see that the adapter beside it is the one it speaks of.

    Raises:
        CompanionError: it is missing, damaged, of another version of this library, or of another adapter.
    """
    file = folder / USAGE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        adapter = file_sha256(folder / WEIGHTS)
    except (OSError, ValueError, RecursionError) as error:
        raise CompanionError(
            f"{folder} holds no student ({USAGE} and {WEIGHTS}): 'companion export' writes one."
        ) from error
    if not isinstance(content, dict):
        raise CompanionError(f"{file} is damaged: export the student again.")
    found = validate(Usage, content, str(file))
    if found.adapter != adapter:
        raise CompanionError(f"{folder / WEIGHTS} is damaged or of another student than {USAGE}: export it again.")
    if len(found.codes) != len(found.names) or len(found.codes) < 2 or not found.prompts:
        raise CompanionError(f"{file} is damaged: export the student again.")
    return found
