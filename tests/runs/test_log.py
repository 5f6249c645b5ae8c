import itertools
import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.runs import log as module
from companion.runs.log import (
    get_log_file,
    log_event,
    open_run_log,
    parse_events,
    read_last_event,
    read_number,
    report_progress,
)


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that goes on by hand, beside a wall clock that is set back by a year at every look."""
    years = itertools.count(2090, -1)

    class Wall(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(next(years), 1, 1, tzinfo=tz or UTC)

    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "datetime", Wall)
    return now


def logged(folder):
    return [json.loads(line) for line in get_log_file(folder, "a").read_text().splitlines()]


def test_a_log_that_cannot_be_written_is_no_failure(tmp_path):
    log_event(tmp_path, "a", "start", seed=1)
    assert logged(tmp_path)[0].items() >= {"event": "start", "seed": 1}.items()
    log_event(tmp_path / "missing", "a", "start")


def test_a_line_that_was_cut_off_takes_no_other_with_it(tmp_path):
    log_event(tmp_path, "a", "start")
    with get_log_file(tmp_path, "a").open("a") as file:
        file.write('{"event": "ste')
    assert read_last_event(get_log_file(tmp_path, "a"))["event"] == "start"
    log_event(tmp_path, "a", "end", seconds=2.0)
    assert read_last_event(get_log_file(tmp_path, "a"))["seconds"] == 2.0
    assert [event["event"] for event in parse_events(get_log_file(tmp_path, "a").read_bytes())] == ["start", "end"]


def test_steps_are_told_once_a_second_with_the_first_and_the_last(tmp_path, clock):
    with open_run_log(tmp_path, "a"):
        for step in range(49):
            report_progress("step", step, 48, 5 * step, math.nan if step == 0 else 1 / step)
            clock[0] += 0.125
    found = logged(tmp_path)
    assert [line["done"] for line in found] == [0, 8, 16, 24, 32, 40, 48]
    first, second, *_, last = found
    assert "loss" not in first and "per_second" not in first
    assert second.items() >= {"seconds": 1.0, "examples": 40, "loss": 0.125, "per_second": 40.0, "total": 48}.items()
    assert last["seconds"] == 6.0 and last["per_second"] == 40.0


def test_a_log_stays_short_however_long_a_run_is(tmp_path, clock):
    with open_run_log(tmp_path, "a"):
        for step in range(100_001):
            report_progress("step", step, 100_000, step, 1.0)
            clock[0] += 60
    assert len(logged(tmp_path)) == module.LINES_OF_A_PHASE + 1


def test_the_speed_is_that_of_the_phase_and_of_this_process(tmp_path, clock):
    with open_run_log(tmp_path, "a"):
        clock[0] += 40  # the base model is loaded
        report_progress("step", 30, 60, 150, 2.0)  # from a checkpoint
        clock[0] += 10
        report_progress("step", 60, 60, 300, math.inf)
        for done in (32, 40):
            clock[0] += 4
            report_progress("scoring", done, 40)
    _, trained, first, last = logged(tmp_path)
    assert trained["per_second"] == 15.0 and trained["seconds"] == 50.0 and "loss" not in trained
    assert "per_second" not in first and last["per_second"] == 2.0 and "examples" not in last


def test_outside_of_a_run_nothing_is_told(tmp_path):
    with open_run_log(tmp_path, "a"):
        pass
    report_progress("step", 1, 2, 5, 1.0)
    assert not list(tmp_path.iterdir())


def test_the_last_event_is_found_behind_a_long_one(tmp_path):
    log_event(tmp_path, "a", "failed", traceback="x" * 100_000)
    assert read_last_event(get_log_file(tmp_path, "a"))["event"] == "failed"
    assert read_last_event(tmp_path / "none.jsonl") == {"event": "none"}


@given(st.binary())
def test_whatever_a_log_holds_can_be_read(content):
    assert parse_events(content + b'\n{"event": "end"}\n')[-1] == {"event": "end"}
    assert all(isinstance(event["event"], str) for event in parse_events(content))


@pytest.mark.parametrize("value", [None, "3", True, -1.0, math.nan, math.inf, 1e300, [1]])
def test_a_damaged_number_is_none(value):
    assert read_number({"seconds": value}, "seconds") is None
    assert read_number({}, "seconds") is None and read_number({"seconds": 3}, "seconds") == 3.0
