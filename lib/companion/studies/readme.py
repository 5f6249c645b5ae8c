"""The README's numbers: blocks between markers, filled from the recorded runs and never written by hand."""

import re
from pathlib import Path

import pandas as pd

from companion import paths
from companion.bench.page import ratios
from companion.errors import CompanionError
from companion.files import write_whole
from companion.show.tables import markdown_table, view
from companion.studies.registry import study_class

NAME = "explanations"

BLOCKS = {
    "claims": ("cpu", NAME, "claims", ("claim", "statement", "verdict", "estimate [interval]", "level")),
    "arms": ("cpu", NAME, "T4_arms", ("arm", "accuracy [interval]", "difference [interval]", "quadratic kappa")),
    "longer": ("gpu", NAME, "T4_arms", ("arm", "accuracy [interval]", "difference [interval]", "quadratic kappa")),
    "feedbackqa": (
        "cpu",
        "feedbackqa",
        "T4_arms",
        (
            "arm",
            "accuracy [interval]",
            "difference [interval]",
            "negative log-likelihood (nats) [interval]",
            "nll difference [interval]",
        ),
    ),
}
"""Block -> profile, study or comparison, its recorded table, and those of the table's columns that the README shows."""


def fill(text: str, figures: Path) -> str:
    """The README with every block ``<!-- name -->`` to ``<!-- /name -->`` replaced by columns of a recorded table.

    The block ``bench`` shows the ratios of the benchmark.

    Args:
        figures: the folder of all results, ``figures``.

    Raises:
        CompanionError: a marker or a recorded table is missing.
    """
    for name, (profile, study, table, columns) in BLOCKS.items():
        text = _filled(text, name, _shown(figures / profile / study, table, columns))
    return _filled(text, "bench", ratios(figures / "bench.csv"))


def _filled(text: str, name: str, content: str) -> str:
    block = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
    text, found = re.subn(rf"<!-- {name} -->.*?<!-- /{name} -->", block.replace("\\", r"\\"), text, flags=re.DOTALL)
    if found != 1:
        raise CompanionError(f"README.md must have exactly one block '<!-- {name} -->' to '<!-- /{name} -->'.")
    return text


def _shown(folder: Path, table: str, columns: tuple[str, ...]) -> str:
    """Caption, these columns, where the rest stands, and the origin."""
    for file in (folder / f"{table}.md", folder / f"{table}.csv"):
        if not file.exists():
            raise CompanionError(f"{file} is missing; make the figures of profile {folder.parent.name} first.")
    whole = (folder / f"{table}.md").read_text(encoding="utf-8").strip().splitlines()
    shown = view(pd.read_csv(folder / f"{table}.csv"), study_class(NAME).names)[list(columns)]
    rest = f"[All columns and notes](figures/{folder.parent.name}/{folder.name}/{table}.md)"
    return "\n\n".join([whole[0], markdown_table(shown), f"{rest}; {whole[-1]}"])


def update() -> str:
    """Fill README.md from the recorded runs; returns one sentence.

    Raises:
        CompanionError: as ``fill``.
    """
    file = paths.home() / "README.md"
    text = fill(file.read_text(encoding="utf-8"), paths.home() / "figures")
    write_whole(file, text.encode())
    return f"{file} shows the recorded runs."
