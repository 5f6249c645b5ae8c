"""Numbers in the Markdown pages: blocks between markers, filled from the recorded runs and never written by hand.

A page asks for a recorded table by its place below ``figures`` and its columns, separated by bars::

    <!-- table: cpu/explanations/claims: claim | verdict -->
    <!-- /table -->

``studies`` gives each study's result and picture, ``speed`` the ratios of the benchmark.
"""

import re
from pathlib import Path

import pandas as pd

from companion import paths
from companion.bench.page import ratios
from companion.errors import CompanionError
from companion.files import write_whole
from companion.profiles import recorded_profiles
from companion.show.claims import count_verdicts
from companion.show.outputs import SIDECAR, read_output
from companion.show.tables import markdown_table
from companion.show.text import escape_markdown
from companion.studies.overview import Result, StudyOverview, link
from companion.studies.registry import study_class, study_names

PAGES = ("README.md", "notebooks/*/README.md", "figures/*.md")
_MARKER = re.compile(r"<!-- /?(?:table|studies|speed)\b")
_BLOCK = re.compile(r"(<!-- (table(?=: )|studies|speed)(?:: (\S+): (.+?))? -->\n)(?:(?!<!-- ).*\n)*?(<!-- /\2 -->)")


def update() -> str:
    """Fill every page from the recorded runs and the benchmark; returns a sentence; raises as `fill`."""
    home = paths.home()
    for file in (file for pattern in PAGES for file in sorted(home.glob(pattern))):
        text = file.read_text(encoding="utf-8")
        if _MARKER.search(text):
            write_whole(file, fill(text, file, home / "figures").encode())
    return f"The pages of {home} show the recorded runs."


def fill(text: str, file: Path, figures: Path) -> str:
    """The text of a page with the content of every block replaced.

    Links are relative to the folder of ``file``, the page, and errors name it; ``figures`` is the folder of all
    results. Raises CompanionError for a marker without its partner, a recorded table that is missing or has no such
    column, or no benchmark.
    """

    def content(block: re.Match[str]) -> str:
        begin, what, name, columns, end = block.groups()
        if what == "table":
            filled = _table(name, columns.split(" | "), file, figures)
        elif what == "speed":
            filled = ratios(figures / "bench.csv")
        else:
            filled = "\n\n".join(_study(study, file, figures) for study in study_names())
        return f"{begin}{filled}\n{end}"

    if len(_MARKER.findall(text)) != 2 * len(_BLOCK.findall(text)):
        raise CompanionError(
            f"{file} has a block that is not whole; it begins with '<!-- table: PROFILE/STUDY/TABLE: COLUMN | COLUMN "
            "-->', '<!-- studies -->' or '<!-- speed -->' and ends with its '<!-- /... -->', each on a line of its own."
        )
    return _BLOCK.sub(content, text)


def _table(name: str, columns: list[str], file: Path, figures: Path) -> str:
    """Caption, these columns, where the rest stands, and the origin."""
    sidecar = figures / f"{name}{SIDECAR}"
    if not sidecar.exists():
        raise CompanionError(f"{file} shows the table {name}, but {sidecar} is missing; make the figures first.")
    output = read_output(sidecar)
    headings, *rows = output.table
    if unknown := [column for column in columns if column not in headings]:
        raise CompanionError(f"{file} shows the column {unknown[0]!r} of {name}; it has {', '.join(headings)}.")
    shown = markdown_table(pd.DataFrame(rows, columns=headings)[columns])
    rest = f"[All columns and notes]({link(figures / f'{name}.md', file.parent)}); *{output.provenance.footer()}*"
    return "\n\n".join([f"**{escape_markdown(output.caption)}**", shown, rest])


def _study(name: str, file: Path, figures: Path) -> str:
    """What a paper says, the verdicts of the recorded run that decides most, and a picture of it."""
    study = study_class(name)
    results = [Result(profile, figures / profile / name, study.main_figure) for profile in recorded_profiles()]
    best = StudyOverview(study, tuple(results)).clearest
    picture = best.picture("claims") or best.picture(study.main_figure)
    if picture is None:
        return f"**{name}**: no run is recorded."
    return (
        f"**[{name}](notebooks/{name}/README.md)** (arXiv [{study.paper}](https://arxiv.org/abs/{study.paper})). "
        f"The paper says: {study.statement} Claims in the recorded run `{best.profile}`: "
        f"**[{count_verdicts(best.claims['verdict'])}]({link(best.folder / 'claims.md', file.parent)})**.\n\n"
        f"![Result of {name} in the recorded run {best.profile}]({link(picture, file.parent)})"
    )
