import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from companion.errors import CompanionError
from companion.profiles import Profile
from companion.runs.spec import spec_id
from companion.studies.explanations import commands
from companion.studies.explanations.own import tables as own_tables
from companion.studies.explanations.own.dataset import count_rows
from companion.studies.explanations.own.study import OwnStudy, open_own, run_comparison
from companion.studies.explanations.results.inside import compute_layer_values
from companion.studies.explanations.results.publish import publish_claims, publish_tuning
from companion.studies.explanations.results.reliability import compute_calibration
from companion.studies.explanations.results.results import load_results
from companion.studies.explanations.results.training import compute_learning_curves

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-two short texts with seven labels and a reason each."""
    lines = [
        {"text": f"number {number}", "label": f"class {number % 7}", "why": f"it ends in {number % 7}"}
        for number in range(42)
    ]
    file = tmp_path_factory.mktemp("table") / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def trained(table: Path, tiny_profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnStudy]:
    """The comparison with every run made: three arms, two seeds, two learning rates to choose from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANION_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("COMPANION_CACHE", str(tmp_path_factory.mktemp("cache")))
        arms = "label,explanation,shuffled"
        opened = open_own(str(table), explanation="why", profile="smoke", seeds=2, question="Which class?", arms=arms)
        recipe = replace(opened.settings.recipe, lora_rank=2, max_length=4096)
        own = replace(opened, profile=tiny_profile, settings=replace(opened.settings, recipe=recipe))
        run_comparison(own, quiet=True)
        yield own


@pytest.fixture
def own(trained: OwnStudy, tmp_path: Path) -> OwnStudy:
    """The same before anything is run."""
    return replace(trained, folder=tmp_path / "mine")


def test_seven_labels_go_all_the_way(trained: OwnStudy) -> None:
    assert len(trained.store.ids()) == 6 + 4
    assert (trained.folder / ".gitignore").read_text() == "*\n"
    results = load_results(trained)
    assert results.labels == 7
    assert results.unit == "group"
    arms = own_tables.compare_arms(results, ordered=False)
    assert list(arms["arm"]) == ["label", "explanation", "shuffled"]
    assert "kappa" not in arms
    claims = publish_claims(trained, results)["claim"]
    assert claims.tolist() == ["1a", "1c", "2a", "2c", "2d", "3a", "3b", "3c", "3d"]
    assert (trained.folder / "claims.html").stat().st_size > 1000
    assert set(count_rows(trained.data)["label"]) == {f"class {number}" for number in range(7)}
    assert len(compute_calibration(results)[1]) == 3
    assert not compute_layer_values(results).empty
    assert not compute_learning_curves(results).empty
    assert len(publish_tuning(trained)) == 2


def test_the_table_is_looked_at_each_time(trained: OwnStudy, table: Path, tmp_path: Path) -> None:
    assert (
        json.loads((trained.folder / "study.json").read_text())["table"]
        == hashlib.sha256(table.read_bytes()).hexdigest()
    )
    assert run_comparison(replace(trained), quiet=True).done == ()
    gone, other = tmp_path / "mine.jsonl", tmp_path / "others.jsonl"
    with pytest.raises(CompanionError, match=f"There is no file {gone}"):
        run_comparison(replace(trained, table=str(gone)), quiet=True)
    other.write_text(table.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    for place in (other, gone):
        place.write_text(table.read_text(encoding="utf-8").replace("ends in 3", "ends in three"), encoding="utf-8")
        changed = replace(trained, table=str(place))
        for look in (lambda: run_comparison(changed, quiet=True), lambda: load_results(changed), changed.specs):  # noqa: B023
            with pytest.raises(CompanionError, match=f"results of another table than {place} is now; give the compari"):
                look()


def test_results_older_than_the_digest_are_known_by_their_data(trained: OwnStudy, table: Path, tmp_path: Path) -> None:
    old = tmp_path / "mine"
    shutil.copytree(trained.folder, old)
    facts = json.loads((old / "study.json").read_text())
    del facts["table"]
    (old / "study.json").write_text(json.dumps(facts))
    assert run_comparison(replace(trained, folder=old), quiet=True).done == ()
    other = tmp_path / "other.jsonl"
    other.write_text(table.read_text(encoding="utf-8").replace("ends in 3", "ends in three"), encoding="utf-8")
    with pytest.raises(CompanionError, match="results of another table"):
        run_comparison(replace(trained, folder=old, table=str(other)), quiet=True)


def test_nothing_is_planned_before_the_recipes_are_compared(own: OwnStudy) -> None:
    with pytest.raises(CompanionError, match="have not been compared on validation items yet; run 'companion compare"):
        own.specs()


def test_the_recipe_with_the_lowest_validation_loss_is_taken(trained: OwnStudy) -> None:
    losses: dict[float, float] = {}
    labels = trained.data.items.query("split == 'validation'")["label"].to_numpy()
    for spec in trained.tuning_specs():
        assert spec.score_split == "validation"
        probability = trained.store.read(spec_id(spec)).arrays["probabilities"]
        loss = -sum(math.log(row[label - 1]) for row, label in zip(probability, labels, strict=True))
        rate = (spec.recipe or {})["learning_rate"]
        losses[rate] = losses.get(rate, 0.0) + loss
    assert trained.recipe.learning_rate == min(losses, key=lambda rate: losses[rate])


def test_other_settings_and_another_table_are_refused(own: OwnStudy, table: Path, tmp_path: Path) -> None:
    own.freeze()
    changed = replace(own, settings=replace(own.settings, question="Which one?"))
    with pytest.raises(CompanionError, match="question was 'Which class\\?' and is 'Which one\\?'"):
        changed.frozen()
    other = tmp_path / "mine.jsonl"
    other.write_text(table.read_text(encoding="utf-8").replace("number 3", "number three"), encoding="utf-8")
    with pytest.raises(CompanionError, match="results of another table than .*; give the comparison another name"):
        replace(own, table=str(other)).build_data()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "../up"}, "is no name for a results folder"),
        ({"name": "explanations"}, "is no name for a results folder"),
        ({"arms": "label,explanation"}, "Without a column of explanations only"),
        ({"arms": "label"}, "at least one other"),
        ({"arms": "label,shufled", "explanation": "why"}, "comparison mine: arms.1"),
        ({"seeds": 0}, "at least 1 seed, not 0"),
        ({"sizes": [10, 0, 5]}, "comparison mine: validation_items"),
        ({"sizes": [10, 5]}, "the key 'test_items' is missing"),
        ({"profile": "cpuu"}, "There is no profile 'cpuu'"),
    ],
)
def test_mistakes_are_one_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        open_own("mine.csv", **options)  # type: ignore[arg-type]


def test_a_table_with_a_mistake_leaves_no_folder(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPANION_HOME", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "your_data.ipynb").touch()
    for options, sentence in (({"label": "kind"}, "no column 'kind'"), ({"labels": "yes,no"}, "outside the set")):
        with pytest.raises(CompanionError, match=sentence):
            commands.compare(True, table=str(table), profile="smoke", **options)
    assert not (tmp_path / "figures").exists()


def test_the_folder_is_named_after_the_table() -> None:
    assert open_own("a/b/my table (1).csv").folder.name == "my_table_1_"
    assert open_own("owner/data").folder.name == "data"
