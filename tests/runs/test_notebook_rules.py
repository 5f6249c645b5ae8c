import nbformat
import pytest

from companion.errors import CompanionError
from companion.runs.notebook_rules import check_parameters, default_parameters, load_notebook, refuse_silent_failures

DEFAULTS = {"seed": 0, "rate": 0.1, "tag": "a", "quick": True, "axes": ["x"], "extra": {}, "folder": None}


def notebook(*sources, tags=()):
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}) for source in sources]
    return nbformat.v4.new_notebook(cells=cells)


def test_defaults_are_read_from_the_tagged_cell():
    source = "# how much\nseed: int = 0  # a seed\nrate = 0.1; tag = 'a'\nquick = True\naxes = ['x']\n"
    source += "extra = {}\nfolder = None"
    assert default_parameters(notebook(source, tags=["parameters"]), "n") == DEFAULTS
    assert default_parameters(notebook(source), "n") == {}
    assert default_parameters(notebook("low = -1", tags=["parameters"]), "n") == {"low": -1}


@pytest.mark.parametrize(
    "source",
    ["import os", "a = b = 1", "a, b = 1, 2", "seed = int('1')", "a += 1", "a: int", "x = (1, 2)", "x = 1e999", "x ="],
)
def test_a_parameters_cell_with_more_than_plain_values_is_refused(source):
    with pytest.raises(CompanionError, match=r"n, cell 1: the parameters cell may hold only"):
        default_parameters(notebook(source, tags=["parameters"]), "n")


def test_two_parameters_cells_are_refused():
    with pytest.raises(CompanionError, match="2 cells tagged"):
        default_parameters(notebook("a = 1", "b = 1", tags=["parameters"]), "n")


def test_a_misspelt_parameter_is_refused_with_the_names_there_are():
    with pytest.raises(CompanionError, match=r"no parameter 'sead'; it has: seed, rate, tag"):
        check_parameters(DEFAULTS, {"sead": 1}, "n")


@pytest.mark.parametrize(
    "given",
    [
        {"seed": True}, {"seed": 1.0}, {"seed": "1"}, {"seed": None}, {"tag": 7}, {"tag": 1e10}, {"quick": 1},
        {"rate": "0.1"}, {"rate": True}, {"rate": float("nan")}, {"axes": "x"}, {"axes": [1]}, {"axes": ("x",)},
        {"extra": []}, {"extra": {1: 2}}, {"folder": object()},
    ],
)  # fmt: skip
def test_a_parameter_of_another_type_is_refused(given):
    with pytest.raises(CompanionError, match=r"n: parameter \w+ must be of type"):
        check_parameters(DEFAULTS, given, "n")


def test_parameters_keep_their_text_and_an_int_may_stand_for_a_float():
    given = {"tag": "007", "rate": 1, "axes": [], "folder": "x", "extra": {"a": [None, 1.5]}}
    checked = check_parameters(DEFAULTS, given, "n")
    assert checked == given and type(checked["rate"]) is float


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("!ls", "runs the shell command 'ls'"),
        ("if True:\n    !ls", "runs the shell command"),
        ("files = !ls", "runs the shell command"),
        ("%%bash\nfalse\ntrue", "uses %bash"),
        ("%sx ls", "uses %sx"),
        ("%pip install x", "uses %pip"),
        ("%%time\nx = 1", "uses %time"),
        ("import os\nos.system('false')", "calls os.system"),
        ("import subprocess as s\ns.run(['false'])", "calls subprocess.run"),
        ("import subprocess\nsubprocess.run(['false'], check=False)", "calls subprocess.run"),
        ("from subprocess import call as c\nc(['false'])", "calls subprocess.call"),
        ("from subprocess import Popen\nPopen(['false'])", "calls subprocess.Popen"),
        ("exit(0)", "calls exit; a notebook runs to its end"),
        ("import sys\nsys.exit()", "calls sys.exit"),
        ("x = ", "is not Python"),
    ],
)
def test_what_could_fail_unseen_is_refused(source, fault):
    with pytest.raises(CompanionError, match=f"n, cell 2 .*{fault}"):
        refuse_silent_failures(notebook("import os", source), "n")


def test_a_cell_meant_to_raise_is_refused():
    with pytest.raises(CompanionError, match="cell 1 is tagged raises-exception"):
        refuse_silent_failures(notebook("1 / 0", tags=["raises-exception"]), "n")


def test_honest_cells_pass():
    sources = ["%matplotlib inline\nimport subprocess", "subprocess.run(['ls'], check=True)", "await thing()", "x[0]()"]
    refuse_silent_failures(notebook(*sources, ""), "n")
    refuse_silent_failures(notebook("!pip install companion", tags=["skip-execution"]), "n")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"nbformat": 4}', "\x00"])
def test_a_file_that_is_no_notebook_is_told(tmp_path, content):
    (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(CompanionError, match="n.ipynb is not a notebook"):
        load_notebook(tmp_path / "n.ipynb")
    with pytest.raises(CompanionError, match="There is no notebook"):
        load_notebook(tmp_path / "other.ipynb")
