"""The benchmark's arithmetic and page; the measuring itself runs once, slowly, on one method."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from companion import bench


def fake(task: str) -> float:
    return {"a": 4.0, "b": 6.0}[task]


CHOSEN = [
    bench.Method("ours", 2, 1, ("a", "b"), fake, "whole call"),
    bench.Method("theirs", 1, 2, ("a",), fake, "as it comes"),
]


def test_rates_are_summed_over_processes_and_rounds_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_pool", lambda threads, scratch: ThreadPoolExecutor(1))
    said: list[str] = []
    result = bench.compare(CHOSEN, rounds=2, report=said.append)
    assert len(said) == 2 * 3
    assert result["task"].tolist() == ["a", "a", "b"]
    assert result["examples_per_second"].tolist() == [8.0, 4.0, 12.0]
    assert result["rounds"].tolist() == [2, 2, 2]


def test_table_gives_median_spread_and_ratio() -> None:
    result = bench.table(CHOSEN, {("a", 0): [9.0, 6.0, 7.0], ("a", 1): [2.0, 1.0, 3.5]})
    assert result["examples_per_second"].tolist() == [7.0, 2.0]
    assert result["lowest"].tolist() == [6.0, 1.0] and result["highest"].tolist() == [9.0, 3.5]
    assert result["times_slower"].tolist() == [1.0, 3.5]


def test_page_names_machine_versions_and_spread() -> None:
    page = bench.page(bench.table(CHOSEN, {("a", 0): [9.0, 6.0, 7.0]}))
    assert f"{os.cpu_count()} cores" in page and "torch 2." in page
    assert "6.00 to 9.00" in page and "2 x 1" in page


def test_examples_share_their_first_tokens_and_are_the_same_every_time() -> None:
    made = bench.examples(20, 40)
    assert made == bench.examples(20, 40)
    assert len({tuple(prompt[: bench.SHARED]) for prompt, _ in made}) == 1
    assert {len(prompt) for prompt, _ in made} <= set(range(145, 196))
    assert all(30 <= len(target) <= 50 for _, target in made)


@pytest.mark.slow
def test_our_own_rates_are_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = bench.methods(1)[:1]
    monkeypatch.setattr(bench, "methods", lambda cores: ours)
    monkeypatch.setattr(bench, "PROMPTS", 2)
    text = bench.run(rounds=1, folder=tmp_path)
    assert (tmp_path / "bench.md").read_text() == text
    assert len((tmp_path / "bench.csv").read_text().splitlines()) == 1 + 3
