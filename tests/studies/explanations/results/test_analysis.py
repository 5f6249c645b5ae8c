"""Estimates find what was planted, in every table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.studies.conftest import AXES, SOURCES, made_up

from companion.studies.explanations.results import analysis
from companion.studies.explanations.results.results import Results
from companion.studies.explanations.settings import ExplanationsSettings

PLANTED = {"base": 0.2, "label": 0.5, "explanation": 0.7, "shuffled": 0.6, "bag_of_words": 0.5}


@pytest.fixture(scope="module")
def results() -> Results:
    return made_up(PLANTED)


def test_cells_are_eighteen_and_their_mean_is_the_planted_gain(results: Results) -> None:
    cells = analysis.cell_table(results, 200)
    assert len(cells) == 18
    assert cells["estimate"].mean() == pytest.approx(0.2, abs=0.03)
    assert (cells["low"] < cells["estimate"]).all()
    assert (cells["estimate"] < cells["high"]).all()
    assert cells["explanation"].sub(cells["label"]).to_numpy() == pytest.approx(cells["estimate"].to_numpy())
    assert cells["majority"].mean() == pytest.approx(0.2)


def test_summaries_hold_each_axis_and_all(results: Results) -> None:
    rows = analysis.summary_rows(results, 200)
    assert list(rows["label"]) == [*AXES, "pooled"]
    assert ((rows["low"] < 0.2) & (rows["high"] > 0.2)).all()


def test_arm_table_has_a_row_per_arm_and_no_difference_of_label_to_itself(results: Results) -> None:
    table = analysis.arm_table(results, 200).set_index("arm")
    assert list(table.index) == list(PLANTED)
    for arm, planted in PLANTED.items():
        assert table.loc[arm, "accuracy"] == pytest.approx(planted, abs=0.03)
    assert np.isnan(table.loc["label", "difference"])
    assert table.loc["explanation", "p"] == pytest.approx(2.0 ** (1 - len(SOURCES)))
    assert (table["p_holm"].dropna() >= table["p"].dropna()).all()
    assert table["accuracy_low"].min() >= 0
    assert table["accuracy_high"].max() <= 1


def test_base_with_one_seed_is_compared_with_every_seed(results: Results) -> None:
    differences = analysis.pairs(results, "label", "base", "correct")
    assert differences["seed"].nunique() == 6
    assert differences["difference"].mean() == pytest.approx(0.3, abs=0.03)


def test_mcnemar_has_a_row_per_cell_and_seed(results: Results) -> None:
    table = analysis.mcnemar_table(results)
    assert len(table) == 18 * 6
    assert table["difference"].mean() == pytest.approx(0.2, abs=0.03)
    assert ((table["gained"] - table["lost"]) / table["n_items"]).to_numpy() == pytest.approx(table["difference"])


def test_cells_count_clear_gains_and_losses_apart() -> None:
    better, worse = (
        analysis.cell_table(made_up({"base": 0.2, "label": a, "explanation": b}), 100)
        for a, b in ((0.1, 0.9), (0.9, 0.1))
    )
    assert better["mcnemar_better"].sum() == worse["mcnemar_worse"].sum() > 50
    assert better["mcnemar_worse"].sum() == worse["mcnemar_better"].sum() == 0


def test_reliability_and_calibration_agree_on_the_made_up_confidence(results: Results) -> None:
    table = analysis.reliability_table(results, 200).set_index("arm")
    assert table.loc["explanation", "nll"] < table.loc["label", "nll"]
    curve, ece = analysis.calibration(results)
    explanation = curve[curve["arm"] == "explanation"]
    assert explanation["confidence"].to_numpy() == pytest.approx([0.6])
    gap = abs(0.6 - explanation["accuracy"].iloc[0])
    assert ece.set_index("arm").loc["explanation", "estimate"] == pytest.approx(gap, abs=0.02)


def test_layer_curves_and_differences_have_every_layer(results: Results) -> None:
    values = analysis.layer_values(results)
    assert len(values) == (6 * (len(PLANTED) - 1) + 1) * 3 * 6
    differences = analysis.layer_differences(made_up(PLANTED, sharper=0.2))
    assert set(differences["arm"]) == {"explanation", "shuffled", "bag_of_words"}
    assert differences["estimate"].to_numpy() == pytest.approx(0.02, abs=0.003)


def test_figure_frames_have_what_the_figures_need(results: Results) -> None:
    points, intervals = analysis.arm_points(results), analysis.arm_intervals(results, 100)
    assert set(points["axis"]) == set(intervals["axis"]) == {*AXES, "pooled"}
    assert len(points[points["arm"] == "label"]) == 6 * 4
    dots, bars = analysis.sharpness(results)
    assert dots["measure"].nunique() == bars["measure"].nunique() == 5
    assert set(analysis.shortcut_references(results)["name"]) == {"majority", "length", "words_only"}
    assert set(analysis.shortcut_references(results)["axis"]) == {*AXES, "pooled"}


def test_more_seeds_and_sources_find_smaller_effects(tiny_settings: ExplanationsSettings) -> None:
    more = replace(tiny_settings, sources=("faq", "qa", "chat_low"), seeds=tuple(range(4)))
    table, alone = analysis.design_table(more, 4), analysis.design_table(more, 1)
    over, cells = table["comparison"] == "two arms, 2 axes", table["comparison"] == "each of 6 cells"
    assert over.sum() == cells.sum() == len(analysis.EFFECT_SDS)
    assert table.loc[over, "minimal_effect"].is_monotonic_increasing
    assert (table.loc[over, "minimal_effect"] > alone.loc[over, "minimal_effect"]).all()
    assert table.loc[over, "smallest_margin"].is_monotonic_increasing
    assert table.loc[over, "power_at_margin"].is_monotonic_decreasing
    assert (table.loc[over, "smallest_p"] == 1).all()
    assert (alone.loc[over, "smallest_p"] == 0.25).all()
    fewer = analysis.design_table(tiny_settings, 4)
    assert (table.loc[over, "minimal_effect"] < fewer.loc[over, "minimal_effect"]).all()


def test_cell_metrics_hold_every_measure_of_every_cell_and_arm() -> None:
    results = made_up({"base": 0.2, "label": 0.4, "explanation": 0.6})
    table = analysis.cell_metrics(results)
    assert len(table) == 18 * 3
    assert set(table.columns) >= {"accuracy", "within_one", "macro_f1", "mae", "kappa", "nll", "brier", "ece"}
    cells = analysis.cell_table(results, 100).set_index(["axis", "source"])
    both = table[table["arm"] == "explanation"].set_index(["axis", "source"])
    pd.testing.assert_series_equal(both["accuracy"], cells["explanation"], check_names=False, check_like=True)
    assert set(table.groupby("arm")["n_seeds"].first()) == {1, 6}
