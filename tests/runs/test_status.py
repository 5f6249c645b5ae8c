import os
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from companion.runs.engine import run_all
from companion.runs.lock import folder_lock
from companion.runs.log import get_log_file, log_event, parse_events
from companion.runs.progress import format_status
from companion.runs.spec import spec_id
from companion.runs.status import Counts, Failure, Grid, Running, Status
from companion.runs.store import Store
from grids import start_driver, wait_for


@pytest.fixture
def store(tmp_path):
    (tmp_path / "logs").mkdir()
    return Store(tmp_path / "records")


def grid_of(store, specs, slots=1):
    return Grid(store, specs, store.folder.parent / "logs", lambda spec: spec.action, slots)


def say(store, spec, event, **facts):
    log_event(store.folder.parent / "logs", spec_id(spec), event, **facts)


def step(store, spec, done, total, seconds, per_second=None):
    known = {"per_second": per_second} if per_second else {}
    say(store, spec, "step", done=done, total=total, examples=5 * done, loss=0.5, seconds=seconds, **known)


def test_runs_are_counted_by_group_from_the_files_alone(workload, store):
    specs = [workload.Job(seed, action) for action in ("label", "explanation") for seed in range(4)]
    for spec in specs[:3]:
        store.write(spec, {}, {})
    for spec, event in zip(specs[2:7], ("failed", "failed", "killed", "start", "end"), strict=True):
        say(store, spec, "start")
        say(store, spec, event)
    get_log_file(store.folder.parent / "logs", spec_id(specs[7])).write_text('{"event": "st')
    found = grid_of(store, specs).get_status()
    assert found.groups == (Counts("label", 4, 3, 0, 1), Counts("explanation", 4, 0, 0, 1))
    assert found.whole == Counts("all", 8, 3, 0, 2) and found.whole.waiting == 3
    assert not found.live and found.running == () and found.seconds_left is None
    assert grid_of(store, []).get_status() == Status(())


def test_a_run_is_in_hand_only_as_long_as_somebody_holds_the_store(workload, store):
    """A worker that was killed together with its driver wrote ``step`` last; it must not run for ever."""
    specs = [workload.Job(seed) for seed in range(2)]
    say(store, specs[0], "start")
    step(store, specs[0], 6, 60, 30.0, per_second=1.0)
    grid = grid_of(store, specs)
    assert grid.get_status().whole == Counts("all", 2, 0, 0, 0)
    with folder_lock(store.folder):
        found = grid.get_status()
        assert found.live and found.whole.running == 1
        assert found.running == (Running(str(specs[0]), "step", 6, 60, 30, 0.5, 1.0, 30.0),)
        say(store, specs[0], "queued")  # what a new driver writes
        assert grid.get_status().running == ()
        say(store, specs[0], "killed", attempt=1)
        assert grid.get_status().whole == Counts("all", 2, 0, 0, 0)
    assert grid.get_status().whole.failed == 1


def test_a_run_on_a_node_whose_log_is_not_here_is_in_hand(workload, store):
    say(store, workload.Job(0), "sent")
    with folder_lock(store.folder):
        assert grid_of(store, [workload.Job(0)]).get_status().running == (Running(str(workload.Job(0)), "on a node"),)


def test_time_left_is_what_the_slots_still_have_to_do(workload, store):
    specs = [workload.Job(seed) for seed in range(6)]
    grid = grid_of(store, specs, slots=2)
    with folder_lock(store.folder):
        assert grid.get_status().seconds_left is None
        step(store, specs[0], 20, 60, 50.0, per_second=5.0)
        # 40 steps of 5 examples at 5 a second are left of it, so a run takes 90 s: 40 and five times 90, in two slots.
        assert grid.get_status().seconds_left == pytest.approx((40 + 5 * 90) / 2)
        store.write(specs[0], {}, {})
        say(store, specs[0], "end", seconds=100.0)
        step(store, specs[1], 1, 60, 30.0)
        assert grid.get_status().seconds_left == pytest.approx((70 + 4 * 100) / 2)
        for spec in specs[2:]:
            say(store, spec, "failed", error="no luck")
        assert grid.get_status().seconds_left == pytest.approx(70)
        step(store, specs[1], 59, 60, 10_000.0)  # takes longer than any before
        assert grid.get_status().seconds_left == 0
    assert grid.get_status().seconds_left is None
    assert {(one.name, one.error) for one in grid.get_status().failures} == {
        (str(spec), "no luck") for spec in specs[2:]
    }


def test_each_group_takes_its_own_time(workload, store):
    short, long = (tuple(workload.Job(seed, action) for seed in range(2)) for action in ("short", "long"))
    for spec, seconds in ((short[0], 10.0), (long[0], 100.0)):
        store.write(spec, {}, {})
        say(store, spec, "end", seconds=seconds)
    with folder_lock(store.folder):
        assert grid_of(store, [*short, *long]).get_status().seconds_left == pytest.approx(110)


def test_groups_of_which_none_is_made_yet_take_what_the_runs_in_hand_foresee(workload, store):
    """``base`` is planned first, is not trained and ends first; its time says nothing of the other arms."""
    base, label, other, last = (workload.Job(0, action) for action in ("base", "label", "explanation", "shuffled"))
    grid = grid_of(store, [base, label, other, last])
    store.write(base, {}, {})
    say(store, base, "end", seconds=10.0)
    with folder_lock(store.folder):
        assert grid.get_status().seconds_left == pytest.approx(3 * 10)
        step(store, label, 20, 60, 50.0, per_second=5.0)  # foreseen to take 90 s, of which 40 are left
        assert grid.get_status().seconds_left == pytest.approx(40 + 2 * 90)
        step(store, other, 20, 60, 60.0, per_second=2.0)  # 160 s, 100 left; the last arm takes the mean of both
        assert grid.get_status().seconds_left == pytest.approx((40 + 100 + 125) / 2)
        say(store, label, "scoring", seconds=95.0)
        assert grid.get_status().seconds_left == pytest.approx((65 + 100 + 160) / 2)


numbers = st.one_of(st.none(), st.floats(), st.integers(-(10**9), 10**9), st.text(max_size=3), st.booleans())
names = st.sampled_from(["start", "sent", "step", "scoring", "writing", "end", "failed", "killed", "queued", "?"])
facts = st.fixed_dictionaries({}, optional=dict.fromkeys(("seconds", "done", "total", "per_second", "loss"), numbers))
last_words = st.lists(st.tuples(names, facts), min_size=3, max_size=3)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(last_words)
def test_no_log_gives_a_negative_or_absurd_time(tmp_path_factory, said):
    import workload

    folder = tmp_path_factory.mktemp("grid")
    (folder / "logs").mkdir()
    store, specs = Store(folder / "records"), [workload.Job(seed) for seed in range(3)]
    for spec, (name, fact) in zip(specs, said, strict=True):
        log_event(folder / "logs", spec_id(spec), name, **fact)
    with folder_lock(store.folder):
        found = grid_of(store, specs).get_status()
    assert found.seconds_left is None or 0 <= found.seconds_left < 1e11
    assert found.whole.waiting >= 0 and len(found.running) == found.whole.running
    assert all(one.seconds >= 0 and one.total >= 0 and (one.phase_left or 0) >= 0 for one in found.running)
    assert format_status(found).endswith(".")


def test_a_log_is_read_again_only_when_it_has_grown(workload, store, monkeypatch):
    from companion.runs import status

    read = []
    monkeypatch.setattr(status, "read_last_event", lambda log: (read.append(log.name), {"event": "none"})[1])
    specs = [workload.Job(seed) for seed in range(2)]
    grid = grid_of(store, specs)
    for spec in specs:
        say(store, spec, "start")
    grid.get_status()
    grid.get_status()
    say(store, specs[1], "end")
    grid.get_status()
    assert sorted(read) == sorted(f"{spec_id(specs[number])}.jsonl" for number in (0, 1, 1))


def test_another_process_sees_the_grid_and_never_stands_in_its_way(workload, tmp_path):
    """Looks from outside, as many as there is time for, while drivers begin, work and are killed."""
    specs = [workload.Job(seed, "steps", str(tmp_path)) for seed in range(4)]
    grid = Grid(Store(tmp_path / "records"), specs, tmp_path / "logs", lambda spec: spec.action, 2)
    driver = start_driver(tmp_path, "steps", 4, stderr=subprocess.DEVNULL)

    def at_work():
        found = grid.get_status()
        return found.whole.running == 2 and any(one.loss and one.per_second for one in found.running)

    wait_for(at_work)
    seen = next(one for one in grid.get_status().running if one.total)
    assert (seen.phase, seen.total) == ("step", 8) and seen.name.startswith("Job(seed=")
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not grid.get_status().live)
    assert grid.get_status().running == () and grid.get_status().whole.failed == 0
    again = start_driver(tmp_path, "steps", 4, stderr=subprocess.PIPE)
    while again.poll() is None:
        grid.get_status()
    assert again.returncode == 0, again.stderr.read()
    again.stderr.close()
    assert grid.get_status().whole == Counts("all", 4, 4, 0, 0)


def test_a_failed_run_waits_again_once_a_new_driver_has_it(workload, tmp_path):
    specs = [workload.Job(0, "fail_once", str(tmp_path))]
    store, logs = Store(tmp_path / "records"), tmp_path / "logs"
    grid = Grid(store, specs, logs, lambda spec: spec.action)
    run_all(specs, workload.work, store, 1, logs, quiet=True)
    assert grid.get_status().failures == (
        Failure(str(specs[0]), "ValueError: once", get_log_file(logs, spec_id(specs[0]))),
    )
    run_all(specs, workload.work, store, 1, logs, quiet=True)
    assert grid.get_status().failures == () and grid.get_status().whole.done == 1
    names = [event["event"] for event in parse_events(get_log_file(logs, spec_id(specs[0])).read_bytes())]
    assert names == ["start", "failed", "queued", "start", "end"]


def test_a_look_takes_milliseconds(workload, store):
    script = (
        "import sys, time; from pathlib import Path; import workload; from companion.runs.status import Grid\n"
        "from companion.runs.store import Store; folder = Path(sys.argv[1])\n"
        "specs = [workload.Job(seed) for seed in range(300)]\n"
        "grid = Grid(Store(folder / 'records'), specs, folder / 'logs', str)\n"
        "grid.get_status(); begun = time.process_time()\n"
        "[grid.get_status() for _ in range(10)]; print((time.process_time() - begun) / 10)"
    )
    for seed in range(300):
        say(store, workload.Job(seed), "start")
        store.write(workload.Job(seed), {}, {})
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script, str(store.folder.parent)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert float(done.stdout) < 0.1
