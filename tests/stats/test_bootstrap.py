import time

import numpy as np
import pytest

from companion.errors import CompanionError
from companion.stats.bootstrap import nested_bootstrap
from companion.stats.estimate import mean_error

NAMES = ("assistant", "chat_high", "chat_low", "faq", "qa", "scripted")


def named(values):
    return dict(zip(NAMES, values, strict=False))


def generator(seed=0):
    return np.random.default_rng(seed)


def test_same_seed_same_interval_and_ragged_items(simulate):
    tables = named(simulate(generator(), 3, 0.05))
    tables["qa"] = tables["qa"][:, :17]
    one, two = (nested_bootstrap(tables, generator(5)) for _ in range(2))
    assert one == two
    assert one.estimate == pytest.approx(np.mean([table.mean() for table in tables.values()]))
    assert one.low < one.estimate < one.high
    assert (one.n, one.unit) == (6, "source")


def test_global_random_state_is_neither_used_nor_changed(simulate):
    tables = named(simulate(generator(), 2))
    np.random.seed(1)
    one = nested_bootstrap(tables, generator(5))
    np.random.seed(2)
    state = np.random.get_state()[1].copy()
    assert nested_bootstrap(tables, generator(5)) == one
    assert (np.random.get_state()[1] == state).all()


def test_interval_and_p_agree(simulate):
    for seed in range(20):
        found = nested_bootstrap(named(0.04 + simulate(generator(seed), 3, 0.05)), generator(seed), resamples=500)
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_sign_and_scale_carry_over(simulate):
    values = simulate(generator(), 3, 0.05)
    one = nested_bootstrap(named(values), generator(5))
    two = nested_bootstrap(named(-100 * values), generator(5))
    assert (two.low, two.high) == pytest.approx((-100 * one.high, -100 * one.low))


def test_large_source_spread_gives_the_interval_over_sources(simulate):
    values = simulate(generator(3), 6, source_sd=1.0)
    found = nested_bootstrap(named(values), generator(5), resamples=40_000)
    over_sources = mean_error(values.mean(axis=(1, 2)))
    half = 2.5706 * np.sqrt(over_sources.covariance[0, 0])
    assert found.high - found.estimate == pytest.approx(half, rel=0.03)


def test_fixed_sources_ignore_their_spread(simulate):
    values = simulate(generator(3), 6)
    apart = values + np.linspace(-1, 1, 6)[:, None, None]
    one = nested_bootstrap(named(values), generator(5), new_sources=False)
    two = nested_bootstrap(named(apart), generator(5), new_sources=False)
    assert two.high - two.low == pytest.approx(one.high - one.low)
    assert nested_bootstrap(named(apart), generator(5)).high - two.high > 0.5
    assert (two.n, two.unit) == (6, "seed")


def test_one_seed_is_told():
    values = named(generator().normal(size=(6, 1, 30)))
    assert "one seed" in nested_bootstrap(values, generator()).method
    assert "one seed" not in nested_bootstrap(named(generator().normal(size=(6, 2, 30))), generator()).method


@pytest.mark.parametrize("new_sources", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.25, 1 / 3])
def test_no_spread_gives_no_interval(new_sources, value):
    found = nested_bootstrap(named(np.full((6, 3, 20), value)), generator(), new_sources)
    assert found.estimate == pytest.approx(value)
    assert np.isnan([found.low, found.high, found.p]).all()


def test_two_sources_and_binary_ties():
    tied = np.zeros((2, 2, 30))
    tied[0, 0, :2] = 1.0
    found = nested_bootstrap(named(tied), generator())
    assert found.low < 0 < found.high


def test_speed_of_the_full_size():
    values = named(generator().normal(size=(6, 6, 180)))
    nested_bootstrap(values, generator(), resamples=100)
    start = time.process_time()
    nested_bootstrap(values, generator(), resamples=10_000)
    assert time.process_time() - start < 2.0


def coverage(simulate, repeats, seeds, source_sd, seed_sd, new_sources, sources=6):
    random = generator(100 * seeds + sources)
    inside = 0
    for _ in range(repeats):
        values = simulate(random, seeds, source_sd, seed_sd, sources=sources)
        found = nested_bootstrap(named(values), random, new_sources, resamples=300)
        inside += found.low <= 0 <= found.high
    return inside / repeats


@pytest.mark.parametrize("new_sources", [True, False])
def test_coverage_quickly(simulate, new_sources):
    assert 0.91 <= coverage(simulate, 200, 3, 0.0, 0.02, new_sources) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "source_sd", "seed_sd", "least", "most"),
    [
        (2, 0.05, 0.0, 0.945, 0.995),
        (2, 0.0, 0.05, 0.92, 0.98),
        (3, 0.0, 0.0, 0.96, 1.0),
        (3, 0.05, 0.05, 0.935, 0.985),
        (6, 0.05, 0.0, 0.935, 0.985),
        (6, 0.05, 0.05, 0.935, 0.985),
    ],
)
def test_coverage_for_new_sources(simulate, seeds, source_sd, seed_sd, least, most):
    assert least <= coverage(simulate, 600, seeds, source_sd, seed_sd, True) <= most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "seed_sd", "least", "most"),
    [(2, 0.0, 0.94, 0.995), (2, 0.05, 0.85, 0.94), (3, 0.02, 0.925, 0.98), (6, 0.0, 0.93, 0.98), (6, 0.05, 0.92, 0.97)],
)
def test_coverage_for_these_sources(simulate, seeds, seed_sd, least, most):
    assert least <= coverage(simulate, 600, seeds, 0.0, seed_sd, False) <= most


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 6])
def test_coverage_in_one_cell(simulate, seeds):
    assert 0.93 <= coverage(simulate, 800, seeds, 0.0, 0.02, False, sources=1) <= 0.99


@pytest.mark.parametrize(
    ("values", "new_sources"),
    [
        ({}, True),
        ({"qa": np.zeros((2, 30))}, True),
        ({"qa": np.zeros((2, 30)), "faq": np.zeros((3, 30))}, True),
        ({"qa": np.zeros((2, 1))}, False),
        ({"qa": np.zeros(30)}, False),
        ({"qa": np.zeros((0, 30))}, False),
        ({"qa": np.full((2, 30), np.nan)}, False),
    ],
)
def test_bad_input_is_refused(values, new_sources):
    with pytest.raises(CompanionError):
        nested_bootstrap(values, generator(), new_sources)
