from companion.runs import progress as module
from companion.runs.progress import Progress, counted


def test_seconds_left_stretch_the_time_so_far(monkeypatch):
    now = iter([0.0, 30.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    progress = Progress(total=8, workers=3)
    assert progress.seconds_left() == "time left not known yet" and progress.running == 3
    progress.done, progress.failed = 5, 1
    assert progress.seconds_left() == "about 10 s left" and progress.running == 2
    assert progress.summary() == "5 of 8 runs done, 1 failed"


def test_lines_are_few_and_markup_in_errors_is_plain_text(capfd, monkeypatch):
    with Progress(total=100, workers=2) as progress:
        for number in range(100):
            progress.finish(failed=number == 3)
        progress.say("[red]KeyError[/red] in [/nothing]")
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["[red]KeyError[/red] in [/nothing]", "99 of 100 runs done, 1 failed, 0 s."]
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress(total=2, workers=2) as progress:
        progress.finish(failed=False)
    assert capfd.readouterr().err.splitlines()[0] == "1 of 2 runs done, 0 failed, 1 running, about 0 s left."


def test_counts_are_told_now_and_then_and_at_the_end(capsys):
    tell = counted()
    for done in range(1, 4):
        tell("m", done, 3)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "m: 1 of 3 answers." and last.startswith("m: 3 of 3 answers, about 0 s left")
    counted(quiet=True)("m", 3, 3)
    assert capsys.readouterr().err == ""
