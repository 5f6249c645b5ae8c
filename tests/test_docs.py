"""The pages keep what they promise: links, anchors and commands exist, the README is short, nothing is said twice."""

import json
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import typer

from companion.cli import app
from companion.paths import profile_names
from companion.studies.registry import STUDIES

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"<!-- (table|studies|speed)\b.*?<!-- /\1 -->", re.DOTALL)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
SETTING = re.compile(r"\b(PROFILE|STUDY)=([\w-]+)")
PLACEHOLDERS = {"mine", "paper", "PROFILE"}


def kept_files() -> set[Path]:
    """Files that are or would be committed."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        return {path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts}
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {ROOT / name for name in listed.split("\0") if (ROOT / name).is_file()}


KEPT = kept_files()
PLACES = KEPT | {folder for file in KEPT for folder in file.parents}
GENERATED = {file for file in KEPT if file.suffix == ".md" and (ROOT / "figures") in file.parents[1:]} | {
    ROOT / "figures" / name for name in ("bench.md", "bench_parity.md")
}
"""Pages that are written by a program."""
WRITTEN = sorted(file for file in KEPT if file.suffix == ".md" and file not in GENERATED)


def read(page: Path) -> str:
    """The Markdown of a page, or of the cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


NOTEBOOKS = sorted(file for file in KEPT if file.suffix == ".ipynb")
PAGES = {file.relative_to(ROOT).as_posix(): read(file) for file in [*WRITTEN, *sorted(GENERATED), *NOTEBOOKS]}
each_page = pytest.mark.parametrize("page", PAGES)


def prose(text: str) -> str:
    """A page without filled blocks and program text."""
    return FENCE.sub("", BLOCK.sub("", text))


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def problem(link: str, page: Path) -> str:
    """What is wrong with a link; empty where nothing is."""
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if target not in PLACES:
        return f"{link} is not in the repository"
    if anchor and (target.suffix != ".md" or anchor not in anchors(read(target))):
        return f"{link} names no heading"
    return ""


@each_page
def test_every_link_and_anchor_exists(page: str) -> None:
    links = [link for link in LINK.findall(FENCE.sub("", PAGES[page])) if not re.match(r"https?:|mailto:", link)]
    assert [told for link in links if (told := problem(link, ROOT / page))] == []


def test_a_broken_link_and_a_broken_anchor_are_seen() -> None:
    page = ROOT / "README.md"
    assert problem("nowhere.md", page) and problem("CHANGELOG.md#nowhere", page) and problem("#nowhere", page)
    assert not problem("CHANGELOG.md", page) and not problem("figures/cpu", page)
    assert LINK.findall("[![a](b.png)](c.md) ![d [e]](f.png)") == ["c.md", "f.png"]


@each_page
def test_every_path_in_the_library_or_the_tests_exists(page: str) -> None:
    named = [word for word in CODE.findall(PAGES[page]) if re.fullmatch(r"(lib|tests|tools|cloud)/[\w./-]+", word)]
    assert [word for word in named if ROOT / word.rstrip("/") not in PLACES] == []


def test_the_readme_is_a_door() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 150


def sentences(text: str) -> set[str]:
    """Sentences of more than 80 characters in paragraphs, lists and table cells."""
    blocks = re.split(r"\n\s*\n|\||^\s*(?:[#*-]+|\d+\.) ", prose(text), flags=re.MULTILINE)
    said = (one for block in blocks for one in re.split(r"(?<=[.:?!]) ", " ".join(block.split())))
    return {one for one in said if len(one) > 80}


def test_a_sentence_is_found_in_a_paragraph_a_list_and_a_table() -> None:
    long = f"This sentence has {'many ' * 14}words\nand two lines."
    one = " ".join(long.split())
    for text in (f"Short. {long} Short.", f"* Short.\n* {long}\n", f"| short | {one} |\n| --- | --- |"):
        assert sentences(text) == {one}


def test_nothing_is_said_twice() -> None:
    said = defaultdict(set)
    for page in WRITTEN:
        for sentence in sentences(read(page)):
            said[sentence].add(page.relative_to(ROOT).as_posix())
    assert {sentence: pages for sentence, pages in said.items() if len(pages) > 1} == {}


def commands(text: str) -> list[list[str]]:
    """Words of every call of make and companion in program text; comments, pipes and placeholders end a call."""
    text = BLOCK.sub("", text)
    lines = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    found = []
    for line in [*lines, *CODE.findall(FENCE.sub("", text))]:
        call = re.search(r"(?:^|[\s/|])(make|companion)(?= [a-z-])([^#|]*)", line)
        if call:
            found.append(shlex.split(f"{call[1]}{call[2]}"))
    return found


def is_known(words: list[str]) -> bool:
    """Whether a call names a target of the Makefile, or a command with its options."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return words[1] in targets
    command, rest = typer.main.get_command(app), words[1:]
    while rest and rest[0][0] != "-" and hasattr(command, "commands"):
        command = command.commands.get(rest.pop(0))
    if command is None:
        return False
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return {word for word in rest if word.startswith("-")} <= options


@each_page
def test_every_command_exists(page: str) -> None:
    assert [words for words in commands(PAGES[page]) if not is_known(words)] == []
    for setting, value in SETTING.findall(PAGES[page]):
        known = profile_names() if setting == "PROFILE" else STUDIES
        assert value in {*known, *PLACEHOLDERS}, f"{setting}={value}"


def test_unknown_commands_and_options_are_seen() -> None:
    inline = "`make figures PROFILE=cpu` `make figure`"
    text = f"{inline}\n```\n.venv/bin/companion gold export -p paper  # a\ncompanion rate --loud\n```\n"
    found = commands(text)
    assert [is_known(words) for words in found] == [True, False, True, False]
