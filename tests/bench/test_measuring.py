"""What the benchmark measures is what it says: the workload, the work counted, equal scores, each way once."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from companion.bench import bootstraps, commands, grid, profile, scoring, training, workload
from companion.bench.page import OFFLINE
from companion.bench.turns import Measured, take_turns
from companion.models.attention import find_common_prefix, pack
from companion.models.batches import epoch_batches
from companion.runs.spec import spec_id
from companion.runs.store import Store
from companion.stats.bootstrap import nested_bootstrap
from measures import first_loss


def alone(function: Callable[..., Any], *arguments: str) -> Any:
    """What a function gives in a fresh process."""
    os.environ.update(OFFLINE)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


@contextmanager
def kept(folder: Path) -> Iterator[str]:
    """In place of a temporary folder one that stays, emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield str(folder)


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
    assert find_common_prefix(prompts) == 95 and {len(prompt) for prompt in prompts} <= set(range(145, 196))
    assert find_common_prefix([prompt for batch in study for prompt, _ in batch]) == 0
    assert all(25 <= find_common_prefix([prompt for prompt, _ in batch]) <= 58 for batch in study)
    assert 105 < np.mean([len(prompt) for batch in study for prompt, _ in batch]) < 125


@pytest.mark.parametrize(("task", "shared", "lengths"), [("long rubric", 95, (145, 195)), ("study", 16, (62, 161))])
def test_scored_prompts_share_what_they_say(task: str, shared: int, lengths: tuple[int, int]) -> None:
    (name,) = (name for name in workload.SCORING if task in name)
    prompts = workload.prompts(name, 100)
    assert find_common_prefix(prompts) == shared and prompts == workload.prompts(name, 100)
    assert lengths[0] <= min(map(len, prompts)) and max(map(len, prompts)) <= lengths[1]


@pytest.mark.parametrize("task", workload.TRAINING)
def test_tokens_computed_are_the_rows_of_the_packed_batch(task: str) -> None:
    (batch,) = workload.TRAINING[task].batches(1)
    assert (
        training.tokens_computed(batch) == pack([prompt + reply[:-1] for prompt, reply in batch], 10_000).ids.shape[1]
    )


def test_other_trainers_get_batches_of_like_length_the_longest_first() -> None:
    batches = workload.TRAINING["train, long rubric, label"].batches(4)
    pairs = training.sort_by_length(batches)
    assert sorted(pairs) == sorted(pair for batch in batches for pair in batch)
    lengths = [[len(prompt) for prompt, _ in pairs[start : start + 8]] for start in (8, 16, 24, 0)]
    assert all(max(one) <= min(other) for one, other in pairwise(lengths))


def test_the_warm_up_is_not_timed_and_what_follows_waits_for_the_other_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited, now = [], iter([100.0, 110.0, 112.0, 114.0])
    monkeypatch.setattr(training, "wait_for_the_others", lambda: waited.append(len(clock.times)))
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(now))
    clock = training.Clock(8)
    for _ in range(training.WARMUP + training.STEPS):
        clock.record_step()
    assert clock.rate() == 2 * 8 / 4 and waited == [training.WARMUP - 1]


@pytest.mark.parametrize("task", workload.TRAINING)
def test_the_tokens_counted_are_those_of_the_steps_that_are_timed(task: str) -> None:
    chosen = workload.TRAINING[task]
    all_batches, timed = chosen.batches(training.WARMUP + training.STEPS), training.select_timed_batches(chosen)
    assert len(timed) == training.STEPS and all(batch in all_batches for batch in timed)
    order = epoch_batches(workload.sequences(all_batches), chosen.size, training.SEED, 0)
    assert [all_batches[numbers[0] // chosen.size] for numbers in order[-training.STEPS :]] == timed


def test_shares_divide_the_work_done_by_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "flops_per_token", lambda: 1e9)
    monkeypatch.setattr(training, "tokens_computed", lambda batch: 100 * len(batch))
    ours, products, *_ = training.ways(2)
    found = [Measured(ours, task, [2.0, 4.0]) for task in workload.TRAINING]
    found.append(Measured(products, training.PRODUCTS, [1000.0, 1000.0]))
    shares = {one.task: one.values for one in training.compute_shares(found)}
    assert len(shares) == len(workload.TRAINING)
    assert shares["share of the limit: train as the study, label"] == pytest.approx([0.2, 0.4])


@pytest.mark.golden
def test_a_token_costs_four_operations_for_each_weight_of_the_blocks() -> None:
    block = 2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536
    assert training.flops_per_token() == 4 * 30 * block


@pytest.mark.golden
def test_the_kinds_of_operations_make_the_whole_and_products_are_told_apart() -> None:
    shares = [profile.measure_shares(task) for task in profile.ways()[0].tasks[: len(profile.KINDS)]]
    assert sum(shares) == pytest.approx(1) and min(shares) > 0 and shares[0] == max(shares)
    kinds = [
        profile.classify_operation("aten::mm", shapes)
        for shapes in ([[500, 576], [576, 1536]], [[500, 576], [576, 16]], [[16, 576], [576, 49152]])
    ]
    assert (
        kinds == ["frozen layers", "adapter", "head"]
        and profile.classify_operation("aten::bmm", [[9, 16, 8]]) == "attention"
    )


def test_the_bootstrap_that_is_timed_is_the_one_of_the_claims() -> None:
    values = bootstraps.differences()
    assert {table.shape for table in values.values()} == {(bootstraps.SEEDS, bootstraps.ITEMS)}
    assert len(values) == bootstraps.CELLS
    estimate = nested_bootstrap(values, np.random.default_rng(1), resamples=bootstraps.RESAMPLES)
    assert estimate.low < estimate.estimate < estimate.high


def test_both_textbook_bootstraps_have_one_distribution() -> None:
    values = np.stack(list(bootstraps.differences().values()))[:5, :, :40]
    loop, blocks = (
        means(values, np.random.default_rng(seed), 4000)
        for seed, means in enumerate((bootstraps.one_at_a_time, bootstraps.many_at_a_time))
    )
    assert loop.shape == blocks.shape
    assert loop.mean() == pytest.approx(blocks.mean(), abs=5 * loop.std() / 4000**0.5)
    assert loop.std() == pytest.approx(blocks.std(), rel=0.06)
    assert stats.ks_2samp(loop, blocks).pvalue > 1e-4


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


@pytest.mark.golden
def test_a_cached_prefix_changes_no_score() -> None:
    for task in workload.SCORING:
        for plain, cached in zip(scoring.forward(task), scoring.forward_cached(task), strict=True):
            np.testing.assert_allclose(plain.numpy(), cached.numpy(), atol=0.5)
            assert abs(plain - cached).mean() < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task in workload.TRAINING if task.endswith("label")])
def test_every_trainer_has_the_same_loss_and_as_many_weights(task: str) -> None:
    ways = [way.measure.__name__ for way in training.ways(1) if task in way.tasks]
    assert len(ways) == 7
    loss, trainable = alone(first_loss, ways[0], task)
    for name in ways[1:]:
        other, weights = alone(first_loss, name, task)
        assert other == pytest.approx(loss, abs=0.05) and weights == trainable, name


@pytest.mark.slow
def test_every_way_measures_something() -> None:
    os.environ.update(OFFLINE)
    chosen = [*training.ways(1), *scoring.ways(1), *bootstraps.ways()]
    for way in chosen:
        (first, *_) = take_turns([way], 1, print)
        assert first.values[0] > 0 and first.memory > 100, way.name


@pytest.mark.slow
def test_every_way_makes_the_whole_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = [replace(run, train=1, items=4) for run in grid.specs(3)]
    monkeypatch.setattr(grid, "specs", lambda: short)
    monkeypatch.setattr(grid.tempfile, "TemporaryDirectory", lambda: kept(tmp_path / "grid"))
    for way in grid.ways(2):
        assert way.measure("") > 0
        made = {file.stem for file in (tmp_path / "grid").rglob("*.safetensors")}
        assert made == set(map(spec_id, short)), way.name


@pytest.mark.slow
def test_figures_are_made_in_a_copy_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    *_, figures = commands.ways()
    assert figures.tasks == (commands.MADE, commands.AGAIN)
    whole = figures.measure(commands.MADE)
    made = tmp_path / "copy" / "figures" / commands.PROFILE / commands.STUDY / "T4_arms.csv"
    before = made.stat().st_mtime_ns
    assert figures.measure(commands.AGAIN) < whole and made.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_alone_gives_the_record_of_the_engine(tmp_path: Path) -> None:
    run = grid.specs(1)[0]
    grid._alone(run, str(tmp_path / "alone"))
    from companion.runs.engine import run_all

    run_all([run], grid.work, Store(tmp_path / "engine"), 1, tmp_path / "logs", quiet=True).raise_if_failed()
    stores = [Store(tmp_path / name).read(spec_id(run)).arrays["probabilities"] for name in ("alone", "engine")]
    assert np.array_equal(*stores)
