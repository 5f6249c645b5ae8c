import errno
import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from companion.runs import progress as module
from companion.runs.progress import (
    Page,
    Progress,
    format_duration,
    format_status,
    format_statuses,
    make_progress_printer,
    render_statuses,
    watch,
)
from companion.runs.status import Counts, Failure, Running, Status

TRAINING = Running("explanation, on_topic, seed 3", "step", 34, 60, 170, 0.4123, 3.87, 44.2)
BUSY = Status(
    groups=(Counts("base", 3, 3, 0, 0), Counts("explanation", 18, 4, 2, 1)),
    running=(TRAINING, replace(TRAINING, name="[red]label[/nothing], seed 4", phase="scoring", loss=None)),
    failures=(Failure("label, on_topic, seed 2", "ValueError: [bold]<b>no luck</b>", Path("a.jsonl")),),
    live=True,
    seconds_left=6720.0,
)
OVER = Status((Counts("base", 3, 3, 0, 0), Counts("explanation", 18, 18, 0, 0)))


def shown(width, *statuses):
    console = Console(width=width, file=io.StringIO(), force_jupyter=False)
    console.print(render_statuses(statuses))
    return console.file.getvalue()


def test_the_view_has_all_there_is_to_know():
    seen = shown(100, BUSY)
    assert seen.startswith("7 of 21 runs done, 1 failed, 2 running, 11 waiting, about 1 h 52 min left\n")
    assert re.search(r"explanation, on_topic, seed 3 +step 34 of 60 +0\.412 +3\.9 +44 s", seen)
    assert re.search(r"\[red\]label\[/nothing\], seed 4 +scoring 34 of 60 +3\.9 ", seen)
    assert "label, on_topic, seed 2 failed: ValueError: [bold]<b>no luck</b> (log: a.jsonl)\n" in seen
    assert re.search(r"explanation +4 of 18 +2 +1 +11\n", seen)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_broken_where_a_name_can_be_cut(width):
    rows = [row for row in shown(width, BUSY).splitlines() if "of 60" in row]
    assert len(rows) == 2 and all(len(row) <= width for row in rows)
    assert all("34 of 60" in row for row in rows)


def test_when_all_is_done_nothing_depends_on_time():
    assert shown(100, OVER).splitlines()[:2] == ["21 of 21 runs done, 0 failed", ""]
    assert shown(100, OVER) == shown(100, replace(OVER, live=True, seconds_left=3.0))


def test_failures_are_named_but_not_by_the_hundred():
    many = replace(BUSY, failures=tuple(Failure(f"run {number}", "ü" * 400, Path("a")) for number in range(40)))
    seen = shown(100, many)
    assert "run 4 failed:" in seen and "run 5" not in seen and "and 35 more" in seen
    assert seen.count("ü") == 5 * module.ERROR_SHOWN


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (99.5, "2 min"),
        (3569, "59 min"),
        (3570, "1 h 0 min"),
        (6720, "1 h 52 min"),
        (48 * 3600, "2 days 0 h"),
        (1e9, "11574 days 2 h"),
    ],
)
def test_durations_are_told_as_people_do(seconds, said):
    assert format_duration(seconds) == said


def test_a_line_says_the_same():
    assert format_status(BUSY) == (
        "7 of 21 runs done, 1 failed, 2 running, 11 waiting, about 1 h 52 min left (explanation, on_topic, seed 3: "
        "step 34 of 60, loss 0.412; [red]label[/nothing], seed 4: scoring 34 of 60)."
    )
    assert "; 1 more)." in format_status(replace(BUSY, running=(TRAINING,) * 3))
    idle = Status((Counts("base", 3, 1, 0, 0),))
    assert format_status(idle) == "1 of 3 runs done, 0 failed, 0 running, 2 waiting, no process is making them."


def test_piped_lines_are_few_and_markup_in_errors_is_plain_text(capfd, monkeypatch):
    with Progress(100, 0, lambda: [BUSY]) as progress:
        for number in range(100):
            progress.finish(failed=number == 3)
            progress.refresh(ended=True)
            progress.refresh(ended=False)
        progress.print_sentence("[red]KeyError[/red] in [/nothing]")
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["[red]KeyError[/red] in [/nothing]", "99 of 100 runs done, 1 failed, 0 s."]
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with Progress(2, 1, lambda: [BUSY]) as progress:
        for seconds, ended in ((59, False), (1, False), (6, True), (1, False), (30, False), (9, True), (1, True)):
            now[0] += seconds
            progress.refresh(ended)
        assert progress.summary() == "1 of 2 runs done, 0 failed"
    assert [said.split(" (")[0] for said in capfd.readouterr().err.splitlines()] == [
        *[format_status(BUSY).split(" (")[0]] * 3,
        "1 of 2 runs done, 0 failed, 2 min.",
    ]


def test_what_cannot_be_looked_at_ends_no_grid(capfd):
    def gone():
        raise PermissionError(13, "Permission denied")

    for terminal in (False, True):
        progress = Progress(1, 0, gone)
        progress.console._force_terminal = terminal
        with progress:
            progress.view.last_line -= 1000
            progress.refresh(ended=True)
        assert "0 of 1 runs done, 0 failed, 0 s.\n" in capfd.readouterr().err


def test_a_cell_that_cannot_be_updated_ends_no_grid(monkeypatch, capfd):
    looks = iter([[BUSY]])

    def look():
        for found in looks:
            return found
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "is_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda page, display_id: SimpleNamespace(update=None))
    with Progress(1, 0, look) as progress:
        progress.refresh(ended=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError(errno.EIO, "lost")])
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_stream_that_is_lost_ends_no_grid(monkeypatch, error, terminal, good):
    """At once (a terminal is written to as the view opens), or after some writes."""
    written = []

    class Lost(io.StringIO):
        def write(self, text):
            written.append(text)
            if len(written) > good:
                raise error

    monkeypatch.setattr("sys.stderr", Lost())
    monkeypatch.setenv("TERM", "xterm")
    before = sys.stdout, sys.stderr
    progress = Progress(1, 0, lambda: [BUSY])
    progress.console._force_terminal = terminal
    with progress:
        for _ in range(3):
            progress.print_sentence("something")
            progress.refresh(ended=True)
    assert len(written) == good + 1, "nothing is written to what is lost"
    assert (sys.stdout, sys.stderr) == before


def test_quiet_is_silent(capfd):
    with Progress(2, 0, lambda: [BUSY], quiet=True) as progress:
        progress.refresh(ended=True)
        progress.print_sentence("something")
    assert capfd.readouterr() == ("", "")


def test_a_notebook_shows_the_same_with_errors_as_plain_text():
    found = Page([BUSY])._repr_mimebundle_()
    assert found["text/plain"] == shown(module.PAGE_WIDTH, BUSY)
    assert "&lt;b&gt;no luck&lt;/b&gt;" in found["text/html"] and "<b>" not in found["text/html"]
    assert Page([OVER])._repr_mimebundle_() == Page([OVER])._repr_mimebundle_()


def test_in_a_kernel_the_cell_is_live_and_ends_with_counts(monkeypatch, capfd):
    displayed = []

    class Cell:
        def update(self, page):
            displayed.append(page._repr_mimebundle_()["text/plain"])

    def display(page, display_id):
        Cell().update(page)
        return Cell()

    looks = iter([[BUSY], [BUSY], [OVER]])
    monkeypatch.setattr(module, "is_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    with Progress(21, 0, lambda: next(looks)) as progress:
        progress.refresh(ended=False)
    assert displayed == [shown(module.PAGE_WIDTH, one) for one in (BUSY, BUSY, OVER)]
    assert capfd.readouterr() == ("", "")


def test_a_real_kernel_is_known_and_a_script_is_not(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    assert not module.is_in_notebook()
    cells = [
        "from companion.runs.progress import Progress, is_in_notebook; "
        "from companion.runs.status import Counts, Status",
        "with Progress(2, 0, lambda: [Status((Counts('a', 2, 2, 0, 0),))]) as progress:\n    progress.refresh(False)",
        "print(is_in_notebook())",
    ]
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(node, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = node.cells[1].outputs
    assert output["data"]["text/plain"] == "2 of 2 runs done, 0 failed\n" and "<pre" in output["data"]["text/html"]
    assert node.cells[2].outputs[0]["text"] == "True\n"


def test_watching_ends_when_nothing_is_left_to_do(monkeypatch, capfd):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.0)
    idle = Status((Counts("base", 3, 1, 0, 0),))
    looks = iter([[], [idle], [BUSY], [replace(OVER, live=True)], [OVER]])
    assert watch(lambda: next(looks)) == [OVER]
    interrupted = iter([[BUSY]])

    def look():
        for found in interrupted:
            return found
        raise KeyboardInterrupt

    assert watch(look) == [BUSY]
    assert capfd.readouterr() == ("", "")


def test_text_is_wide_enough_when_it_is_piped(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert format_statuses([OVER]) == shown(module.PAGE_WIDTH, OVER).rstrip("\n")
    assert format_statuses([]) == "Nothing has started yet."


def test_counts_are_told_now_and_then_and_at_the_end(capsys):
    tell = make_progress_printer()
    for done in range(1, 4):
        tell("m", done, 3)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "m: 1 of 3 answers." and last.startswith("m: 3 of 3 answers, about 0 s left")
    make_progress_printer(quiet=True)("m", 3, 3)
    assert capsys.readouterr().err == ""
