import pandas as pd
import pytest
from tests.studies.conftest import AXES, made_up

from companion.studies.explanations.results.cells import (
    compare_cells,
    compute_cell_metrics,
    run_mcnemar_tests,
    summarize_cells,
)
from companion.studies.explanations.results.results import Results


def test_cells_are_eighteen_and_their_mean_is_the_planted_gain(planted: Results) -> None:
    cells = compare_cells(planted, 200)
    assert len(cells) == 18
    assert cells["estimate"].mean() == pytest.approx(0.2, abs=0.03)
    assert (cells["low"] < cells["estimate"]).all()
    assert (cells["estimate"] < cells["high"]).all()
    assert cells["explanation"].sub(cells["label"]).to_numpy() == pytest.approx(cells["estimate"].to_numpy())
    assert cells["majority"].mean() == pytest.approx(0.2)


def test_summaries_hold_each_axis_and_all(planted: Results) -> None:
    rows = summarize_cells(planted, 200)
    assert list(rows["label"]) == [*AXES, "pooled"]
    assert ((rows["low"] < 0.2) & (rows["high"] > 0.2)).all()


def test_mcnemar_has_a_row_per_cell_and_seed(planted: Results) -> None:
    table = run_mcnemar_tests(planted)
    assert len(table) == 18 * 6
    assert table["difference"].mean() == pytest.approx(0.2, abs=0.03)
    assert ((table["gained"] - table["lost"]) / table["n_items"]).to_numpy() == pytest.approx(table["difference"])


def test_cells_count_clear_gains_and_losses_apart() -> None:
    better, worse = (
        compare_cells(made_up({"base": 0.2, "label": a, "explanation": b}), 100) for a, b in ((0.1, 0.9), (0.9, 0.1))
    )
    assert better["mcnemar_better"].sum() == worse["mcnemar_worse"].sum() > 50
    assert better["mcnemar_worse"].sum() == worse["mcnemar_better"].sum() == 0


def test_cell_metrics_hold_every_measure_of_every_cell_and_arm() -> None:
    results = made_up({"base": 0.2, "label": 0.4, "explanation": 0.6})
    table = compute_cell_metrics(results)
    assert len(table) == 18 * 3
    assert set(table.columns) >= {"accuracy", "within_one", "macro_f1", "mae", "kappa", "nll", "brier", "ece"}
    cells = compare_cells(results, 100).set_index(["axis", "source"])
    both = table[table["arm"] == "explanation"].set_index(["axis", "source"])
    pd.testing.assert_series_equal(both["accuracy"], cells["explanation"], check_names=False, check_like=True)
    assert set(table.groupby("arm")["n_seeds"].first()) == {1, 6}
