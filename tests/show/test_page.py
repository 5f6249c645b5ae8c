import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

import frames
from companion.errors import CompanionError
from companion.show.ledger import write_claims
from companion.show.page import write_index
from companion.show.provenance import Provenance
from companion.show.style import fix_layout, in_style, new_figure, save_figure
from companion.show.tables import write_table
from test_claims import CLAIMS

PROVENANCE = Provenance("explanations", "quick", ("a",), "abc1234")


class Links(HTMLParser):
    """Collects what a page points to, and the tags left open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if name in {"href", "src"} and value]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with in_style():
        figure = fix_layout(new_figure(0.5, "n"))
    save_figure(figure, tmp_path, "F7_learning", PROVENANCE, 'Loss "over" <examples>')
    write_table(
        pd.DataFrame({"source": ["faq"], "x": [1.0]}), tmp_path, "T10_b", "Ten", "note", PROVENANCE, frames.NAMES
    )
    write_table(pd.DataFrame({"arm": ["<i>"], "x": [1.0]}), tmp_path, "T2_a", "Two", "", PROVENANCE, frames.NAMES)
    write_claims(CLAIMS, tmp_path, "Of 300 examples.", PROVENANCE)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "3 results & more.html").write_text("<p>ran</p>")
    return tmp_path


def test_every_link_leads_to_a_file_in_the_folder(folder: Path) -> None:
    links = Links(write_index(folder, "explanations, profile quick").read_text(encoding="utf-8"))
    assert links.open == []
    assert all((folder / unquote(target)).is_file() for target in links.targets)
    wanted = {
        "F7_learning.png",
        "F7_learning.pdf",
        "T2_a.csv",
        "claims.html",
        "notebooks/3%20results%20%26%20more.html",
    }
    assert wanted <= set(links.targets)


def test_parts_and_tables_come_in_order_and_are_escaped(folder: Path) -> None:
    page = write_index(folder, "a < b").read_text(encoding="utf-8")
    assert re.findall("<h2>(.*?)</h2>", page) == ["Claims", "Figures", "Tables", "Notebooks as they ran"]
    assert page.index("T2_a") < page.index("T10_b")
    assert "<title>a &lt; b</title>" in page
    assert "<td>&lt;i&gt;</td>" in page
    assert "<td>faq (for AmazonQA)</td>" in page
    assert "Loss &#34;over&#34; &lt;examples&gt;" in page


def test_writing_twice_gives_the_same_page_and_does_not_list_itself(folder: Path) -> None:
    first = write_index(folder, "t").read_bytes()
    assert write_index(folder, "t").read_bytes() == first
    assert b"index" not in first


def test_a_deleted_output_is_no_longer_shown(folder: Path) -> None:
    for path in folder.glob("T2_a.*"):
        path.unlink()
    assert "T2_a" not in write_index(folder, "t").read_text(encoding="utf-8")


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="no figure and no table"):
        write_index(tmp_path, "t")
