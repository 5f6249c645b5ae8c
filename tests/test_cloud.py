"""The SkyPilot file: known keys, one machine that ends itself, and a job that goes on where a lost machine was.

It was checked against skypilot 0.14.1 itself (its schemas of task, resources and storage, and sky.Task); that package
is too large to be installed for every test run, so what is checked here is what its schemas allow.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
KEYS = {"name", "workdir", "envs", "secrets", "resources", "file_mounts", "setup", "run"}
RESOURCES = {"accelerators", "use_spot", "cpus", "memory", "disk_size", "image_id", "autostop"}


@pytest.fixture(scope="module")
def task() -> dict:
    return yaml.safe_load((ROOT / "cloud" / "sky.yaml").read_text(encoding="utf-8"))


def test_only_known_keys(task: dict) -> None:
    assert set(task) == KEYS and set(task["resources"]) == RESOURCES
    assert all(re.fullmatch(r"[A-Z][A-Z0-9-]+:1", one) for one in task["resources"]["accelerators"])
    assert task["file_mounts"] == {"/kept": {"name": "${BUCKET}", "mode": "MOUNT"}}


def test_the_machine_ends_itself_and_nothing_secret_or_personal_is_in_the_file(task: dict) -> None:
    assert task["resources"]["autostop"] == {"idle_minutes": 10, "down": True}
    assert (task["envs"], task["secrets"]) == ({"PROFILE": "paper", "BUCKET": None}, {"HF_TOKEN": None})


def run(task: dict, clone: Path, kept: Path, make: str) -> subprocess.CompletedProcess[str]:
    """What the job runs, with a `make` of our own and another folder for the mounted bucket."""
    (clone / "bin").mkdir(parents=True, exist_ok=True)
    (clone / "bin" / "make").write_text(f"#!/bin/bash\nset -e\n{make}\n")
    (clone / "bin" / "make").chmod(0o755)
    if not (clone / "tools").exists():
        (clone / "tools").symlink_to(ROOT / "tools")
    script = task["run"].replace("/kept/", f"{kept}/").replace("sleep 30", "sleep 0.2")
    environment = {
        **os.environ,
        "PATH": f"{clone / 'bin'}:{os.environ['PATH']}",
        **{"PROFILE": task["envs"]["PROFILE"]},
    }
    return subprocess.run(
        ["bash", "-c", script], cwd=clone, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_job_on_a_new_machine_goes_on_from_the_records_of_the_lost_one(task: dict, tmp_path: Path) -> None:
    kept = tmp_path / "bucket"
    lost = run(
        task,
        tmp_path / "first",
        kept,
        "[[ $* == 'figures PROFILE=paper' ]]\nmkdir -p figures/paper .cache/explanations\n"
        "echo one >figures/paper/one\necho texts >$COMPANION_CACHE/explanations/texts\nsleep 0.5\nexit 7",
    )
    assert lost.returncode == 7, lost.stderr
    assert (kept / "figures/paper/one").read_text() == "one\n"
    again = run(
        task,
        tmp_path / "second",
        kept,
        "cat figures/paper/one .cache/explanations/texts\necho two >figures/paper/two",
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == "one\ntexts\n"
    assert sorted(file.name for file in (kept / "figures/paper").iterdir()) == ["one", "two"]
