"""What a user waits for at the keyboard: imports, commands, and figures from records."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from companion.bench.turns import SECONDS, Way
from companion.paths import home

PROFILE = "cpu"
STUDY = "explanations"
MADE = "figures from records"
AGAIN = "figures again, nothing to do"
COMMANDS = {
    "import companion": ["-c", "import companion"],
    "companion --help": ["-m", "companion.cli", "--help"],
    "companion status": ["-m", "companion.cli", "status", "--profile", PROFILE],
}
LIBRARIES = {"import torch, transformers and peft": ["-c", "import torch, transformers, peft"]}


def ways() -> list[Way]:
    """Each command in a separate process; the figures of the recorded profile in a copy of the project."""
    note = f"profile {PROFILE}, a copy without its tables and figures"
    found = [
        Way("companion", tuple(COMMANDS), command, "", 1, 1, SECONDS),
        Way("its libraries", tuple(LIBRARIES), command, "what a worker waits for", 1, 1, SECONDS),
    ]
    if (home() / "figures" / PROFILE / STUDY / "records").is_dir():
        found.append(Way("companion", (MADE, AGAIN), figures, note, 1, 1, SECONDS))
    return found


def command(task: str) -> float:
    """Seconds of a fresh process."""
    return _seconds((COMMANDS | LIBRARIES)[task], {})


def figures(task: str) -> float:
    """Seconds of `companion figures` in a copy: `MADE` makes a fresh copy first, `AGAIN` takes the last one."""
    copy = Path("copy")
    if task == MADE:
        _copy_of_the_project(copy)
    return _seconds(["-m", "companion.cli", "figures", "--profile", PROFILE], {"COMPANION_HOME": str(copy.resolve())})


def _copy_of_the_project(copy: Path) -> None:
    """Notebooks, records and data, but nothing that is made from them."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(home() / "notebooks", copy / "notebooks")
    study = Path("figures") / PROFILE / STUDY
    for folder in sorted(path for path in (home() / study).iterdir() if path.is_dir()):
        shutil.copytree(folder, copy / study / folder.name)
    shutil.copy(home() / study / "study.json", copy / study)


def _seconds(arguments: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-P", *arguments], check=True, env=os.environ | environment, capture_output=True)
    return time.perf_counter() - start
