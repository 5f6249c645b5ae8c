"""Every folder of the project, named once."""

import os
from pathlib import Path

import platformdirs

from companion.errors import CompanionError

ADAPTERS_VARIABLE = "COMPANION_ADAPTERS"
CHECKPOINTS_VARIABLE = "COMPANION_CHECKPOINTS"
MINUTES_VARIABLE = "COMPANION_CHECKPOINT_MINUTES"
"""Environment variables that tell workers where and how often to keep checkpoints; set by a study, not by its user."""
PROFILES = Path(__file__).parent / "profiles"
RERUN_ENDING = "-rerun"
"""What a re-run's folder adds to the name of its profile."""


def home() -> Path:
    """Folder of ``notebooks/`` and ``figures/``: ``$COMPANION_HOME``, else this checkout, else the working folder.

    Raises:
        CompanionError: ``$COMPANION_HOME`` names a file.
    """
    if named := os.environ.get("COMPANION_HOME"):
        folder = Path(named).expanduser().resolve()
        if folder.is_file():
            raise CompanionError(f"COMPANION_HOME names the file {folder}; let it name a folder.")
        return folder
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def cache() -> Path:
    """Folder for what can be rebuilt (converted model, texts): ``$COMPANION_CACHE`` or the user's cache folder."""
    named = os.environ.get("COMPANION_CACHE")
    return Path(named).expanduser().resolve() if named else Path(platformdirs.user_cache_dir("companion"))


def adapters() -> Path | None:
    """Folder in which every trained adapter is kept, by run: ``$COMPANION_ADAPTERS``; unset, none is kept."""
    named = os.environ.get(ADAPTERS_VARIABLE)
    return Path(named).expanduser().resolve() if named else None


def checkpoints() -> Path | None:
    """Folder in which every run keeps the state of its training: ``$COMPANION_CHECKPOINTS``; unset, none is kept."""
    named = os.environ.get(CHECKPOINTS_VARIABLE)
    return Path(named) if named else None


def profile_names() -> list[str]:
    """Names of all profiles, sorted."""
    return sorted(file.stem for file in PROFILES.glob("*.yaml"))


def profile_file(profile: str) -> Path:
    """YAML file of one profile.

    Raises:
        CompanionError: there is no such profile (the sentence lists those there are), or its name is that of a re-run.
    """
    names = profile_names()
    if profile not in names:
        hint = "leave out .yaml" if profile.removesuffix(".yaml") in names else f"choose one of {', '.join(names)}"
        raise CompanionError(f"There is no profile {profile!r}; {hint}.")
    if profile.endswith(RERUN_ENDING):
        raise CompanionError(f"The profile {profile} needs another name: {RERUN_ENDING} marks the folders of RERUN=1.")
    return PROFILES / f"{profile}.yaml"


def results(profile: str, study: str = "", rerun: bool = False) -> Path:
    """Folder of one study's records, tables and figures; a re-run lands beside the recorded one, never over it.

    Without a study: the folder of the profile, which holds those of its studies and the page over all.
    """
    return home() / "figures" / (f"{profile}{RERUN_ENDING}" if rerun else profile) / study


def notebooks(study: str) -> list[Path]:
    """Source notebooks of one study in reading order.

    Raises:
        CompanionError: there are none.
    """
    folder = home() / "notebooks" / study
    if not (found := sorted(folder.glob("[0-9]*.ipynb"))):
        raise CompanionError(f"{folder} holds no notebooks; let COMPANION_HOME name a clone of the repository.")
    return found


def overview_notebook() -> Path:
    """Source notebook that shows all studies of a profile.

    Raises:
        CompanionError: it is not there.
    """
    return _notebook("00_overview.ipynb")


def own_notebook() -> Path:
    """Source notebook of a comparison on own data.

    Raises:
        CompanionError: it is not there.
    """
    return _notebook("your_data.ipynb")


def _notebook(name: str) -> Path:
    file = home() / "notebooks" / name
    if not file.is_file():
        raise CompanionError(f"There is no {file}; let COMPANION_HOME name a clone of the repository.")
    return file
