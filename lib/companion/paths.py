"""Every folder of the project, named once."""

import os
from pathlib import Path

import platformdirs

from companion.errors import CompanionError


def home() -> Path:
    """Folder of ``notebooks/`` and ``figures/``: ``$COMPANION_HOME``, else this checkout, else the working folder."""
    if named := os.environ.get("COMPANION_HOME"):
        return Path(named).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "notebooks").is_dir() else Path.cwd()


def cache() -> Path:
    """Folder for what can be rebuilt (converted model, texts): ``$COMPANION_CACHE`` or the user's cache folder."""
    named = os.environ.get("COMPANION_CACHE")
    return Path(named).expanduser().resolve() if named else Path(platformdirs.user_cache_dir("companion"))


def profile_file(profile: str) -> Path:
    """YAML file of one profile.

    Raises:
        CompanionError: there is no such profile; the sentence lists those there are.
    """
    folder = Path(__file__).parent / "profiles"
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if profile not in names:
        raise CompanionError(f"There is no profile {profile!r}; choose one of {', '.join(names)}.")
    return folder / f"{profile}.yaml"


def results(profile: str, study: str, rerun: bool = False) -> Path:
    """Folder of one study's records, tables and figures; a re-run lands beside the recorded one, never over it."""
    return home() / "figures" / (f"{profile}-rerun" if rerun else profile) / study


def notebooks(study: str) -> list[Path]:
    """Source notebooks of one study in reading order, the overview last because it shows what the others made."""
    folder = home() / "notebooks"
    return [*sorted((folder / study).glob("[0-9]*.ipynb")), folder / "00_overview.ipynb"]
