"""The README's numbers: blocks between markers, filled from the recorded run and never written by hand."""

import re
from pathlib import Path

from companion import paths
from companion.errors import CompanionError
from companion.files import write_whole
from companion.studies.explanations.study import NAME

RECORDED = "cpu"
BLOCKS = {"claims": "claims.md", "arms": "T4_arms.md"}


def fill(text: str, folder: Path) -> str:
    """The README with every block ``<!-- name -->`` to ``<!-- /name -->`` replaced by the recorded table of that name.

    Args:
        folder: the recorded study, such as ``figures/cpu/explanations``.

    Raises:
        CompanionError: a marker or a recorded table is missing.
    """
    for name, file in BLOCKS.items():
        if not (folder / file).exists():
            raise CompanionError(f"{folder / file} is missing; run 'make figures PROFILE={folder.parent.name}' first.")
        table = (folder / file).read_text(encoding="utf-8").strip()
        block = f"<!-- {name} -->\n{table}\n<!-- /{name} -->"
        text, found = re.subn(rf"<!-- {name} -->.*?<!-- /{name} -->", block.replace("\\", r"\\"), text, flags=re.DOTALL)
        if found != 1:
            raise CompanionError(f"README.md must have exactly one block '<!-- {name} -->' to '<!-- /{name} -->'.")
    return text


def update() -> str:
    """Fill README.md from the recorded run; returns one sentence.

    Raises:
        CompanionError: as ``fill``.
    """
    file = paths.home() / "README.md"
    text = fill(file.read_text(encoding="utf-8"), paths.results(RECORDED, NAME))
    write_whole(file, text.encode())
    return f"{file} shows the recorded {RECORDED} run."
