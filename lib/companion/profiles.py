"""Profiles: one commented YAML file per scale; an unknown key, a wrong type or a bad size is one clear sentence."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from yaml.constructor import ConstructorError

from companion import paths
from companion.errors import CompanionError

Count = Annotated[int, Field(gt=0)]
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Settings = TypeVar("Settings")


@dataclass(frozen=True, config=STRICT)
class Profile:
    """Settings that all studies share, and one untyped section per study.

    Attributes:
        model: ``embedded``, a Hugging Face id or a local folder.
        revision: commit of a Hugging Face model; ``None`` for the others.
        dtype: ``auto`` (bfloat16 where the GPU or processor computes in it, else float16 on a GPU and float32 on a
            processor), ``bfloat16``, ``float32``, or ``nf4`` (4 bits, computing in what ``auto`` would take).
        workers: processes that train at the same time, one thread each, without a GPU no more than there are
            processors; on a GPU each holds a model of its own.
        studies: study name to its settings.
        backend: ``auto`` (Unsloth where there is a CUDA GPU and Unsloth is installed, else transformers), ``unsloth``
            or ``transformers``.
        checkpoint_minutes: how often the state of a training is kept, so that one that is cut off goes on inside its
            run; without it, it starts again.
        recorded: whether its results are kept in the repository, to be shown beside those of other profiles.
    """

    name: str
    model: str
    revision: str | None
    dtype: Literal["auto", "bfloat16", "float32", "nf4"]
    workers: Count
    studies: dict[str, dict[str, Any]]
    backend: Literal["auto", "unsloth", "transformers"] = "auto"
    checkpoint_minutes: Annotated[float, Field(ge=0)] | None = None
    recorded: bool = False


def load_profile(name: str) -> Profile:
    """Read one profile.

    Raises:
        CompanionError: no such profile, a file that is no YAML in UTF-8, a key given twice, an unknown key or a wrong
            type.
    """
    file = paths.profile_file(name)
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise CompanionError(f"The profile {file.name} is not valid YAML in UTF-8: {reason}.") from error
    if not isinstance(content, dict):
        raise CompanionError(f"The profile {file.name} must be a list of 'key: value' lines.")
    if "name" in content:
        raise CompanionError(f"The profile {file.name} must not have the key 'name': its file gives the name.")
    return validate(Profile, {**content, "name": name}, file.name)


def recorded_profiles() -> list[str]:
    """Names of the profiles whose results are kept in the repository, sorted; raises as `load_profile`."""
    return [name for name in paths.profile_names() if load_profile(name).recorded]


def load_settings(profile: Profile, study: str, settings: type[Settings]) -> Settings:
    """Settings of one study in one profile, checked against the study's own dataclass.

    Raises:
        CompanionError: the profile has no section for the study, an unknown key, a wrong type or a bad size.
    """
    if study not in profile.studies:
        near = difflib.get_close_matches(study, profile.studies, n=1)
        hint = f"is {near[0]!r} meant for it?" if near else f"it has {', '.join(sorted(profile.studies)) or 'none'}."
        raise CompanionError(f"The profile {profile.name!r} has no study {study!r}; {hint}")
    return validate(settings, profile.studies[study], f"{profile.name}.yaml, studies.{study}")


def validate(settings: type[Settings], content: dict[str, Any], where: str) -> Settings:
    """Turn a mapping into a dataclass; strict types, no unknown keys.

    Raises:
        CompanionError: names the key, what is wrong with it and, for a misspelt key, the nearest known one.
    """
    try:
        # JSON mode lets a YAML list fill a tuple while staying strict about everything else; a date becomes a text.
        return TypeAdapter(settings).validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise CompanionError(f"{where}: {_explain_error(error, settings)}") from error
    except (TypeError, ValueError) as error:
        raise CompanionError(f"{where}: {error}.") from error


def _explain_error(error: ValidationError, settings: type) -> str:
    unknown = ("unexpected_keyword_argument", "extra_forbidden")
    # A misspelt key is also a missing one; its hint says more.
    first = min(error.errors(), key=lambda one: one["type"] not in unknown)
    kind, place, value = first["type"], first["loc"], first["input"]
    key = ".".join(map(str, place))
    if kind in ("missing", "missing_argument"):
        return f"the key {key!r} is missing."
    if kind in unknown:
        names = _list_keys(settings, place[:-1])
        near = difflib.get_close_matches(str(place[-1]), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(names)}."
        return f"unknown key {key!r}; {hint}"
    if kind == "value_error":
        return f"{key}: {first['ctx']['error']}.".removeprefix(": ")
    if kind == "float_type" and isinstance(value, str) and (number := _as_number(value)):
        return f"{key}: YAML takes {value} for a text; write {number}."
    but = "" if isinstance(value, dict | list) else f", but it is {value!r}"
    return f"{key}: {first['msg'].lower()}{but}."


def _list_keys(settings: type, place: Sequence[int | str]) -> list[str]:
    """Known keys of the level at ``place``; positions in a list are numbers."""
    for part in place:
        if isinstance(part, str):
            settings = _dataclass_in(get_type_hints(settings)[part])
    return sorted(field.name for field in fields(settings))


def _dataclass_in(hint: Any) -> Any:
    """The dataclass in such as ``Settings | None`` or ``tuple[Settings, ...]``."""
    found = (_dataclass_in(part) for part in get_args(hint))
    return hint if is_dataclass(hint) else next((one for one in found if one), None)


def _as_number(text: str) -> str:
    """The number as YAML wants it written, with a point before the ``e``; empty where the text is none."""
    try:
        return yaml.safe_dump(float(text)).split()[0]
    except ValueError:
        return ""


class _Loader(yaml.SafeLoader):
    """YAML in which a key must not stand twice; PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise ConstructorError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)
