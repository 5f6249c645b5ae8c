"""Calibration by simulation: p is uniform, rates are at their level, intervals hold what they say, power is there.

Seeds are fixed. The whole file takes half an hour on one core.
"""

import numpy as np
import pytest
from scipy import stats

from companion.stats.dyadic import estimate_centred, estimate_excess
from companion.stats.joins import permutation_p
from companion.studies.parity.simulation.experiment import (
    SimulationSpec,
    count,
    make_catalogue,
    seed_generator,
    simulate,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
GRAPHS = ("random", "near_low", "near_high", "hubs")
DESIGNS = ("plain", "strata", "blocks")


def test_p_is_uniform_where_nothing_is_to_be_found() -> None:
    values = []
    for graph in GRAPHS:
        spec = SimulationSpec(graph, "plain", 200, 10, (0.6, 0.4), 0.0, 1250, 639, 1)
        for repetition in range(spec.repetitions):
            generator = seed_generator(spec, repetition)
            values.append(permutation_p(count(make_catalogue(generator, spec), generator, spec.draws).standardized))
    assert len(values) == 5000
    # p has steps of 1/640; spread over its step it is continuous.
    spread = np.array(values) - np.random.default_rng(0).random(5000) / 640
    assert stats.kstest(spread, "uniform").pvalue > 0.01


def test_thirty_six_rates_are_at_their_level() -> None:
    hits, repetitions = {}, 400
    for graph in GRAPHS:
        for design in DESIGNS:
            arrays, _ = simulate(SimulationSpec(graph, design, 200, 10, (0.6, 0.3, 0.1), 0.0, repetitions, 191, 2))
            for test in ("centred", "share", "chi_square"):
                hits[graph, design, test] = int((arrays[test] <= 0.05).sum())
    assert len(hits) == 36
    # Of 192 labellings nine are at most 0.05; discrete statistics reject less often.
    low, high = stats.binom.ppf([0.005 / 36, 1 - 0.005 / 36], repetitions, 9 / 192)
    assert all(low <= each <= high for each in hits.values()), hits


SETTINGS = [
    ("random", 0.5, 0.0),
    ("near_low", 0.5, 0.0),
    ("hubs", 0.5, 0.0),
    ("near_low", 0.8, 0.0),
    ("hubs", 0.8, 0.0),
    ("near_low", 0.8, 0.1),
    ("hubs", 0.5, 0.1),
]


@pytest.mark.parametrize(("items", "least"), [(400, 0.92), (2000, 0.935)])
@pytest.mark.parametrize(("graph", "share", "strength"), SETTINGS)
def test_intervals_hold_the_true_value(graph, share: float, strength: float, items: int, least: float) -> None:
    spec = SimulationSpec(graph, "plain", items, 10, (share, 1 - share), strength, 2000, 127, 3)
    truth = strength * (1 - share**2 - (1 - share) ** 2)
    held = np.zeros(2)
    for repetition in range(spec.repetitions):
        one = make_catalogue(seed_generator(spec, repetition), spec)
        found = (estimate(one.pairs, np.ones(10)) for estimate in (estimate_centred, estimate_excess))
        held += [each.low <= truth <= each.high for each in found]
    assert (held / spec.repetitions >= least).all(), held / spec.repetitions


def test_c_finds_where_the_plain_share_does_not() -> None:
    arrays, _ = simulate(SimulationSpec("hubs", "plain", 2000, 10, (0.95, 0.05), 0.02, 300, 191, 4))
    power = {test: (arrays[test] <= 0.05).mean() for test in ("centred", "share")}
    assert power["centred"] >= 0.7 and power["share"] <= 0.2, power
