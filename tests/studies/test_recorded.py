"""The recorded runs of this repository stay valid: their ids, their data, every checksum."""

from pathlib import Path

import pytest

from companion import paths
from companion.runs.spec import spec_id
from companion.studies.commands import verify_folder, verify_study
from companion.studies.overview import read_overview
from companion.studies.registry import open_study, studies_of

RECORDED = [(name, profile) for profile in ("cpu", "gpu") for name in studies_of(profile)]


@pytest.mark.parametrize(("name", "profile"), RECORDED)
def test_every_recorded_run_is_whole_and_in_the_plan(name: str, profile: str) -> None:
    study = open_study(name, profile)
    planned = [spec_id(spec) for specs in (study.specs(), *study.other_specs().values()) for spec in specs]
    assert set(study.store.ids()) <= set(planned)
    assert verify_study(study) == []


def test_the_recorded_comparison_is_whole() -> None:
    assert verify_folder(paths.results("cpu", "feedbackqa")) == []


def test_a_small_run_is_shown_beside_the_recorded_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPANION_HOME", str(tmp_path))
    (tmp_path / "figures").symlink_to(Path(__file__).resolve().parents[2] / "figures")
    explanations, parity = read_overview("smoke")
    assert [result.profile for result in explanations.results] == ["smoke", "cpu", "gpu"]
    assert explanations.clearest.profile == parity.clearest.profile == "cpu"
    table = explanations.table().set_index("claim")
    assert table.loc["1a", "cpu"].endswith("contradicted") and table.loc["1a", "gpu"].endswith("undecided")
