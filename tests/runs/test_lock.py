import errno
import os
import resource
import signal
import socket
import subprocess
import sys

import pytest

from companion.errors import CompanionError
from companion.runs import lock
from companion.runs.lock import folder_lock, is_locked

HOLD = """
import subprocess, sys, time
from pathlib import Path
from companion.runs.lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(30)
"""


@pytest.fixture
def holder(odd_folder):
    """Another process that holds the folder's lock and has a child of its own."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(odd_folder)], stdout=subprocess.PIPE, text=True)
    process.child = int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    os.kill(process.child, signal.SIGKILL)


def test_a_second_process_is_refused_by_name_until_the_first_dies(odd_folder, holder):
    with pytest.raises(CompanionError, match=f"is in use by process {holder.pid} on "), folder_lock(odd_folder):
        pass
    holder.kill()
    holder.wait()
    # The dead holder's child is still alive and has not inherited the lock.
    os.kill(holder.child, 0)
    with folder_lock(odd_folder):
        assert lock.get_lock_holder(odd_folder) == f"{os.getpid()} on {socket.gethostname()}"


def test_the_lock_is_free_after_an_error_inside(odd_folder):
    with pytest.raises(ZeroDivisionError), folder_lock(odd_folder / "new"):
        _ = 1 / 0
    with folder_lock(odd_folder / "new"):
        assert (odd_folder / "new" / ".lock").exists()


def test_a_folder_that_cannot_be_written_is_told(read_only):
    with pytest.raises(CompanionError, match="cannot be written"), folder_lock(read_only):
        pass


def test_a_disk_that_takes_no_name_refuses_no_lock(odd_folder):
    (odd_folder / ".lock").touch()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with folder_lock(odd_folder):
            assert is_locked(odd_folder)
            with pytest.raises(CompanionError, match="in use by process of unknown id;"), folder_lock(odd_folder):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not is_locked(odd_folder)


def test_the_name_is_on_the_disk_at_once_where_the_disk_can_promise_that(odd_folder, monkeypatch):
    """As clients of a network disk need it; some disks cannot."""
    synced = []

    def fsync(descriptor):
        synced.append(os.pread(descriptor, 99, 0).decode())
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    with folder_lock(odd_folder):
        assert len(synced) == 1
    assert synced == [f"{os.getpid()} on {socket.gethostname()}", ""]
