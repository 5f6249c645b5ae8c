"""Keep a folder's files in another one that outlives the machine (a mounted bucket, Drive), and fetch them back first.

    python tools/keep.py FOLDER KEPT fetch      copies what FOLDER lacks, before the work
    python tools/keep.py FOLDER KEPT save       copies what is new, after it
    python tools/keep.py FOLDER KEPT            fetches, then saves every half minute until it is stopped

Kept checkpoints, which are large, go as soon as the record of their run is kept.

Mounted folders lock nothing and may rename half-way, so work happens on the disk and whole files are copied. Needs
nothing but Python: it also runs before anything is installed.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS = 30
LEFT_OUT = (".lock", ".tmp", ".running.ipynb")
CHECKPOINTS = "checkpoints"
"""Folder beside a study's records, of files that are named like them and replaced or removed again."""


def fetch(folder: Path, kept: Path) -> int:
    """Copy what the folder lacks; gives the number of files. What the folder has is newer, or the same."""
    return sum(_copy(file, folder / name) for name, file in _files(kept) if not (folder / name).exists())


def save(folder: Path, kept: Path) -> int:
    """Copy what is new or has changed; gives the number of files."""
    copied = sum(_copy(file, kept / name) for name, file in _files(folder) if _differs(file, kept / name))
    _remove_checkpoints(folder, kept)
    return copied


def keep(folder: Path, kept: Path) -> threading.Thread:
    """Fetch, then save in a thread of the background for as long as this process lives; one thread for a folder."""
    name = f"keep {folder}"
    for running in threading.enumerate():
        if running.name == name:
            return running
    fetch(folder, kept)
    thread = threading.Thread(target=_save_for_ever, args=(folder, kept), name=name, daemon=True)
    thread.start()
    return thread


def _save_for_ever(folder: Path, kept: Path) -> None:
    while True:
        time.sleep(SECONDS)
        save(folder, kept)


def _files(folder: Path) -> Iterator[tuple[Path, Path]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.endswith(LEFT_OUT):
            yield file.relative_to(folder), file


def _differs(file: Path, copy: Path) -> bool:
    """A mounted folder dates files by itself, so only a file that is newer than its copy has changed."""
    try:
        ours, theirs = file.stat(), copy.stat()
    except FileNotFoundError:
        return True
    return ours.st_size != theirs.st_size or ours.st_mtime > theirs.st_mtime


def _remove_checkpoints(folder: Path, kept: Path) -> None:
    """Remove kept checkpoints of runs whose record is kept too."""
    for checkpoints in folder.rglob(CHECKPOINTS):
        copies = kept / checkpoints.relative_to(folder)
        for copy in copies.glob("*"):
            if (copies.parent / copy.name).exists():
                _empty(copy)
                with contextlib.suppress(OSError):
                    copy.unlink()


def _empty(checkpoint: Path) -> None:
    """Drive keeps what is replaced or removed in its bin for a month, at its full size."""
    with contextlib.suppress(OSError):
        os.truncate(checkpoint, 0)


def _copy(file: Path, target: Path) -> int:
    part = target.with_name(f"{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, part)
        if target.parent.name == CHECKPOINTS:
            _empty(target)
        part.replace(target)
    except OSError as error:
        # One file that cannot be copied now must not keep the others from it; the next round tries again.
        print(f"{file} was not copied to {target}: {error.strerror}.", file=sys.stderr)
        return 0
    return 1


def main(arguments: list[str]) -> int:
    """Do what the arguments say; gives the exit code."""
    match arguments:
        case [folder, kept, "fetch"]:
            fetch(Path(folder), Path(kept))
        case [folder, kept, "save"]:
            save(Path(folder), Path(kept))
        case [folder, kept]:
            keep(Path(folder), Path(kept)).join()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
