import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from companion.errors import CompanionError
from companion.runs.notebooks import execute_all

pytestmark = pytest.mark.golden

DRIVER = """
import sys
from pathlib import Path
from companion.runs.notebooks import execute_all
folder = Path(sys.argv[1])
list(execute_all(sorted(folder.glob("*.ipynb")), folder / "out", {}, 2))
"""


def write(folder: Path, **cells: str) -> list[Path]:
    paths = [folder / f"{name}.ipynb" for name in cells]
    for path, source in zip(paths, cells.values(), strict=True):
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
    return paths


def meet(own: str, other: str) -> str:
    """A cell that ends only when the other notebook is running at the same time."""
    lines = ["import pathlib, time", f"pathlib.Path({own!r}).touch()", "end = time.monotonic() + 60"]
    lines += [
        f"while not pathlib.Path({other!r}).exists():",
        "    assert time.monotonic() < end",
        "    time.sleep(0.1)",
    ]
    return "\n".join(lines)


def test_two_notebooks_run_at_the_same_time(tmp_path: Path) -> None:
    one, two = str(tmp_path / "one.here"), str(tmp_path / "two.here")
    notebooks = write(tmp_path, a=meet(one, two), b=meet(two, one))
    assert sorted(execute_all(notebooks, tmp_path / "out", {}, 2)) == ["a", "b"]
    made = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert made == ["a.html", "a.ipynb", "b.html", "b.ipynb"]


def test_one_worker_does_them_in_order(tmp_path: Path) -> None:
    assert list(execute_all(write(tmp_path, a="1", b="2"), tmp_path / "out", {}, 1)) == ["a", "b"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_is_the_same_sentence_and_leaves_no_page(tmp_path: Path, workers: int) -> None:
    notebooks = write(tmp_path, a="1 / 0", b="1")
    with pytest.raises(CompanionError, match=r"a\.ipynb, cell 1: ZeroDivisionError"):
        list(execute_all(notebooks, tmp_path / "out", {}, workers))
    assert not (tmp_path / "out" / "a.ipynb").exists() and (tmp_path / "out" / "failed" / "a.ipynb").exists()


def running(folder: Path) -> list[int]:
    """Processes that work in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (process / "cmdline").read_text() or (process / "cwd").readlink() == folder:
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_goes_on_after_an_interrupt_or_a_kill(tmp_path: Path, how: signal.Signals) -> None:
    write(
        tmp_path,
        **{name: f"import pathlib, time; pathlib.Path('{name}.here').touch(); time.sleep(300)" for name in "ab"},
    )
    command = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + DRIVER]
    driver = subprocess.Popen([*command, str(tmp_path)], stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("*.here"))) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert running(tmp_path)
    if how == signal.SIGINT:
        os.killpg(driver.pid, how)
    else:
        driver.send_signal(how)
    assert driver.wait(timeout=30) != 0
    end = time.monotonic() + 30
    while running(tmp_path) and time.monotonic() < end:
        time.sleep(0.2)
    assert running(tmp_path) == []
    assert not list((tmp_path / "out").glob("?.ipynb"))
