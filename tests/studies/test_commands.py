"""What the commands say of a study, from its files alone: nothing is trained here."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from companion import cli, paths
from companion.errors import CompanionError
from companion.runs.lock import folder_lock
from companion.runs.log import log_event
from companion.runs.spec import spec_id
from companion.show.names import Names
from companion.show.provenance import Provenance
from companion.show.tables import write_table
from companion.studies import commands, stamp
from companion.studies import study as studies
from companion.studies.explanations.data import dataset
from companion.studies.explanations.results.results import load_results
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.publish import published
from companion.studies.registry import studies_of


@pytest.fixture
def planned(tiny_study: ExplanationsStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExplanationsStudy:
    """A frozen study of two arms, two axes and one seed, that the commands take for smoke's; no run is made yet."""
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path / "cache"))
    settings = replace(tiny_study.settings, arms=("label", "explanation"), seeds=(0,))
    study = ExplanationsStudy(replace(tiny_study.profile, name="smoke"), settings, tiny_study.folder)
    study.freeze()
    monkeypatch.setattr(commands, "studies_of", lambda profile, name="": studies_of(profile, name or "explanations"))
    monkeypatch.setattr(commands, "open_study", lambda name, profile, rerun: again(study))
    return study


def again(study: ExplanationsStudy) -> ExplanationsStudy:
    """The same study as a new process sees it."""
    return ExplanationsStudy(study.profile, study.settings, study.folder)


def record_all(study: ExplanationsStudy) -> None:
    for spec in study.specs():
        study.store.write(spec, {}, {})


def test_without_a_run_there_is_one_line(planned: ExplanationsStudy) -> None:
    first, *_, last = commands.show_status("smoke").splitlines()
    assert first == "0 of 4 runs done, 0 failed, 0 running, 4 waiting, no process is making them"
    assert last == "'make figures PROFILE=smoke' makes what is missing."
    assert commands.verify("smoke")[1] == ["0 of 4 runs are recorded; 'make figures PROFILE=smoke' makes them."]


def test_what_needs_results_names_the_command(planned: ExplanationsStudy) -> None:
    rerun = replace(planned, folder=planned.folder.parents[1] / "smoke-rerun" / "explanations")
    assert rerun.command == "make figures PROFILE=smoke RERUN=1"
    planned.store.write(planned.specs()[0], {}, {})
    with pytest.raises(CompanionError, match="^3 of 4 runs are not recorded; run 'make figures PROFILE=smoke' first"):
        load_results(planned)
    with pytest.raises(CompanionError, match="claims.md is missing; run 'make figures PROFILE=smoke' first"):
        published(planned, "claims.md")


def test_runs_and_compared_recipes_are_counted(planned: ExplanationsStudy) -> None:
    record_all(planned)
    planned.store.write(planned.tuning_specs()[0], {}, {})
    shown = commands.show_status("smoke")
    lines = [line.split() for line in shown.splitlines()]
    assert ["label", "2", "of", "2"] in lines and ["explanation", "2", "of", "2"] in lines
    assert "4 of 4 runs done, 0 failed\n" in shown and "1 of 8 tuning runs done, 0 failed" in shown
    assert "makes what is missing" not in shown
    assert commands.verify("smoke")[1] == []


def test_a_notebook_shows_counts_alone_when_all_is_done(planned: ExplanationsStudy) -> None:
    record_all(planned)
    shown = studies.progress(again(planned))._repr_mimebundle_()["text/plain"]
    assert [line.rstrip() for line in shown.splitlines()] == [
        "4 of 4 runs done, 0 failed",
        "",
        "group          done  running  failed  waiting",
        "label        2 of 2",
        "explanation  2 of 2",
    ]


def test_watching_begins_before_there_is_a_study_and_ends_with_it(
    planned: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = planned.folder / "study.json"
    frozen = file.read_bytes()
    file.unlink()
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            file.write_bytes(frozen)
        if len(looks) == 4:
            record_all(planned)

    monkeypatch.setattr(time, "sleep", sleep)
    told, failed = commands.follow_status("smoke")
    assert len(looks) == 4 and told.startswith("4 of 4 runs done, 0 failed") and not failed


def test_watching_a_study_with_a_failed_run_ends_with_code_1(
    planned: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record_all(planned)
    last = planned.specs()[-1]
    planned.store.path(spec_id(last)).unlink()
    planned.logs.mkdir()
    log_event(planned.logs, spec_id(last), "failed", error="no luck")
    monkeypatch.setattr("sys.argv", ["companion", "status", "-p", "smoke", "--watch"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert "explanation, on_topic, seed 0 failed: no luck (log: " in capsys.readouterr().out.replace("\n", " ")


def test_a_missing_and_a_damaged_record_are_named(planned: ExplanationsStudy) -> None:
    record_all(planned)
    first, second, *_ = planned.store.ids()
    planned.store.path(first).unlink()
    planned.store.path(second).write_bytes(b"rubbish")
    assert [problem.split(".")[0] for problem in commands.verify("smoke")[1]] == [second, first]


@pytest.mark.parametrize("made", [0, 1])
def test_verify_while_runs_are_made_is_one_line(planned: ExplanationsStudy, made: int) -> None:
    for spec in planned.specs()[:made]:
        planned.store.write(spec, {}, {})
    with folder_lock(planned.store.folder):
        (problem,) = commands.verify("smoke")[1]
    assert problem.startswith(f"Runs of {planned.store.folder} are being made now;")


def test_a_look_never_builds_the_data(planned: ExplanationsStudy) -> None:
    shutil.rmtree(planned.folder / "data")
    assert commands.show_status("smoke") == commands.verify("smoke")[1][0]
    assert commands.show_status("smoke").endswith("data is missing; 'make figures PROFILE=smoke' makes it again.")
    assert not (planned.folder / "data").exists()


def test_built_means_same_inputs_and_whole_outputs(planned: ExplanationsStudy) -> None:
    folder, inputs = planned.folder, commands._inputs(planned, [], {})
    assert not stamp.is_built(folder, inputs)
    table = folder / "T.csv"
    table.write_text("1")
    stamp.write_stamp(folder, inputs)
    assert stamp.is_built(folder, inputs)
    table.write_text("2")
    assert not stamp.is_built(folder, inputs)
    assert f"{table} is missing or was changed: make the figures again" in commands.verify("smoke")[1]
    table.write_text("1")
    record_all(planned)
    assert not stamp.is_built(folder, commands._inputs(planned, [], {}))


def test_other_options_of_the_same_folder_are_other_inputs(planned: ExplanationsStudy) -> None:
    record_all(planned)
    fewer = replace(planned, settings=replace(planned.settings, axes=("naturalness",)))
    object.__setattr__(fewer, "frozen", planned.frozen)  # only the plan is smaller
    before = commands._inputs(planned, [], {"seeds": 1, "table": "a.csv"})
    assert commands._inputs(planned, [], {"seeds": 1, "table": "b.csv"}) == before
    assert commands._inputs(planned, [], {"seeds": 2, "table": "a.csv"}) != before
    assert commands._inputs(fewer, [], {"seeds": 1, "table": "a.csv"}) != before


@pytest.mark.parametrize("named", ["explanations/", "./explanations", "../tiny/explanations", "a b", " "])
def test_a_path_is_no_study(planned: ExplanationsStudy, named: str) -> None:
    with pytest.raises(CompanionError, match="There is no study"):
        commands.verify("smoke", named)


def test_data_of_another_hash_is_refused(planned: ExplanationsStudy) -> None:
    file = planned.folder / "data" / "data.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "hash": "0123456789abcdef"}))
    with pytest.raises(CompanionError, match="holds data set 0123456789abcdef, but study.json was frozen with"):
        studies.run(again(planned), quiet=True)


@pytest.mark.parametrize("version", ["1", 1.5, True, 0, -1, float("inf"), [1], None])
def test_a_strange_result_version_is_damage(planned: ExplanationsStudy, version: object) -> None:
    file = planned.folder / "study.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "result_versions": {"RunSpec": version}}))
    with pytest.raises(CompanionError, match="study.json is damaged"):
        again(planned).frozen()


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": []}', '{"files": {"": "x"}, "hash": "a"}', "[" * 9999])
def test_damaged_data_are_one_sentence(planned: ExplanationsStudy, content: str) -> None:
    (planned.folder / "data" / "data.json").write_text(content)
    with pytest.raises(CompanionError, match="delete the folder"):
        planned.data_class.load(planned.folder / "data")


@pytest.mark.parametrize("content", ['{"outputs": []}', '{"inputs": "x"}', "[" * 9999, '{"outputs": null}'])
def test_a_damaged_stamp_means_not_built(planned: ExplanationsStudy, content: str) -> None:
    (planned.folder / stamp.STAMP).write_text(content)
    assert not stamp.is_built(planned.folder, "x") and stamp.changed_outputs(planned.folder) == []


def test_a_comparison_is_verified_from_its_files(planned: ExplanationsStudy) -> None:
    folder = planned.folder
    planned.store.write(planned.specs()[0], {}, {})
    origin = Provenance("explanations", "smoke", tuple(planned.store.ids()), "c")
    write_table(pd.DataFrame({"a": [1]}), folder, "T1", "caption", "note", origin, Names())
    assert commands.verify_folder(folder) == []
    (folder / "T1.csv").write_text("a\n2\n")
    planned.store.path(planned.store.ids()[0]).unlink()
    assert [problem.rpartition(" ")[0] for problem in commands.verify_folder(folder)] == [
        f"{origin.runs[0]}.safetensors is missing; run again to make",
        f"{folder / 'T1.csv'} was changed after it was made: make the figures",
    ]
    with pytest.raises(CompanionError, match="holds no comparison"):
        commands.verify_folder(folder.parent)


def test_a_folder_without_notebooks_is_told_before_training(
    planned: ExplanationsStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "run", None)
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    with pytest.raises(CompanionError, match="There is no .*00_overview.ipynb; let COMPANION_HOME"):
        commands.make_figures("smoke")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_overview.ipynb").touch()
    with pytest.raises(CompanionError, match="notebooks/explanations holds no notebooks; let COMPANION_HOME"):
        commands.make_figures("smoke")


def test_other_data_never_enter_a_frozen_study(planned: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(planned.folder / "data")
    other = dataset.build(replace(planned.settings, data_seed=1))
    monkeypatch.setattr(dataset, "build", lambda settings, on_progress: other)
    with pytest.raises(CompanionError, match=f"used data set {planned.data.hash}, but .* give {other.hash}; train in"):
        studies.run(again(planned), quiet=True)
    assert not (planned.folder / "data").exists()


def test_a_study_begun_without_a_source_says_so_every_time(planned: ExplanationsStudy) -> None:
    record_all(planned)
    file = planned.folder / "data" / "data.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps({**facts, "sources": facts["sources"][:1]}))
    with pytest.warns(UserWarning, match="was begun without qa, whose package was missing: install it, move"):
        assert len(studies.run(again(planned), quiet=True).skipped) == 4


@pytest.fixture
def elsewhere(planned: ExplanationsStudy, tmp_path: Path) -> ExplanationsStudy:
    """The same study as another machine copied it, before either made a record."""
    home = tmp_path / "another machine"
    shutil.copytree(planned.folder, home / "figures" / planned.folder.parent.name / "explanations")
    return replace(planned, folder=home / "figures" / planned.folder.parent.name / "explanations")


def test_records_of_two_machines_make_one_study(planned: ExplanationsStudy, elsewhere: ExplanationsStudy) -> None:
    first, *others = planned.specs()
    planned.store.write(first, {}, {})
    for spec in (*others, planned.tuning_specs()[0]):
        elsewhere.store.write(spec, {}, {})
    elsewhere.store.write(replace(first, seed=9), {}, {})
    sentence, problems = commands.merge("smoke", [elsewhere.folder])
    assert sentence == (
        f"4 records copied to {planned.store.folder}, 0 were there already, 1 belong to other runs and were left out; "
        "0 of 4 runs are missing."
    )
    assert problems == () and commands.verify("smoke")[1] == []


@pytest.mark.parametrize("named", ["", "explanations", "explanations/records", "../.."])
def test_the_other_machine_s_folder_may_be_named_at_any_height(
    planned: ExplanationsStudy, elsewhere: ExplanationsStudy, named: str
) -> None:
    elsewhere.store.write(elsewhere.specs()[0], {}, {})
    sentence, _ = commands.merge("smoke", [elsewhere.folder.parent / named])
    assert sentence.startswith("1 records copied")
    assert sentence.endswith("3 of 4 runs are missing; 'make figures PROFILE=smoke' makes them.")


def test_a_machine_without_the_study_takes_it_over(planned: ExplanationsStudy, elsewhere: ExplanationsStudy) -> None:
    record_all(elsewhere)
    shutil.rmtree(planned.folder)
    sentence, problems = commands.merge("smoke", [elsewhere.folder])
    assert sentence.startswith("4 records copied") and problems == ()
    for name in ("study.json", "data/data.json", "data/items.parquet"):
        assert (planned.folder / name).read_bytes() == (elsewhere.folder / name).read_bytes()
    assert commands.verify("smoke")[1] == []


def test_two_results_of_one_run_are_told_and_the_exit_code_is_1(
    planned: ExplanationsStudy,
    elsewhere: ExplanationsStudy,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = planned.specs()[0]
    planned.store.write(spec, {"entropy": np.zeros(3)}, {})
    elsewhere.store.write(spec, {"entropy": np.array([0, 0.5, 0])}, {})
    monkeypatch.setattr("sys.argv", ["companion", "merge", "-p", "smoke", str(elsewhere.folder)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    told = capsys.readouterr()
    assert told.err == (
        f"Run {planned.store.ids()[0]} has two results: in {elsewhere.store.folder}, against the one kept in "
        f"{planned.store.folder}, entropy differs in 1 of 3 numbers by up to 0.5.\n"
    )
    assert told.out.startswith("0 records copied")
    assert planned.store.read(planned.store.ids()[0]).arrays["entropy"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("data", "0123", "was made with another data set than .*0123 against"),
        ("base", {"dtype": "float16"}, "was made with another base model than .*float16"),
        ("settings", {}, "was made with other settings than profile smoke has now"),
        ("result_version", 1, "was made with other result versions than"),
    ],
)
def test_another_study_s_records_are_refused_before_anything_is_copied(
    planned: ExplanationsStudy, elsewhere: ExplanationsStudy, key: str, value: object, sentence: str
) -> None:
    record_all(elsewhere)
    file = elsewhere.folder / "study.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(CompanionError, match=f"^{elsewhere.folder} {sentence}"):
        commands.merge("smoke", [elsewhere.folder])
    assert planned.store.ids() == []


def test_what_can_not_be_merged_is_one_sentence(
    planned: ExplanationsStudy, elsewhere: ExplanationsStudy, tmp_path: Path
) -> None:
    with pytest.raises(CompanionError, match=f"^{tmp_path} holds no records; name .* figures/tiny/explanations"):
        commands.merge("smoke", [tmp_path])
    record_all(elsewhere)
    shutil.rmtree(planned.folder)
    (elsewhere.folder / "study.json").rename(elsewhere.folder / "elsewhere.json")
    with pytest.raises(CompanionError, match=r"^Neither .* nor a folder named holds study\.json"):
        commands.merge("smoke", [elsewhere.folder])
    assert not planned.folder.exists()
