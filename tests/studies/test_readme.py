"""The Markdown pages show the recorded tables and nothing else."""

import os
from pathlib import Path

import pytest

from companion import paths
from companion.bench.page import measured_rows
from companion.bench.turns import Measured, Way
from companion.errors import CompanionError
from companion.show.outputs import Legend, write_output
from companion.show.provenance import Provenance
from companion.studies import readme
from companion.studies.readme import PAGES, fill

TABLE = "<!-- table: cpu/explanations/T4_arms: arm | accuracy [interval] -->"


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    """Tables of our own with more columns than a page shows, and a backslash in a cell."""
    arms = [["arm", "accuracy [interval]", "kappa"], ["a \\1", "0.500 [0.250, 0.750]", "0.125"]]
    for profile, verdicts in {"cpu": "supported undecided", "gpu": "undecided undecided"}.items():
        folder, origin = tmp_path / profile / "explanations", Provenance("explanations", profile, ("01234567",), "abc")
        write_output(folder, "T4_arms", {"md": b""}, Legend("table", "Arms", "N.", arms), origin)
        claims = "".join(f"{number},S,{verdict}\n" for number, verdict in enumerate(verdicts.split()))
        (folder / "claims.csv").write_text(f"id,statement,verdict\n{claims}")
        (folder / "F3_arms.png").touch()
    ways = [Measured(Way(name, ("t",), abs, ""), "t", [rate]) for name, rate in (("ours", 8.0), ("theirs", 2.0))]
    measured_rows("scoring", ways).to_csv(tmp_path / "bench.csv", index=False)
    return tmp_path


def test_every_block_is_replaced_and_the_rest_is_kept(figures: Path) -> None:
    begins = (TABLE, "<!-- studies -->", "<!-- speed -->")
    ends = ("<!-- /table -->", "<!-- /studies -->", "<!-- /speed -->")
    blocks = "".join(f"{begin}\nold\n\nold\n{end}\nbetween\n" for begin, end in zip(begins, ends, strict=True))
    filled = fill(f"above\n{blocks}below\n", figures.parent / "README.md", figures)
    lines = filled.splitlines()
    assert "old" not in filled and "kappa" not in filled
    assert "| a \\\\1" in filled and "0.500 [0.250, 0.750] |" in filled
    assert any(line.split()[:5] == ["|", "theirs", "|", "4.0", "[4.0,"] for line in lines)
    assert [line for line in lines if line in ("above", "between", "below")] == ["above", *["between"] * 3, "below"]
    assert all(lines.count(marker) == 1 for marker in (*begins, *ends))
    assert fill(filled, figures.parent / "README.md", figures) == filled


def test_links_are_relative_to_the_page(figures: Path) -> None:
    page = figures.parent / "notebooks" / "explanations" / "README.md"
    filled = fill(f"{TABLE}\n<!-- /table -->\n", page, figures)
    target = f"../../{figures.name}/cpu/explanations/T4_arms.md"
    assert f"[All columns and notes]({target}); *profile cpu · 1 run" in filled
    assert f"]({figures.name}/cpu/explanations/T4_arms.md)" in fill(filled, figures.parent / "README.md", figures)


def test_a_study_shows_the_run_that_decides_most_and_the_picture_that_is_there(figures: Path) -> None:
    page, text = figures / "README.md", "<!-- studies -->\n<!-- /studies -->\n"
    filled = fill(text, page, figures)
    assert "`cpu`: **[1 supported, 0 contradicted, 1 undecided](cpu/explanations/claims.md)**" in filled
    assert "(cpu/explanations/F3_arms.png)" in filled and "arxiv.org/abs/2511.02044" in filled
    (figures / "cpu" / "explanations" / "claims.png").touch()
    assert "(cpu/explanations/claims.png)" in fill(text, page, figures)
    for picture in figures.rglob("*.png"):
        picture.unlink()
    assert "**explanations**: no run is recorded." in fill(text, page, figures)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{TABLE}\nno end", "has a block that is not whole"),
        ("text <!-- studies -->\n<!-- /speed -->", "has a block that is not whole"),
        ("<!-- table -->\n<!-- /table -->", "has a block that is not whole"),
        (TABLE.replace("T4", "T9") + "\n<!-- /table -->", r"shows the table cpu/explanations/T9_arms, but .* missing"),
        (TABLE.replace("arm |", "leg |") + "\n<!-- /table -->", "the column 'leg' of .*; it has arm, accuracy"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_page(figures: Path, text: str, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence) as caught:
        fill(text, figures / "page.md", figures)
    assert str(figures / "page.md") in str(caught.value)


def test_the_command_fills_every_page(figures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "notebooks" / "explanations").mkdir(parents=True)
    (home / "figures").symlink_to(figures, target_is_directory=True)
    pages = [home / "README.md", home / "notebooks" / "explanations" / "README.md"]
    for page in pages:
        page.write_text(f"{TABLE}\n<!-- /table -->\n")
    monkeypatch.setenv("COMPANION_HOME", os.fspath(home))
    assert "show the recorded runs" in readme.update()
    assert all("0.500 [0.250, 0.750]" in page.read_text() for page in pages)


@pytest.mark.parametrize("pattern", PAGES)
def test_the_pages_agree_with_the_recorded_runs(pattern: str) -> None:
    pages = list(paths.home().glob(pattern))
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert fill(text, page, paths.home() / "figures") == text
