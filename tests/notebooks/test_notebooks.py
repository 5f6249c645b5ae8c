"""The real notebooks, the real base model, the smallest profile: built, built again, killed and built on."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from companion import paths

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with spaces and an umlaut that holds the notebooks and nothing else."""
    folder = tmp_path_factory.mktemp("ein Ordner für alles")
    shutil.copytree(paths.home() / "notebooks", folder / "notebooks")
    yield folder


def figures(home: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "companion.cli", "figures", "--profile", "smoke"]
    environment = {**os.environ, "COMPANION_HOME": str(home)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(home: Path, folder: Path) -> str:
    process = figures(home, folder)
    output, errors = process.communicate(timeout=3000)
    assert process.returncode == 0, errors
    return output


def outputs(home: Path, *endings: str) -> dict[str, bytes]:
    folder = home / "figures" / "smoke" / "explanations"
    return {file.name: file.read_bytes() for ending in endings for file in sorted(folder.glob(f"*.{ending}"))}


@pytest.fixture(scope="module")
def built(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    assert "index.html shows" in finish(home, tmp_path_factory.mktemp("elsewhere"))
    return outputs(home, "csv", "md", "tex", "png")


def test_every_table_figure_and_page_is_there(home: Path, built: dict[str, bytes]) -> None:
    for name in ("T0_design", "T1_data", "T2_merge", "T3_cells", "T4_arms", "T5_reliability", "claims"):
        assert built[f"{name}.csv"]
        assert built[f"{name}.md"]
        assert built[f"{name}.tex"]
    numbers = {name[:2] for name in built if name.startswith("F")}
    assert numbers == {f"F{number}" for number in range(1, 8)}
    folder = home / "figures" / "smoke" / "explanations" / "notebooks"
    assert len(list(folder.glob("*.html"))) == len(list(folder.glob("*.ipynb"))) == 5


def test_a_second_build_does_nothing(home: Path, built: dict[str, bytes], tmp_path: Path) -> None:
    assert "up to date" in finish(home, tmp_path)
    assert outputs(home, "csv", "md", "tex", "png") == built


def test_deleted_tables_come_back_with_the_same_bytes(home: Path, built: dict[str, bytes], tmp_path: Path) -> None:
    folder = home / "figures" / "smoke" / "explanations"
    (folder / "T4_arms.csv").unlink()
    (folder / "F3_arms.png").write_bytes(b"")
    finish(home, tmp_path)
    assert outputs(home, "csv", "md", "tex", "png") == built


def compare(home: Path, folder: Path) -> str:
    table = home / "notebooks" / "your_data_example.csv"
    command = [sys.executable, "-m", "companion.cli", "compare", str(table), "--explanation", "reason", "--seeds", "2"]
    done = subprocess.run(
        [*command, "--profile", "smoke", "--name", "example"],
        cwd=folder,
        env={**os.environ, "COMPANION_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_comparison_on_own_data_is_made_once(home: Path, tmp_path: Path) -> None:
    assert "index.html shows" in compare(home, tmp_path)
    folder = home / "figures" / "smoke" / "example"
    for name in ("T0_tuning.csv", "T1_data.tex", "T4_arms.md", "F3_arms.png", "F4_layers.pdf", "claims.html"):
        assert (folder / name).stat().st_size
    assert "up to date" in compare(home, tmp_path)


def test_two_builds_at_once_never_mix(home: Path, built: dict[str, bytes], tmp_path: Path) -> None:
    (home / "figures" / "smoke" / "explanations" / "built.json").unlink()
    both = [figures(home, tmp_path) for _ in range(2)]
    errors = [process.communicate(timeout=600)[1] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 2]), errors
    if codes == [0, 2]:
        assert any("is in use by process" in error for error in errors)
    assert outputs(home, "csv", "md", "tex", "png") == built


@pytest.mark.timeout(3600)
def test_killed_five_times_it_ends_with_the_same_tables(home: Path, built: dict[str, bytes], tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(home / "notebooks", again / "notebooks")
    chance = random.Random(20)
    for _ in range(5):
        process = figures(again, tmp_path)
        time.sleep(chance.uniform(5, 60))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(again, tmp_path)
    assert outputs(again, "csv", "md", "tex") == outputs(home, "csv", "md", "tex")
