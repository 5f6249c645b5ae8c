"""The command as a user meets it: files in, a folder out, one sentence for a mistake."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from companion import cli
from companion.studies.parity.own import report

Main = Callable[..., int]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Main:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setenv("COMPANION_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path)

    def call(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["companion", "audit", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0)

    return call


def make_files(folder: Path, bias: float = 0.5) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["dark", "light"], 120)
    found = []
    for query, label in enumerate(labels):
        weight = np.where(labels == label, 1 + bias * 4, 1.0)
        weight[query] = 0
        found += [(query, item, rank) for rank, item in enumerate(rng.choice(120, 6, False, weight / weight.sum()), 1)]
    run = pd.DataFrame(found, columns=["query", "item", "rank"])
    for name in ("query", "item"):
        run[name] = "i" + run[name].astype(str).str.zfill(3)
    run.to_csv(folder / "run.csv", index=False)
    ids = [f"i{place:03}" for place in range(120)]
    pd.DataFrame({"id": ids, "tone": labels, "age": rng.integers(18, 80, 120)}).to_csv(
        folder / "items.csv", index=False
    )


BASIC = ("run.csv", "items.csv", "--k", "3", "6", "--draws", "199")


def outputs(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_an_audit_writes_a_page_with_every_table_and_figure(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\ni000\ti001\t1\n", encoding="utf-8")
    assert main(*BASIC, "--baseline", "run.csv", "--qrels", "qrels.tsv", "--margin", "0.5") == 0
    told = capsys.readouterr()
    assert "tone, K = 6: dependence, within the margin. C " in told.out
    assert "Dependence is not cause" in told.out
    assert "run.csv: query = query, item = item, rank = rank." in told.err
    folder = tmp_path / "figures" / "quick" / "run"
    page = (folder / "index.html").read_text(encoding="utf-8")
    for name in (
        "T0_reading",
        "T1_overall",
        "T1b_parity",
        "T2_groups",
        "T3_plan",
        "T4_relevance",
        "T5_change",
        "F1_null",
        "F2_groups",
    ):
        assert f'id="{name}"' in page
        assert (folder / f"{name}.{'png' if name.startswith('F') else 'csv'}").stat().st_size
    assert "Dependence is not cause" in page and "found four times" in page
    state = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert set(state["files"]) == {"results", "attributes", "baseline", "qrels"} and str(tmp_path) not in json.dumps(
        state
    )


def test_the_same_audit_is_not_made_twice_and_other_options_replace_it(main: Main, tmp_path: Path) -> None:
    assert main(*BASIC, "-q") == 0
    folder = tmp_path / "figures" / "quick" / "run"
    before, time = outputs(folder), (folder / "index.html").stat().st_mtime_ns
    assert main(*BASIC, "-q") == 0
    assert (folder / "index.html").stat().st_mtime_ns == time
    assert main(*BASIC, "-q", "--seed", "1") == 0
    changed = {name for name, content in outputs(folder).items() if before[name] != content}
    assert {"T1_overall.csv", "F1_null.png", "audit.json"} <= changed


def test_another_table_under_the_same_name_is_refused_with_the_way_out(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "FIGURES", {})
    assert main(*BASIC, "-q") == 0
    before = outputs(tmp_path / "figures" / "quick" / "run")
    table = (tmp_path / "items.csv").read_text(encoding="utf-8")
    (tmp_path / "items.csv").write_text(table.replace("dark", "deep"), encoding="utf-8")
    assert main(*BASIC, "-q") == 2
    assert "holds the audit of other files than these are now; choose another --name" in capsys.readouterr().err
    assert outputs(tmp_path / "figures" / "quick" / "run") == before
    assert main(*BASIC, "-q", "--name", "deep") == 0
    (tmp_path / "figures" / "quick" / "mine").mkdir()
    (tmp_path / "figures" / "quick" / "mine" / "note.txt").write_text("x", encoding="utf-8")
    assert main(*BASIC, "-q", "--name", "mine") == 2
    assert "holds no audit; choose another --name" in capsys.readouterr().err


def test_the_exit_code_says_what_ci_asks_for(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FIGURES", {})
    tone, age = ("--attribute", "tone"), ("--attribute", "age")
    assert main(*BASIC, "-q", *tone, "--fail-on", "dependence") == 3
    assert main(*BASIC, "-q", *tone, "--fail-on", "dependence") == 3
    assert main(*BASIC, "-q", *age, "--fail-on", "dependence", "--margin", "0.2") == 0
    assert main(*BASIC, "-q", *age, "--fail-on", "no-equivalence", "--margin", "0.2") == 0
    assert main(*BASIC, "-q", *age, "--fail-on", "no-equivalence", "--margin", "0.001") == 3
    assert main(*BASIC, "-q", *age, "--fail-on", "no-equivalence") == 2
    assert main(*BASIC, "-q", *age, "--fail-on", "anything") == 2


def test_a_plan_is_text_and_writes_nothing(main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--plan", "1000", "--shares", "80 20", "--k", "10", "--wanted", "0.01") == 0
    told = capsys.readouterr().out
    assert "K = 10: a bias of 0.0247 is found four times in five, smaller ones less often; 6,121 items for 0.01" in told
    assert not (tmp_path / "figures").exists()
    assert main("--k", "5", "10", "20", "--plan", "1000") == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:3]] == ["K = 5", "K = 10", "K = 20"]
    for shares in ("a,b", "1", "0,0", "nan,1", "inf,1"):
        assert main("--plan", "1000", "--shares", shares) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run.csv",), "needs the files RESULTS and ATTRIBUTES"),
        (("none.csv", "items.csv"), "There is no file none.csv"),
        (("run.csv", "--plan", "1000"), "--plan reads no files; leave out 'run.csv'"),
        (("--plan", "20", "--k", "5", "19"), "K = 19 of 20 items reveals nothing: take K from 1 to 18"),
        (("run.csv", "none.csv"), "There is no file none.csv"),
        ((*BASIC, "--attribute", "sex"), "has no column 'sex'"),
        ((*BASIC[:2], "--k", "50"), "K = 50 is more than run.csv has"),
        ((*BASIC[:2], "third.csv"), "is no number for --k; give the files before"),
        ((*BASIC, "--columns", "query"), "--columns takes role=column"),
        ((*BASIC, "--columns", "query=nothing"), "has no column 'nothing'"),
        ((*BASIC, "--stratum", "tone", "--attribute", "tone"), "constant inside every stratum"),
        ((*BASIC, "--name", "parity"), "the paper's study goes by it"),
        ((*BASIC, "--name", "../x"), "no name for a results folder"),
        ((*BASIC, "--profile", "huge"), "There is no profile 'huge'"),
        ((*BASIC, "--order", "score"), "cannot be ordered by 'score'"),
        (("items.csv", "run.csv"), "no column for the query"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    arguments: tuple[str, ...], sentence: str, main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(*arguments, "-q") == 2
    told = capsys.readouterr()
    assert sentence in told.err and told.err.count("\n") == 1 and told.out == ""
    assert not (tmp_path / "figures").exists() or not any((tmp_path / "figures" / "quick").iterdir())


def test_a_narrow_terminal_shows_the_help_and_the_sentences(
    main: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert main("--help") == 0
    assert main("--plan", "1000") == 0
    assert main("run.csv", "none.csv") == 2
    assert "There is no file none.csv; give the path of the attributes." in capsys.readouterr().err
