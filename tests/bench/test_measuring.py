"""What the benchmark measures is what it says: the workload, the work counted, equal scores, each way once."""

import importlib.util
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from companion.bench import bootstraps, commands, grid, scoring, together, training, workload
from companion.bench.turns import Measured, take_turns
from companion.models.attention import common_prefix, pack
from companion.runs.spec import spec_id
from companion.runs.store import Store
from companion.stats.bootstrap import nested_bootstrap


def test_batches_are_the_same_every_time_and_share_what_they_say() -> None:
    for task in workload.TRAINING.values():
        batches = task.batches(4)
        assert batches == task.batches(4)
        assert {len(batch) for batch in batches} == {task.size}
        assert all(abs(len(reply) - task.target) <= task.target / 4 for batch in batches for _, reply in batch)
    rubric, study = (
        workload.TRAINING[f"train{kind}, label"].batches(40) for kind in (", long rubric", " as the study")
    )
    prompts = [prompt for batch in rubric for prompt, _ in batch]
    assert common_prefix(prompts) == 95 and {len(prompt) for prompt in prompts} <= set(range(145, 196))
    assert common_prefix([prompt for batch in study for prompt, _ in batch]) == 0
    assert all(25 <= common_prefix([prompt for prompt, _ in batch]) <= 58 for batch in study)
    assert 105 < np.mean([len(prompt) for batch in study for prompt, _ in batch]) < 125


@pytest.mark.parametrize(("task", "shared", "lengths"), [("long rubric", 95, (145, 195)), ("study", 16, (62, 161))])
def test_scored_prompts_share_what_they_say(task: str, shared: int, lengths: tuple[int, int]) -> None:
    (name,) = (name for name in workload.SCORING if task in name)
    prompts = workload.prompts(name, 100)
    assert common_prefix(prompts) == shared and prompts == workload.prompts(name, 100)
    assert lengths[0] <= min(map(len, prompts)) and max(map(len, prompts)) <= lengths[1]


@pytest.mark.parametrize("task", workload.TRAINING)
def test_tokens_computed_are_the_rows_of_the_packed_batch(task: str) -> None:
    (batch,) = workload.TRAINING[task].batches(1)
    assert (
        training.tokens_computed(batch) == pack([prompt + reply[:-1] for prompt, reply in batch], 10_000).ids.shape[1]
    )


def test_other_trainers_get_batches_of_like_length_a_middle_one_first() -> None:
    batches = workload.TRAINING["train, long rubric, label"].batches(3)
    pairs = training.by_length(batches)
    assert sorted(pairs) == sorted(pair for batch in batches for pair in batch)
    lengths = [[len(prompt) for prompt, _ in pairs[start : start + 8]] for start in (8, 0, 16)]
    assert max(lengths[0]) <= min(lengths[1]) and max(lengths[1]) <= min(lengths[2])


def test_the_first_step_is_not_timed() -> None:
    clock = training.Clock(8)
    clock.times = [100.0, 102.0, 104.0]
    assert clock.rate() == 2 * 8 / 4


def test_shares_divide_the_work_done_by_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "flops_per_token", lambda: 1e9)
    monkeypatch.setattr(training, "tokens_computed", lambda batch: 100 * len(batch))
    ours, products, *_ = training.ways(2)
    found = [Measured(ours, task, [2.0, 4.0]) for task in workload.TRAINING]
    found.append(Measured(products, training.PRODUCTS, [1000.0, 1000.0]))
    shares = {(one.task, one.way.name): one.values for one in training.shares(found)}
    assert len(shares) == 2 * len(workload.TRAINING)
    assert shares["share of the limit: train as the study, label", "tokens computed"] == pytest.approx([0.2, 0.4])


def test_two_batches_in_one_pass_share_their_first_tokens_only() -> None:
    (batch,) = workload.TRAINING["train as the study, label"].batches(1)
    both = together.two_batches(batch)
    shared = common_prefix([prompt for prompt, _ in batch])
    assert common_prefix([prompt for prompt, _ in both]) == shared and len({tuple(prompt) for prompt, _ in both}) == 10
    assert training.tokens_computed(both) == 2 * training.tokens_computed(batch) - shared


def test_the_bootstrap_that_is_timed_is_the_one_of_the_claims() -> None:
    values = bootstraps.differences()
    assert {table.shape for table in values.values()} == {(bootstraps.SEEDS, bootstraps.ITEMS)}
    assert len(values) == bootstraps.CELLS
    estimate = nested_bootstrap(values, np.random.default_rng(1), resamples=bootstraps.RESAMPLES)
    assert estimate.low < estimate.estimate < estimate.high


def test_a_run_differs_from_another_by_its_settings() -> None:
    assert len({spec_id(run) for run in grid.specs()}) == grid.RUNS


def test_commands_are_fresh_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.COMMANDS, "fails", ["-c", "raise SystemExit(3)"])
    assert commands.command("import companion") > 0
    with pytest.raises(subprocess.CalledProcessError):
        commands.command("fails")


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is None, reason="lm-evaluation-harness is not installed")
@pytest.mark.golden
def test_scores_equal_those_of_the_harness() -> None:
    assert scoring.agreement("") < 1e-4


@pytest.mark.slow
def test_every_way_measures_something() -> None:
    os.environ.update({"HF_HUB_OFFLINE": "1", "UNSLOTH_DISABLE_STATISTICS": "1"})
    chosen = [*training.ways(1), *scoring.ways(1), *together.ways(1), *bootstraps.ways()]
    for way in chosen:
        (first, *_) = take_turns([way], 1, print)
        assert first.values[0] > 0 and first.memory > 100, way.name


@pytest.mark.slow
def test_a_run_alone_gives_the_record_of_the_engine(tmp_path: Path) -> None:
    run = grid.specs(1)[0]
    grid._alone(run, str(tmp_path / "alone"))
    from companion.runs.engine import run_all

    run_all([run], grid.work, Store(tmp_path / "engine"), 1, tmp_path / "logs", quiet=True).raise_if_failed()
    stores = [Store(tmp_path / name).read(spec_id(run)).arrays["probabilities"] for name in ("alone", "engine")]
    assert np.array_equal(*stores)
