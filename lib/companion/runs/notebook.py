"""Execute a notebook strictly: it ran whole and without any failure, or there is no output.

papermill alone lets pass misspelt parameters, an early ``exit(0)``, failed shell commands and failed threads (2.7.0).
"""

import base64
import logging
import platform
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets import default
from traitlets.config import Config

from companion.errors import CompanionError
from companion.files import file_sha256, write_whole
from companion.origin import get_versions
from companion.runs.notebook_rules import (
    SKIP_TAG,
    check_parameters,
    default_parameters,
    load_notebook,
    refuse_silent_failures,
)

LAST_CELL_TAG = "companion-last-cell"
ADDED_TAGS = {LAST_CELL_TAG, "injected-parameters", "papermill-error-cell-tag"}
START_ATTEMPTS = 3
LINKED_PICTURE = re.compile(r"(!\[[^\]]*\]\()([^):\s]+\.png)\)")
NOTED_PACKAGES = ("companion", "numpy", "pandas", "scipy", "torch", "transformers", "peft", "papermill")

# papermill's log repeats on the error stream what our sentence says.
logging.getLogger("papermill").addHandler(logging.NullHandler())


class ThisPython(AsyncKernelManager):
    """Kernel of the interpreter that runs this code; kernels installed by the user are not looked at."""

    @default("kernel_spec_manager")
    def _no_installed_kernels(self) -> KernelSpecManager:
        return KernelSpecManager(parent=self, kernel_dirs=[])


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> Path:
    """Run a notebook in its folder and write the executed copy, with parameters and versions in its metadata.

    While it runs, ``<output stem>.running.ipynb`` shows how far it is. The output appears only after every code cell
    was run, none failed, and nothing failed in a thread. A notebook that failed is kept as ``failed/<output name>``
    beside the output. Only a kernel that does not start is tried again.

    Args:
        parameters: values for names in the cell tagged ``parameters``, of the types of the defaults there.

    Returns:
        The output.

    Raises:
        CompanionError: what is wrong with notebook or parameters, or the cell that failed with its error's last line.
    """
    node = load_notebook(notebook)
    defaults = default_parameters(node, notebook.name)
    given = check_parameters(defaults, parameters, notebook.name)
    refuse_silent_failures(node, notebook.name)
    token = secrets.token_hex(8)
    node.cells.append(_last_cell(token))
    running = output.with_name(f"{output.stem}.running.ipynb")
    failed = output.parent / "failed" / output.name
    try:
        executed = _start(node, running, given, notebook.parent.resolve())
        _verify(executed, token)
    except _Failure as failure:
        raise CompanionError(f"{notebook.name}{failure}{_keep(running, failed)}") from failure.__cause__
    finally:
        running.unlink(missing_ok=True)
    _attach_pictures(executed, notebook.parent)
    _describe(executed, notebook, {**defaults, **given})
    write_whole(output, nbformat.writes(executed).encode())
    failed.unlink(missing_ok=True)
    return output


class _Failure(Exception):
    """Cell number and last line of what went wrong, as the rest of a sentence that begins with the notebook's name."""


def _last_cell(token: str) -> NotebookNode:
    source = f"import companion.runs.watch\ncompanion.runs.watch.end({token!r})"
    return nbformat.v4.new_code_cell(source, metadata={"tags": [LAST_CELL_TAG]})


def _start(node: NotebookNode, running: Path, parameters: dict[str, Any], cwd: Path) -> NotebookNode:
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return _run(node, running, parameters, cwd)
        except PapermillExecutionError as error:
            if error.source == node.cells[-1].source:
                raise _Failure(f": {_last_line(error.evalue)}.") from error
            number = _number(load_notebook(running), error.exec_count)
            raise _Failure(f", cell {number}: {error.ename}: {_last_line(error.evalue)}.") from error
        except Exception as error:
            begun = _cells_begun(running)
            if not begun and attempt < START_ATTEMPTS and isinstance(error, (RuntimeError, TimeoutError)):
                continue
            what = "the kernel died" if isinstance(error, DeadKernelError) else f"{type(error).__name__}: {error}"
            # A full disk truncates the running copy, which then marks no cell as started.
            before = "" if getattr(error, "errno", None) else ", before the first cell"
            place = f", cell {begun}" if begun else before
            raise _Failure(f"{place}: {_last_line(what)}.") from error
    raise AssertionError("the last attempt returns or raises")


def _run(node: NotebookNode, running: Path, parameters: dict[str, Any], cwd: Path) -> NotebookNode:
    running.parent.mkdir(parents=True, exist_ok=True)
    running.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as private:
        source = Path(private) / "source.ipynb"
        nbformat.write(node, source)
        # Sockets in a private folder: no ports to collide with those of other kernels.
        connection = {"transport": "ipc", "connection_file": str(Path(private) / "kernel.json")}
        watch = "import companion.runs.watch as watch; watch.begin(); del watch"
        return papermill.execute_notebook(
            _literal(source),
            _literal(running),
            parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            kernel_manager_class=ThisPython,
            config=Config({"ThisPython": connection}),
            # A profile of its own, so that the user's start-up files do not run. The kernel's own log is left out: when
            # it is asked to end it may complain of an interrupt; failures are seen in the cells.
            extra_arguments=[f"--ipython-dir={private}", f"--IPKernelApp.code_to_run={watch}", "--log-level=CRITICAL"],
            resources={"metadata": {"path": str(cwd)}},
            iopub_timeout=60,
        )


def _literal(path: Path) -> str:
    """papermill fills in braces in paths; doubled ones stand for themselves."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _verify(executed: NotebookNode, token: str) -> None:
    """Every cell was run, in order, without error, and the last one gave its token."""
    count = 0
    for cell in executed.cells:
        if cell.cell_type != "code" or not cell.source.strip() or SKIP_TAG in cell.metadata.get("tags", []):
            continue
        skipped = cell.execution_count != count + 1
        count += not skipped
        # papermill lets pass SystemExit, the one error it can leave here.
        if skipped or any(output.output_type == "error" for output in cell.outputs):
            raise _Failure(f", cell {_number(executed, count)}: it ended the notebook early.")
    if token not in "".join(out.get("text", "") for out in executed.cells[-1].outputs):
        raise _Failure(": its last cell was not run.")


def _number(node: NotebookNode, execution_count: int | None) -> int:
    """Place of a cell among those of the source notebook, from 1, by its execution count."""
    number = 0
    for cell in node.cells:
        number += not ADDED_TAGS & set(cell.metadata.get("tags", []))
        if cell.cell_type == "code" and cell.execution_count == execution_count:
            break
    return number


def _cells_begun(running: Path) -> int:
    """Number of the last cell that started, from 1; 0 when none did, or a full disk truncated the notebook."""
    try:
        cells = load_notebook(running).cells
    except CompanionError:
        return 0
    number = begun = 0
    for cell in cells:
        number += not ADDED_TAGS & set(cell.metadata.get("tags", []))
        begun = number if cell.metadata.get("papermill", {}).get("start_time") else begun
    return begun


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].rstrip(".") if lines else "no message"


def _keep(running: Path, failed: Path) -> str:
    if not running.exists():
        return ""
    try:
        failed.parent.mkdir(exist_ok=True)
        running.replace(failed)
    except OSError:
        return ""
    return f" As far as it ran it is kept as {failed}."


def _attach_pictures(executed: NotebookNode, folder: Path) -> None:
    """Put the pictures that Markdown cells link to into the copy: from its folder the links would not reach them."""
    for cell in executed.cells:
        for opening, link in LINKED_PICTURE.findall(cell.source) if cell.cell_type == "markdown" else []:
            if (file := folder / link).is_file():
                name = f"{file.resolve().parents[1].name}-{file.name}"
                picture = base64.b64encode(file.read_bytes()).decode()
                cell.setdefault("attachments", {})[name] = {"image/png": picture}
                cell.source = cell.source.replace(f"{opening}{link})", f"{opening}attachment:{name})")


def _describe(executed: NotebookNode, notebook: Path, parameters: dict[str, Any]) -> None:
    """Remove what was added for the run and record its settings; no folder of this machine is named."""
    executed.cells = [cell for cell in executed.cells if LAST_CELL_TAG not in cell.metadata.get("tags", [])]
    executed.metadata.papermill.update(input_path=notebook.name, output_path=None)
    executed.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    executed.metadata["companion"] = {
        "notebook": notebook.name,
        "sha256": file_sha256(notebook),
        "parameters": parameters,
        "versions": {"python": platform.python_version(), **get_versions(NOTED_PACKAGES)},
    }
