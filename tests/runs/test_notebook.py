import base64
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager

from companion.errors import CompanionError
from companion.runs.notebook import ThisPython, execute
from companion.runs.page import to_html

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkaM9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PARAMETERS = "seed = 0\ntag = 'a'\nrate = 0.1"


@pytest.fixture
def make(odd_folder):
    """Write a notebook of a title, a parameters cell and the given cells."""

    def write(*sources):
        cells = [nbformat.v4.new_markdown_cell("# Title")]
        cells.append(nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}))
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        path = odd_folder / "source {x}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write


@pytest.fixture
def output(odd_folder):
    return odd_folder / "out" / "done.ipynb"


def files(output):
    return sorted(str(file.relative_to(output.parent)) for file in output.parent.rglob("*") if file.is_file())


def failure(source, output, sentence):
    """Execute, expect the sentence, and give the kept notebook."""
    with pytest.raises(CompanionError, match=sentence) as caught:
        execute(source, output, {})
    assert files(output) == ["failed/done.ipynb"]
    assert str(caught.value).endswith(f"kept as {output.parent / 'failed' / 'done.ipynb'}.")
    return nbformat.read(output.parent / "failed" / "done.ipynb", as_version=4)


def test_a_good_notebook_runs_whole_from_any_folder_and_in_this_python(make, output, monkeypatch, tmp_path):
    grid = (
        f"sys.path.append({str(Path(__file__).parent)!r})\n"
        "from workload import Job, work\n"
        "from companion.runs.engine import run_all; from companion.runs.store import Store\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "print(run_all([Job(seed)], work, Store(folder / 'records'), 1, folder / 'logs', quiet=True).failed)"
    )
    facts = "import sys\nfrom pathlib import Path\nprint(sys.executable, Path.cwd(), seed, repr(tag), repr(rate))"
    source = make(facts, "", grid)
    monkeypatch.chdir(tmp_path)
    (output.parent / "failed").mkdir(parents=True)
    (output.parent / "failed" / "done.ipynb").touch()
    tag = "007 é\"'\n\\n{x}"
    assert execute(source, output, {"seed": 3, "tag": tag, "rate": 2}) == output
    assert files(output) == ["done.ipynb"]
    executed = nbformat.read(output, as_version=4)
    assert executed.cells[3].outputs[0].text == f"{sys.executable} {source.parent} 3 {tag!r} 2.0\n"
    # A grid of runs can be made from inside a kernel.
    assert executed.cells[5].outputs[0].text == "{}\n"
    assert [cell.execution_count for cell in executed.cells if cell.cell_type == "code"] == [1, 2, 3, None, 4]
    noted = executed.metadata.companion
    assert noted.notebook == source.name and noted.parameters == {"seed": 3, "tag": tag, "rate": 2.0}
    assert noted.versions.python == ".".join(map(str, sys.version_info[:3])) and noted.versions.numpy
    assert str(tmp_path) not in json.dumps(executed.metadata)


def test_a_cell_that_raises_is_named_with_its_last_line(make, output):
    source = make("x = 1", "raise ValueError('first line\\nno such arm.')", "y = 1")
    kept = failure(source, output, r"^source {x}.ipynb, cell 4: ValueError: no such arm\. As far")
    assert "no such arm" in json.dumps(kept.cells[5].outputs)


def test_an_exit_hidden_in_code_is_a_failure(make, output):
    failure(make("raise SystemExit(0)", "print(2)"), output, "cell 3: it ended the notebook early")


def test_a_failed_thread_is_a_failure_even_if_it_outlives_the_last_cell(make, output):
    thread = "import threading, time\nthreading.Thread(target=lambda: time.sleep(0.3) or 1 / 0).start()"
    failure(make(thread), output, r"ipynb: ZeroDivisionError in a thread: division by zero\. As far")


def test_a_dead_kernel_is_told(make, output):
    failure(make("x = 1", "import os\nos.kill(os.getpid(), 9)", "y = 1"), output, "cell 4: the kernel died")


def test_only_a_kernel_that_does_not_start_is_tried_again(make, output, monkeypatch):
    starts = []

    async def refuse(manager, **options):
        starts.append(manager.kernel_spec.argv[0])
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(AsyncKernelManager, "start_kernel", refuse)
    failure(make("x = 1"), output, "before the first cell: RuntimeError: Kernel died before replying")
    assert starts == [sys.executable] * 3


def test_kernels_installed_by_the_user_are_not_looked_at(tmp_path, monkeypatch):
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": ["/no/such/python"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert AsyncKernelManager(kernel_name="python3").kernel_spec.argv[0] == "/no/such/python"
    assert ThisPython(kernel_name="python3").kernel_spec.argv[0] == sys.executable


@pytest.mark.parametrize(
    ("cell", "parameters", "sentence"),
    [
        ("x = 1", {"sead": 1}, "no parameter 'sead'"),
        ("x = 1", {"tag": 1e10}, "tag must be of type str"),
        ("!false", {}, "cell 3 runs the shell command"),
        ("%%bash\nfalse\ntrue", {}, "cell 3 uses %bash"),
        ("import os; os.system('false')", {}, "cell 3 calls os.system"),
        ("exit(0)", {}, "cell 3 calls exit"),
    ],
)
def test_mistakes_are_told_before_anything_runs(make, output, cell, parameters, sentence, monkeypatch):
    monkeypatch.setattr("companion.runs.notebook.papermill.execute_notebook", None)
    with pytest.raises(CompanionError, match=sentence):
        execute(make(cell), output, parameters)
    assert not output.parent.exists()


@pytest.mark.slow
def test_a_killed_driver_leaves_no_kernel(make, output, tmp_path):
    mark = tmp_path / "kernel"
    source = make(
        f"import os, pathlib, time\npathlib.Path({str(mark)!r}).write_text(str(os.getpid()))", "time.sleep(60)"
    )
    script = "import sys; from pathlib import Path; from companion.runs.notebook import execute\n"
    script += "execute(Path(sys.argv[1]), Path(sys.argv[2]), {})"
    driver = subprocess.Popen([sys.executable, "-c", script, str(source), str(output)])
    end = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()):
        assert time.monotonic() < end
        time.sleep(0.1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    kernel = int(mark.read_text())
    while Path(f"/proc/{kernel}").exists() and " Z " not in Path(f"/proc/{kernel}/stat").read_text():
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not output.exists() and files(output) == ["done.running.ipynb"]


@pytest.mark.parametrize(
    ("counts", "sentence"), [((1, None, None), "cell 2: it ended"), ((1, 2, 3), "last cell was not")]
)
def test_cells_that_were_not_run_are_noticed_without_any_error(make, output, monkeypatch, counts, sentence):
    source = make("x = 1")
    node = nbformat.read(source, as_version=4)
    node.cells.append(nbformat.v4.new_code_cell("the added last cell", metadata={"tags": ["companion-last-cell"]}))
    for cell, count in zip(node.cells[1:], counts, strict=True):
        cell.execution_count = count
    monkeypatch.setattr("companion.runs.notebook.papermill.execute_notebook", lambda *paths, **options: node)
    with pytest.raises(CompanionError, match=sentence):
        execute(source, output, {})
    assert files(output) == []


def test_a_picture_that_a_text_links_to_goes_along(tmp_path):
    picture = tmp_path / "figures" / "cpu" / "study" / "F1.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(base64.b64decode(PIXEL))
    links = "![one](../figures/cpu/study/F1.png) ![gone](../figures/gone.png) ![far](https://example.org/a.png)"
    cells = [
        nbformat.v4.new_markdown_cell(links),
        nbformat.v4.new_code_cell("x: int = 1", metadata={"tags": ["parameters"]}),
    ]
    source = tmp_path / "notebooks" / "in.ipynb"
    source.parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source)
    made = execute(source, tmp_path / "elsewhere" / "out.ipynb", {})
    text = nbformat.read(made, 4).cells[0].source
    assert text == links.replace("../figures/cpu/study/F1.png", "attachment:cpu-F1.png")
    page = to_html(made, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"data:image/png;base64,{PIXEL}" in page
