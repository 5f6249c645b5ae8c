"""The page over all studies of a profile: a section for each, with its claims, its main picture and links."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from companion.files import write_whole
from companion.show.html import fill_template


@dataclass(frozen=True)
class Picture:
    """A figure with its caption; ``file`` is a PNG file."""

    caption: str
    file: Path


@dataclass(frozen=True)
class Section:
    """What the page says of one study.

    Attributes:
        title, paper: heading, and arXiv number.
        statement: what the paper says.
        hint: what this run can tell.
        table: claims and their verdicts; all cells text.
        pictures: ledgers and main figures.
        folders: profile to the folder of its results, whose page is linked.
    """

    title: str
    paper: str
    statement: str
    hint: str
    table: pd.DataFrame
    pictures: Sequence[Picture]
    folders: Mapping[str, Path]


def write_overview(folder: Path, profile: str, sections: Sequence[Section], others: Sequence[Path]) -> Path:
    """Write ``index.html`` into the folder of a profile and return its path.

    Links are relative, so that ``figures/`` can be moved or published as it is. ``others`` are folders of results that
    belong to no study. Raises CompanionError where the folder cannot be written.
    """
    page = fill_template(
        "overview",
        title=f"companion: all studies, profile {profile}",
        sections=[_entry(section, folder) for section in sections],
        others=[(_page(other, folder), other.name) for other in others],
    )
    return write_whole(folder / "index.html", page)


def _entry(section: Section, folder: Path) -> dict[str, object]:
    return {
        **vars(section),
        "table": [list(section.table.columns), *section.table.to_numpy().tolist()],
        "pictures": [(_link(one.file, folder), one.caption) for one in section.pictures],
        "pages": [(_page(place, folder), name) for name, place in section.folders.items()],
    }


def _page(results: Path, folder: Path) -> str:
    """Link to the page of a folder of results; to its claims where that page was not made here."""
    return _link(results / ("index.html" if (results / "index.html").is_file() else "claims.html"), folder)


def _link(file: Path, folder: Path) -> str:
    return quote(Path(relpath(file, folder)).as_posix())
