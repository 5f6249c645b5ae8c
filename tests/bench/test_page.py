"""The benchmark's table, page and figure; what is measured is checked in tests of its own."""

import os
from pathlib import Path
from typing import get_type_hints

import pandas as pd
import pytest

from companion.bench import growth, page
from companion.bench.turns import SECONDS, Measured, Way
from companion.cli import shared as cli
from companion.errors import CompanionError
from companion.origin import get_commit
from measures import two


def ways(_cores: int) -> list[Way]:
    return [Way("ours", ("t",), two, "whole call"), Way("theirs", ("t",), two, "as it comes", 2, 1)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PARTS", {"scoring": ("Scoring", ways), "statistics": ("Statistics", ways)})


@pytest.mark.usefixtures("small")
def test_all_parts_are_measured_and_one_can_be_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text = page.run((), 2, tmp_path)
    assert (tmp_path / "bench.md").read_text() == text
    assert f"{os.cpu_count()} cores" in text and "torch 2." in text
    assert "## Scoring" in text and "## Statistics" in text
    assert (" with changes.*" in text) == get_commit().endswith("-dirty") and f"*Commit {get_commit()[:8]}" in text
    assert "4 [4, 4] examples/s" in text and "0.5 [0.5, 0.5]" in text
    capsys.readouterr()
    page.run(["statistics"], 3, tmp_path)
    assert len(capsys.readouterr().out.splitlines()) == 2 * 3
    table = page.read(tmp_path / "bench.csv")
    assert table[["part", "rounds"]].to_numpy().tolist() == [["scoring", 2]] * 2 + [["statistics", 3]] * 2


@pytest.mark.usefixtures("small")
def test_a_table_of_another_shape_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "bench.csv").write_text("task,method\nt,ours\n")
    page.run(["scoring"], 1, tmp_path)
    assert set(page.read(tmp_path / "bench.csv")["part"]) == {"scoring"}


@pytest.mark.usefixtures("small")
def test_only_a_whole_run_takes_the_place_of_another_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.run(["scoring"], 1, tmp_path)
    before = (tmp_path / "bench.csv").read_bytes()
    monkeypatch.setattr(page, "machine", lambda: "another")
    with pytest.raises(
        CompanionError, match=r"measured on another machine .*here: another.*measure all parts, or .*--to"
    ):
        page.run(["statistics"], 1, tmp_path)
    assert (tmp_path / "bench.csv").read_bytes() == before
    page.run(["statistics"], 1, tmp_path / "elsewhere")
    page.run((), 1, tmp_path)
    table = page.read(tmp_path / "bench.csv")
    assert set(table["machine"]) == {"another"} and set(table["part"]) == {"scoring", "statistics"}


def test_the_help_names_every_part() -> None:
    parts = get_type_hints(cli.bench, include_extras=True)["parts"]
    assert f"Of {', '.join(page.PARTS)}; all" in parts.__metadata__[0].help


def test_an_unknown_part_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="no part 'speed'.*choose from training, profile, scoring"):
        page.run(["training", "speed"], 1, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_readme_shows_ratios_of_speeds_only(tmp_path: Path) -> None:
    row = {"task": "t", "processes": 1, "threads": 1, "lowest": 1.0, "highest": 3.0, "rounds": 2, "memory_mib": 9}
    row |= {"note": "sorted", "machine": "M", "times": 1.0, "times_lowest": 1.0, "times_highest": 1.0}
    ours = {**row, "part": "scoring", "way": "ours", "unit": "examples/s", "median": 8.0}
    theirs = {**ours, "way": "theirs", "median": 2.0, "times": 4.0, "times_lowest": 3.0, "times_highest": 5.0}
    own, again = {**ours, "task": "u"}, {**theirs, "task": "u", "times": 7.0}
    single = {**theirs, "way": "single", "note": "alone", "task": "u"}
    nats = {**theirs, "task": "difference", "unit": "nats"}
    growing = {**theirs, "part": "growth", "task": "seeds"}
    share = {**ours, "task": "share of the limit", "unit": "of 1"}
    whole = {**ours, "part": "grid", "unit": "s", "task": "grid", "note": ""}
    rows = [ours, own, theirs, again, single, nats, share, growing, whole, {**whole, "way": "processes", "times": 2.0}]
    pd.DataFrame(rows).assign(times_lowest=3.0).to_csv(tmp_path / "bench.csv", index=False)
    shown = page.ratios(tmp_path / "bench.csv")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines()]
    assert cells[0] == ["times as fast as", "t", "u", "how"]
    assert cells[2] == ["**ours** itself", "8 [1, 3] examples/s", "8 [1, 3] examples/s", "1 x 1, sorted"]
    assert cells[3] == ["theirs", "4.0 [3.0, 5.0]", "7.0 [3.0, 5.0]", "1 x 1, sorted"]
    assert cells[4] == ["single", "", "4.0 [3.0, 5.0]", "1 x 1, alone"]
    assert cells[6] == ["times as fast as", "grid", "how"] and cells[9][:2] == ["processes", "2.0 [3.0, 1.0]"]
    assert not {"difference", "seeds", "share"} & set(shown.split()) and shown.endswith("Machine: M.")
    with pytest.raises(CompanionError, match="run make bench"):
        page.ratios(tmp_path / "none.csv")


def test_every_point_of_growth_is_drawn_and_only_its_quantity_grows(tmp_path: Path) -> None:
    found = [Measured(way, way.tasks[0], [3.0, 5.0]) for way in growth.ways()]
    table = page.measured_rows("growth", found)
    growth.draw(table, tmp_path)
    assert (tmp_path / "bench_growth.png").stat().st_size > 10_000 and (tmp_path / "bench_growth.pdf").exists()
    drawn = growth.growth_figure(table)
    ticks = {axes.get_xlabel(): axes.get_xticks().tolist() for axes in drawn.axes}
    assert ticks == {quantity: list(values) for quantity, values in growth.GROWTH.items()}
    assert all(axes.get_ylim()[0] == 0 and axes.get_ylim()[1] >= 5 for axes in drawn.axes)
    cores = os.cpu_count() or 1
    assert [len(growth.plan_growth("seeds", count)[0]) for count in (1, 8)] == [1, 8]
    assert growth.plan_growth("workers, for 8 runs", 4)[1] == 4 and growth.plan_growth("arms", 4)[1] == cores
    assert {run.items for run in growth.plan_growth("test items", 160)[0]} == {160}
    assert {5 * run.train for run in growth.plan_growth("training examples", 80)[0]} == {80}
    assert {run.length for run in growth.plan_growth("prompt length in tokens", 480)[0]} == {480}
    assert [run.target for run in growth.plan_growth("arms", 4)[0]] == [2, 10, 18, 26]
    assert {way.unit for way in growth.ways()} == {SECONDS}
