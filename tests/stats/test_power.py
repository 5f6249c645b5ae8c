import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from companion.errors import CompanionError
from companion.stats.bootstrap import nested_bootstrap
from companion.stats.paired import equivalence, t_test
from companion.stats.power import (
    Design,
    cell_error,
    design_error,
    equivalence_power,
    minimal_effect,
    smallest_margin,
)

CPU = Design(sources=6, seeds=6, items=180, discordance=0.25, repeated=0.5, source_sd=0.02, seed_sd=0.02)


@pytest.mark.parametrize("units", [3, 6, 20])
def test_minimal_effect_equals_statsmodels(units):
    expected = TTestPower().solve_power(nobs=units, alpha=0.05, power=0.8)
    assert minimal_effect(1 / np.sqrt(units), units - 1) == pytest.approx(expected, rel=1e-3)


def test_two_units_need_a_huge_effect():
    assert 10 < minimal_effect(1.0, 1) < 20
    assert 8 < smallest_margin(1.0, 1) < 10


def test_known_limits_with_many_degrees():
    assert minimal_effect(1.0, 1e5) == pytest.approx(1.95996 + 0.84162, rel=1e-3)
    assert smallest_margin(1.0, 1e5) == pytest.approx(1.64485 + 1.28155, rel=1e-3)


def test_zero_error_detects_everything():
    assert minimal_effect(0.0, 5) == 0.0


def test_effects_scale_with_the_error_and_grow_with_power():
    assert minimal_effect(0.2, 5) == pytest.approx(2 * minimal_effect(0.1, 5))
    assert minimal_effect(0.1, 5, power=0.9) > minimal_effect(0.1, 5)
    assert smallest_margin(0.1, 5, power=0.9) > smallest_margin(0.1, 5)
    assert smallest_margin(0.1, 5, alpha=0.01) > smallest_margin(0.1, 5)


def test_promised_power_is_kept():
    generator = np.random.default_rng(60)
    noise = generator.normal(0, 1, (1200, 6))
    effect = minimal_effect(1 / np.sqrt(6), 5)
    assert np.mean([t_test(sample + effect).p <= 0.05 for sample in noise]) == pytest.approx(0.8, abs=0.03)
    margin = smallest_margin(1 / np.sqrt(6), 5)
    assert np.mean([equivalence(s, margin).p < 0.05 for s in noise]) == pytest.approx(0.8, abs=0.03)


def test_design_keeps_its_power_on_the_table():
    generator = np.random.default_rng(61)
    effect = minimal_effect(*design_error(CPU))
    item = CPU.discordance / CPU.items
    by_source = np.sqrt(CPU.source_sd**2 + item * CPU.repeated) * generator.standard_normal((1000, 6, 1))
    by_seed = CPU.seed_sd * generator.standard_normal((1000, 1, 6))
    entries = np.sqrt(item * (1 - CPU.repeated)) * generator.standard_normal((1000, 6, 6))
    found = np.mean([t_test(table).p <= 0.05 for table in effect + by_source + by_seed + entries])
    assert 0.75 <= found <= 0.9


def test_equivalence_power_at_the_smallest_margin_is_the_power_asked_for():
    error = design_error(CPU)
    assert equivalence_power(smallest_margin(*error), *error) == pytest.approx(0.8)
    assert equivalence_power(smallest_margin(*error) / 2, *error) < 0.4
    assert equivalence_power(0.05, 0.0, 5) == 1.0


def test_cell_error_is_what_the_bootstrap_of_a_cell_finds():
    cell = Design(**{**vars(CPU), "sources": 1, "items": 60})
    generator = np.random.default_rng(62)
    item = cell.discordance
    errors = []
    for _ in range(150):
        values = np.sqrt(item * cell.repeated) * generator.standard_normal((1, 60))
        values = values + np.sqrt(item * (1 - cell.repeated)) * generator.standard_normal((6, 60))
        values = values + cell.seed_sd * generator.standard_normal((6, 1))
        found = nested_bootstrap({"qa": values}, generator, new_sources=False, resamples=200)
        errors.append(((found.high - found.low) / 2) ** 2)
    error, degrees = cell_error(cell)
    assert np.sqrt(np.mean(errors)) == pytest.approx(error * stats.t.ppf(0.975, degrees), rel=0.12)


def test_more_of_anything_helps():
    base = minimal_effect(*design_error(CPU))
    for change in ({"seeds": 12}, {"sources": 12}, {"items": 720}, {"source_sd": 0.0}, {"seed_sd": 0.0}):
        assert minimal_effect(*design_error(Design(**{**vars(CPU), **change}))) < base


def test_one_seed_leaves_the_seed_out():
    one = Design(**{**vars(CPU), "seeds": 1})
    assert design_error(one)[1] == 5
    assert design_error(one) == design_error(Design(**{**vars(one), "seed_sd": 0.5}))


@pytest.mark.parametrize(
    "change",
    [
        {"sources": 1},
        {"seeds": 0},
        {"items": 0},
        {"discordance": 1.5},
        {"repeated": -0.1},
        {"source_sd": -1},
        {"seed_sd": np.nan},
    ],
)
def test_impossible_designs_are_refused(change):
    with pytest.raises(CompanionError):
        design_error(Design(**{**vars(CPU), **change}))


@pytest.mark.parametrize("arguments", [(-1, 5), (np.nan, 5), (np.inf, 5), (1, 0), (1, 5, 0.05, 0.05), (1, 5, 1.0)])
@pytest.mark.parametrize("function", [minimal_effect, smallest_margin])
def test_impossible_tests_are_refused(function, arguments):
    with pytest.raises(CompanionError):
        function(*arguments)
