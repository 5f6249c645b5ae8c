"""Turns and their table: what is added up, what is compared, and that processes are fresh and kept."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from companion.bench.turns import SECONDS, Measured, Way, make_rows, take_turns
from grids import alive, wait_for
from measures import begun, held, rate, threads, two


def test_processes_are_kept_between_rounds_and_their_rates_added_up() -> None:
    said: list[str] = []
    a, b = take_turns([Way("ours", ("a", "b"), rate, "", processes=2)], 2, said.append)
    # Calls 1 and 2 of each of two processes in the first round, 3 and 4 in the second.
    assert (a.values, b.values) == ([8.0, 24.0], [24.0, 48.0])
    assert len(said) == 4 and said[0].startswith("1/2  a, ours: 8 ")


def test_seconds_of_processes_are_those_of_the_slowest_and_threads_are_set() -> None:
    (one,) = take_turns([Way("ours", ("a",), threads, "", processes=2, threads=3, unit=SECONDS)], 1, lambda _: None)
    assert one.values == [3.0]


def test_the_processes_of_a_way_begin_together() -> None:
    (one,) = take_turns([Way("ours", ("late",), begun, "", processes=2)], 1, lambda _: None)
    assert one.values[0] > 0.4


def test_memory_is_the_peak_of_each_measurement() -> None:
    heavy, lighter = take_turns([Way("heavy", ("a",), held, ""), Way("two", ("a",), two, "")], 1, lambda _: None)
    assert 150 < heavy.memory - lighter.memory < 300


@pytest.mark.parametrize(("unit", "times"), [("examples/s", (3.0, 2.0, 4.0)), (SECONDS, (1 / 3, 1 / 4, 1 / 2))])
def test_ratios_are_taken_round_by_round(unit: str, times: tuple[float, float, float]) -> None:
    ours, theirs = (Way(name, ("a",), two, "", unit=unit) for name in ("ours", "theirs"))
    found = [Measured(ours, "a", [8.0, 3.0, 40.0]), Measured(theirs, "a", [2.0, 1.0, 20.0])]
    first, second = make_rows("part", found)
    assert (first["median"], first["lowest"], first["highest"], first["rounds"]) == (8.0, 3.0, 40.0, 3)
    assert (first["times"], first["times_lowest"], first["times_highest"]) == (1.0, 1.0, 1.0)
    assert (second["times"], second["times_lowest"], second["times_highest"]) == pytest.approx(times)


def test_no_process_outlives_a_benchmark_that_was_killed(tmp_path: Path) -> None:
    told = tmp_path / "id"
    code = (
        "from companion.bench.turns import Way, take_turns; from measures import asleep; "
        f"take_turns([Way('asleep', ({str(told)!r},), asleep, '')], 1, print)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        wait_for(lambda: told.exists() and told.read_text(encoding="ascii"))
        child = int(told.read_text(encoding="ascii"))
        assert alive(child)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    wait_for(lambda: not alive(child))
