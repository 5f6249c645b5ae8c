"""What a notebook must be before it is run: typed parameters, and nothing whose failure would go unseen."""

import ast
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from companion.errors import CompanionError

PARAMETERS_TAG = "parameters"
SKIP_TAG = "skip-execution"
"""nbclient leaves such a cell alone (an installation for Colab, say), and so do the rules."""

MAGICS = ("config", "matplotlib")
"""The only magics let through; most others, and all of the shell, carry on after a failure."""

UNCHECKED = ("os.system", "os.popen", "subprocess.Popen", "subprocess.call", "subprocess.getoutput")
UNCHECKED_RUN = "subprocess.run"
EXITS = ("exit", "quit", "sys.exit", "os._exit")
REMEDY = "whose failure would go unseen; use Python, or subprocess.run(..., check=True)"
SHELL = ("system", "system_raw", "system_piped", "getoutput", "getoutput_pexpect", "run_line_magic", "run_cell_magic")


def load_notebook(notebook: Path) -> NotebookNode:
    """Read a notebook file of format 4.

    Raises:
        CompanionError: there is no such file or it is not a notebook.
    """
    if not notebook.is_file():
        raise CompanionError(f"There is no notebook {notebook}; check the name.")
    try:
        node = nbformat.read(notebook, as_version=4)
        nbformat.validate(node)
    except (ValueError, nbformat.ValidationError, AttributeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise CompanionError(f"{notebook.name} is not a notebook of format 4 ({reason}); save it again.") from error
    return node


def default_parameters(notebook: NotebookNode, name: str) -> dict[str, Any]:
    """Names and default values of the cell tagged ``parameters``; empty when there is no such cell.

    Raises:
        CompanionError: two such cells, or one that holds more than lines ``name = value`` with plain values.
    """
    tagged = [(n, cell) for n, cell in _list_code_cells(notebook) if PARAMETERS_TAG in cell.metadata.get("tags", [])]
    if not tagged:
        return {}
    number, cell = tagged[0]
    if len(tagged) > 1:
        raise CompanionError(f"{name} has {len(tagged)} cells tagged {PARAMETERS_TAG!r}; keep one.")
    try:
        return dict(_default(statement) for statement in ast.parse(cell.source).body)
    except (ValueError, SyntaxError) as error:
        raise CompanionError(
            f"{name}, cell {number}: the parameters cell may hold only lines 'name = value', where the value is None, "
            "a bool, a number, a text, a list or a dict written out."
        ) from error


def check_parameters(defaults: Mapping[str, Any], given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Give the parameters to inject, each of the type of its default; an int given for a float becomes one.

    Raises:
        CompanionError: an unknown name, another type (a bool is no int), or a number that is not finite.
    """
    for parameter, value in given.items():
        if parameter not in defaults:
            known = ", ".join(defaults) or "none"
            raise CompanionError(f"{name} has no parameter {parameter!r}; it has: {known}.")
        if not _matches_type(value, defaults[parameter]):
            kind = type(defaults[parameter]).__name__
            raise CompanionError(
                f"{name}: parameter {parameter} must be of type {kind} like its default {defaults[parameter]!r}, "
                f"not {value!r} of type {type(value).__name__}."
            )
    return {
        parameter: float(value) if type(defaults[parameter]) is float else value for parameter, value in given.items()
    }


def refuse_silent_failures(notebook: NotebookNode, name: str) -> None:
    """Refuse shell commands, magics, child processes and exits after which the notebook would pass for a good one.

    Raises:
        CompanionError: naming the first such cell, or one tagged ``raises-exception``, or one that is not Python.
    """
    imported: dict[str, str] = {}
    for number, cell in _list_code_cells(notebook):
        place = f"{name}, cell {number}"
        if "raises-exception" in cell.metadata.get("tags", []):
            raise CompanionError(f"{place} is tagged raises-exception; show the failure with try and except instead.")
        tree = _parse(cell.source, place)
        imported |= _imports(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (fault := _find_fault(node, imported)):
                raise CompanionError(f"{place} {fault}.")


def _list_code_cells(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Code cells that are run, each with its place among all cells, from 1."""
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and cell.source.strip() and SKIP_TAG not in cell.metadata.get("tags", []):
            yield number, cell


def _default(statement: ast.stmt) -> tuple[str, Any]:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=expression):
            value = ast.literal_eval(expression)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as expression):
            value = ast.literal_eval(expression)
        case _:
            raise ValueError("not an assignment to one name")
    if not _is_plain(value):
        raise ValueError("not a plain value")
    return name, value


def _is_plain(value: Any) -> bool:
    if type(value) is list:
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (bool, int, str)


def _matches_type(value: Any, default: Any) -> bool:
    """Whether the value has the type of the default; a default of None says nothing of the type."""
    if not _is_plain(value):
        return False
    if default is None:
        return True
    if type(default) is list and default and type(value) is list:
        return all(_matches_type(item, default[0]) for item in value)
    return type(value) is type(default) or (type(default) is float and type(value) is int)


def _parse(source: str, place: str) -> ast.AST:
    code = TransformerManager().transform_cell(source)
    try:
        tree: ast.AST = compile(code, place, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError) as error:
        raise CompanionError(f"{place} is not Python: {error}.") from error
    return tree


def _imports(tree: ast.AST) -> dict[str, str]:
    """Names that imports bind, such as ``sp`` to ``subprocess`` and ``run`` to ``subprocess.run``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname or alias.name: alias.name for alias in node.names})
        if isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def _find_fault(call: ast.Call, imported: Mapping[str, str]) -> str:
    """What the call does that would hide a failure, as the rest of a sentence; empty when nothing."""
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=attribute) if attribute in SHELL:
            magic = str(call.args[0].value) if call.args and isinstance(call.args[0], ast.Constant) else ""
            if attribute == "run_line_magic" and magic in MAGICS:
                return ""
            what = f"uses %{magic}" if "magic" in attribute else f"runs the shell command {magic!r}"
            return f"{what}, {REMEDY}"
        case ast.Attribute(value=ast.Name(id=module), attr=attribute):
            called = f"{imported.get(module, module)}.{attribute}"
        case ast.Name(id=function):
            called = imported.get(function, function)
        case _:
            return ""
    checked = any(
        word.arg == "check" and isinstance(word.value, ast.Constant) and word.value.value is True
        for word in call.keywords
    )
    if called in UNCHECKED or (called == UNCHECKED_RUN and not checked):
        return f"calls {called}, {REMEDY}"
    return f"calls {called}; a notebook runs to its end or raises" if called in EXITS else ""
