"""Rules of the house that no linter knows: light imports, pins in line, clean notebooks, nothing private in a file."""

import ast
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lib" / "companion"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = {
    "PIL",
    "datasets",
    "faiss",
    "matplotlib",
    "pandas",
    "peft",
    "ray",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
    "trl",
    "unsloth",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Canonical name to requirement; comments and pip options are left out."""
    bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    parsed = (Requirement(line) for line in bare if line and not line.startswith("-"))
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def read_requirements(name: str) -> dict[str, Requirement]:
    return requirements((ROOT / name).read_text(encoding="utf-8").splitlines())


def conda_pip_lines() -> list[str]:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    return next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))


def kept_files() -> list[Path]:
    """Files that are or would be committed; the test is skipped without git or outside a checkout."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip(f"git cannot list this checkout: {listed.stderr.decode().strip()}")
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return sorted({path for path in paths if path.is_file() and not path.is_symlink()})


def imported_modules(path: Path) -> set[str]:
    """Top-level names that a module imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


# --- imports -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["companion", "companion.cli", "companion.paths", "companion.profiles"])
def test_the_front_doors_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.split() == []


def test_the_command_line_answers_without_anything_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from companion.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        f"print(*sorted(set(sys.modules) & {HEAVY!r}))\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.split() == []


def test_no_study_imports_another() -> None:
    studies = {path.parent.name for path in (PACKAGE / "studies").glob("*/study.py")}
    crossed = [
        relative(path)
        for name in studies
        for path in (PACKAGE / "studies" / name).rglob("*.py")
        if any(f"companion.studies.{other}" in path.read_text(encoding="utf-8") for other in studies - {name})
    ]
    assert not crossed


def test_nothing_is_pickled() -> None:
    pickles = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
    assert not {relative(path): found for path in MODULES if (found := imported_modules(path) & pickles)}
    # joblib runs processes here; its files are pickles too.
    written = re.compile(r"joblib\.(dump|load|Memory)|from joblib import .*\b(dump|load|Memory)\b")
    assert not [relative(path) for path in MODULES if written.search(path.read_text(encoding="utf-8"))]


def test_what_is_imported_is_declared() -> None:
    asked_for = requirements(
        sum((PYPROJECT["optional-dependencies"][extra] for extra in ("bench", "cluster")), PYPROJECT["dependencies"])
    )
    declared = {*asked_for, *read_requirements("no-deps.txt"), "companion"}
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        f"{relative(path)}: {name}"
        for path in MODULES
        for name in imported_modules(path) - set(sys.stdlib_module_names)
        if not {canonicalize_name(provider) for provider in providers.get(name, [name])} & declared
    }
    assert not undeclared


# --- pins ----------------------------------------------------------------------------------------------------------


def test_conda_and_pip_users_get_the_same_requirements() -> None:
    wanted = requirements(PYPROJECT["dependencies"] + PYPROJECT["optional-dependencies"]["dev"])
    offered = requirements(conda_pip_lines())
    assert {name: str(requirement) for name, requirement in offered.items()} == {
        name: str(requirement) for name, requirement in wanted.items()
    }


def test_the_tests_use_the_ray_of_the_cluster_extra() -> None:
    extras = PYPROJECT["optional-dependencies"]
    assert set(extras["cluster"]) <= set(extras["dev"])


def test_conda_takes_the_constraints_the_package_and_the_python_of_pyproject() -> None:
    assert [line for line in conda_pip_lines() if line.startswith("-")] == ["-c constraints.txt", "-e ."]
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert f"- python {PYPROJECT['requires-python']}\n" in text
    assert "pip install --no-deps -r no-deps.txt" in text


def test_every_requirement_has_one_exact_version_that_satisfies_it() -> None:
    exact = read_requirements("constraints.txt")
    wanted = {
        **requirements(PYPROJECT["dependencies"] + PYPROJECT["optional-dependencies"]["dev"]),
        **read_requirements("no-deps.txt"),
    }
    for name, requirement in wanted.items():
        assert name in exact, f"{name} is missing in constraints.txt"
        (pin,) = exact[name].specifier
        assert requirement.specifier.contains(pin.version), f"{exact[name]} does not satisfy {requirement}"


def test_constraints_are_exact_and_hold_no_address() -> None:
    entries = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    bad = [line for line in entries if not re.fullmatch(r"#.*|[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.]+", line)]
    assert not bad
    assert len(read_requirements("constraints.txt")) == sum(not line.startswith("#") for line in entries)


def test_packages_without_dependencies_are_exact_and_not_asked_for_twice() -> None:
    alone = read_requirements("no-deps.txt")
    assert all(str(requirement.specifier).startswith("==") for requirement in alone.values())
    assert not set(alone) & set(requirements(PYPROJECT["dependencies"]))


# --- notebooks -----------------------------------------------------------------------------------------------------


def read_notebook(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells() -> list[tuple[str, dict]]:
    """Place and content of every code cell of every notebook."""
    return [
        (f"{relative(path)} cell {number}", cell)
        for path in NOTEBOOKS
        for number, cell in enumerate(read_notebook(path)["cells"])
        if cell["cell_type"] == "code"
    ]


def lines(cell: dict) -> list[str]:
    return "".join(cell["source"]).splitlines()


def defines(cell: dict) -> bool:
    """Whether a cell makes a function or a class; magics are left out, shell lines are a syntax error on purpose."""
    code = "\n".join(line for line in lines(cell) if not line.lstrip().startswith("%"))
    forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return any(isinstance(node, forbidden) for node in ast.walk(ast.parse(code)))


def test_notebooks_hold_no_outputs() -> None:
    assert not [place for place, cell in code_cells() if cell["outputs"] or cell["execution_count"] is not None]


def test_notebooks_have_exactly_one_parameters_cell() -> None:
    tagged = [place for place, cell in code_cells() if "parameters" in cell["metadata"].get("tags", [])]
    assert [place.split(" cell ")[0] for place in tagged] == [relative(path) for path in NOTEBOOKS]


def test_notebooks_define_no_functions() -> None:
    assert not [place for place, cell in code_cells() if defines(cell)]


def test_notebooks_have_short_cells() -> None:
    assert not [place for place, cell in code_cells() if len(lines(cell)) > 15]


def test_notebooks_carry_nothing_of_one_machine() -> None:
    metadata = {relative(path): read_notebook(path)["metadata"] for path in NOTEBOOKS}
    assert not {name: keys for name, keys in metadata.items() if set(keys) - {"kernelspec", "language_info"}}
    assert {keys.get("kernelspec", {}).get("name", "python3") for keys in metadata.values()} <= {"python3"}


# --- files ---------------------------------------------------------------------------------------------------------

# Written in two parts, so that this file passes its own test.
HOSTS = (
    rb"pypi\." + rb"org",
    rb"pythonhosted\." + rb"org",
    rb"download\.pytorch\." + rb"org",
    rb"anaconda\." + rb"(?:org|com)",
)
PRIVATE = {
    "absolute path of a machine": rb"(?<![\w.~\-/])/(?:" + rb"work|root|home|opt|mnt|Users)/[\w.]",
    "package registry host": b"|".join([*HOSTS, rb"registry\.npm" + rb"js", rb"file:" + rb"///"]),
    "secret": rb"(?<!\w)(?:hf_" + rb"[A-Za-z0-9]{30,}|ghp_" + rb"[A-Za-z0-9]{30,}|sk-" + rb"[A-Za-z0-9]{32,})",
}


@pytest.mark.parametrize("what", PRIVATE)
def test_no_kept_file_holds(what: str) -> None:
    found = {
        relative(path): match[0].decode()
        for path in kept_files()
        if (match := re.search(PRIVATE[what], path.read_bytes()))
    }
    assert not found


def test_no_kept_file_is_large() -> None:
    large = {relative(path): path.stat().st_size for path in kept_files() if path.stat().st_size > 5_000_000}
    assert not large


def test_the_package_ships_its_marker_and_profiles() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert list((PACKAGE / "profiles").glob("*.yaml"))


# --- code ----------------------------------------------------------------------------------------------------------


def test_no_function_is_longer_than_80_lines() -> None:
    lengths = {
        f"{relative(path)}:{node.lineno}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {place: length for place, length in lengths.items() if length > 80}
