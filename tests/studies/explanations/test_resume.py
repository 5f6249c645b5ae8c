"""Workers killed inside a run go on from its checkpoint, to the records of an undisturbed study, byte for byte."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import killed_training
from companion.profiles import Profile
from companion.runs.spec import spec_id
from companion.studies.explanations import study as studies
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.study import Study, run

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def undisturbed(
    tiny_profile: Profile, tiny_settings: ExplanationsSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Study]:
    """Two students with dropout, six steps each, without checkpoints."""
    folder = tmp_path_factory.mktemp("undisturbed")
    recipe = replace(tiny_settings.recipe, lora_dropout=0.1)
    settings = replace(tiny_settings, arms=("label", "explanation"), axes=("on_topic",), seeds=(0,), recipe=recipe)
    made = Study(tiny_profile, settings, folder / "study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANION_CACHE", str(folder / "cache"))
        run(made, quiet=True).raise_if_failed()
        yield made


@pytest.mark.parametrize(("moment", "told"), [("4", "goes on after step 3"), ("scoring", "goes on after step 6")])
def test_a_killed_worker_goes_on_inside_its_run(
    undisturbed: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, told: str
) -> None:
    profile = replace(undisturbed.profile, checkpoint_minutes=0.0)
    study = replace(undisturbed, profile=profile, folder=tmp_path / "study")
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv(killed_training.MARKS, str(tmp_path / "marks"))
    monkeypatch.setenv(killed_training.MOMENT, moment)
    monkeypatch.setattr(studies, "execute", killed_training.execute)
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
