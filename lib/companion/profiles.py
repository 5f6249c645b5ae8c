"""Profiles: one commented YAML file per scale; an unknown key, a wrong type or a bad size is one clear sentence."""

import difflib
import json
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from companion import paths
from companion.errors import CompanionError

Count = Annotated[int, Field(gt=0)]
STRICT = ConfigDict(extra="forbid", strict=True)
Settings = TypeVar("Settings")


@dataclass(frozen=True, config=STRICT)
class Profile:
    """Settings that all studies share, and one untyped section per study.

    Attributes:
        model: ``embedded``, a Hugging Face id or a local folder.
        revision: commit of a Hugging Face model; ``None`` for the others.
        dtype: ``auto`` (bfloat16 where the processor computes in it), ``bfloat16`` or ``float32``.
        workers: processes that train at the same time, one thread each.
        studies: study name to its settings.
    """

    name: str
    model: str
    revision: str | None
    dtype: Literal["auto", "bfloat16", "float32"]
    workers: Count
    studies: dict[str, dict[str, Any]]


def load_profile(name: str) -> Profile:
    """Read one profile.

    Raises:
        CompanionError: no such profile, a file that is no YAML, an unknown key or a wrong type.
    """
    file = paths.profile_file(name)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        place = " ".join(str(error).split())
        raise CompanionError(f"The profile {file.name} is not valid YAML: {place}.") from error
    if not isinstance(content, dict):
        raise CompanionError(f"The profile {file.name} must be a list of 'key: value' lines.")
    return validate(Profile, {**content, "name": name}, file.name)


def load_settings(profile: Profile, study: str, settings: type[Settings]) -> Settings:
    """Settings of one study in one profile, checked against the study's own dataclass.

    Raises:
        CompanionError: the profile has no section for the study, an unknown key, a wrong type or a bad size.
    """
    if study not in profile.studies:
        known = ", ".join(sorted(profile.studies))
        raise CompanionError(f"The profile {profile.name!r} has no study {study!r}; it has {known}.")
    return validate(settings, profile.studies[study], f"{profile.name}.yaml, studies.{study}")


def validate(settings: type[Settings], content: dict[str, Any], where: str) -> Settings:
    """Turn a mapping into a dataclass; strict types, no unknown keys.

    Raises:
        CompanionError: names the key, what is wrong with it and, for a misspelt key, the nearest known one.
    """
    try:
        # JSON mode lets a YAML list fill a tuple while staying strict about everything else.
        return TypeAdapter(settings).validate_json(json.dumps(content))
    except (ValidationError, TypeError, ValueError) as error:
        raise CompanionError(f"{where}: {_explain(error, settings)}") from error


def _explain(error: Exception, settings: type) -> str:
    if not isinstance(error, ValidationError):
        return f"{error}."
    unknown = ("unexpected_keyword_argument", "extra_forbidden")
    # A misspelt key is also a missing one; its hint says more.
    first = min(error.errors(), key=lambda one: one["type"] not in unknown)
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("missing", "missing_argument"):
        return f"the key {key!r} is missing."
    if first["type"] in unknown:
        names = _key_names(settings)
        near = difflib.get_close_matches(str(first["loc"][-1]), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(names))}."
        return f"unknown key {key!r}; {hint}"
    return f"{key}: {first['msg'].lower()}, but it is {first['input']!r}."


def _key_names(settings: type) -> set[str]:
    names = set()
    for field, hint in zip(fields(settings), get_type_hints(settings).values(), strict=True):
        names.add(field.name)
        for part in (hint, *get_args(hint)):
            if is_dataclass(part):
                names |= _key_names(part)  # type: ignore[arg-type]
    return names
