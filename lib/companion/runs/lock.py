"""One process at a time per folder."""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from companion.errors import CompanionError

PATIENCE = 0.2
"""Seconds for which a lock is tried: a look by :func:`is_locked` keeps it for an instant."""


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of this folder, on whatever machine that sees it; nothing is written."""
    try:
        with (folder / ".lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def get_lock_holder(folder: Path) -> str:
    """The process that holds the lock of this folder, and its machine; empty where none does or the folder isn't seen.

    Who was killed, or found the disk full, may have left another name or none.
    """
    try:
        return (folder / ".lock").read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


@contextlib.contextmanager
def folder_lock(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold ``<folder>/.lock`` for the time of the ``with`` block.

    The lock (``flock``) belongs to the open file: the system releases it when the process ends in whatever way, and
    programs started meanwhile do not inherit it.

    Args:
        patience: seconds for which a lock that another process holds is waited for.

    Raises:
        CompanionError: another process holds the folder (it is named by its id and machine), or the folder cannot be
            written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+", encoding="ascii")
    except OSError as error:
        raise CompanionError(f"{folder} cannot be written ({error.strerror}); choose another folder.") from error
    with file:
        try:
            _try_lock(file, patience)
        except BlockingIOError:
            who = f"process {get_lock_holder(folder) or 'of unknown id'}"
            raise CompanionError(f"{folder} is in use by {who}; wait until it ends, or end it.") from None
        except OSError as error:
            raise CompanionError(f"{folder} cannot be locked ({error.strerror}); choose a folder on a disk.") from error
        _write_holder(file, f"{os.getpid()} on {socket.gethostname()}")
        try:
            yield
        finally:
            _write_holder(file, "")


def _write_holder(file: IO[str], who: str) -> None:
    """Write who holds the lock; on a full disk nothing is written."""
    with contextlib.suppress(OSError):
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), who.encode())
        os.fsync(file.fileno())  # on a network disk others see it only then


def _try_lock(file: IO[str], patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(PATIENCE / 10)
