"""The notebooks' way into an empty session: one badge, one cell, our pins, and nothing loaded is replaced."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import colab

    return colab


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


# --- badge and cell ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_every_notebook_has_the_badge_and_the_one_install_cell(colab, notebook: Path) -> None:
    first, second, *others = nbformat.read(notebook, 4).cells
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"{colab.badge(notebook.relative_to(ROOT).as_posix())}\n\n# ")
    assert second.source == colab.INSTALL_CELL
    assert second.metadata.tags == [colab.INSTALL_TAG]
    assert not [cell for cell in others if "colab" in cell.source]


def test_filling_again_changes_nothing_and_a_new_address_replaces_the_old(
    colab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "notebooks" / "1_data.ipynb"
    copy.parent.mkdir()
    copy.write_bytes((ROOT / "notebooks" / "explanations" / "1_data.ipynb").read_bytes())
    colab.fill(copy, tmp_path)
    once = copy.read_bytes()
    colab.fill(copy, tmp_path)
    assert copy.read_bytes() == once
    monkeypatch.setattr(colab, "REPOSITORY", "someone/elsewhere")
    colab.fill(copy, tmp_path)
    first, second, *_ = nbformat.read(copy, 4).cells
    assert first.source.count("Open in Colab") == 1 and "someone/elsewhere/blob" in first.source
    assert second.source == colab.INSTALL_CELL


def test_one_place_says_where_the_repository_is_and_what_is_fetched(colab) -> None:
    assert f"v{PROJECT['version']}" == colab.REF
    owner = colab.REPOSITORY.split("/")[0]
    searched = [*(ROOT / "lib").rglob("*.py"), ROOT / "pyproject.toml", ROOT / "cloud" / "sky.yaml"]
    assert not [path for path in searched if f"{owner}/companion" in path.read_text(encoding="utf-8")]
    found = {
        match
        for notebook in NOTEBOOKS
        for match in re.findall(r"github(?:\.com)?/([\w.-]+/companion)\b", notebook.read_text(encoding="utf-8"))
    }
    assert found == {colab.REPOSITORY}


def test_in_a_clone_the_cell_does_nothing(colab, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib"), "PATH": ""}
    command = [sys.executable, "-c", colab.INSTALL_CELL]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


# --- pins ----------------------------------------------------------------------------------------------------------


def test_what_is_installed_is_what_conda_and_pip_users_get(colab) -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (conda,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    tools = set(PROJECT["optional-dependencies"]["dev"])
    assert sorted(colab.requirements(ROOT)) == sorted(
        line for line in conda if not line.startswith("-") and line not in tools
    )
    assert colab.requirements(ROOT) == PROJECT["dependencies"]
    assert colab.constraints(ROOT, {}) == lines("constraints.txt")
    assert colab.without_dependencies(ROOT) == lines("no-deps.txt")


def test_numpy_torch_and_what_comes_with_torch_are_never_replaced(colab) -> None:
    kept = {"numpy": "2.0.2", "torch": "2.9.0+cu126"}
    asked = [*colab.requirements(ROOT, kept), *colab.without_dependencies(ROOT, kept)]
    assert not [line for line in asked if re.match(r"(numpy|torch|triton)\b", line)]
    pins = colab.constraints(ROOT, kept)
    assert pins[-2:] == ["numpy==2.0.2", "torch==2.9.0+cu126"]
    assert not [line for line in pins[:-2] if re.match(r"(numpy|torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==", line)]
    dropped = [line for line in lines("constraints.txt") if line.startswith(("triton", "nvidia-", "cuda-"))]
    assert len(lines("constraints.txt")) - len(pins) == len(dropped) > 15


def test_a_running_kernel_keeps_its_own_jupyter(colab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert set(colab.kept_versions()) == {"numpy", "torch"}
    monkeypatch.setitem(sys.modules, "ipykernel", os)
    kept = colab.kept_versions()
    assert set(kept) == {"numpy", "torch", *colab.JUPYTER}
    names = [re.split(r"\W", line.replace("_", "-").replace("-", "~"))[0] for line in colab.requirements(ROOT, kept)]
    assert not {"ipykernel", "ipython", "jupyterlab", "papermill", "traitlets"} & set(names)
    assert not [line for line in colab.requirements(ROOT, kept) if line.startswith("jupyter_client")]


def test_the_version_table_shows_pins_and_what_was_kept(colab) -> None:
    table = [line.split() for line in colab.version_table(ROOT, {"numpy": "1.0"}).splitlines()]
    assert table[0] == ["package", "installed", "pinned"] and table[1][:2] == ["python", sys.version.split()[0]]
    pins = dict(line.split("==") for line in lines("constraints.txt"))
    rows = {row[0]: row[1:] for row in table[2:]}
    assert set(rows) == set(colab.SHOWN)
    assert all(row[1] == pins[name] for name, row in rows.items() if name in pins)
    assert rows["companion"] == [PROJECT["version"]]


def test_a_package_that_was_loaded_before_is_told(colab, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas

    assert colab.loaded_in_another_version(ROOT) == []
    monkeypatch.setattr(pandas, "__version__", "2.2.2")
    assert colab.loaded_in_another_version(ROOT) == ["pandas"]


def test_a_failed_installation_shows_what_pip_said(
    colab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="The installation failed"):
        colab._pip("--no-index", "--find-links", os.devnull, "surely-not-a-package==1")
    assert "surely-not-a-package" in capsys.readouterr().out


def test_results_go_to_the_folder_that_is_named(colab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keep

    monkeypatch.setattr(keep, "SECONDS", 3600)
    monkeypatch.delenv("COMPANION_KEEP", raising=False)
    assert "they end with this machine" in colab.keep_results(tmp_path)
    (tmp_path / "kept" / "figures" / "paper-t4").mkdir(parents=True)
    (tmp_path / "kept" / "figures" / "paper-t4" / "claims.md").write_text("undecided")
    monkeypatch.setenv("COMPANION_KEEP", str(tmp_path / "kept"))
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path / "cache"))
    assert f"copied to {tmp_path / 'kept'}" in colab.keep_results(tmp_path)
    assert (tmp_path / "figures" / "paper-t4" / "claims.md").read_text() == "undecided"


# --- the whole way -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_notebook_runs_from_an_empty_folder_after_its_install_cell_alone(colab, tmp_path: Path) -> None:
    """Converted to a script, in a new virtual environment; a local copy stands in for the published repository."""
    origin, folder = tmp_path / "origin", tmp_path / "an empty folder"
    folder.mkdir()
    git = ["git", "-c", "advice.detachedHead=false"]
    subprocess.run([*git, "clone", "--quiet", str(ROOT), str(origin)], check=True)
    subprocess.run([*git, "-C", str(origin), "tag", "--force", colab.REF], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    notebook = ROOT / "notebooks" / "explanations" / "1_data.ipynb"
    command = [sys.executable, "-m", "nbconvert", "--to", "python", "--output-dir", str(tmp_path), str(notebook)]
    subprocess.run(command, check=True, capture_output=True)
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COMPANION_HOME")}
    clean |= {"COMPANION_REPOSITORY": str(origin), "MPLBACKEND": "Agg", "COMPANION_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [str(python), str(tmp_path / "1_data.py")], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    pins = dict(line.split("==") for line in lines("constraints.txt"))
    shown = {row[0]: row[1].split("+")[0] for line in done.stdout.splitlines() if len(row := line.split()) == 3}
    assert {name: shown[name] for name in ("numpy", "torch", "transformers", "unsloth", "pandas")} == {
        name: pins[name] for name in ("numpy", "torch", "transformers", "unsloth", "pandas")
    }
    made = folder / colab.CLONE / "figures" / "quick" / "explanations"
    assert (made / "T1_data.csv").stat().st_size and (made / "F1_pipeline.png").stat().st_size
    assert json.loads((made / "T1_data.provenance.json").read_text(encoding="utf-8"))
