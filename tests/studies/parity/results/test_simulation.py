import numpy as np
import pandas as pd
import pytest
from scipy import stats

from companion.stats.detectable import detectable_bias
from companion.studies.parity.results.simulation import count_rejections, estimate_rate, fit_detectable, tabulate_levels
from companion.studies.parity.simulation.experiment import TESTS


def test_rates_have_exact_intervals_and_leave_out_what_was_not_tested() -> None:
    found = estimate_rate(pd.Series([0.01, 0.2, 0.05, np.nan, 0.9]))
    assert (found["n"], found["estimate"]) == (4, 0.5)
    assert found["low"] == pytest.approx(stats.beta.ppf(0.025, 2, 3))
    assert found["high"] == pytest.approx(stats.beta.ppf(0.975, 3, 2))


def catalogues(power_of: float, repetitions: int = 400) -> pd.DataFrame:
    """Rejections that follow a logistic law around a detectable bias with the given slope in N."""
    generator, rows = np.random.default_rng(0), []
    for items in (100, 400, 1600):
        planned = detectable_bias(items, 10, [0.5, 0.5])
        limit = detectable_bias(400, 10, [0.5, 0.5]) * (items / 400) ** power_of
        for factor in (0.5, 1.0, 1.5):
            strength = factor * planned
            chance = stats.logistic.cdf(stats.logistic.ppf(0.8) + 3 * np.log(strength / limit))
            for found in generator.random(repetitions) < chance:
                rows.append(
                    {"items": items, "strength": strength, "centred": 0.01 if found else 0.5, "shares": "50/50"}
                )
    return pd.DataFrame(rows).assign(graph="random", reciprocity=0.0)


@pytest.mark.parametrize("slope", [-0.5, -0.3])
def test_the_slope_and_the_detectable_bias_are_recovered(slope: float) -> None:
    found = fit_detectable(catalogues(slope), 10)
    assert found.slope.low < slope < found.slope.high and found.slope.high - found.slope.low < 0.1
    middle = found.curve.set_index("items").loc[400]
    assert middle["low"] < detectable_bias(400, 10, [0.5, 0.5]) < middle["high"]


def test_the_table_of_levels_has_a_row_for_each_design_and_test() -> None:
    generator = np.random.default_rng(1)
    frame = pd.DataFrame({test: generator.random(40) for test in TESTS})
    frame = frame.assign(design=["plain"] * 20 + ["strata"] * 20, graph=["random", "hubs"] * 20)
    table = tabulate_levels(frame)
    assert list(table["arm"]) == [*TESTS, *TESTS] and set(table["design"]) == {"plain", "strata"}
    rates = count_rejections(frame, ["design", "graph"]).set_index(["design", "graph", "test"])
    row = table.set_index(["design", "arm"]).loc[("strata", "normal")]
    expected = rates.loc[("strata", "hubs", "normal")]
    assert list(row[["hubs", "hubs_low", "hubs_high"]]) == list(expected[["estimate", "low", "high"]])
