"""The command line as a user meets it: one sentence, the right exit code, no traceback unless asked."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from companion import cli, paths
from companion.studies import commands


def companion(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, "-m", "companion.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("figures", "--profile", "quikc"),
            "There is no profile 'quikc'; choose one of cpu, gpu, paper, paper-t4, quick, smoke.",
        ),
        (("status", "--study", "paritee"), "There is no study 'paritee'; choose one of explanations, parity."),
    ],
)
def test_mistake_is_one_sentence_and_code_2(arguments: tuple[str, ...], sentence: str) -> None:
    done = companion(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip() == f"companion: {sentence}"
    assert done.stdout == ""


def test_debug_shows_the_traceback() -> None:
    done = companion("--debug", "figures", "--profile", "quikc")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_simulated_annotators_are_not_asked_and_nobody_has_rated(
    main: "Main", capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    assert main("annotate", "-p", "quick") == 2
    assert capsys.readouterr().err == (
        "companion: The annotators of this profile are simulated, so there is nobody to ask: "
        "name language models under annotators in its file; paper.yaml shows how.\n"
    )
    assert main("gold", "report", "-p", "quick") == 0
    assert capsys.readouterr().out.startswith("There is no gold set: no two people have rated items of profile quick")


Main = Callable[..., int]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Main:
    """The same without a process of its own: gives the exit code."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def call(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["companion", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code

    return call


def test_ctrl_c_says_how_to_go_on(
    main: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "show_status", interrupt)
    assert main("status") == 130
    assert capsys.readouterr().err == "companion: interrupted; run the same command again to go on.\n"


def test_a_warning_is_one_line(main: Main) -> None:
    main("--version")
    assert warnings.formatwarning("source qa is left out", UserWarning, "file.py", 7) == (
        "Warning: source qa is left out\n"
    )


def test_version(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--version") == 0
    assert capsys.readouterr().out == f"companion {version('companion')}\n"


def test_unknown_option_and_command() -> None:
    assert companion("figures", "--prifile", "quick").returncode == 2
    assert companion("figurse").returncode == 2


def test_help_lists_the_commands() -> None:
    done = companion("--help")
    assert done.returncode == 0
    for command in ("figures", "run", "tune", "status", "verify", "plan", "merge"):
        assert command in done.stdout


def test_status_and_verify_before_anything_was_run(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPANION_HOME", str(tmp_path))
    for options, command in (((), "PROFILE=smoke"), (("--rerun",), "PROFILE=smoke RERUN=1")):
        for look, code in (("status", 0), ("verify", 1)):
            assert main(look, "--profile", "smoke", *options) == code
            assert f"holds no study; 'make figures {command}' makes it." in "".join(capsys.readouterr())
    assert not list(tmp_path.iterdir())


def test_what_verify_praises_is_the_folder_it_looked_at(
    main: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "verify_study", lambda _: [])
    assert main("verify", "-p", "smoke", "--rerun") == 0
    assert capsys.readouterr().out.startswith(f"{paths.results('smoke', 'explanations', rerun=True)}: every record")


@pytest.mark.parametrize("command", ["figures", "run", "status", "verify", "readme"])
def test_a_home_that_is_a_file_is_told(
    main: Main, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("COMPANION_HOME", str(tmp_path / "file"))
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said == f"companion: COMPANION_HOME names the file {tmp_path / 'file'}; let it name a folder.\n"


@pytest.mark.parametrize(("command", "missing"), [("figures", "notebooks/00_overview.ipynb"), ("readme", "README.md")])
def test_a_home_that_is_no_clone_is_told(
    main: Main,
    command: str,
    missing: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMPANION_HOME", str(tmp_path))
    assert main(command) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and str(tmp_path / missing) in said


def test_home_can_be_moved_to_a_path_with_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ein Ordner mit Ümlauten"
    folder.mkdir()
    monkeypatch.setenv("COMPANION_HOME", str(folder))
    assert paths.results("quick", "explanations") == folder / "figures" / "quick" / "explanations"
    assert paths.results("quick", "explanations", rerun=True).parts[-2] == "quick-rerun"
