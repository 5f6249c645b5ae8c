"""Make a session without this repository's packages able to run its notebooks; called by their install cell.

`python tools/colab.py` writes the badge and the install cell into every notebook. Needs nothing but Python and pip.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "OWNER/companion"
"""Where the repository is published; the one place that says so. OWNER stands for a name that is not known yet."""
REF = "v0.1.0"
"""The tag that the badge opens and the install cell fetches: the version of pyproject.toml."""
CLONE = "companion-repository"

KEPT = ("numpy", "torch")
"""Never replaced where there is one: a session that has loaded them breaks, and a host's torch fits its driver."""
COMES_WITH_TORCH = ("triton", "cuda-", "nvidia-")
JUPYTER = ("ipykernel", "ipython", "jupyter-client", "jupyterlab", "nbclient", "nbconvert", "papermill", "traitlets")
"""Left alone inside a running kernel, whose own versions the host has chosen."""
SHOWN = ("numpy", "torch", "transformers", "peft", "trl", "unsloth", "bitsandbytes", "datasets", "pandas", "companion")

INSTALL_CELL = f"""\
# In a clone this does nothing; on Colab, or in an empty folder, it fetches the repository and installs what it needs.
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if "google.colab" in sys.modules or not find_spec("companion"):
    source = os.environ.get("COMPANION_REPOSITORY", "https://github.com/{REPOSITORY}")
    if not Path("{CLONE}").is_dir():
        subprocess.run(["git", "clone", "-q", "--branch", "{REF}", source, "{CLONE}"], check=True)
    sys.path.insert(0, "{CLONE}/tools")
    import colab

    colab.set_up()"""
INSTALL_TAG = "skip-execution"
"""The repository's own runs leave the cell out: they have what it installs."""
DRIVE = Path("/content/drive")


def set_up(root: Path = ROOT) -> None:
    """Install what is missing, say which versions are there, and keep results where a lost session finds them."""
    kept = kept_versions()
    if installed("companion") is None:
        print("Installing the pinned packages: some minutes, once in a session.", flush=True)
        install(root, kept)
    sys.path.insert(0, str(root / "lib"))
    importlib.invalidate_caches()
    print(version_table(root, kept))
    print(keep_results(root))
    if stale := loaded_in_another_version(root):
        print(f"Restart the session and run this cell again: {', '.join(stale)} was loaded in another version.")


def kept_versions() -> dict[str, str | None]:
    """Name to version of the packages that must stay as they are; None for one that must not come either."""
    kept = {name: found for name in KEPT if (found := installed(name))}
    return {**kept, **({name: installed(name) for name in JUPYTER} if "ipykernel" in sys.modules else {})}


def requirements(root: Path, kept: Iterable[str] = ()) -> list[str]:
    """What pyproject.toml asks for, without what is kept."""
    content = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return [line for line in content["project"]["dependencies"] if not _stays(line, kept)]


def constraints(root: Path, kept: Mapping[str, str | None]) -> list[str]:
    """The pins of constraints.txt; what is kept is pinned to the version that is there."""
    pins = [line for line in _lines(root / "constraints.txt") if not _stays(line, kept)]
    return pins + [f"{name}=={found}" for name, found in kept.items() if found]


def without_dependencies(root: Path, kept: Iterable[str] = ()) -> list[str]:
    """The packages of no-deps.txt, without what is kept."""
    return [line for line in _lines(root / "no-deps.txt") if not _stays(line, kept)]


def install(root: Path, kept: Mapping[str, str | None]) -> None:
    """Install the three lists and the repository itself with pip.

    Raises:
        RuntimeError: pip failed; the end of what it said is printed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        files = {"requirements": requirements(root, kept), "constraints": constraints(root, kept)}
        files["alone"] = without_dependencies(root, kept)
        for name, lines in files.items():
            Path(scratch, name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        _pip("-r", f"{scratch}/requirements", "-c", f"{scratch}/constraints")
        _pip("--no-deps", "-r", f"{scratch}/alone")
    _pip("--no-deps", "-e", str(root))


def installed(name: str) -> str | None:
    """Version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def version_table(root: Path, kept: Iterable[str]) -> str:
    """One line for each of the packages that decide results: installed, pinned, and whether it was kept."""
    pins = dict(line.split("==") for line in _lines(root / "constraints.txt"))
    rows = [("package", "installed", "pinned", ""), ("python", sys.version.split()[0], "3.11 to 3.14", "")]
    for name in SHOWN:
        found, pin = installed(name) or "none", pins.get(name, "")
        note = "kept" if name in kept and found.split("+")[0] != pin else ""
        rows.append((name, found, pin, note))
    return "\n".join(f"{row[0]:14}{row[1]:16}{row[2]:14}{row[3]}".rstrip() for row in rows)


def keep_results(root: Path) -> str:
    """Say where results go. They are copied to COMPANION_KEEP, or on Colab to Drive, and fetched from there first."""
    kept = Path(os.environ["COMPANION_KEEP"]) if os.environ.get("COMPANION_KEEP") else _drive()
    if kept is None:
        return f"Results: {root / 'figures'}; they end with this machine unless COMPANION_KEEP names a mounted folder."
    import keep

    texts = Path(os.environ.setdefault("COMPANION_CACHE", str(root / ".cache"))) / "explanations"
    for folder, copy in ((root / "figures", kept / "figures"), (texts, kept / "texts")):
        keep.keep(folder, copy)
    return f"Results: {root / 'figures'}, copied to {kept} as they come; a new session goes on from there."


def loaded_in_another_version(root: Path) -> list[str]:
    """Packages that this session had loaded before another version of them was installed."""
    names = [_name(line).replace("-", "_") for line in requirements(root)]
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in names}
    return [name for name, found in loaded.items() if found not in (None, installed(name))]


def badge(notebook: str) -> str:
    """Markdown of the badge that opens a notebook, given by its path in the repository."""
    address = f"https://colab.research.google.com/github/{REPOSITORY}/blob/{REF}/{notebook}"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"


def fill(notebook: Path, root: Path = ROOT) -> None:
    """Put the badge on top of a notebook's first cell and the install cell below it, in place of older ones."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    first, *others = content["cells"]
    text = re.sub(r"\A\[!\[Open in Colab\].*\n\n", "", "".join(first["source"]))
    first["source"] = f"{badge(notebook.relative_to(root).as_posix())}\n\n{text}".splitlines(keepends=True)
    others = [cell for cell in others if cell.get("id") != "install"]
    cell = {"cell_type": "code", "execution_count": None, "id": "install", "metadata": {"tags": [INSTALL_TAG]}}
    cell |= {"outputs": [], "source": INSTALL_CELL.splitlines(keepends=True)}
    content["cells"] = [first, cell, *others]
    notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")


def _stays(requirement: str, kept: Iterable[str]) -> bool:
    name = _name(requirement)
    return name in kept or ("torch" in kept and name.startswith(COMES_WITH_TORCH))


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print("\n".join(done.stdout.splitlines()[-20:]))
        raise RuntimeError("The installation failed; the lines above are the end of what pip said.")


def _drive() -> Path | None:
    """A folder on the user's Drive, if this is Colab and the user lets it be mounted."""
    if "google.colab" not in sys.modules:
        return None
    from google.colab import drive  # type: ignore[import-not-found]

    try:
        drive.mount(str(DRIVE))
    except Exception as error:  # what a refusal raises is not documented
        print(f"Drive was not mounted ({error}).")
        return None
    return DRIVE / "MyDrive" / "companion"


if __name__ == "__main__":
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            fill(path)
