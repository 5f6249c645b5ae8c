"""Frozen settings of one run, written as canonical JSON; the hash of that text is the run's id."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from companion.errors import CompanionError

VERSION_FIELD = "result_version"
"""Field of every spec, with the current version of its kind of run as the default. The default is raised by hand when
a change of the code changes results, so that old records are not taken for new ones; specs of an older version keep
the ids of their records."""

Spec = TypeVar("Spec")


def spec_id(spec: Any) -> str:
    """Name of a run: the first 16 hexadecimal digits of the SHA-256 of :func:`to_json`.

    Equal specs have equal ids. Raises CompanionError as :func:`to_json` does.
    """
    return hash_json(to_json(spec))


def hash_json(text: str) -> str:
    """The id of a spec that is already canonical JSON."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_json(spec: Any) -> str:
    """Write a frozen dataclass as canonical JSON: class name, result version and other fields, with sorted keys.

    Floats are written by ``repr`` (the shortest text that reads back to the same number), characters beyond ASCII as
    escapes; ``-0.0`` is written as ``0.0`` because the two are equal.

    Raises:
        CompanionError: not a frozen dataclass with a result version; a value that JSON cannot hold (an array, a path,
            NaN, ...); or a value that is not of its declared type (``1`` for a float), so that reading back would not
            give an equal spec.
    """
    if not is_dataclass(spec) or isinstance(spec, type) or not spec.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise CompanionError(f"A spec must be an instance of a frozen dataclass, not {type(spec).__name__}.")
    current_version(type(spec))
    text = _text(spec)
    back = _build(text, type(spec))
    if back != spec or _text(back) != text:
        raise CompanionError(
            f"{type(spec).__name__} does not read back to itself; give each field a value of its declared type "
            f"(a float as 1.0, not 1; a tuple, not a list): {spec!r}."
        )
    return text


def current_version(kind: type) -> int:
    """The result version that the code makes of one kind of run.

    Raises:
        CompanionError: the class of the specs does not say.
    """
    version = getattr(kind, VERSION_FIELD, None)
    if not isinstance(version, int):
        raise CompanionError(f"The spec {kind.__name__} needs a field '{VERSION_FIELD}: int = 1'.")
    return version


def from_json(text: str, kind: type[Spec]) -> Spec:
    """Read back what :func:`to_json` wrote; ``kind`` is the dataclass.

    Raises:
        CompanionError: not such a text, another class, another result version, or fields that do not fit.
    """
    spec = _build(text, kind)
    version, current = getattr(spec, VERSION_FIELD), current_version(kind)
    if version != current:
        raise CompanionError(f"The stored spec has result version {version}, the code {current}; run again.")
    if _text(spec) != text:
        raise CompanionError(f"The stored spec does not fit {kind.__name__}; its fields have changed since: {text}.")
    return spec


def _text(spec: Any) -> str:
    name, values = type(spec).__name__, _plain(spec, type(spec).__name__)
    content = {"class": name, "result_version": values.pop(VERSION_FIELD), "fields": values}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any, place: str) -> Any:
    """The value as JSON types; exact types only, because a NumPy number or an enum prints otherwise than it reads."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float and math.isfinite(value):
        return value + 0.0
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), f"{place}.{field.name}") for field in fields(value)}
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {key: _plain(item, f"{place}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    raise CompanionError(
        f"{place} is {value!r} of type {type(value).__name__}, which JSON cannot hold; use None, bool, int, a finite "
        "float, str, a tuple, a dict with str keys or a dataclass."
    )


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _build(text: str, kind: type[Spec]) -> Spec:
    try:
        content = json.loads(text)
        name, version, values = content["class"], content[VERSION_FIELD], dict(content["fields"])
    except (ValueError, KeyError, TypeError) as error:
        raise CompanionError(f"This is not a spec: {text[:80]!r}.") from error
    if name != kind.__name__:
        raise CompanionError(f"The stored spec is a {name}, not a {kind.__name__}; it belongs to other code.")
    try:
        # mypy does not see that a class is hashable.
        built: Spec = _adapter(kind).validate_json(json.dumps({**values, VERSION_FIELD: version}))  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (kind.__name__, *first["loc"]))
        raise CompanionError(f"{place} does not fit its declared type: {first['msg']}.") from error
    return built
