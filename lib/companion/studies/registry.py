"""Which studies there are: the one place that names them. Their modules are imported only when a study is opened."""

import importlib.util
import os
from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any

from companion import paths
from companion.errors import CompanionError
from companion.profiles import load_profile, load_settings

if TYPE_CHECKING:
    from companion.studies.study import Study

STUDIES = (
    # One line for each, in the order of every page.
    "explanations",
    "parity",
)
"""Names of the studies; each is a folder here, whose ``study.py`` holds its `Study`."""
REQUIRED = ("paper", "title", "statement", "main_figure", "settings_class", "spec_classes")
"""Class variables that a study must set, beside its name."""


def study_names() -> tuple[str, ...]:
    """Names of all studies; raises CompanionError where two have one name."""
    twice = [name for name, count in Counter(STUDIES).items() if count > 1]
    if twice:
        raise CompanionError(f"Two studies are called {twice[0]!r} in {__file__}; give each a name of its own.")
    return STUDIES


def check_name(name: str) -> None:
    """Raise CompanionError unless there is a study of this name."""
    if name not in study_names():
        raise CompanionError(f"There is no study {name!r}; choose one of {', '.join(study_names())}.")


def study_class(name: str) -> "type[Study]":
    """The class of a study, from ``companion.studies.<name>.study``.

    Raises CompanionError where there is no such study, or its folder is missing or holds no class of this name.
    """
    from companion.studies.study import Study

    check_name(name)
    module = f"companion.studies.{name}.study"
    if not (importlib.util.find_spec(module.rpartition(".")[0]) and importlib.util.find_spec(module)):
        raise CompanionError(f"The registry names the study {name!r}, but studies/{name}/study.py is missing; add it.")
    try:
        content = vars(import_module(module))
    except (Exception, SystemExit) as error:
        if os.environ.get("COMPANION_DEBUG"):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise CompanionError(f"studies/{name}/study.py cannot be imported ({reason}); --debug shows where.") from error
    for found in content.values():
        if isinstance(found, type) and issubclass(found, Study) and vars(found).get("name") == name:
            if missing := sorted({*found.__abstractmethods__, *(set(REQUIRED) - set(dir(found)))}):
                raise CompanionError(f"The study {name!r} lacks {', '.join(missing)}; see CONTRIBUTING.md.")
            return found
    raise CompanionError(f"studies/{name}/study.py holds no Study whose name is {name!r}; give its class this name.")


def open_study(name: str, profile: str, rerun: bool = False) -> Any:
    """One study at one scale, of its own class.

    With ``rerun`` it works in a folder of its own, beside the recorded one, so that both can be compared. Raises
    CompanionError as `study_class`, for no such profile, no section for the study in it, or a mistake in its file.
    """
    found = study_class(name)
    loaded = load_profile(profile)
    settings: Any = load_settings(loaded, name, found.settings_class)
    return found(loaded, settings, paths.results(profile, name, rerun))


def studies_of(profile: str, study: str = "") -> tuple[str, ...]:
    """Names of the studies that a command is about: the one that is named, else all that the profile has.

    Raises CompanionError for no such study or profile, or a profile with a section for an unknown study or with none.
    """
    sections = load_profile(profile).studies
    if study:
        check_name(study)
        return (study,)
    if unknown := sorted(set(sections) - set(study_names())):
        raise CompanionError(
            f"The profile {profile!r} has settings for the study {unknown[0]!r}, which does not exist; there are "
            f"{', '.join(study_names())}."
        )
    if not sections:
        raise CompanionError(f"The profile {profile!r} has settings for no study; add a section under 'studies'.")
    return tuple(name for name in study_names() if name in sections)
