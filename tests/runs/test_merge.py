"""Real records of two machines in one store: copied, compared, never mixed."""

import re
from pathlib import Path

import numpy as np
import pytest

from companion.errors import CompanionError
from companion.runs.lock import folder_lock
from companion.runs.merge import merge
from companion.runs.spec import spec_id
from companion.runs.store import Store

META = {"processor": "one kind"}


@pytest.fixture
def machines(workload, tmp_path):
    """The store at home with runs 0 and 1, and another machine's with runs 1 and 2."""
    home, other = Store(tmp_path / "home"), Store(tmp_path / "other")
    for store, seeds in ((home, (0, 1)), (other, (1, 2))):
        for seed in seeds:
            store.write(workload.Job(seed), workload.values(workload.Job(seed))[0], META)
    return home, other


@pytest.fixture
def ids(workload):
    return [spec_id(workload.Job(seed)) for seed in range(3)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.name != ".lock"}


def test_what_is_missing_is_copied_to_the_byte_and_merging_again_does_nothing(machines, ids):
    home, other = machines
    before = contents(other.folder)
    merged = merge(home, [other.folder], ids)
    assert (merged.copied, merged.same, merged.others, merged.problems) == ((ids[2],), 1, 0, ())
    assert home.path(ids[2]).read_bytes() == other.path(ids[2]).read_bytes()
    assert home.ids() == sorted(ids) and home.verify(ids) == []
    assert contents(other.folder) == before
    again = merge(home, [other.folder, home.folder], ids)
    assert (again.copied, again.same, again.problems) == ((), 5, ())


def test_equal_results_with_other_facts_are_equal(machines, ids, workload):
    home, other = machines
    other.path(ids[1]).unlink()
    other.write(workload.Job(1), workload.values(workload.Job(1))[0], {"processor": "another kind"})
    kept = home.path(ids[1]).read_bytes()
    assert merge(home, [other.folder], ids).problems == ()
    assert home.path(ids[1]).read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "gap"),
    [
        (lambda values: values + 0.25 * (np.arange(50) < 3), "values differs in 3 of 50 numbers by up to 0.25"),
        (lambda values: values[:40], r"values is float64 \(40,\) instead of float64 \(50,\)"),
        (lambda values: values.astype("float32"), r"values is float32 \(50,\) instead of float64 \(50,\)"),
        (lambda values: np.where(np.arange(50) == 7, np.nan, values), "values differs in 1 of 50 numbers by up to nan"),
    ],
)
def test_two_results_of_one_run_are_named_and_the_one_at_home_is_kept(machines, ids, workload, change, gap):
    home, other = machines
    arrays, _ = workload.values(workload.Job(1))
    other.path(ids[1]).unlink()
    other.write(workload.Job(1), {**arrays, "values": change(arrays["values"])}, META)
    kept = home.path(ids[1]).read_bytes()
    merged = merge(home, [other.folder], ids)
    (problem,) = merged.problems
    assert problem.startswith(f"Run {ids[1]} has two results: in {other.folder}, against the one kept in {home.folder}")
    assert re.search(rf", {gap}\.$", problem)
    assert home.path(ids[1]).read_bytes() == kept
    assert merged.copied == (ids[2],) and merged.same == 0


def test_an_array_that_only_one_of_them_has_is_a_difference(machines, ids, workload):
    home, other = machines
    arrays, _ = workload.values(workload.Job(1))
    other.path(ids[1]).unlink()
    other.write(workload.Job(1), {"values": arrays["values"]}, META)
    (problem,) = merge(home, [other.folder], ids).problems
    assert problem.endswith(", count is missing from one of them.")


def test_damaged_records_are_named_and_left_where_they_are(machines, ids):
    home, other = machines
    other.path(ids[2]).write_bytes(other.path(ids[2]).read_bytes()[:-8])
    merged = merge(home, [other.folder], ids)
    assert merged.copied == ()
    (problem,) = merged.problems
    assert problem == (
        f"{other.path(ids[2])} is damaged (it is cut off or its header cannot be read) and was left out."
    )
    assert other.has(ids[2]) and not home.has(ids[2])


def test_a_damaged_record_at_home_gives_way_to_a_sound_one(machines, ids):
    home, other = machines
    home.path(ids[1]).write_bytes(b"rubbish")
    merged = merge(home, [other.folder], ids)
    assert merged.copied == (ids[1], ids[2])
    assert home.is_valid(ids[1]) and len(merged.problems) == 1 and "damaged" in merged.problems[0]


def test_records_of_other_plans_are_counted_and_left_out(machines, ids):
    home, other = machines
    merged = merge(home, [other.folder], ids[:2])
    assert (merged.copied, merged.others) == ((), 1)
    assert not home.has(ids[2])


def test_a_store_in_use_is_left_alone(machines, ids):
    home, other = machines
    with folder_lock(home.folder), pytest.raises(CompanionError, match="is in use by process"):
        merge(home, [other.folder], ids)
    assert not home.has(ids[2])
