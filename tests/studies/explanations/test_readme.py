"""The README shows the recorded tables and nothing else."""

from pathlib import Path

import pytest

from companion import paths
from companion.errors import CompanionError
from companion.studies.explanations.readme import BLOCKS, fill


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    for name, file in BLOCKS.items():
        (tmp_path / file).write_text(f"| {name} \\1 |\n", encoding="utf-8")
    return tmp_path


def test_every_block_is_replaced_and_the_rest_is_kept(recorded: Path) -> None:
    text = "above\n<!-- claims -->\nold\n<!-- /claims -->\nbetween\n<!-- arms -->\n<!-- /arms -->\nbelow\n"
    filled = fill(text, recorded)
    assert "old" not in filled
    assert "| claims \\1 |" in filled
    assert [line for line in filled.splitlines() if line in ("above", "between", "below")] == [
        "above",
        "between",
        "below",
    ]
    assert fill(filled, recorded) == filled


def test_a_missing_marker_or_table_is_one_sentence(recorded: Path) -> None:
    with pytest.raises(CompanionError, match="exactly one block"):
        fill("no markers", recorded)
    (recorded / "claims.md").unlink()
    with pytest.raises(CompanionError, match="claims.md is missing"):
        fill("", recorded)


def test_the_readme_has_the_blocks_and_agrees_with_the_recorded_run() -> None:
    text = (paths.home() / "README.md").read_text(encoding="utf-8")
    for name in BLOCKS:
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1
    folder = paths.results("cpu", "explanations")
    if (folder / "claims.md").exists():
        assert fill(text, folder) == text
