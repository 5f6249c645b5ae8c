from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from companion.runs.spec import from_json, to_json
from companion.studies.parity.simulation.experiment import TESTS, SimulationSpec, simulate

SPEC = SimulationSpec("near_low", "plain", 80, 5, (0.6, 0.4), 0.0, 60, 63, 0)


def test_a_spec_reads_back_and_a_record_is_the_same_each_time() -> None:
    assert from_json(to_json(SPEC), SimulationSpec) == SPEC
    short = replace(SPEC, repetitions=3)
    one, other = simulate(short)[0], simulate(short)[0]
    assert set(TESTS) < set(one) and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("design", ["strata", "blocks"])
def test_the_design_decides_which_permutation_holds(design) -> None:
    arrays, _ = simulate(replace(SPEC, design=design))
    right, wrong = ((arrays[name] <= 0.05).mean() for name in ("centred", "unrestricted"))
    assert wrong > 0.5 and stats.binom.sf(round(right * 60) - 1, 60, 0.05) > 0.001


def test_a_bias_is_found_and_its_interval_lies_above_zero() -> None:
    arrays, _ = simulate(replace(SPEC, graph="random", strength=0.4, repetitions=20))
    assert (arrays["centred"] <= 0.05).mean() > 0.9 and (arrays["low"] > 0).mean() > 0.9
    assert arrays["estimate"].mean() == pytest.approx(0.4 * 0.48, abs=0.04)


@pytest.mark.parametrize("design", ["plain", "strata", "blocks"])
def test_exact_moments_give_about_the_p_of_unrestricted_relabelling(design) -> None:
    arrays, _ = simulate(replace(SPEC, design=design, repetitions=12, draws=1023))
    assert arrays["pearson"] == pytest.approx(arrays["unrestricted"], abs=0.06)
