"""Verdicts on results made up to be of either sign."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from companion.profiles import load_profile, load_settings
from companion.stats.estimate import Estimate
from companion.stats.retrieval import Groups, Retrieval
from companion.studies.parity.pictures.experiment import PictureSpec
from companion.studies.parity.results.claims import (
    PICTURE_CLAIMS,
    decide_level_claims,
    decide_picture_claims,
    decide_power_claims,
    pool_estimates,
)
from companion.studies.parity.results.pictures import Search, SearchEffect
from companion.studies.parity.settings import ParitySettings

SETTINGS = load_settings(load_profile("cpu"), "parity", ParitySettings)


def catalogues(rate: float, naive: float, count: int = 2000) -> pd.DataFrame:
    def p(share: float) -> np.ndarray:
        return np.where(np.arange(count) < share * count, 0.01, 0.5)

    frame = pd.DataFrame({"centred": p(rate), "naive_chi_square": p(naive)})
    return pd.concat([frame.assign(graph=graph, design="plain") for graph in ("random", "near_low")])


@pytest.mark.parametrize(
    ("rate", "naive", "expected"),
    [(0.05, 0.3, ["supported"] * 3), (0.2, 0.01, ["contradicted"] * 3), (0.07, 0.05, ["undecided"] * 3)],
)
def test_a_level_is_judged_by_its_exact_interval(rate: float, naive: float, expected: list[str]) -> None:
    found = decide_level_claims(catalogues(rate, naive), SETTINGS)
    assert [claim.id for claim in found] == ["1a", "1b", "3"]
    assert [claim.verdict for claim in found] == expected


def powers(slope: float) -> pd.DataFrame:
    generator, rows = np.random.default_rng(0), []
    for items in (200, 800, 3200):
        limit = 0.05 * (items / 200) ** slope
        for strength in limit * np.array([0.5, 1.0, 1.5]):
            chance = 1 / (1 + np.exp(-np.log(4) - 3 * np.log(strength / limit)))
            for found in generator.random(400) < chance:
                rows.append({"items": items, "strength": strength, "centred": 0.01 if found else 0.5})
    return pd.DataFrame(rows).assign(graph="random", shares="50/50", reciprocity=0.0)


@pytest.mark.parametrize(("slope", "verdict"), [(-0.5, "supported"), (-0.2, "contradicted")])
def test_a_slope_is_held_to_minus_one_half(slope: float, verdict: str) -> None:
    (claim,) = decide_power_claims(powers(slope), SETTINGS)
    assert (claim.id, claim.verdict) == ("2a", verdict)


def make_effect(catalogue: str, variant: str, excess: float) -> SearchEffect:
    erased = variant if variant in ("all_directions",) else "none"
    rendition = "whole" if erased != "none" else variant
    spec = PictureSpec(catalogue, rendition, 9, 1, 0.0, 1, 0, 64, "network", "w", "d", 0)  # type: ignore[arg-type]
    retrieval = Retrieval(np.array([[1], [0]]), 2, np.arange(2))
    search = Search(spec, erased, retrieval, Groups(np.array([0, 1]), 2), np.arange(2), np.arange(2))
    one = Estimate(excess, excess - 0.01, excess + 0.01, np.nan, 2, "item", "")
    return SearchEffect(search, one, one, 0.5, np.zeros(2))


@pytest.mark.parametrize(
    ("leak", "rest", "expected"),
    [(0.2, 0.0, "supported"), (-0.2, 0.2, "contradicted")],
)
def test_pictures_are_judged_by_what_is_left_of_them(leak: float, rest: float, expected: str) -> None:
    searches = [
        make_effect(catalogue, variant, rest if side == "equivalent" else leak)
        for catalogue, variant, side, _ in PICTURE_CLAIMS.values()
        if catalogue != "once"
    ]
    once = {"skin_and_hair_neutral": (rest + np.random.default_rng(0).normal(0, 0.01, 50), np.full(50, 0.5))}
    found = decide_picture_claims(searches, once, SETTINGS)
    assert [claim.id for claim in found] == list(PICTURE_CLAIMS)
    assert {claim.verdict for claim in found} == {expected}


def test_estimates_are_pooled_by_precision() -> None:
    sure, unsure = Estimate(1.0, 0.9, 1.1, np.nan, 5, "item", ""), Estimate(2.0, 0.0, 4.0, np.nan, 5, "item", "")
    both = pool_estimates([sure, unsure], 0.95)
    assert 1.0 < both.estimate < 1.01 and both.high - both.low < 0.2
    assert pool_estimates([sure], 0.95).low == pytest.approx(0.9)
    wide = pool_estimates([replace(sure)], 0.99)
    assert wide.low < 0.9 < 1.1 < wide.high
