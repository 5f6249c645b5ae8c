import importlib
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from companion.runs.ray_cluster import CLOSED, VARIABLE
from grids import Grid, Nodes, check_whole, kill, snapshot

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


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    with pytest.MonkeyPatch.context() as patch:
        # Ray reads these as it is imported.
        for name, value in {**CLOSED, "RAY_AUTH_MODE": "token"}.items():
            patch.setenv(name, value)
        patch.setenv("COMPANION_CACHE", str(folder / "cache"))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        pytest.importorskip("ray")
        made = Nodes(folder)
        yield made
        made.cluster.shutdown()


@pytest.fixture
def cluster(nodes, monkeypatch):
    nodes.complete()
    monkeypatch.setenv(VARIABLE, nodes.address)
    return nodes


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Records of an undisturbed grid."""
    grid = Grid(tmp_path_factory.mktemp("undisturbed"))
    driver = grid.start()
    assert driver.communicate(timeout=120)[1].splitlines()[-1].startswith("8 of 8 runs done, 0 failed")
    records = snapshot(grid.store.folder)
    check_whole(grid, records)
    assert len(records) == 8 and set(grid.starts().values()) == {1}
    return records


@pytest.fixture
def grid(odd_folder, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    made = Grid(odd_folder / "grid")
    yield made
    for process in made.processes():
        kill(process)
