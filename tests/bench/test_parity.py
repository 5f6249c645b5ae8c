"""The ways of the parity benchmark agree, and its page is made from what they measured."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from companion.bench import page, parity, relabelling_growth, relabellings, searches
from companion.bench.turns import Measured, take_turns
from companion.cli import shared as cli
from companion.models.neighbours import find_neighbours
from companion.stats.joins import Weighted, permutation_p
from companion.stats.retrieval import Groups, Retrieval

PREPARED = {way.name: way.measure.args[0] for way in relabellings.ways()}
COEFFICIENTS = ("igraph", "networkx")


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Retrieval, Groups]:
    """Results of 200 items that track the group a little, so that p is neither 0 nor 1."""
    monkeypatch.chdir(tmp_path)
    relabellings.write_results(Path("random-200-10.npy"), "random", 200, 10)
    return relabellings.load_case("random", 200)


def assortativity(counts: Weighted) -> np.ndarray:
    """The nominal assortativity of the directed graph, from this project's counts."""
    expected = (counts.asked * counts.found).sum(axis=(1, 2)) / counts.total**2
    return (counts.same_share - expected) / (1 - expected)


@pytest.mark.parametrize("name", ["numpy", "igraph", "esda", "networkx"])
def test_every_way_sees_the_same_statistic_and_nearly_the_same_p(name: str, case: tuple[Retrieval, Groups]) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    draws = 199 if name == "networkx" else 999
    counts = relabellings.count_ours(*case, 4_000)
    ours = assortativity(counts) if name in COEFFICIENTS else counts.same_share
    theirs = PREPARED[name](*case)(draws)
    assert len(theirs) == draws + 1 and theirs[0] == pytest.approx(ours[0], abs=1e-12)
    p = permutation_p(ours)
    assert 0.02 < p < 0.98
    assert permutation_p(theirs) == pytest.approx(p, abs=5 * (p * (1 - p) / draws) ** 0.5)


def test_the_moments_are_those_of_the_draws(case: tuple[Retrieval, Groups]) -> None:
    mean, variance, _ = PREPARED["companion, moments"](*case)(0)
    counts = relabellings.count_ours(*case, 4_000)
    # Plain C, without what self-exclusion adds.
    centred = (counts.same_share - (counts.asked * counts.found).sum(axis=(1, 2)) / counts.total**2)[1:]
    edges = case[0].results.size
    assert mean / edges == pytest.approx(centred.mean(), abs=5 * centred.std() / 4_000**0.5)
    assert variance**0.5 / edges == pytest.approx(centred.std(), rel=0.06)


def test_both_searches_find_the_same() -> None:
    vectors = searches.make_vectors(300)
    untied = ~find_neighbours(vectors, searches.DEPTH).tied
    ours, theirs = searches.search_ours(vectors), searches.search_numpy(vectors)
    assert untied.mean() > 0.9 and np.array_equal(ours[untied], theirs[untied])


def test_a_task_is_read_as_it_is_named_and_a_slow_tool_is_scaled(
    case: tuple[Retrieval, Groups], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relabellings.read_task(relabellings.name_task("near_low", 100_000)) == ("near_low", 100_000)
    timed: list[int] = []
    monkeypatch.setattr(relabellings, "clock", lambda _, draws: timed.append(draws) or 1.0)
    few, draws = relabellings.FEW, relabellings.DRAWS
    assert relabellings.measure(PREPARED["numpy"], "random, 200 items") == (draws + 1) / (few + 1)
    assert relabellings.measure(PREPARED["companion"], "random, 200 items") == 1.0 and timed == [few, draws]


def test_ways_have_one_thread_and_results_that_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relabellings, "SHOWN", ("random",))
    monkeypatch.setattr(relabellings, "SIZES", (200,))
    monkeypatch.setattr(relabellings, "LARGE", ())
    ours, *_ = relabellings.ways()
    found = take_turns([ours], 1, lambda _: None)
    assert [one.task for one in found] == ["random, 200 items"]
    assert found[0].values[0] > 0 and found[0].memory > 20
    assert {way.threads for _, ways in parity.PARTS.values() for way in ways()} == {1}


def made_up(ours: float, theirs: float) -> pd.DataFrame:
    """Measures of all parts, as if each way of this project took `ours` seconds and each other `theirs`."""
    rows = []
    for part, (_, ways) in parity.PARTS.items():
        found = [
            Measured(way, task, [ours if way.name.startswith("companion") else theirs] * 2, 400)
            for way in ways()
            for task in way.tasks
        ]
        rows.append(page.measured_rows(part, found))
    return pd.concat(rows)


def test_the_page_shows_goals_and_tables(tmp_path: Path) -> None:
    made_up(0.5, 4.0).to_csv(tmp_path / "bench_parity.csv", index=False)
    text = parity.publish(tmp_path)
    assert (tmp_path / "bench_parity.md").read_text() == text
    assert all(f"## {heading}" in text for heading in ("Goals", *(heading for heading, _ in parity.PARTS.values())))
    assert all((tmp_path / f"bench_parity_growth.{ending}").stat().st_size > 10_000 for ending in ("png", "pdf"))
    assert "{" not in text and "8.0 [8.0, 8.0]" in text


def test_goals_are_held_or_not_by_the_worst_measure() -> None:
    goals = parity.compare_goals(made_up(2.0, 14.0)).set_index("goal")
    assert goals.loc["100,000 items in 1 s"].tolist() == ["2 s", "no"]
    assert goals.loc["1,000,000 items in 15 s"].tolist() == ["2 s", "yes"]
    assert goals.loc["1,000,000 items in 500 MB"].tolist() == ["419 MB", "yes"]
    assert goals.loc["6 times as fast as numpy, 1,000 items"].tolist() == ["7.0 times", "yes"]
    assert goals.loc["10 times as fast as numpy, 1,000,000 items", "holds"] == "no"


def test_one_quantity_grows_and_every_point_is_drawn() -> None:
    assert relabelling_growth.plan_growth("groups", 5) == (100_000, 10, 999, 5)
    table = made_up(1.0, 2.0)
    drawn = relabelling_growth.growth_figure(table[table["part"] == "growth"])
    ticks = {axes.get_xlabel(): axes.get_xticks().tolist() for axes in drawn.axes}
    assert ticks == {quantity: list(values) for quantity, values in relabelling_growth.GROWTH.items()}
    assert {axes.get_xscale() for axes in drawn.axes} == {axes.get_yscale() for axes in drawn.axes} == {"log"}


def test_the_command_measures_it_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(parity, "run", lambda *_: called.append("parity") or "")
    monkeypatch.setattr(page, "run", lambda *_: called.append("models") or "")
    cli.bench(["parity"])
    cli.bench(None)
    cli.bench(["scoring"])
    assert called == ["parity", "models", "models"]
