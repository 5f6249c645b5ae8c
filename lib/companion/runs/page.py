"""An executed notebook as one web page that needs no network and runs no script."""

import copy
import re
from pathlib import Path

from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from nbconvert.preprocessors.sanitize import SanitizeHTML
from nbformat import NotebookNode

from companion.files import write_whole
from companion.runs.notebook_rules import load_notebook

TAGS = "a abbr b blockquote br caption code dd div dl dt em h1 h2 h3 h4 h5 h6 hr i kbd li ol p pre s small span strong"
TAGS += " sub sup table tbody td tfoot th thead tr u ul"
ATTRIBUTES = {"*": ["class", "title"], "a": ["href"], "td": ["colspan", "rowspan"], "th": ["colspan", "rowspan"]}
ACTIVE = ("script", "iframe", "frame", "object", "embed", "form", "base", "link")
LINKS = ("relative", "http", "https", "mailto")
POLICY = "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; form-action 'none'"


def to_html(executed: Path, page: Path) -> Path:
    """Write an executed notebook as HTML.

    Texts of data sets and model answers are untrusted: HTML outputs keep only harmless tags, outputs that are scripts
    are dropped, and the page forbids the browser to run scripts or to load anything. Formulas stay TeX source, because
    MathJax is a script from the network; colours of pandas stylers are lost.

    Raises:
        CompanionError: the notebook cannot be read or the page not be written.
    """
    node = copy.deepcopy(load_notebook(executed))
    _clean_outputs(node)
    text, _ = HTMLExporter(template_name="lab").from_notebook_node(node, {"metadata": {"name": executed.stem}})
    soup = BeautifulSoup(text, "html.parser")
    _disarm(soup)
    policy = soup.new_tag("meta", attrs={"http-equiv": "Content-Security-Policy", "content": POLICY})
    assert soup.head is not None
    soup.head.insert(0, policy)
    write_whole(page, str(soup).encode())
    return page


def _clean_outputs(node: NotebookNode) -> None:
    cleaner = SanitizeHTML(tags=TAGS.split(), attributes=ATTRIBUTES, strip=True)
    for cell in node.cells:
        if cell.cell_type == "raw":
            cell.source = cleaner.sanitize_html_tags(cell.source)
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = _without_code(output.data["text/html"])
        if "outputs" in cell:
            cleaned = cleaner.sanitize_code_outputs(cell.outputs)
            cell.outputs = [output for output in cleaned if output.get("data", "no data expected")]


def _disarm(soup: BeautifulSoup) -> None:
    """Take scripts and all that loads or runs something out of the page, the exporter's own included."""
    for element in soup.find_all(ACTIVE):
        element.decompose()
    for element in soup.find_all(True):
        for name, value in list(element.attrs.items()):
            # Browsers skip blanks and control characters inside "java script:".
            target = re.sub(r"[\x00-\x20]", "", str(value)).lower()
            scheme = target.split(":")[0] if re.match(r"[a-z0-9+.-]+:", target) else "relative"
            loads = name in ("src", "srcset", "background") and not target.startswith("data:image/")
            if loads or name.startswith("on") or (name == "href" and scheme not in LINKS):
                del element[name]


def _without_code(html: str) -> str:
    """The cleaner removes these tags but would leave their content as text."""
    soup = BeautifulSoup(html, "html.parser")
    for element in soup.find_all(("style", "script")):
        element.decompose()
    return str(soup)
