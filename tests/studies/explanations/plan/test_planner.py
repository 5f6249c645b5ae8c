"""The planner against numbers worked out by hand, published ones, and a real adapter."""

from dataclasses import replace
from pathlib import Path

import pytest

from companion.errors import CompanionError
from companion.models.endpoint import Endpoint
from companion.profiles import load_profile, load_settings
from companion.runs.log import log_event
from companion.runs.spec import spec_id
from companion.studies.explanations.plan import page as plan_page
from companion.studies.explanations.plan import planner
from companion.studies.explanations.plan.measure import Speed, measure
from companion.studies.explanations.plan.planner import SHAPES, Lengths, Load, Shape
from companion.studies.explanations.settings import Annotators, ExplanationsSettings
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.registry import open_study

MISTRAL = SHAPES["mistralai/Mistral-7B-v0.1"]
LENGTHS = Lengths(prompt=100, explanation=50, source="made up")


def settings_of(name: str) -> ExplanationsSettings:
    return load_settings(load_profile(name), "explanations", ExplanationsSettings)


def loads(settings: ExplanationsSettings, name: str = "paper") -> tuple[Load, Load]:
    study = ExplanationsStudy(load_profile(name), settings, Path("nowhere"))
    study_specs, tuning_specs = planner.list_specs(study)
    return planner.compute_workload(study_specs, settings, LENGTHS), planner.compute_workload(
        tuning_specs, settings, LENGTHS
    )


# --- tokens --------------------------------------------------------------------------------------------------------


def test_tokens_of_the_paper_s_scale() -> None:
    load, tuning = loads(settings_of("paper"))
    students, examples, items = 3 * 4, 6 * 1667 * 3, 6 * 833  # axes x seeds, sources x conversations x epochs
    assert load.runs == 9 * students + 3
    assert load.trained == students * examples * (9 * 100 + 2 + 8 * (2 + 50))
    assert load.scored == load.runs * items * 100
    assert load.written == students * items * 50 + (8 * students + 3) * 120 * 4
    assert tuning.runs == 3 * 2 * 3
    assert tuning.trained == 3 * 3 * examples * (2 * 100 + 2 + 52)
    assert (tuning.scored, tuning.written) == (18 * 6 * 50 * 100, 0)


def test_a_joint_student_sees_the_same_tokens_in_fewer_runs() -> None:
    apart, together = settings_of("paper-t4"), replace(settings_of("paper-t4"), students="joint")
    (one, _), (joint, _) = loads(apart), loads(together)
    assert one.runs == 3 * joint.runs == 27
    assert (one.trained, one.scored) == (joint.trained, joint.scored)


def test_versions_count_as_examples_and_few_items_limit_what_is_generated() -> None:
    settings = settings_of("smoke")
    load, _ = loads(replace(settings, arms=("base", "label", "explanation"), generation_items=12), "smoke")
    assert load.trained == 2 * 2 * (3 * 2 * 5) * (2 * 100 + 2 + 52)
    assert load.written == load.runs * 12 * 4


def test_lengths_are_counted_once_there_are_texts(
    tiny_study: ExplanationsStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    assert "assumed" in planner.measure_lengths(tiny_study).source
    tiny_study.freeze()
    found = planner.measure_lengths(tiny_study)
    assert "counted" in found.source
    assert 40 < found.prompt < 400 and 10 < found.explanation < 100


# --- memory --------------------------------------------------------------------------------------------------------


def test_sizes_of_known_models() -> None:
    assert (MISTRAL.linear, MISTRAL.embedding, MISTRAL.adapter(16)) == (6_979_321_856, 262_144_000, 41_943_040)
    norms = (2 * 30 + 1) * 576
    assert SHAPES["embedded"].linear + SHAPES["embedded"].embedding + norms == 134_515_008


def test_the_adapter_is_as_large_as_the_real_one(tiny_profile) -> None:
    from companion.models.base import load_base
    from companion.models.lora import create_adapter, get_adapter_weights

    base = load_base(tiny_profile.model, None, "float32")
    with create_adapter(base, 4, 8, 0) as wrapped:
        real = sum(tensor.numel() for tensor in get_adapter_weights(wrapped).values())
    assert planner.load_shape(tiny_profile.model, None).adapter(4) == real


def test_a_7b_model_in_4_bits_fits_a_free_card_and_in_16_bits_does_not() -> None:
    need = planner.estimate_memory(MISTRAL, "nf4", 16, 1024)
    assert set(need) == {"weights", "adapter", "activations", "context"}
    assert 3.5 < need["weights"] < 4.5 and need["adapter"] == pytest.approx(0.625)
    assert 6 < sum(need.values()) < 10
    assert sum(planner.estimate_memory(MISTRAL, "bfloat16", 16, 1024).values()) > 15
    assert planner.estimate_memory(MISTRAL, "nf4", 64, 1024)["adapter"] == pytest.approx(2.5)
    assert planner.estimate_memory(MISTRAL, "nf4", 16, 4096)["activations"] > 3 * need["activations"]


@pytest.mark.parametrize("content", ["", "{}", '{"hidden_size": 8}'])
def test_a_model_whose_sizes_can_not_be_read_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CompanionError, match=f"^The sizes of model {tmp_path} can't be read"):
        planner.load_shape(str(tmp_path), None)


# --- speed ---------------------------------------------------------------------------------------------------------


def test_hours_at_a_speed() -> None:
    assert Load(1, 360_000, 0, 0).hours(100) == pytest.approx(1)
    assert Load(1, 0, 3 * 360_000, 0).hours(100) == pytest.approx(1)
    assert Load(1, 0, 0, 90_000).hours(100) == pytest.approx(1)
    assert Speed(trained=100, scored=200, written=10, peak=1).hours(Load(1, 360_000, 720_000, 36_000)) == pytest.approx(
        3
    )


def test_known_speeds_are_taken_as_they_are_and_the_others_scaled() -> None:
    cards = planner.load_cards()
    assert [name for name, card in cards.items() if card.reference] == ["A100 40 GB"]
    assert planner.estimate_speed(cards["RTX 4090"], cards, 8.03) == 2413
    assert planner.estimate_speed(cards["A100 40 GB"], cards, 2 * 6.74) == 3726 / 2
    assert planner.estimate_speed(cards["H100"], cards, 7.38) == 9110
    assert planner.estimate_speed(cards["L4"], cards, 6.74) == pytest.approx(3726 * 300 / 1555)
    assert [cards[name].known_by for name in ("T4", "L4", "H100")] == ["published", "scaled", "measured"]
    assert planner.estimate_speed(cards["A10G"], cards, 6.74) == pytest.approx(3726 * 70 / 312)
    assert all(card.speed_source and card.price_source for card in cards.values())


def test_a_mistake_in_the_table_of_cards_names_the_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cards.yaml").write_text("T4: {memry: 16}")
    monkeypatch.setattr(planner, "__file__", str(tmp_path / "planner.py"))
    with pytest.raises(CompanionError, match=r"^cards\.yaml, T4: unknown key 'memry'; did you mean 'memory'\?$"):
        planner.load_cards()


def test_logged_runs_give_this_machine_s_hours(tiny_study: ExplanationsStudy) -> None:
    study = replace(
        tiny_study, settings=replace(tiny_study.settings, arms=("base", "label", "explanation"), axes=("on_topic",))
    )
    specs, _ = planner.list_specs(study)
    assert [spec.arm for spec in specs] == ["base", "label", "explanation", "label", "explanation"]
    assert planner.read_logged_hours(study, specs) is None
    study.logs.mkdir(parents=True)
    for spec, seconds in ((specs[1], 100.0), (specs[3], 200.0), (specs[2], 600.0)):
        log_event(study.logs, spec_id(spec), "start")
        log_event(study.logs, spec_id(spec), "end", seconds=seconds)
    (study.logs / f"{spec_id(specs[4])}.jsonl").write_text('{"event": "end", "sec')
    # base has no time of its own and takes the mean of all, 300 s; two workers share the work.
    assert planner.read_logged_hours(study, specs) == (3, pytest.approx((300 + 2 * 150 + 2 * 600) / 2 / 3600))


def test_a_few_real_steps_give_a_speed(tiny_profile, tiny_settings: ExplanationsSettings) -> None:
    found = measure(tiny_profile, tiny_settings.recipe, LENGTHS, steps=1)
    assert min(found.trained, found.scored, found.written) > 0
    assert 0.1 < found.peak < 24
    assert found.hours(Load(1, 1e6, 1e6, 1e6)) > 0


# --- what is printed -----------------------------------------------------------------------------------------------


def test_the_ratings_of_the_paper_s_scale() -> None:
    asked = planner.count_ratings(settings_of("paper"), LENGTHS)
    assert asked["conversations"] == 6 * (1667 + 50 + 833)
    assert asked["calls"] == 15_300 * 3 * 13
    assert asked["written"] == 15_300 * 3 * (12 * 60 + 55)
    assert asked["read"] > 15_300 * 3 * 12 * 200


def test_the_money_of_the_ratings_goes_by_each_model_s_prices() -> None:
    asked = planner.count_ratings(settings_of("paper-t4"), LENGTHS)
    rated = 6 * (80 + 20 + 50) * 3
    assert asked["calls"] == rated * 13
    assert asked["written to merge"] == rated * 55
    address = "http://localhost/v1"
    free, cheap = Endpoint(address, "free"), Endpoint(address, "cheap", prompt_price=3.0, answer_price=6.0)
    merging = (asked["read to merge"] * 3 + asked["written to merge"] * 6) / 1e6
    rating = (asked["read to rate"] * 3 + asked["written to rate"] * 6) / 1e6
    for merger, expected in (("free", rating / 3), ("cheap", rating / 3 + merging)):
        annotators = Annotators(models=(free, cheap, replace(free, model="other")), merger=merger, cap=1.0)
        assert planner.estimate_dollars(asked, annotators) == pytest.approx(expected)


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMPANION_HOME", str(tmp_path))


def test_the_plan_of_a_rented_card_names_its_sources(at_home: None) -> None:
    text = plan_page.page(open_study("explanations", "paper"))
    for card in planner.load_cards():
        assert f"\n{card} " in text and f"\n  {card}: " in text
    assert "596,700 calls" in text and "too small" not in text and "no run is logged" in text


def test_the_plan_of_a_processor_has_no_cards(at_home: None) -> None:
    text = plan_page.page(open_study("explanations", "cpu"))
    assert "\nstudy                       165  " in text
    assert "H100" not in text and "calls" not in text


def test_a_card_that_is_too_small_is_told(at_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "mistralai/Mistral-7B-v0.1", Shape(8192, 80, 28672, 64, 8, 32000, False))
    lines = plan_page.page(open_study("explanations", "paper")).splitlines()
    small = [line.split()[0] for line in lines if "too small" in line]
    assert small == ["T4", "L4", "A10G", "RTX", "A100"]


def test_nothing_is_begun_by_looking(at_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExplanationsStudy, "build_data", None)
    plan_page.page(open_study("explanations", "quick"))
    assert open_study("explanations", "quick").folder.is_relative_to(tmp_path) and not list(tmp_path.iterdir())
