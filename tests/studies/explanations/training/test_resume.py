"""Workers killed inside a run go on from its checkpoint, to the records of an undisturbed study, byte for byte."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import companion
import killed_training
from companion.profiles import Profile
from companion.runs.spec import spec_id
from companion.studies.explanations import study as explanations
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.study import run
from grids import MARK, kill, marked, wait_for

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def undisturbed(
    tiny_profile: Profile, tiny_settings: ExplanationsSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExplanationsStudy]:
    """Two students with dropout, six steps each, without checkpoints."""
    folder = tmp_path_factory.mktemp("undisturbed")
    recipe = replace(tiny_settings.recipe, lora_dropout=0.1)
    settings = replace(tiny_settings, arms=("label", "explanation"), axes=("on_topic",), seeds=(0,), recipe=recipe)
    made = ExplanationsStudy(tiny_profile, settings, folder / "study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANION_CACHE", str(folder / "cache"))
        run(made, quiet=True).raise_if_failed()
        yield made


@pytest.mark.parametrize(("moment", "told"), [("4", "resumes after step 3"), ("scoring", "resumes after step 6")])
def test_a_killed_worker_goes_on_inside_its_run(
    undisturbed: ExplanationsStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, told: str
) -> None:
    profile = replace(undisturbed.profile, checkpoint_minutes=0.0)
    study = replace(undisturbed, profile=profile, folder=tmp_path / "study")
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv(killed_training.MARKS, str(tmp_path / "marks"))
    monkeypatch.setenv(killed_training.MOMENT, moment)
    monkeypatch.setattr(explanations, "execute", killed_training.execute)
    run(study, quiet=True).raise_if_failed()
    for run_id in map(spec_id, study.specs()):
        events = [json.loads(line)["event"] for line in (study.logs / f"{run_id}.jsonl").open()]
        assert [event for event in events if event not in ("step", "scoring", "writing")] == [
            *("start", "killed", "start", "end")
        ]
        assert told in (study.logs / f"{run_id}.out").read_text()
        assert study.store.path(run_id).read_bytes() == undisturbed.store.path(run_id).read_bytes()
    assert list(study.store.checkpoints.iterdir()) == []
    assert not undisturbed.store.checkpoints.exists()


def test_workers_and_drivers_killed_at_random_points(undisturbed: ExplanationsStudy, tmp_path: Path) -> None:
    """In training and scoring alike; what a step has left is taken up, and what is recorded stays as it is."""
    study = replace(undisturbed, folder=tmp_path / "study")
    told = tmp_path / "settings.json"
    told.write_text(json.dumps({"profile": asdict(study.profile), "settings": asdict(study.settings)}))
    command = [sys.executable, "-P", str(Path(__file__).with_name("study_driver.py")), str(told), str(study.folder)]
    path = os.pathsep.join([str(Path(companion.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, MARK: str(tmp_path)}
    chance, driver = random.Random(5), subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    for victim in ("worker", "driver"):
        before = checkpoints(study)
        wait_for(lambda before=before: driver.poll() is not None or checkpoints(study) - before, 200)
        time.sleep(chance.uniform(0, 0.3))
        workers = sorted(set(marked(f"{MARK}={tmp_path}")) - {driver.pid})
        kill(chance.choice(workers) if victim == "worker" and workers else driver.pid)
    driver.wait(200)
    wait_for(lambda: not marked(f"{MARK}={tmp_path}"), 60)
    kept = records(study)
    assert kept.items() <= records(undisturbed).items()
    begun, left = starts(study), {name for name, _ in checkpoints(study)} - kept.keys()
    done = subprocess.run(command, capture_output=True, timeout=200, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert records(study) == records(undisturbed)
    assert not any((starts(study) - begun)[name.removesuffix(".safetensors")] for name in kept)
    assert list(study.store.checkpoints.glob("*")) == [] and study.store.verify() == []
    for name in left:
        assert "Training resumes after step" in (study.logs / name).with_suffix(".out").read_text()


def records(study: ExplanationsStudy) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in study.store.folder.glob("*.safetensors")}


def checkpoints(study: ExplanationsStudy) -> set[tuple[str, int]]:
    """Each with the time it was written."""
    found = set()
    for file in study.store.checkpoints.glob("*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            found.add((file.name, file.stat().st_mtime_ns))
    return found


def starts(study: ExplanationsStudy) -> Counter[str]:
    """How often each run was begun."""
    return Counter({file.stem: file.read_text().count('"event": "start"') for file in study.logs.glob("*.jsonl")})
