"""The whole study at its smallest, by real worker processes: every run, table, figure and claim."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from companion.profiles import load_profile, load_settings
from companion.runs.spec import spec_id
from companion.studies.parity.pictures.experiment import PictureSpec
from companion.studies.parity.results import gallery, picture_figures, pictures, publish, simulation
from companion.studies.parity.settings import ParitySettings
from companion.studies.parity.simulation.experiment import TESTS, SimulationSpec
from companion.studies.parity.study import ParityStudy
from companion.studies.study import run

pytestmark = pytest.mark.golden
pytest.importorskip("faiss")


def small_settings() -> ParitySettings:
    settings = load_settings(load_profile("smoke"), "parity", ParitySettings)
    level = replace(settings.level, repetitions=6)
    power = replace(settings.power, graphs=("random", "hubs", "tilt"), repetitions=12)
    one = settings.pictures
    return replace(settings, level=level, power=power, pictures=replace(one, persons=12, garments=50, draws=99))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParityStudy]:
    folder = tmp_path_factory.mktemp("parity") / "smoke" / "parity"
    made = ParityStudy(load_profile("smoke"), small_settings(), folder)
    run(made, quiet=True).raise_if_failed()
    yield made


def test_every_run_is_recorded_and_the_next_call_makes_none(study: ParityStudy) -> None:
    ids = list(map(spec_id, study.specs()))
    assert len(set(ids)) == len(ids) and all(map(study.store.is_valid, ids))
    assert {type(spec) for spec in study.specs()} == {SimulationSpec, PictureSpec}
    report = run(study, quiet=True)
    assert not report.done and set(report.skipped) == set(ids)


@pytest.mark.parametrize("kind", [SimulationSpec, PictureSpec])
def test_a_run_made_again_has_the_same_bytes(study: ParityStudy, kind: type) -> None:
    spec = next(spec for spec in study.specs() if isinstance(spec, kind))
    file = study.store.path(spec_id(spec))
    before = file.read_bytes()
    file.unlink()
    assert run(study, quiet=True).done == (spec_id(spec),)
    assert file.read_bytes() == before


def test_the_simulations_give_their_tables(study: ParityStudy) -> None:
    level = simulation.load_catalogues(study, study.level_specs())
    table = simulation.tabulate_levels(level)
    assert len(table) == 3 * len(TESTS) and {"random", "near_low", "near_high", "hubs"} < set(table.columns)
    power = simulation.load_catalogues(study, study.power_specs())
    curve, slopes = simulation.tabulate_detectable(power, study.settings.depth)
    assert set(slopes["graph"]) == {"random", "hubs", "tilt"} and len(curve) == 6
    coverage = simulation.tabulate_coverage(power)
    assert set(coverage["graph"]) == {"random", "hubs"} and (coverage["n"] == 36).all()


def test_the_pictures_give_their_tables_and_figures(study: ParityStudy) -> None:
    searches = pictures.load_searches(study)
    variants = {(one.spec.catalogue, one.variant) for one in searches}
    assert ("persons", "leace") in variants and ("garments", "garment_only") in variants and len(searches) == 16
    tested = [pictures.run_test(one, False, 99) for one in searches]
    assert len(pictures.tabulate_searches(tested, [])) == 16
    assert len(pictures.tabulate_subsets(pictures.load_subsets(study))) == 8
    designs = pictures.tabulate_designs(study)
    assert list(designs["exchange"]) == ["free", "within_categories", "free", "by_person"]
    persons = [one for one in searches if one.spec.catalogue == "persons"]
    lists = gallery.draw_lists(persons, ["whole", "skin_only"], query=3)
    assert [images.shape[0] for _, images, _ in lists] == [11, 11]
    picture_figures.plot_results(lists, note="n = 2")
    shares = pictures.count_by_tone(persons[0])
    assert shares.sum(axis=1) == pytest.approx(1)


def test_the_claims_are_written_with_a_verdict_each(study: ParityStudy) -> None:
    tested = [pictures.run_test(one, False, 99) for one in pictures.load_searches(study)]
    shown = publish.publish_claims(study, tested)
    assert len(shown) == 4 + 3 + 1 + 8 and (study.folder / "claims.html").is_file()


def test_photographs_are_left_out_where_there_are_none(
    study: ParityStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMPANION_DATA", raising=False)
    asking = replace(study.settings, pictures=replace(study.settings.pictures, deepfashion=True))
    other = ParityStudy(study.profile, asking, tmp_path / "parity")
    assert "DeepFashion's photographs are left out" in other.left_out() and not study.left_out()
    assert not [spec for spec in other.search_specs() if spec.catalogue == "deepfashion"]
