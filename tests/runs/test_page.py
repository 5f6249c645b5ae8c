import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from companion.errors import CompanionError
from companion.runs.page import to_html

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)"><b onclick="alert(3)">bold</b><style>p {}</style>'
EVIL += '<iframe src="http://evil.example"></iframe><a href="javascript:alert(4)">link</a>'
EVIL += '<a href=" Java\tscript:alert(5)">other</a>'
FRAME = (
    '<style scoped>.dataframe td {}</style><table class="dataframe"><thead><tr><th colspan="2">arm</th></tr></thead>'
)
FRAME += "<tbody><tr><td>label</td></tr></tbody></table>"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
def page(odd_folder):
    def data(**kinds):
        return new_output("display_data", data={kind.replace("_", "/", 1): value for kind, value in kinds.items()})

    cells = [
        new_markdown_cell("# Heading\n\n[next](2_next.html)\n\n> quote with $x^2$ and " + EVIL),
        new_raw_cell(EVIL, metadata={"format": "text/html", "raw_mimetype": "text/html"}),
        new_code_cell("1 < 2", outputs=[data(text_html=EVIL), data(text_html=FRAME), data(image_png=PIXEL)]),
        new_code_cell("2", outputs=[data(application_javascript="alert(5)"), data(text_markdown=EVIL)]),
        new_code_cell("3", outputs=[new_output("stream", name="stdout", text=EVIL)]),
        new_code_cell("4", outputs=[data(**{"image_svg+xml": "<svg onload='alert(6)'></svg>", "text_plain": "<svg>"})]),
    ]
    nbformat.write(new_notebook(cells=cells), odd_folder / "in.ipynb")
    assert to_html(odd_folder / "in.ipynb", odd_folder / "page.html") == odd_folder / "page.html"
    return (odd_folder / "page.html").read_text(encoding="utf-8")


def test_nothing_active_is_left_and_the_browser_may_load_nothing(page):
    soup = BeautifulSoup(page, "html.parser")
    assert not soup.find_all(["script", "iframe", "svg", "object", "embed", "form", "link", "base"])
    for element in soup.find_all(True):
        assert not [name for name in element.attrs if name.startswith("on")], element
        assert not re.match(r"\s*java\s*script", str(element.get("href", "")), re.IGNORECASE), element
        assert re.match(r"data:|#|$", str(element.get("src", ""))), element
    assert "@import" not in page
    policy = soup.head.find("meta")
    assert policy["http-equiv"] == "Content-Security-Policy" and policy["content"].startswith("default-src 'none';")


def test_what_is_meant_to_be_read_is_there(page):
    soup = BeautifulSoup(page, "html.parser")
    assert soup.h1.get_text().startswith("Heading") and "quote with" in soup.blockquote.get_text()
    assert soup.find("a", href="2_next.html").get_text() == "next"
    table = soup.find("table", class_="dataframe")
    assert table.thead.th["colspan"] == "2" and table.tbody.td.get_text() == "label"
    assert any(image.get("src", "").startswith("data:image/png;base64,") for image in soup.find_all("img"))
    # Printed text is shown as it is.
    assert EVIL in soup.get_text()
    assert ".dataframe td" not in soup.get_text()


def test_an_unreadable_notebook_is_told(tmp_path):
    with pytest.raises(CompanionError, match="There is no notebook"):
        to_html(tmp_path / "missing.ipynb", tmp_path / "page.html")
