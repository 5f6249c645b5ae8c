"""What runs of the parity study give stays as recorded for their result versions."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from companion.models.image_network import load_image_network
from companion.runs.spec import spec_id
from companion.studies.parity.data import emoji
from companion.studies.parity.data.garments import make_garments
from companion.studies.parity.pictures.experiment import TONE_SHARES, PictureSpec
from companion.studies.parity.record import make_record
from companion.studies.parity.simulation.experiment import SimulationSpec
from golden import Golden, differences, same_machine

pytest.importorskip("faiss")
HERE = Path(__file__)
COMMAND = f"pytest tests/studies/parity/{HERE.name} --write-golden"
SIMULATIONS, PICTURES = (Golden(kind, HERE.with_name("golden"), COMMAND) for kind in (SimulationSpec, PictureSpec))
NETWORK = "efficientnet-lite0"
SHARES = (0.5, 0.3, 0.2)


def simulations() -> list[SimulationSpec]:
    """Every graph and design, with and without a bias."""
    kinds = [
        ("random", "plain", 0.0),
        ("near_low", "strata", 0.0),
        ("near_high", "blocks", 0.0),
        ("hubs", "plain", 0.3),
        ("tilt", "plain", 0.2),
    ]
    return [SimulationSpec(graph, design, 60, 5, SHARES, b, 4, 63, 7) for graph, design, b in kinds]


def pictures() -> list[PictureSpec]:
    """Both catalogues, and several photographs of each person."""
    weights = load_image_network(NETWORK).sha256
    kinds = [("persons", "whole", 10, 1, 2), ("garments", "whole", 60, 1, 0), ("garments", "garment_only", 48, 4, 2)]
    return [
        PictureSpec(catalogue, rendition, items, photos, 0.0, 5, labellings, 64, NETWORK, weights, "golden", 7)
        for catalogue, rendition, items, photos, labellings in kinds
    ]


def drawings() -> dict[str, str]:
    """Digests of what the pictures are drawn from."""
    made = "".join(make_garments(48, shares=TONE_SHARES, photos=4, confounding=0.5, seed=7).drawings)
    return {"garments": hashlib.sha256(made.encode()).hexdigest()[:16], "persons": emoji.SHA256}


@pytest.fixture(scope="module", autouse=True)
def recorded(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-golden"):
        if SIMULATIONS.missing:
            SIMULATIONS.write(simulations(), make_record, {})
        if PICTURES.missing:
            PICTURES.write(pictures(), make_record, drawings())
    assert not SIMULATIONS.missing + PICTURES.missing, SIMULATIONS.missing + PICTURES.missing


def test_the_same_settings_give_the_recorded_specs_and_drawings() -> None:
    assert not SIMULATIONS.unplanned(simulations()), "the ids of all recorded runs have changed"
    assert not PICTURES.unplanned(pictures()), "the ids of all recorded runs have changed"
    assert drawings() == PICTURES.inputs(), "raise result_version of PictureSpec"


@pytest.mark.parametrize("spec", simulations(), ids=str)
def test_a_simulation_gives_the_recorded_result(spec: SimulationSpec) -> None:
    record = SIMULATIONS.store.read(spec_id(spec))
    arrays, made_by = make_record(spec)
    assert not differences(record, arrays, same_machine(record, made_by)), "raise result_version of SimulationSpec"


@pytest.mark.parametrize("place", range(3))
def test_a_picture_search_gives_the_recorded_result(place: int) -> None:
    """On another processor, neighbours that are nearly as far as each other may change places."""
    record = PICTURES.store.read(spec_id(pictures()[place]))
    arrays, made_by = make_record(pictures()[place])
    if same_machine(record, made_by):
        assert not differences(record, arrays, exact=True), "raise result_version of PictureSpec"
        return
    assert set(arrays) == set(record.arrays)
    assert (arrays["tone"] == record.arrays["tone"]).all() and (arrays["kind"] == record.arrays["kind"]).all()
    for name in (name for name in arrays if name.startswith("results")):
        assert share_found_again(arrays[name], record.arrays[name]) > 0.95, "raise result_version of PictureSpec"


def share_found_again(found: Any, before: Any) -> float:
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(found, before, strict=True)]))


def test_another_seed_is_seen() -> None:
    spec = simulations()[0]
    record = SIMULATIONS.store.read(spec_id(spec))
    arrays, _ = make_record(SimulationSpec(spec.graph, spec.design, 60, 5, SHARES, 0.0, 4, 63, 8))
    assert differences(record, arrays, exact=False)
