"""Files that appear whole or not at all, and their checksums."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from companion.errors import CompanionError

TEMPORARY = ".tmp"
"""Ending of files that a crash may leave behind; they are never read."""


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that it appears whole or not at all: temporary name, fsync, rename; returns the path.

    Raises:
        CompanionError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(suffix=TEMPORARY, prefix=f"{path.stem}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CompanionError(
            f"{path.name} could not be written to {path.parent}: {error.strerror}; nothing half-written is left. "
            "Make room or choose a folder that can be written, then run again."
        ) from error
    finally:
        # Also on Ctrl-C; after the rename the temporary name is gone already.
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return path


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes this name at the end; where that fails, nothing appears.

    Raises:
        CompanionError: the disk is full, the place cannot be written, or a folder that is not empty is there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
            working = Path(name) / folder.name
            working.mkdir()
            yield working
            working.rename(folder)
    except OSError as error:
        raise CompanionError(
            f"The folder {folder} could not be written ({error.strerror or error}); nothing half-written is left. "
            "Make room or choose a folder that can be written, then try again."
        ) from error


def drop_unfinished(folder: Path) -> None:
    """Remove what killed processes left of `whole_folder` for this name; no other process may be writing it."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    # Some network and mounted cloud folders refuse this; the file itself is safe already.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
