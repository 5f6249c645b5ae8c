"""The Makefile as a user meets it: a mistake is told before anything is installed."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def dry_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, env=clean, check=False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("figures", "PROFILE=quikc"),
            "There is no profile 'quikc'; choose one of cpu gpu paper paper-t4 quick smoke.",
        ),
        (("verify", "PROFILE="), "There is no profile ''; choose one of"),
        (
            ("figures", "STUDY=explanation"),
            "There is no study 'explanation'; choose one of explanations parity, or leave",
        ),
        (("figures", "STUDY=explanations other"), "There is no study 'explanations other'; choose one of"),
        (("figures", "PROFILE=cpu gpu"), "There is no profile 'cpu gpu'; choose one of"),
        (("figures", "RERUN=yes"), "RERUN is 1 or 0, not 'yes'."),
        (("figures", "profile=cpu"), "There is no setting profile; the settings are PROFILE STUDY RERUN PYTHON, in"),
        (("figures", "rerun=1"), "There is no setting rerun;"),
        (("figures", "PROFIL=cpu"), "There is no setting PROFIL;"),
        (("figures", "PROFILE=cpu", "RERUM=1"), "There is no setting RERUM;"),
    ],
)
def test_a_mistake_is_told_before_anything_is_installed(arguments: tuple[str, ...], sentence: str) -> None:
    done = dry_run(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "install" not in done.stdout


@pytest.mark.parametrize("profile", ["paper", "paper-t4"])
def test_a_profile_needs_only_its_file(profile: str) -> None:
    assert f'--profile "{profile}"' in dry_run("figures", f"PROFILE={profile}").stdout
    assert f" {profile} " in dry_run("help").stdout.replace("'", " ")


@pytest.mark.parametrize("target", ["figures", "status", "verify"])
def test_settings_reach_the_command(target: str) -> None:
    command = f'companion {target} --profile "cpu"'
    assert f"{command}  --rerun" in dry_run(target, "PROFILE=cpu", "RERUN=1").stdout
    one = dry_run(target, "PROFILE=cpu", "STUDY=explanations").stdout
    assert f'{command} --study "explanations"' in one
    for off in ("RERUN=0", "RERUN="):
        last = dry_run(target, "PROFILE=cpu", off).stdout.splitlines()[-1]
        assert last.strip().endswith(command)
