import numpy as np
import pytest
from tests.studies.conftest import AXES, SOURCES
from tests.studies.explanations.results.conftest import PLANTED

from companion.studies.explanations.results.arms import (
    compare_arms,
    compute_arm_intervals,
    compute_arm_points,
    compute_baselines,
)
from companion.studies.explanations.results.inside import compute_sharpness
from companion.studies.explanations.results.results import Results


def test_arm_table_has_a_row_per_arm_and_no_difference_of_label_to_itself(planted: Results) -> None:
    table = compare_arms(planted, 200).set_index("arm")
    assert list(table.index) == list(PLANTED)
    for arm, planted in PLANTED.items():
        assert table.loc[arm, "accuracy"] == pytest.approx(planted, abs=0.03)
    assert np.isnan(table.loc["label", "difference"])
    assert table.loc["explanation", "p"] == pytest.approx(2.0 ** (1 - len(SOURCES)))
    assert (table["p_holm"].dropna() >= table["p"].dropna()).all()
    assert table["accuracy_low"].min() >= 0
    assert table["accuracy_high"].max() <= 1


def test_figure_frames_have_what_the_figures_need(planted: Results) -> None:
    points, intervals = compute_arm_points(planted), compute_arm_intervals(planted, 100)
    assert set(points["axis"]) == set(intervals["axis"]) == {*AXES, "pooled"}
    assert len(points[points["arm"] == "label"]) == 6 * 4
    dots, bars = compute_sharpness(planted)
    assert dots["measure"].nunique() == bars["measure"].nunique() == 5
    assert set(compute_baselines(planted)["name"]) == {"majority", "length", "words_only"}
    assert set(compute_baselines(planted)["axis"]) == {*AXES, "pooled"}
