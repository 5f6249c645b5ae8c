"""The notebook on a search of one's own, as it stands in the repository."""

import shutil
from pathlib import Path

import pytest

from companion import paths
from companion.runs.notebooks import execute_all

pytestmark = pytest.mark.slow


def test_the_notebook_runs_and_fills_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(paths.home() / "notebooks", tmp_path / "notebooks")
    monkeypatch.setenv("COMPANION_HOME", str(tmp_path))
    notebook = tmp_path / "notebooks" / "your_retrieval.ipynb"
    assert list(execute_all([notebook], tmp_path / "made", {"name": "mine"}, 1))
    page = (tmp_path / "made" / "your_retrieval.html").read_text(encoding="utf-8")
    assert "Dependence is not cause" in page and "dependence" in page
    assert (tmp_path / "figures" / "quick" / "mine" / "index.html").is_file()
