"""Execute several notebooks at a time, each with its page, in processes that do not outlive this one."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from companion.runs.notebook import execute
from companion.runs.page import to_html
from companion.runs.worker import die_with_parent


def execute_all(notebooks: Sequence[Path], folder: Path, parameters: Mapping[str, Any], workers: int) -> Iterator[str]:
    """Run notebooks that do not need each other; gives the name of each as its copy and page are there.

    joblib ends the others when one fails, and on Ctrl-C.

    Raises:
        CompanionError: as ``notebook.execute`` and ``page.to_html``.
    """
    job = delayed(_execute)
    jobs = (job(notebook, folder / notebook.name, parameters, os.getpid()) for notebook in notebooks)
    yield from Parallel(n_jobs=workers, return_as="generator_unordered")(jobs)


def _execute(notebook: Path, output: Path, parameters: Mapping[str, Any], parent: int) -> str:
    # With one worker joblib stays in the caller's process.
    if os.getpid() != parent:
        die_with_parent(parent)
    executed = execute(notebook, output, parameters)
    to_html(executed, executed.with_suffix(".html"))
    return notebook.stem
