"""Inside the kernel of a notebook under execution: remember failures that would otherwise only be printed."""

import sys
import threading
from typing import Any

_failures: list[str] | None = None
_threads_before: set[threading.Thread] = set()


def begin() -> None:
    """Start watching; the kernel calls it before the first cell."""
    global _failures
    _failures = []
    _threads_before.update(threading.enumerate())
    threading.excepthook = _hook(threading.excepthook, "in a thread")
    sys.unraisablehook = _hook(sys.unraisablehook, "where Python could not raise it")
    # Otherwise a lone line such as "ls x" is quietly run as a shell command.
    if (shell := sys.modules["IPython"].get_ipython()) is not None:
        shell.automagic = False


def end(token: str) -> None:
    """Wait for the notebook's threads and print the token as proof that all cells were run.

    Raises:
        RuntimeError: something failed unseen meanwhile.
    """
    if _failures is None:
        raise RuntimeError("the notebook was not watched from its beginning")
    for thread in threading.enumerate():
        if not thread.daemon and thread not in _threads_before:
            thread.join()
    if _failures:
        raise RuntimeError("; ".join(_failures))
    print(token)


def _hook(previous: Any, where: str) -> Any:
    def remember(caught: Any) -> None:
        assert _failures is not None
        _failures.append(f"{caught.exc_type.__name__} {where}: {caught.exc_value}")
        previous(caught)

    return remember
