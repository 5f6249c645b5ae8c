"""Ratings by an exported student: the recorded probabilities again, bad lines counted, other bases refused."""

import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from companion.corpora.conversation import Turn
from companion.errors import CompanionError
from companion.models.base import load_base
from companion.models.finetune import Recipe, finetune
from companion.models.lora import Student, save_adapter
from companion.models.score import score
from companion.profiles import Profile
from companion.studies.explanations.data.prompts import make_prompt
from companion.studies.explanations.data.texts import Example
from companion.studies.explanations.students import rate as rating
from companion.studies.explanations.students.usage import describe_usage
from companion.studies.explanations.training.experiment import RunSpec
from companion.studies.explanations.training.targets import Pool, make_target

RECIPE = Recipe(0.01, 2, 5, 2, 4, 0.1, 0.3, 0.0, 1.0, 4096)
ROWS = [
    {"context": [{"speaker": "A", "text": "Where is the station?"}], "response": "Behind the park.", "id": "first"},
    {"prompt": "Tea or coffee?", "response": "Tea, please."},
    {"context": [{"speaker": "A", "text": "Hi"}, {"speaker": "B", "text": "Hello"}], "response": "How are you?"},
]


def students(model: str, folder: Path, arm: str, axes: tuple[str, ...] = ("on_topic",)) -> Path:
    """Students of an arm, trained for a moment on made-up examples, in the folder that export would write."""
    base = load_base(model, None, "float32")
    draw = random.Random(1)
    for axis in axes:
        texts = [" ".join(draw.choices(["tea", "park", "station", "blue"], k=5)) for _ in range(10)]
        made = [Example(f"{n}-1", "faq", axis, f"{text}\n", n % 5 + 1, "It is so.") for n, text in enumerate(texts)]
        sequences = [make_target(one, arm, 0, base.tokenizer, Pool(made)) for one in made]
        student, _ = finetune(base, sequences, RECIPE, seed=0)
        place = folder / axis if len(axes) > 1 else folder
        save_adapter(student, place)
        recipe = {"lora_rank": 2}
        spec = RunSpec(arm, (axis,), 0, model, None, base.sha256, "float32", "d", recipe, "test", False, 0)
        text = json.dumps(asdict(describe_usage(spec, base.name, place)))
        (place / "companion.json").write_text(text)
    return folder


@pytest.fixture(scope="module")
def label(tiny_profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("label") / "label"
    return students(tiny_profile.model, folder, "label", ("naturalness", "on_topic"))


Rate = Callable[..., tuple[int, list[dict], str]]


@pytest.fixture
def rate(
    tiny_profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rate]:
    def call(folder: Path, content: str, explain: bool = False, piped: bool = False) -> tuple[int, list[dict], str]:
        """Bad lines, answers, and what was said on the error stream."""
        file = tmp_path / "input"
        file.write_bytes(content.encode())
        if piped:
            stream = io.TextIOWrapper(Pipe(content.encode()))
            monkeypatch.setattr(sys, "stdin", stream)
        bad = rating.run(folder, None if piped else file, explain, tiny_profile.model)
        shown = capsys.readouterr()
        return bad, [json.loads(line) for line in shown.out.splitlines()], shown.err

    yield call


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def lines(*rows: object) -> str:
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


def test_each_line_is_rated_on_each_axis(label: Path, rate: Rate) -> None:
    bad, answers, said = rate(label, lines(*ROWS))
    assert (bad, said) == (0, "")
    assert [answer["line"] for answer in answers] == [1, 2, 3]
    assert [answer.get("id") for answer in answers] == ["first", None, None]
    for answer in answers:
        assert list(answer["ratings"]) == ["naturalness", "on_topic"]
        for one in answer["ratings"].values():
            shares = one["probabilities"]
            assert list(shares) == list("12345") and sum(shares.values()) == pytest.approx(1, abs=1e-5)
            assert shares[one["label"]] == max(shares.values())
            assert one["expected"] == pytest.approx(sum(int(name) * p for name, p in shares.items()), abs=1e-3)
    assert len({json.dumps(answer["ratings"]) for answer in answers}) == 3


def test_probabilities_are_those_of_the_student(label: Path, rate: Rate, tiny_profile: Profile) -> None:
    raters = rating.load_raters(label, tiny_profile.model)
    conversation = rating.read_row(ROWS[0])
    _, (answer,), _ = rate(label, lines(ROWS[0]))
    for rater in raters:
        (axis,) = rater.usage.prompts
        base = rater.student.base
        ids = base.tokenizer(make_prompt(conversation, axis) + "Rating: ").input_ids
        expected = score(rater.student, [ids], rater.label_ids, inside=False).probabilities[0]
        np.testing.assert_allclose(list(answer["ratings"][axis]["probabilities"].values()), expected, atol=1e-5)
        untrained = score(Student(base), [ids], rater.label_ids, inside=False).probabilities[0]
        assert np.abs(untrained - expected).max() > 0.01


def test_a_pipe_gives_each_answer_as_it_comes(label: Path, rate: Rate, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    real = rating.rate
    monkeypatch.setattr(
        rating, "rate", lambda raters, some, explain: sizes.append(len(some)) or real(raters, some, explain)
    )
    _, piped, _ = rate(label, lines(*ROWS), piped=True)
    _, whole, _ = rate(label, lines(*ROWS))
    assert sizes == [1, 1, 1, 3]
    for one, other in zip(piped, whole, strict=True):
        for axis, found in one["ratings"].items():
            assert found["probabilities"] == pytest.approx(other["ratings"][axis]["probabilities"], abs=1e-4)


BAD = {
    '{"prompt": "a"': "it is no JSON in UTF-8.",
    "[1]": "it is no object",
    '{"response": "a"}': '"context" must be a list of turns',
    '{"context": [], "response": "a"}': '"context" must be a list of turns',
    '{"context": ["a"], "response": "a"}': "each turn needs",
    '{"context": [{"speaker": "A", "text": 1}], "response": "a"}': "each turn needs",
    '{"prompt": "a", "response": " "}': '"response" must be a text',
    '{"prompt": "a", "response": null}': '"response" must be a text',
    '{"prompt": "a", "response": "%s"}' % ("long " * 5000): "longer than the 4096",
}


def test_bad_lines_are_named_and_the_others_rated(label: Path, rate: Rate) -> None:
    bad, answers, said = rate(label, lines(ROWS[0], "", *BAD, ROWS[1]))
    assert bad == len(BAD)
    assert [answer["line"] for answer in answers] == [1, len(BAD) + 3]
    told = said.splitlines()
    for number, (line, reason) in enumerate(zip(told, BAD.values(), strict=False), 3):
        assert line.startswith(f"line {number}: ") and reason in line
    assert told[-1] == f"{len(BAD)} of {len(BAD) + 2} lines could not be rated."


def test_plain_text_is_one_conversation(label: Path, rate: Rate) -> None:
    _, (text,), _ = rate(label, "\ufeffAnna: Where is the station?\n\nBob: Behind\nthe park.\n")
    _, (row,), _ = rate(label, lines(ROWS[0]))
    assert text["ratings"] == row["ratings"]


def test_speakers_of_a_text_are_those_of_training() -> None:
    found = rating.read_text(["Zoe: one", "Bob: two", "Kim: three: four", "Bob: five"])
    assert found.context == (Turn("A", "one"), Turn("B", "two"), Turn("C", "three: four"))
    assert found.response == "five"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "nothing to rate"),
        ("\n \n", "nothing to rate"),
        ("just words\n", "names no speaker"),
        ("A: alone\n", "two turns or more"),
    ],
)
def test_a_text_that_is_no_conversation(label: Path, rate: Rate, content: str, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        rate(label, content)


def test_explanations_follow_the_label_or_come_first(
    tiny_profile: Profile, rate: Rate, label: Path, tmp_path: Path
) -> None:
    for arm in ("explanation", "explanation_first"):
        folder = students(tiny_profile.model, tmp_path / arm, arm)
        _, (silent,), _ = rate(folder, lines(ROWS[0]))
        _, (answer,), _ = rate(folder, lines(ROWS[0]), explain=True)
        text = answer["ratings"]["on_topic"].pop("explanation")
        assert isinstance(text, str) and not text.startswith("Explanation:") and "\nRating: " not in text
        assert answer == silent
    with pytest.raises(CompanionError, match="arm label write no explanation"):
        rate(label, lines(ROWS[0]), explain=True)


def test_other_labels_have_their_own_names(tiny_profile: Profile, rate: Rate, tmp_path: Path) -> None:
    folder = students(tiny_profile.model, tmp_path / "own", "label")
    content = json.loads((folder / "companion.json").read_text())
    content |= {"codes": ["1", "2", "A"], "names": ["spam", "ham", "neither"]}
    (folder / "companion.json").write_text(json.dumps(content))
    _, (answer,), _ = rate(folder, lines(ROWS[0]))
    found = answer["ratings"]["on_topic"]
    assert list(found["probabilities"]) == ["spam", "ham", "neither"] and "expected" not in found


def test_an_adapter_of_another_base_is_refused(tiny_profile: Profile, label: Path, tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="is a folder of its own: name it with --base FOLDER"):
        rating.load_raters(label)
    other = tmp_path / Path(tiny_profile.model).name
    base = load_base(tiny_profile.model, None, "float32")
    base.model.model.norm.weight.data += 1
    base.model.save_pretrained(other)
    base.tokenizer.save_pretrained(other)
    with pytest.raises(CompanionError, match=r"was trained on \S+ with weights \w{12}, but .* has \w{12}"):
        rating.load_raters(label, str(other))


def test_a_student_of_other_prompts_is_refused(
    tiny_profile: Profile, label: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rating, "make_template", lambda axis: "another prompt")
    with pytest.raises(CompanionError, match="trained with other prompts"):
        rating.load_raters(label, tiny_profile.model)


def test_no_student_and_no_file(label: Path, tiny_profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="holds no student"):
        rating.run(tmp_path, None, False)
    with pytest.raises(CompanionError, match=r"none\.jsonl cannot be read"):
        rating.run(label, tmp_path / "none.jsonl", False, tiny_profile.model)


def test_a_terminal_sees_a_table_and_no_markup(label: Path) -> None:
    shares = {"1": 0.1, "2": 0.9}
    ratings = {"on_topic": {"label": "[red]2", "expected": 1.9, "probabilities": shares, "explanation": "\x1b[31m[b]x"}}
    console = Console(file=io.StringIO(), width=80)
    rating.show(ratings, console)
    shown = console.file.getvalue()
    assert "on-topic adherence" in shown and "1.90" in shown and "[red]2" in shown and "[b]x" in shown
    assert "\x1b[31m" not in shown
