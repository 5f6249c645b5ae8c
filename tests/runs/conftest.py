import importlib
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534
SMALL = 64 * 1024


@pytest.fixture
def workload(monkeypatch):
    """The module of trivial work; its folder is on the path, as the engine's workers need it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("workload")


@pytest.fixture
def odd_folder(tmp_path):
    """A folder whose name would trip careless code."""
    folder = tmp_path / "Ünï {cödé} and spaces 数据"
    folder.mkdir()
    return folder


@pytest.fixture
def full_disk(tmp_path):
    """A folder that takes 64 KiB and no more: a real small file system where we may mount one, else a file limit."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    if sys.platform == "linux" and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, hard))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def read_only():
    """A folder that cannot be written, not by root either: root becomes nobody for the length of the test."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "records").mkdir()
        folder.chmod(0o555)
        (folder / "records").chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        yield folder / "records"
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        (folder / "records").chmod(0o755)
