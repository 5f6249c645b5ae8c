"""The command line as a user meets it: one sentence, the right exit code, no traceback unless asked."""

import subprocess
import sys
from pathlib import Path

import pytest

from companion import paths


def companion(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, "-m", "companion.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("figures", "--profile", "quikc"), "There is no profile 'quikc'; choose one of cpu, quick, smoke."),
        (("status", "--study", "paritee"), "There is no study 'paritee'; choose one of explanations."),
    ],
)
def test_mistake_is_one_sentence_and_code_2(arguments: tuple[str, ...], sentence: str) -> None:
    done = companion(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip() == f"companion: {sentence}"
    assert done.stdout == ""


def test_debug_shows_the_traceback() -> None:
    done = companion("--debug", "figures", "--profile", "quikc")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_unknown_option_and_command() -> None:
    assert companion("figures", "--prifile", "quick").returncode == 2
    assert companion("figurse").returncode == 2


def test_help_lists_the_commands() -> None:
    done = companion("--help")
    assert done.returncode == 0
    for command in ("figures", "run", "tune", "status", "verify"):
        assert command in done.stdout


def test_status_and_verify_before_anything_was_run(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    status = companion("status", "--profile", "smoke", COMPANION_HOME=str(tmp_path))
    assert (status.returncode, "nothing has been run yet" in status.stdout) == (0, True)
    verify = companion("verify", "--profile", "smoke", COMPANION_HOME=str(tmp_path))
    assert (verify.returncode, "holds no study" in verify.stderr) == (1, True)
    assert not (tmp_path / "figures").exists()


def test_home_can_be_moved_to_a_path_with_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ein Ordner mit Ümlauten"
    folder.mkdir()
    monkeypatch.setenv("COMPANION_HOME", str(folder))
    assert paths.results("quick", "explanations") == folder / "figures" / "quick" / "explanations"
    assert paths.results("quick", "explanations", rerun=True).parts[-2] == "quick-rerun"
