"""What a run of the explanations study gives, and the data it reads, stay as recorded for this result version."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from companion.models import batches, finetune
from companion.models.base import load_base, locate
from companion.profiles import load_profile, load_settings
from companion.runs.spec import spec_id
from companion.studies.explanations.data import annotate, damage, dataset, degrade, texts
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.training import targets
from companion.studies.explanations.training.experiment import RunSpec, execute, plan
from golden import BAND, Golden, differences, same_machine

HERE = Path(__file__)
GOLDEN = Golden(RunSpec, HERE.with_name("golden"), f"pytest tests/studies/explanations/{HERE.name} --write-golden")
ARMS = ("base", "label", "explanation", "label_weighted", "explanation_first")
SEED = 14
"""One whose first batches change with the number of candidates, so that the golden runs see their order."""
CHANGED = (
    "The data of the same settings are other than recorded, so every study that was begun before is refused: restore "
    "how texts are read, degraded, rated and prompted; or, for new data, delete "
    f"{GOLDEN.store.folder.name} and run '{GOLDEN.command}'."
)


def small_settings() -> ExplanationsSettings:
    """Twice as many conversations as an epoch's order has candidates, ten batches, and short prompts."""
    settings = load_settings(load_profile("smoke"), "explanations", ExplanationsSettings)
    rates = {"learning_rate": 0.01, "batch_size": 4, "epochs": 2}
    recipe = replace(settings.recipe, lora_rank=2, max_length=4096, **rates)
    tuning = replace(settings.tuning, learning_rates=(0.01,), epochs=(2,), batch_sizes=(4,))
    sizes = {"train_items": 10, "train_versions": 1, "validation_items": 2, "test_items": 3, "generation_items": 2}
    which = {"sources": ("faq", "qa"), "axes": ("naturalness",), "arms": ARMS, "seeds": (SEED,), "context_words": 20}
    return replace(settings, recipe=recipe, tuning=tuning, **sizes, **which)


def data_hashes() -> dict[str, str]:
    """Hash of the data of small settings: those of the golden runs, and all axes, each level asked for."""
    settings = load_settings(load_profile("smoke"), "explanations", ExplanationsSettings)
    wide = replace(settings, axes=degrade.AXES)
    return {"runs": dataset.build(small_settings()).hash, "wide": dataset.build(wide).hash}


@pytest.fixture(scope="module")
def specs(tiny_profile: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunSpec]]:
    """The runs by arm, in one thread as in a worker; the model is named by a relative path, which is part of ids."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("golden")
        patch.setenv("COMPANION_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        name = "tiny_model"
        Path(name).symlink_to(tiny_profile.model)
        base = {"model": name, "revision": None, "weights": locate(name, None, "float32").sha256, "dtype": "float32"}
        yield {spec.arm: spec for spec in plan(small_settings(), base, dataset.build(small_settings()).hash)}
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def inputs(specs: dict[str, RunSpec]) -> dict[str, Any]:
    """What must be equal on every machine: digests of the data, every arm's training examples, and their order."""
    train = texts.load_examples(specs["label"].data, "train")
    pool, tokenizer = targets.Pool(train), load_base(specs["label"].model, None, "float32").tokenizer
    arms = (*targets.PRIMARY, *targets.CONTROLS)
    sequences = {arm: [targets.make_target(one, arm, SEED, tokenizer, pool) for one in train] for arm in arms}
    return {
        "data": data_hashes(),
        "targets": {arm: hashlib.sha256(repr(sequences[arm]).encode()).hexdigest()[:16] for arm in arms},
        "batches": [repr(batch) for batch in batches.epoch_batches(sequences["label"], 4, SEED, 0)],
    }


@pytest.fixture(scope="module", autouse=True)
def recorded(request: pytest.FixtureRequest, specs: dict[str, RunSpec], inputs: dict[str, Any]) -> Golden:
    if request.config.getoption("--write-golden"):
        GOLDEN.write(specs.values(), execute, inputs)
    assert not GOLDEN.missing, GOLDEN.missing
    return GOLDEN


def test_the_same_settings_give_the_recorded_data(recorded: Golden, inputs: dict[str, Any]) -> None:
    assert inputs["data"] == recorded.inputs()["data"], CHANGED


def test_every_arm_is_trained_on_the_recorded_examples(recorded: Golden, inputs: dict[str, Any]) -> None:
    known = recorded.inputs()["targets"]
    # A new arm changes nothing of the others.
    assert {arm: inputs["targets"].get(arm) for arm in known} == known, "raise result_version of RunSpec"


def test_the_examples_come_in_the_recorded_batches(recorded: Golden, inputs: dict[str, Any]) -> None:
    assert inputs["batches"] == recorded.inputs()["batches"], "raise result_version of RunSpec"


def test_the_same_settings_give_the_recorded_specs(recorded: Golden, specs: dict[str, RunSpec]) -> None:
    assert not recorded.unplanned(specs.values()), "the ids of all recorded runs have changed"


# In the quick tier: no training, and label, explanation and weights at once.
TIERS = [arm if arm in ("base", "label_weighted") else pytest.param(arm, marks=pytest.mark.golden) for arm in ARMS]


@pytest.mark.parametrize("arm", TIERS)
def test_a_run_gives_the_recorded_result(recorded: Golden, specs: dict[str, RunSpec], arm: str) -> None:
    record = recorded.store.read(spec_id(specs[arm]))
    arrays, made_by = execute(specs[arm])
    assert not differences(record, arrays, same_machine(record, made_by)), "raise result_version of RunSpec"


@pytest.mark.golden
def test_other_last_bits_stay_within_the_band(recorded: Golden, specs: dict[str, RunSpec]) -> None:
    """Sums over other parts of a batch round as on another processor."""
    spec = specs["label_weighted"]
    arrays, _ = execute(replace(spec, recipe={**spec.recipe, "tokens_at_once": 900}))
    record = recorded.store.read(spec_id(spec))
    assert differences(record, arrays, exact=True)
    assert not differences(record, arrays, exact=False)


def another_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batches, "CANDIDATES", batches.CANDIDATES + 1)


def another_schedule(patch: pytest.MonkeyPatch) -> None:
    linear = finetune.get_wsd_schedule
    patch.setattr(finetune, "get_wsd_schedule", lambda *told, decay_type: linear(*told, decay_type="cosine"))


def another_adapter(patch: pytest.MonkeyPatch) -> None:
    fresh = finetune.create_adapter
    patch.setattr(
        finetune, "create_adapter", lambda base, rank, alpha, seed, *more: fresh(base, rank, alpha, seed + 1, *more)
    )


def another_prompt(patch: pytest.MonkeyPatch) -> None:
    prompt = targets.make_scoring_prompt
    patch.setattr(targets, "make_scoring_prompt", lambda *told: prompt(*told)[:-2] + prompt(*told)[-1:])


def another_lead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(targets, "EXPLANATION_LEAD", "Explanation :")


CHANGES = [another_order, another_schedule, another_adapter, another_prompt, another_lead]


@pytest.mark.golden
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_of_results_is_seen_on_every_machine(
    recorded: Golden, specs: dict[str, RunSpec], monkeypatch: pytest.MonkeyPatch, change: Callable[..., None]
) -> None:
    change(monkeypatch)
    record = recorded.store.read(spec_id(specs["label_weighted"]))
    arrays, _ = execute(specs["label_weighted"])
    assert differences(record, arrays, exact=False)
    assert np.abs(arrays["probabilities"] - record.arrays["probabilities"]).max() > 50 * BAND


def reading(patch: pytest.MonkeyPatch) -> None:
    load = dataset.load_sources
    patch.setattr(dataset, "load_sources", lambda names: {name: talks[::2] for name, talks in load(names).items()})


def degrading(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(damage.DAMAGED, 2, 0.33)


def filling(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(degrade.FILLERS, "test", degrade.FILLERS["test"][1:])


def annotating(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(annotate, "SIMULATED", annotate.SIMULATED[::-1])


def prompting(patch: pytest.MonkeyPatch) -> None:
    prompt = dataset.make_prompt
    patch.setattr(dataset, "make_prompt", lambda *told: prompt(*told) + " ")


@pytest.mark.parametrize(
    "change", [reading, degrading, filling, annotating, prompting], ids=lambda change: change.__name__
)
def test_a_change_of_the_data_is_seen(
    recorded: Golden, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None]
) -> None:
    change(monkeypatch)
    assert dataset.build(small_settings()).hash != recorded.inputs()["data"]["runs"]


def test_another_result_version_says_how_to_record_it(recorded: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded.missing == ""
    with pytest.raises(AssertionError, match="raise result_version of RunSpec first"):
        recorded.write([], execute, {})
    monkeypatch.setattr(RunSpec, "result_version", RunSpec.result_version + 1)
    assert "--write-golden" in recorded.missing and f"commit RunSpec-{RunSpec.result_version}" in recorded.missing


def test_a_changed_field_of_a_spec_is_seen(recorded: Golden, specs: dict[str, RunSpec]) -> None:
    changed = [replace(spec, threads=2) for spec in specs.values()]
    assert len(recorded.unplanned(changed)) == 2 * len(ARMS)
