from companion.runs.log import log_event
from companion.runs.spec import spec_id
from companion.runs.status import Status, status
from companion.runs.store import Store


def test_runs_are_counted_by_group_from_the_files_alone(workload, tmp_path):
    store, logs = Store(tmp_path / "records"), tmp_path / "logs"
    logs.mkdir()
    specs = [workload.Job(seed, action) for action in ("label", "explanation") for seed in range(4)]
    for spec in specs[:3]:
        store.write(spec, {}, {})
    for spec, event in zip(specs[2:7], ("failed", "failed", "killed", "start", "end"), strict=True):
        log_event(logs, spec_id(spec), "start")
        log_event(logs, spec_id(spec), event)
    (logs / f"{spec_id(specs[7])}.jsonl").write_text('{"event": "st')
    counts = status(store, specs, logs, group=lambda spec: spec.action)
    assert counts == [Status("label", 4, 3, 1), Status("explanation", 4, 0, 1)]
    assert status(store, [], logs, group=str) == []
