"""The README shows the recorded tables and nothing else."""

from pathlib import Path

import pandas as pd
import pytest

from companion import paths
from companion.bench.page import measured_rows
from companion.bench.turns import Measured, Way
from companion.errors import CompanionError
from companion.show.names import Names
from companion.show.provenance import Provenance
from companion.show.tables import write_table
from companion.studies.readme import BLOCKS, fill

NAMES = (*BLOCKS, "bench")


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    """Tables of our own with more columns than the README shows, and a backslash in a cell."""
    claims = {
        "id": "1a",
        "statement": "A \\1 is so.",
        "verdict": "undecided",
        "estimate": 0.5,
        "low": 0.25,
        "high": 0.75,
    }
    arms = {"arm": "label", "accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75, "kappa": 0.125, "mae": 1.0}
    for name in ("difference", "nll", "nll_difference"):
        arms |= {name: 0.0, f"{name}_low": -0.25, f"{name}_high": 0.25}
    for profile, study in {(profile, study) for profile, study, *_ in BLOCKS.values()}:
        folder, origin = tmp_path / profile / study, Provenance(study, profile, ("0123456789abcdef",), "abc")
        write_table(
            pd.DataFrame([claims | {"level": "95 %", "note": "wordy"}]),
            folder,
            "claims",
            "Claims",
            "N.",
            origin,
            Names(),
        )
        write_table(pd.DataFrame([arms]), folder, "T4_arms", "Arms", "N.", origin, Names())
    ways = [Measured(Way(name, ("t",), abs, ""), "t", [rate]) for name, rate in (("ours", 8.0), ("theirs", 2.0))]
    measured_rows("scoring", ways).to_csv(tmp_path / "bench.csv", index=False)
    return tmp_path


def test_every_block_is_replaced_and_the_rest_is_kept(figures: Path) -> None:
    blocks = "".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\nbetween\n" for name in NAMES)
    filled = fill(f"above\n{blocks}below\n", figures)
    assert "old" not in filled
    assert "A \\\\1 is so." in filled and "0.500 [0.250, 0.750]" in filled and "label only" in filled
    assert any(line.split()[:5] == ["|", "theirs", "|", "4.0", "[4.0,"] for line in filled.splitlines())
    assert "wordy" not in filled and "1.000" not in filled
    assert "[All columns and notes](figures/cpu/explanations/claims.md); *profile cpu" in filled
    assert "[All columns and notes](figures/gpu/explanations/T4_arms.md); *profile gpu" in filled
    kept = [line for line in filled.splitlines() if line in ("above", "between", "below")]
    assert kept == ["above", *["between"] * len(NAMES), "below"]
    assert fill(filled, figures) == filled


def test_a_missing_marker_or_table_is_one_sentence(figures: Path) -> None:
    with pytest.raises(CompanionError, match="exactly one block"):
        fill("no markers", figures)
    (figures / "cpu" / "explanations" / "claims.md").unlink()
    with pytest.raises(CompanionError, match="claims.md is missing"):
        fill("", figures)


def test_the_readme_has_the_blocks_and_agrees_with_the_recorded_runs() -> None:
    text = (paths.home() / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1
    figures = paths.home() / "figures"
    if (
        all((figures / profile / study / f"{table}.md").exists() for profile, study, table, _ in BLOCKS.values())
        and (figures / "bench.csv").exists()
    ):
        assert fill(text, figures) == text
