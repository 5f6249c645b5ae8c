"""The paper's data sets, rated by language models: small files of ours in the native format, and a server of ours."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from companion.errors import CompanionError
from companion.profiles import Profile
from companion.studies.explanations import commands
from companion.studies.explanations.data import dataset, gold, texts
from companion.studies.explanations.results.arms import compare_arms
from companion.studies.explanations.results.claims import decide_claims
from companion.studies.explanations.results.inputs import describe_data
from companion.studies.explanations.results.publish import publish_merge
from companion.studies.explanations.results.results import load_results
from companion.studies.explanations.results.sensitivity import compute_sensitivity
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.publish import publish_table
from companion.studies.study import run

pytest.importorskip("openai")
WORDS = [f"{first}{last}o" for first in "bdfg" for last in "aeiu"]


def line(number: int) -> str:
    """A question with two replies that resemble no other's; their lengths differ, so that labels do."""
    name = f"{WORDS[number % 16]}{WORDS[number // 16]}"
    said = " ".join(f"{name}{word}" for word in WORDS[: 5 + number % 4])
    texts = {kept: f"\n\nHuman: What is {name}?\n\nAssistant: {kept}{name} {said}." for kept in ("chosen", "rejected")}
    return json.dumps(texts) + "\n"


@pytest.fixture
def natural(
    tiny_settings: ExplanationsSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ExplanationsSettings]:
    """Settings with both HH sources, 36 questions of each there, asked of the given model."""
    file = tmp_path / "release" / "hh-rlhf" / "helpful-base" / "train.jsonl.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress("".join(map(line, range(80))).encode(), mtime=0))
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path / "release"))
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path / "cache"))

    def settings(model: Any, **more: Any) -> ExplanationsSettings:
        sizes = {"train_items": 4, "train_versions": 1, "validation_items": 1, "test_items": 2}
        fixed = {"sources": ("hh_chosen", "hh_rejected"), "axes": ("on_topic",), "annotators": model.annotators()}
        return replace(tiny_settings, **fixed, **sizes, **more)

    return settings


@pytest.fixture
def rater(serve: Callable[..., Any], rated: Callable[[str, str], str]) -> Any:
    """A model that rates, and merges by the first reason."""
    return serve(lambda system, user: json.loads(user)[0] if system.startswith("You condense") else rated(system, user))


def test_conversations_are_rated_as_they_are(natural: Callable[..., ExplanationsSettings], rater: Any):
    settings = natural(rater)
    data = dataset.build(settings)
    calls = rater.calls
    assert len(data.items) == 14 and 14 * 12 < calls <= 14 * 13
    assert data.items["level"].isna().all() and set(data.items["label"]) <= {1, 2, 3, 4, 5}
    (source, _) = data.facts["sources"]
    assert source["hub"] == "Anthropic/hh-rlhf" and len(source["revision"]) == 40
    assert (source["licence"], source["read_from"]) == ("MIT", "folder")
    assert [one["readable"] for one in data.facts["annotators"]] == [56, 56, 56]
    example = texts.load_examples(data.hash, "train")[0]
    assert example.explanation.startswith("Only ") and example.id == f"{example.conversation}-natural"
    assert dataset.build(settings).hash == data.hash and rater.calls == calls


def test_pairs_never_straddle_the_split(natural: Callable[..., ExplanationsSettings], rater: Any):
    settings, openings = natural(rater), dict[str, set[tuple[str, str]]]()
    for name in dataset.SPLITS:
        for one in dataset.list_conversations(settings, name).values():
            openings.setdefault(one.context[0].text, set()).add((name, one.source))
    assert len(openings) == 14
    assert all(len(places) == 1 for places in openings.values())


def test_the_hash_follows_from_the_answers(
    natural: Callable[..., ExplanationsSettings], serve: Callable[..., Any], rater: Any, tmp_path: Path
):
    settings = natural(rater)
    data = dataset.build(settings)
    file = next((tmp_path / "cache" / "explanations" / "answers").glob("one.jsonl"))
    answers = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r"Score: \d", "Score: 4", answers), encoding="utf-8")
    assert dataset.build(settings).hash != data.hash
    file.write_text(answers, encoding="utf-8")
    assert dataset.build(settings).hash == data.hash


def test_too_few_readable_answers_are_dropped_counted_and_told(
    natural: Callable[..., ExplanationsSettings], serve: Callable[..., Any], rated: Callable[[str, str], str]
):
    def moody(system: str, user: str) -> str:
        if system.startswith("You condense"):
            return json.loads(user)[0]
        return "I had rather not." if user.count("e") % 7 == 0 else rated(system, user)

    with pytest.warns(UserWarning, match=r"of 14 ratings of a conversation on an axis have fewer than 8 of 12"):
        data = dataset.build(natural(serve(moody)))
    assert 0 < data.facts["dropped_for_too_few_scores"] == 14 - len(data.items)
    silent = serve(lambda system, user: "No.")
    with pytest.raises(CompanionError, match="none is left of hh_chosen, on_topic, test: let models annotate"):
        dataset.build(replace(natural(silent), data_seed=1))


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_tables_do_without_levels(
    natural: Callable[..., ExplanationsSettings],
    rater: Any,
    tiny_profile: Profile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    study = ExplanationsStudy(tiny_profile, natural(rater), tmp_path / "figures" / "tiny" / "explanations")
    monkeypatch.setattr(commands, "open_study", lambda name, profile: study)
    text = commands.annotate("tiny", quiet=True)
    assert "one: 56 of 56 questions answered, 56 readable, 0 refused" in text and "14 ratings kept, 0 dropped" in text
    table = describe_data(study.data.items, study.data.facts["sources"])
    assert table["level_accuracy"].isna().all() and table["rho_length"].notna().any()
    assert publish_merge(study) == commands.gold_report("tiny") == gold.explain_missing_gold("tiny")
    with pytest.raises(CompanionError, match="200 items are asked for the gold set, but there are 8 training items"):
        commands.gold_export("tiny", 200)


@pytest.mark.filterwarnings("ignore:The BCa confidence interval")
def test_two_raters_choose_the_merge_rule(
    natural: Callable[..., ExplanationsSettings],
    rater: Any,
    tiny_profile: Profile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    study = ExplanationsStudy(tiny_profile, natural(rater), tmp_path / "figures" / "tiny" / "explanations")
    study.freeze()
    monkeypatch.setattr(commands, "open_study", lambda name, profile: study)
    monkeypatch.setattr(gold, "SIZES", (6, 8))
    monkeypatch.setattr(gold, "RESAMPLES", 20)
    assert "8 items each" in commands.gold_export("tiny", 8)
    folder = gold.get_gold_folder("tiny")
    labels = study.data.items.query("split == 'train'")[["item", "axis", "label"]].rename(columns={"label": "score"})
    for rater_name in gold.RATERS:
        labels.to_csv(folder / f"ratings_{rater_name}.csv", index=False)
    text = commands.gold_report("tiny")
    assert "alpha" in text and "kappa" in text and "The labels use the mean; the rule nearest to people is" in text
    assert len(publish_merge(study)) == 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_every_table_of_a_study_without_levels(
    natural: Callable[..., ExplanationsSettings], rater: Any, tiny_profile: Profile, tmp_path: Path
):
    study = ExplanationsStudy(tiny_profile, natural(rater), tmp_path / "figures" / "tiny" / "explanations")
    run(study, quiet=True).raise_if_failed()
    results = load_results(study)
    assert results.predictions["correct_level"].isna().all()
    arms = compare_arms(results, 20)
    assert arms["accuracy_on_level"].isna().all() and arms["accuracy"].notna().all()
    assert compute_sensitivity(results)["against_known_level"].isna().all()
    assert len(decide_claims(results, study.settings)) == 12
    publish_table(study, describe_data(results.items, study.data.facts["sources"]), "T1", "", "")
    publish_table(study, arms, "T4", "", "", results.provenance)
    assert "HH-RLHF chosen" in (study.folder / "T1.md").read_text(encoding="utf-8")
    with pytest.raises(CompanionError, match=r"annotators was \['one', 'two', 'org/three:7b'\] and is None"):
        replace(study, settings=replace(study.settings, annotators=None)).frozen()
