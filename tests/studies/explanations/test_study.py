"""The whole study at its smallest: real text, a tiny random model, every arm, real worker processes."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from companion.errors import CompanionError
from companion.models.base import load_base
from companion.models.batches import epoch_batches
from companion.profiles import Profile
from companion.runs.engine import Report
from companion.runs.log import get_log_file, parse_events
from companion.runs.spec import spec_id
from companion.studies.explanations.data import dataset, texts
from companion.studies.explanations.results.arms import compare_arms
from companion.studies.explanations.results.cells import compare_cells
from companion.studies.explanations.results.claims import decide_claims
from companion.studies.explanations.results.inside import compute_layer_values
from companion.studies.explanations.results.publish import publish_tuning
from companion.studies.explanations.results.reliability import compute_reliability
from companion.studies.explanations.results.results import load_results
from companion.studies.explanations.results.training import compute_learning_curves
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.experiment import RunSpec
from companion.studies.explanations.training.targets import CONTROLS, PRIMARY, Pool, make_target
from companion.studies.study import grids, run

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def study(
    tiny_profile: Profile, tiny_settings: ExplanationsSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExplanationsStudy]:
    folder = tmp_path_factory.mktemp("tiny study") / "Übung" / "explanations"
    made = ExplanationsStudy(tiny_profile, tiny_settings, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANION_CACHE", str(folder / "cache"))
        run(made, quiet=True).raise_if_failed()
        yield made


def test_every_run_is_recorded_and_whole(study: ExplanationsStudy) -> None:
    ids = [spec_id(spec) for spec in study.specs()]
    assert study.store.verify(ids) == []
    assert sorted(study.store.ids()) == sorted(ids)


def test_records_tell_what_held_the_model(study: ExplanationsStudy) -> None:
    for spec in study.specs():
        meta = study.store.read(spec_id(spec)).meta
        assert (meta["backend"], meta["device"], meta["compute"]) == ("transformers", "cpu", "float32")
        assert ("parts_of_a_batch" in meta) == (spec.arm != "base")


def test_logs_tell_every_phase_of_a_run(study: ExplanationsStudy) -> None:
    for spec in study.specs():
        told = parse_events(get_log_file(study.logs, spec_id(spec)).read_bytes())
        phases = [name for name, _ in groupby(event["event"] for event in told)]
        before = ["step"] * (spec.arm != "base") + ["writing"] * (spec.arm == "explanation_first")
        after = ["writing"] * (spec.arm != "explanation_first")
        assert phases == ["start", *before, "scoring", *after, "end"]
        steps = [event for event in told if event["event"] == "step"]
        if steps:
            history = study.store.read(spec_id(spec)).arrays
            assert (steps[0]["done"], steps[-1]["done"]) == (0, steps[-1]["total"])
            assert steps[-1]["examples"] == history["history_examples_seen"][-1]
            assert np.float32(steps[-1]["loss"]) == history["history_loss"][-1]
    (status,) = grids(study)()
    assert status.whole.done == status.whole.total and status.running == ()


def test_a_backend_that_cannot_be_had_is_told_before_anything_is_trained(
    tiny_study: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    study = replace(tiny_study, profile=replace(tiny_study.profile, backend="unsloth"))
    with pytest.raises(CompanionError, match="needs a CUDA GPU"):
        run(study, quiet=True)
    assert not list(study.folder.rglob("*.safetensors"))


def test_the_nodes_of_a_cluster_say_what_auto_is_and_which_backend_they_have(
    tiny_study: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setenv("COMPANION_RAY", "head:6379")
    monkeypatch.setattr("companion.runs.ray_cluster.ask_cluster", lambda *told: asked.append(told[0]) or "float16")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    study = replace(tiny_study, profile=replace(tiny_study.profile, dtype="auto", backend="unsloth"))
    assert study.base["dtype"] == "float16" and study.environment() == {"COMPANION_BACKEND": "unsloth"}
    assert asked == ["companion.models.base:get_native_dtype", "companion.models.backend:choose_backend"]
    monkeypatch.setenv("COMPANION_RAY", "local")
    assert replace(study).base["dtype"] != "float16" and len(asked) == 2


def test_a_second_run_does_nothing(study: ExplanationsStudy) -> None:
    before = {file: file.stat().st_mtime_ns for file in study.store.folder.iterdir()}
    report = run(study, quiet=True)
    assert (report.done, report.failed) == ((), {})
    assert {file: file.stat().st_mtime_ns for file in study.store.folder.iterdir()} == before


def test_a_fresh_process_makes_the_same_bytes(study: ExplanationsStudy) -> None:
    spec = next(spec for spec in study.specs() if spec.arm == "shuffled")
    file = study.store.path(spec_id(spec))
    before = file.read_bytes()
    file.unlink()
    assert run(study, quiet=True).done == (spec_id(spec),)
    assert file.read_bytes() == before


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray, which must not be imported yet")
def test_a_cluster_makes_the_same_bytes(study: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPANION_RAY", "local")
    files = [study.store.path(spec_id(spec)) for spec in study.specs() if spec.arm in ("base", "explanation")][:3]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    assert run(study, quiet=True).done == tuple(file.stem for file in files)
    assert [file.read_bytes() for file in files] == before


def test_a_cluster_is_given_the_texts_and_misspelt_refused(
    study: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("companion.runs.store.Store.is_valid", lambda store, run_id: False)
    asked: list[tuple[list[object], list[Path]]] = []

    def pretend(specs: list[object], *_: object, needed: list[Path]) -> Report:
        asked.append((specs, needed))
        return Report(done=tuple(map(spec_id, specs)), skipped=(), failed={})

    monkeypatch.setattr("companion.runs.ray_engine.run_all", pretend)
    monkeypatch.setenv("COMPANION_RAY", "head:6379")
    assert run(study, quiet=True).done == tuple(map(spec_id, study.specs()))
    [(specs, needed)] = asked
    assert specs == study.specs() and [file.is_file() for file in needed] == [True]
    monkeypatch.setenv("COMPANION_RAY", "yes")
    with pytest.raises(CompanionError, match="give HOST:PORT"):
        run(study, quiet=True)


def test_tuning_chooses_the_lowest_log_loss_on_validation_items(
    study: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(publish_tuning(study), str)
    monkeypatch.setenv("COMPANION_CACHE", str(study.folder / "cache"))
    grid = replace(study.settings.tuning, learning_rates=(1e-5, 0.02), arms=("label",))
    recipe = replace(study.settings.recipe, learning_rate=0.02)
    tuned = ExplanationsStudy(study.profile, replace(study.settings, recipe=recipe, tuning=grid), study.folder)
    run(tuned, tuned.tuning_specs(), quiet=True).raise_if_failed()
    publish_tuning(tuned)
    table = pd.read_csv(tuned.folder / "T0_tuning.csv")
    assert table["learning_rate"].tolist() == [1e-5, 0.02]
    assert table["chosen"].sum() == 1
    labels = np.array([example.label for example in texts.load_examples(tuned.data.hash, "validation")])
    losses: dict[float, list[float]] = {1e-5: [], 0.02: []}
    for spec in tuned.tuning_specs():
        arrays, recipe = tuned.store.read(spec_id(spec)).arrays, spec.recipe or {}
        right = arrays["probabilities"][range(len(arrays["row"])), labels[arrays["row"]] - 1]
        losses[recipe["learning_rate"]] += list(-np.log(right))
    assert table["nll"].tolist() == pytest.approx([np.mean(losses[1e-5]), np.mean(losses[0.02])], rel=1e-4)
    assert table.loc[table["chosen"], "nll"].item() == table["nll"].min()
    for spec in tuned.tuning_specs():
        tuned.store.path(spec_id(spec)).unlink()


def test_a_damaged_record_is_made_again(study: ExplanationsStudy) -> None:
    run_id = spec_id(next(spec for spec in study.specs() if spec.arm == "base"))
    file = study.store.path(run_id)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert run_id in " ".join(study.store.verify([run_id]))
    assert run(study, quiet=True).done == (run_id,)
    assert file.read_bytes() == whole


def test_results_hold_every_arm_seed_axis_and_item(study: ExplanationsStudy) -> None:
    predictions = load_results(study).predictions
    settings = study.settings
    test_rows = (study.data.items["split"] == "test").sum()
    assert len(predictions) == test_rows * (1 + 9 * len(settings.seeds))
    assert set(predictions["arm"]) == set(settings.arms)
    assert predictions[["p1", "p2", "p3", "p4", "p5"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert not predictions.isna().any().any()


def test_labels_in_results_are_those_of_the_data_table(study: ExplanationsStudy) -> None:
    items = study.data.items.set_index(["item", "axis"])
    for row in load_results(study).predictions.itertuples():
        assert row.label == items.loc[(row.item, row.axis), "label"]


def test_every_estimate_and_the_ledger_can_be_made(study: ExplanationsStudy) -> None:
    results = load_results(study)
    assert len(compare_cells(results, 50)) == 4
    assert len(compare_arms(results, 50)) == 10
    assert len(compute_reliability(results, 50)) == 10
    assert {"label_loss", "rest_loss"} == set(compute_learning_curves(results)["measure"])
    assert np.isfinite(compute_layer_values(results)["value"]).all()
    assert len({claim.id for claim in decide_claims(results, study.settings)}) == 12


def test_arms_see_the_same_batches(study: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPANION_CACHE", str(study.folder / "cache"))
    tokenizer = load_base(study.profile.model, None, "float32").tokenizer
    pool = Pool(texts.load_examples(study.data.hash, "train"))
    orders = set()
    for arm in (*PRIMARY, *CONTROLS):
        sequences = [make_target(example, arm, 0, tokenizer, pool) for example in pool]
        orders.add(json.dumps(epoch_batches(sequences, 5, seed=0, epoch=0)))
    assert len(orders) == 1
    batches = json.loads(orders.pop())
    assert all(len({(pool[number].axis, pool[number].conversation) for number in batch}) == 1 for batch in batches)


def test_plan_is_frozen_and_survives_without_texts(
    study: ExplanationsStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    again = ExplanationsStudy(study.profile, study.settings, study.folder)
    assert [spec_id(spec) for spec in again.specs()] == [spec_id(spec) for spec in study.specs()]
    assert len(load_results(again).predictions) > 0
    assert not list(tmp_path.iterdir())


def test_other_settings_never_overwrite_a_recorded_plan(study: ExplanationsStudy) -> None:
    before = {file: file.read_bytes() for file in study.folder.rglob("*.json")}
    other = ExplanationsStudy(study.profile, replace(study.settings, train_items=2), study.folder)
    for look in (other.specs, other.freeze, lambda: run(other, quiet=True)):
        sentence = r"made with other settings than profile tiny has now \(train_items was 3 and is 2\); restore"
        with pytest.raises(CompanionError, match=sentence):
            look()
    assert {file: file.read_bytes() for file in study.folder.rglob("*.json")} == before


def test_records_of_an_older_result_version_are_read_but_none_is_added(
    study: ExplanationsStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = ExplanationsStudy(study.profile, study.settings, tmp_path / "copy")
    shutil.copytree(study.folder, copy.folder)
    before = load_results(study).predictions
    monkeypatch.setattr(RunSpec, "result_version", 99)
    assert copy.specs() == study.specs() and load_results(copy).predictions.equals(before)
    assert run(copy, quiet=True).done == ()
    copy.store.path(copy.store.ids()[0]).unlink()
    with pytest.raises(CompanionError, match=r"with result version 3, this code makes 99: .* train in a folder"):
        run(copy, quiet=True)
    assert {spec.result_version for spec in replace(copy, folder=tmp_path / "new").specs()} == {99}


def test_a_plan_older_than_versions_by_kind_of_run_is_read(study: ExplanationsStudy, tmp_path: Path) -> None:
    copy = ExplanationsStudy(study.profile, study.settings, tmp_path)
    facts = json.loads((study.folder / "study.json").read_text())
    assert facts.pop("result_versions") == {"RunSpec": 3}
    (tmp_path / "study.json").write_text(json.dumps({**facts, "result_version": 3}))
    assert copy.frozen() is not None and copy.version(RunSpec) == 3


def test_another_recipe_plans_other_runs_beside_the_recorded(study: ExplanationsStudy) -> None:
    recipe = replace(study.settings.recipe, lora_alpha=1)
    other = ExplanationsStudy(study.profile, replace(study.settings, recipe=recipe), study.folder)
    shared = {spec_id(spec) for spec in other.specs()} & {spec_id(spec) for spec in study.specs()}
    assert shared == {spec_id(spec) for spec in study.specs() if spec.arm == "base"}


def test_damaged_plan_and_data_are_one_sentence(study: ExplanationsStudy, tmp_path: Path) -> None:
    copy = ExplanationsStudy(study.profile, study.settings, tmp_path)
    study.data.save(tmp_path / "data")
    for content in (b"{", b"[]", b"{}", b"\xff"):
        (tmp_path / "study.json").write_bytes(content)
        with pytest.raises(CompanionError, match="study.json is damaged"):
            copy.specs()
    items = tmp_path / "data" / "items.parquet"
    items.write_bytes(items.read_bytes()[:-1])
    with pytest.raises(CompanionError, match="items.parquet is missing or damaged"):
        dataset.Data.load(tmp_path / "data")
    (tmp_path / "data" / "data.json").write_text("{")
    with pytest.raises(CompanionError, match="data.json is damaged"):
        dataset.Data.load(tmp_path / "data")


def test_training_and_test_share_no_conversation(study: ExplanationsStudy) -> None:
    conversations = study.data.items["item"].str.rpartition("-")[0]
    assert (study.data.items.groupby(conversations)["split"].nunique() == 1).all()
    assert study.data.items["item"].nunique() > conversations.nunique()
    facts = json.loads((study.folder / "data" / "data.json").read_text())
    assert facts["hash"] == study.data.hash


def test_more_items_than_a_source_has(tiny_settings: ExplanationsSettings) -> None:
    with pytest.raises(CompanionError, match="are asked for but only"):
        dataset.build(replace(tiny_settings, train_items=100_000))


@pytest.mark.parametrize(("driver", "address", "slots"), [(False, "", 3), (True, "", 12), (False, "host:1", 12)])
def test_without_a_gpu_no_more_runs_at_a_time_than_processors(
    study: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: bool, address: str, slots: int
) -> None:
    many = replace(study, profile=replace(study.profile, workers=12))
    monkeypatch.setattr("companion.studies.study.GPU_DRIVERS", (str(tmp_path),) if driver else ())
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setenv("COMPANION_RAY", address)
    assert many.slots() == slots
