"""Students exported from a real tiny study: trained again or kept, checked against the record, loaded by plain PEFT."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from companion import paths
from companion.errors import CompanionError
from companion.profiles import Profile
from companion.runs.engine import run_all
from companion.runs.spec import spec_id
from companion.runs.store import Record
from companion.studies.explanations.data.texts import load_examples
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.students import export as students
from companion.studies.explanations.students.export import Forms, choose_specs, measure_agreement
from companion.studies.explanations.students.usage import read_usage
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.experiment import RunSpec, execute
from companion.studies.registry import open_study
from companion.studies.study import run

pytestmark = pytest.mark.slow

ARMS = ("label", "explanation")


@pytest.fixture(scope="module")
def study(
    tiny_profile: Profile, tiny_settings: ExplanationsSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExplanationsStudy]:
    home = tmp_path_factory.mktemp("students")
    made = ExplanationsStudy(tiny_profile, replace(tiny_settings, arms=ARMS, seeds=(0, 1)), home / "figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANION_CACHE", str(home / "cache"))
        patch.delenv(paths.ADAPTERS_VARIABLE, raising=False)
        patch.setattr(students, "open_study", lambda *_: made)
        run(made, quiet=True).raise_if_failed()
        yield made


@pytest.fixture(scope="module")
def exported(study: ExplanationsStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both axes of the explanation arm, in every form."""
    folder = tmp_path_factory.mktemp("exported") / "both"
    said = students.export("tiny", "explanation", 0, "all", folder, Forms(merged=True, gguf=False), quiet=True)
    assert said.count("to the bit") == 2
    return folder


def companion(*arguments: str, home: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "companion.cli", *arguments]
    environment = {**os.environ, "COMPANION_HOME": str(home), paths.ADAPTERS_VARIABLE: str(home / "kept")}
    return subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=900)


@pytest.mark.timeout(1800)
def test_a_real_student_goes_from_record_to_rating_on_the_command_line(tmp_path: Path) -> None:
    """One run of the profile smoke on the embedded model, kept, exported in every form, and asked through a pipe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANION_HOME", str(tmp_path))
        patch.setenv(paths.ADAPTERS_VARIABLE, str(tmp_path / "kept"))
        study = open_study("explanations", "smoke")
        study.freeze()
        spec = next(one for one in study.specs() if (one.arm, one.axes) == ("explanation", ("naturalness",)))
        run_all([spec], execute, study.store, 1, study.logs, quiet=True).raise_if_failed()
    folder = tmp_path / "student"
    which = ("-p", "smoke", "--arm", "explanation", "--axis", "naturalness")
    done = companion("export", *which, "--to", str(folder), "--merged", "--gguf", "-q", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "to the bit" in done.stdout
    text = "A: Where is the station?\nB: Behind the park.\n"
    asked = companion("rate", str(folder), "--explain", home=tmp_path, text=text)
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)["ratings"]["naturalness"]
    assert set(found) == {"label", "expected", "probabilities", "explanation"} and found["explanation"]
    bad = companion("rate", str(folder), home=tmp_path, text='{"prompt": "Tea?", "response": "Yes."}\n{}\n')
    assert bad.returncode == 1 and len(bad.stdout.splitlines()) == 1 and "1 of 2 lines" in bad.stderr
    prompt = next(iter(read_usage(folder).prompts.values())) + "Rating: "
    prompt = prompt.replace("{context}", "Where is the station?").replace("{reply}", "Behind the park.")
    shares = []
    for place, options in ((folder / "merged", {}), (folder / "gguf", {"gguf_file": "model-f16.gguf"})):
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **options).eval()
        shares.append(probabilities(model, AutoTokenizer.from_pretrained(place, **options), [prompt])[0])
    np.testing.assert_array_equal(shares[0], shares[1])
    np.testing.assert_allclose(shares[0], list(found["probabilities"].values()), atol=0.03)


def prompts(study: ExplanationsStudy, axis: str) -> list[str]:
    return [example.prompt + "Rating: " for example in load_examples(study.data.hash, "test") if example.axis == axis]


def recorded(study: ExplanationsStudy, arm: str, axis: str) -> np.ndarray:
    spec = next(one for one in study.specs() if (one.arm, one.axes, one.seed) == (arm, (axis,), 0))
    return study.store.read(spec_id(spec)).arrays["probabilities"]


def probabilities(model: torch.nn.Module, tokenizer: object, texts: list[str]) -> np.ndarray:
    labels = tokenizer.convert_tokens_to_ids(list("12345"))
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt")).logits[0, -1, labels] for text in texts]
    return torch.stack(logits).float().softmax(-1).numpy()


def test_a_student_trained_again_is_the_recorded_one(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["README.md", "naturalness", "on_topic"]
    names = {path.name for path in (exported / "on_topic").iterdir()}
    assert names >= {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "companion.json",
        "tokenizer.json",
    }


def test_plain_peft_gives_the_recorded_probabilities(study: ExplanationsStudy, exported: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(study.profile.model, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(exported / "on_topic")).eval()
    tokenizer = AutoTokenizer.from_pretrained(exported / "on_topic")
    found = probabilities(model, tokenizer, prompts(study, "on_topic"))
    np.testing.assert_allclose(found, recorded(study, "explanation", "on_topic"), atol=1e-5)


def test_the_merged_model_rates_alike(study: ExplanationsStudy, exported: Path) -> None:
    folder = exported / "on_topic" / "merged"
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    found = probabilities(model, AutoTokenizer.from_pretrained(folder), prompts(study, "on_topic"))
    np.testing.assert_allclose(found, recorded(study, "explanation", "on_topic"), atol=1e-3)
    untrained = AutoModelForCausalLM.from_pretrained(study.profile.model).eval()
    before = probabilities(untrained, AutoTokenizer.from_pretrained(folder), prompts(study, "on_topic"))
    assert np.abs(before - found).max() > 0.01


def test_a_kept_adapter_is_taken_and_not_trained_again(
    study: ExplanationsStudy, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(students, "run_all", only_rescoring(students.run_all))
    said = students.export("tiny", "explanation", 0, "on_topic", tmp_path / "one", Forms(), quiet=True)
    assert "to the bit" in said
    files = ("adapter_model.safetensors", "companion.json")
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (exported / "on_topic" / name).read_bytes()


def only_rescoring(run_all: object) -> object:
    def wrapped(specs: list[RunSpec], work: object, *rest: object) -> object:
        assert work is students.rescore or not specs
        return run_all(specs, work, *rest) if specs else run_all(specs, students.rescore, *rest)

    return wrapped


def test_adapters_are_kept_in_training_only_where_the_variable_says(
    study: ExplanationsStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = next(spec for spec in study.specs() if (spec.arm, spec.seed) == ("label", 1))
    file = study.store.path(spec_id(spec))
    before = file.read_bytes()
    (tmp_path / "kept" / f".{spec_id(spec)}-left" / "by a worker that was killed").mkdir(parents=True)
    for kept in (None, tmp_path / "kept"):
        if kept is not None:
            monkeypatch.setenv(paths.ADAPTERS_VARIABLE, str(kept))
        file.unlink()
        run(study, quiet=True).raise_if_failed()
        assert file.read_bytes() == before
    assert [folder.name for folder in (tmp_path / "kept").iterdir()] == [spec_id(spec)]
    cached = paths.cache() / "adapters"
    assert not (cached / spec_id(spec)).exists()


def test_usage_says_how_to_ask(study: ExplanationsStudy, exported: Path) -> None:
    usage = read_usage(exported / "on_topic")
    assert (usage.arm, usage.seed, usage.explanation) == ("explanation", 0, "after")
    assert (usage.codes, usage.names, usage.lead) == (tuple("12345"), tuple("12345"), "Rating: ")
    assert list(usage.prompts) == ["on_topic"] and "{reply}" in usage.prompts["on_topic"]
    # A model from a folder is called by the folder's name: a path says who exported it.
    assert usage.model == Path(study.profile.model).name
    text = "".join(path.read_text() for path in exported.rglob("*.json") if path.name != "tokenizer.json")
    assert str(Path(study.profile.model).parent) not in text


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "companion.json").unlink(), "holds no student"),
        (lambda folder: (folder / "companion.json").write_text("[]"), "damaged"),
        (lambda folder: (folder / "companion.json").write_text('{"version": 2}'), "companion.json"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x"), "damaged or of another student"),
    ],
)
def test_a_damaged_student_is_one_sentence(exported: Path, tmp_path: Path, damage: object, sentence: str) -> None:
    for name in ("companion.json", "adapter_model.safetensors", "adapter_config.json"):
        (tmp_path / name).write_bytes((exported / "on_topic" / name).read_bytes())
    damage(tmp_path)
    with pytest.raises(CompanionError, match=sentence):
        read_usage(tmp_path)


def test_agreement_is_told_in_numbers() -> None:
    spec = {"arm": "label", "seed": 0, "axes": ["on_topic"]}
    then = np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1]], np.float32)
    now = np.array([[0.1, 0.2, 0.7], [0.4, 0.5, 0.1]], np.float32)
    records = [
        Record("a", spec, {"probabilities": each}, {"processor": name}) for each, name in ((then, "X"), (now, "Y"))
    ]
    assert measure_agreement(records[0], records[0]).endswith("on all 2 test items, to the bit.")
    assert measure_agreement(*records) == (
        "The student (label, seed 0, on_topic) differs from its record by up to 0.1 in a probability and in 1 of 2 "
        "labels: recorded on X, made again on Y."
    )


@pytest.mark.parametrize(
    ("arm", "seed", "axis", "sentence"),
    [
        ("base", 0, "all", "no student of arm 'base'; choose one of label, explanation"),
        ("label", 7, "all", "no seed 7; choose one of 0, 1"),
        ("label", 0, "humour", "no student of axis 'humour'; choose all or one of naturalness, on_topic"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    study: ExplanationsStudy, arm: str, seed: int, axis: str, sentence: str
) -> None:
    with pytest.raises(CompanionError, match=sentence):
        choose_specs(study, arm, seed, axis)


def test_a_missing_record_and_a_full_folder_are_told(study: ExplanationsStudy, tmp_path: Path) -> None:
    spec = choose_specs(study, "label", 1, "on_topic")[0]
    file = study.store.path(spec_id(spec))
    file.rename(tmp_path / "aside")
    with pytest.raises(CompanionError, match=f"Run {spec_id(spec)} is not recorded"):
        choose_specs(study, "label", 1, "on_topic")
    (tmp_path / "aside").rename(file)
    (tmp_path / "mine").touch()
    with pytest.raises(CompanionError, match="is there already"):
        students.export("tiny", "label", 1, "on_topic", tmp_path, Forms(), quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_no_gguf_of_a_tokenizer_without_merges(study: ExplanationsStudy, tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="tokenizer"):
        students.export("tiny", "label", 1, "on_topic", tmp_path / "new", Forms(gguf=True), quiet=True)
    assert not (tmp_path / "new").exists()


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_the_card_says_what_was_measured(study: ExplanationsStudy, exported: Path) -> None:
    card = (exported / "on_topic" / "README.md").read_text()
    assert front_matter(card)["library_name"] == "peft"
    assert "companion-explanation" in front_matter(card)["tags"]
    rows = study.data.items
    test = rows[(rows["split"] == "test") & (rows["axis"] == "on_topic")]
    right = recorded(study, "explanation", "on_topic").argmax(1) + 1 == test["label"].to_numpy()
    (line,) = [line for line in card.splitlines() if line.startswith("| accuracy")]
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[2] == f"{right.mean():.3f}"
    assert cells[4] == f"{(test['majority'] == test['label']).mean():.3f}"
    assert "**Not shown** to beat the most frequent label on on-topic adherence" in card
    assert "simulated" in card and study.data.hash in card and "{{" not in card
    texts = [example.prompt.splitlines()[2] for example in load_examples(study.data.hash, "train")]
    assert not any(text in card for text in texts)


def test_the_card_on_top_speaks_of_every_axis(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert "Naturalness:" in card and "On-topic adherence:" in card and card.count("to the bit") == 2


def test_the_snippet_of_the_card_runs(
    study: ExplanationsStudy, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = (exported / "on_topic" / "README.md").read_text()
    code = card.split("```python\n")[1].split("\n```")[0]
    name = Path(study.profile.model).name
    code = code.replace(f'"{name}"', repr(study.profile.model)).replace("FOLDER", str(exported / "on_topic"))
    exec(compile(code, "card", "exec"), {})  # noqa: S102
    shown = capsys.readouterr().out
    assert shown.startswith("tensor([0.") and shown.count("0.") == 5


def test_json_of_companion_is_readable(exported: Path) -> None:
    assert json.loads((exported / "naturalness" / "companion.json").read_text())["version"] == 1
