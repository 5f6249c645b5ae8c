"""What the benchmark measures is what it says: the workload, the work counted, equal scores, each way once."""

import importlib.util
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from companion.bench import bootstraps, commands, grid, scoring, together, training, workload
from companion.bench.turns import Measured, take_turns
from companion.models.attention import pack
from companion.runs.spec import spec_id
from companion.runs.store import Store
from companion.stats.bootstrap import nested_bootstrap


def test_examples_share_their_first_tokens_and_are_the_same_every_time() -> None:
    made = workload.examples(20, 40)
    assert made == workload.examples(20, 40)
    assert len({tuple(prompt[: workload.SHARED]) for prompt, _ in made}) == 1
    assert {len(prompt) for prompt, _ in made} <= set(range(145, 196))
    assert all(30 <= len(target) <= 50 for _, target in made)


def test_tokens_computed_are_the_rows_of_the_packed_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = workload.examples(workload.BATCH, 40)
    rows = pack([prompt + reply[:-1] for prompt, reply in pairs], 10_000).ids.shape[1]
    assert training.tokens_computed(pairs) == rows
    parts = replace(workload.recipe(), tokens_at_once=600)
    monkeypatch.setattr(training, "recipe", lambda: parts)
    assert training.tokens_computed(pairs) > rows


def test_the_first_step_is_not_timed() -> None:
    clock = training.Clock()
    clock.times = [100.0, 102.0, 104.0]
    assert clock.rate() == 2 * workload.BATCH / 4


def test_shares_divide_the_work_done_by_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "flops_per_token", lambda: 1e9)
    monkeypatch.setattr(training, "tokens_computed", lambda pairs: 100.0 * len(pairs))
    ours, *_, products = training.ways(2)
    found = [Measured(ours, task, [2.0, 4.0]) for task in workload.TRAINING]
    found.append(Measured(products, training.PRODUCTS, [1000.0, 1000.0]))
    shares = {(one.task, one.way.name): one.values for one in training.shares(found)}
    assert len(shares) == 4
    assert shares["share of the limit: train, targets of 2 tokens", "tokens computed"] == pytest.approx([0.2, 0.4])


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
