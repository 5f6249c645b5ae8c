"""A fifth paper needs its own folder, a section in a profile, its notebooks and one line in the registry.

The template of CONTRIBUTING.md is put into a copy of the library in just this way, and the ordinary commands run it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT, TEMPLATE = Path(__file__).resolve().parents[2], Path(__file__).with_name("template")
pytestmark = pytest.mark.golden


class Clone:
    """A copy of the repository to which studies are added."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.library = folder, folder / "lib" / "companion"
        shutil.copytree(ROOT / "lib", folder / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (folder / "notebooks").mkdir()
        shutil.copy(ROOT / "notebooks" / "00_overview.ipynb", folder / "notebooks")
        self.registry = self.library / "studies" / "registry.py"
        self.profile = self.library / "profiles" / "mini.yaml"
        shutil.copy(TEMPLATE / "profile.yaml", self.profile)

    def add_study(self, name: str = "coin") -> None:
        """The steps of CONTRIBUTING.md: folder, notebooks, section of the profile, one line."""
        room, notebooks = self.library / "studies" / name, self.folder / "notebooks" / name
        room.mkdir()
        notebooks.mkdir()
        (room / "__init__.py").touch()
        for file in TEMPLATE.glob("*.py"):
            self.write(room / file.name, _renamed(file.read_text(encoding="utf-8"), name))
        for file in TEMPLATE.glob("*.ipynb"):
            self.write(notebooks / file.name, _renamed(file.read_text(encoding="utf-8"), name))
        sections = yaml.safe_load(self.profile.read_text(encoding="utf-8"))
        sections["studies"][name] = sections["studies"]["coin"]
        self.write(self.profile, yaml.safe_dump(sections, sort_keys=False))
        text = self.registry.read_text(encoding="utf-8")
        self.write(self.registry, text.replace("STUDIES = (\n", f'STUDIES = (\n    "{name}",\n', 1))

    def write(self, file: Path, text: str) -> None:
        file.write_text(text, encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "lib"), "COMPANION_HOME": str(self.folder)}
        environment |= {"COMPANION_CACHE": str(self.folder / "cache"), "COLUMNS": "200"}
        command = [sys.executable, "-m", "companion.cli", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=environment, cwd=self.folder, text=True, start_new_session=True, **pipes)

    def companion(self, *arguments: str, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, err
        return out + err

    def results(self, study: str = "coin") -> Path:
        return self.folder / "figures" / "mini" / study

    def records(self, study: str = "coin") -> dict[str, tuple[int, bytes]]:
        files = self.results(study).glob("records/*.safetensors")
        return {file.stem: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def _renamed(text: str, name: str) -> str:
    return text.replace("coin", name).replace("Coin", name.title())


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    made = Clone(tmp_path / "a clone")
    made.add_study()
    return made


def test_the_template_runs_by_the_ordinary_commands(clone: Clone) -> None:
    assert "8 runs by" in clone.companion("plan", "-p", "mini")
    told = clone.companion("figures", "-p", "mini", "--quiet")
    assert told.splitlines()[-1].endswith("figures/mini/index.html shows all studies.")
    there = {file.name for file in clone.results().iterdir()}
    assert {"T1_heads.csv", "T1_heads.md", "T1_heads.tex", "F1_heads.png", "F1_heads.pdf", "claims.html"} <= there
    assert (clone.results() / "notebooks" / "1_heads.html").is_file()
    assert "supported" in (clone.results() / "claims.csv").read_text(encoding="utf-8")
    assert "8 of 8 runs done" in clone.companion("status", "-p", "mini")
    assert "is whole" in clone.companion("verify", "-p", "mini").replace("are whole", "is whole")
    assert "everything is up to date" in clone.companion("figures", "-p", "mini", "--study", "coin")
    page = (clone.folder / "figures" / "mini" / "index.html").read_text(encoding="utf-8")
    for shown in ("Bent coins, re-run", "A bent coin shows heads more often", "supported", "coin/F1_heads.png"):
        assert shown in page
    (clone.results() / "T1_heads.csv").write_text("1")
    assert "T1_heads.csv was changed" in clone.companion("verify", "-p", "mini", code=1)


def test_killed_in_the_middle_it_goes_on_where_it_was(clone: Clone) -> None:
    study = clone.library / "studies" / "coin" / "study.py"
    slow = study.read_text(encoding="utf-8").replace("    generator =", "    time.sleep(0.5)\n    generator =")
    clone.write(study, slow.replace("import hashlib\n", "import hashlib\nimport time\n"))
    process = clone.start("run", "-p", "mini")
    end = time.monotonic() + 60
    while len(clone.records()) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = clone.records()
    assert 0 < len(before) < 8
    assert f"coin: {8 - len(before)} runs made, {len(before)} were there already." in clone.companion(
        "run", "-p", "mini"
    )
    after = clone.records()
    assert len(after) == 8 and {run: after[run] for run in before} == before


def test_a_second_study_appears_by_itself_and_one_that_fails_lets_the_others_finish(clone: Clone) -> None:
    clone.add_study("dice")
    notebook = clone.folder / "notebooks" / "dice" / "1_heads.ipynb"
    whole = notebook.read_text(encoding="utf-8")
    clone.write(notebook, whole.replace("table = heads_table(study)", "table = heads_tabel(study)"))
    told = clone.companion("figures", "-p", "mini", "--quiet", code=2)
    assert "1 of 2 studies failed (finished: coin):\n  dice: 1_heads.ipynb, cell 3: NameError" in told
    assert len(clone.records("dice")) == 8 and (clone.results("coin") / "index.html").is_file()
    page = clone.folder / "figures" / "mini" / "index.html"
    assert "make figures PROFILE=mini" in page.read_text(encoding="utf-8")
    clone.write(notebook, whole)
    assert "everything is up to date" in clone.companion("figures", "-p", "mini", "--quiet")
    shown = page.read_text(encoding="utf-8")
    assert shown.index("dice/F1_heads.png") < shown.index("coin/F1_heads.png")  # in the order of the registry


def test_a_study_whose_folder_is_missing_lets_the_others_finish(clone: Clone) -> None:
    clone.add_study("dice")
    shutil.rmtree(clone.library / "studies" / "dice")
    told = clone.companion("figures", "-p", "mini", "--quiet", code=2)
    assert (
        "finished: coin" in told and "dice: The registry names the study 'dice', but studies/dice/study.py is" in told
    )
    assert "coin/F1_heads.png" in (clone.folder / "figures" / "mini" / "index.html").read_text(encoding="utf-8")


def test_a_study_that_cannot_be_imported_or_lacks_a_part_is_one_sentence(clone: Clone) -> None:
    clone.add_study("dice")
    study = clone.library / "studies" / "dice" / "study.py"
    text = study.read_text(encoding="utf-8")
    clone.write(study, f"raise ValueError('boom')\n{text}")
    assert "studies/dice/study.py cannot be imported (ValueError: boom)" in clone.companion(
        "status", "-p", "mini", code=2
    )
    told = clone.companion("figures", "-p", "mini", "--quiet", code=2)
    assert "1 of 2 studies failed (finished: coin)" in told and "Traceback" not in told
    clone.write(study, text.replace('    title: ClassVar[str] = "Bent dices, re-run"\n', ""))
    told = clone.companion("plan", "-p", "mini", "--study", "dice", code=2)
    assert "The study 'dice' lacks title; see CONTRIBUTING.md." in told


def test_work_on_one_study_throws_away_no_record_of_another(clone: Clone) -> None:
    clone.add_study("dice")
    clone.companion("figures", "-p", "mini", "--quiet")
    before, study = clone.records("coin"), clone.library / "studies" / "dice" / "study.py"
    text = study.read_text(encoding="utf-8")
    clone.write(study, text.replace("result_version: int = 1", "result_version: int = 2"))
    assert "runs made" not in clone.companion("figures", "-p", "mini", "--quiet")  # the older tables are made again
    assert clone.records("coin") == before
    assert clone.companion("run", "-p", "mini").splitlines() == [
        "dice: 0 runs made, 8 were there already.",
        "coin: 0 runs made, 8 were there already.",
    ]
    next(iter(clone.results("dice").glob("records/*.safetensors"))).unlink()
    told = clone.companion("run", "-p", "mini", "--study", "dice", code=2)
    assert (
        "was recorded with result version 1, this code makes 2: its tables can be made again from its records" in told
    )
    shutil.rmtree(clone.results("dice"))
    clone.companion("run", "-p", "mini", "--study", "dice")
    frozen = json.loads((clone.results("dice") / "study.json").read_text(encoding="utf-8"))
    assert frozen["result_versions"] == {"DiceSpec": 2}


def test_mistakes_in_registry_and_profile_are_one_sentence(clone: Clone) -> None:
    def told(*arguments: str) -> str:
        (line,) = clone.companion(*arguments, code=2).splitlines()
        return line

    text = clone.registry.read_text(encoding="utf-8")
    clone.write(clone.registry, text.replace('    "coin",\n', '    "coin",\n    "coin",\n'))
    assert "Two studies are called 'coin'" in told("status", "-p", "mini")
    clone.write(clone.registry, text.replace('    "coin",\n', '    "ghost",\n'))
    assert "has settings for the study 'coin', which does not exist" in told("figures", "-p", "mini")
    assert "names the study 'ghost', but studies/ghost/study.py is missing" in told("status", "-s", "ghost")
    clone.write(clone.registry, text)
    assert "The profile 'quick' has no study 'coin'" in told("figures", "-p", "quick", "--study", "coin")
    study = clone.library / "studies" / "coin" / "study.py"
    clone.write(study, study.read_text(encoding="utf-8").replace('"coin"', '"penny"'))
    assert "studies/coin/study.py holds no Study whose name is 'coin'" in told("status", "-p", "mini")
