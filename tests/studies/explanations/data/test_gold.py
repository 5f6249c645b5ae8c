import csv
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from companion.corpora.conversation import Conversation, Turn, make_conversation
from companion.errors import CompanionError
from companion.studies.explanations.data import gold
from companion.studies.explanations.data.annotate import PROMPTS, SIMULATED, rescale

AXES = ["naturalness", "on_topic"]
pytest.importorskip("krippendorff")


def conversations(number: int) -> dict[str, Conversation]:
    turns = [Turn("A", "Is <b>this</b> fine?")]
    return {f"item-{n}": make_conversation("faq", str(n), turns, f"</pre><script>{n}</script>") for n in range(number)}


def filled(form: Path, score: int) -> Path:
    """The form as a rater would fill and run it; the real code cells, in their own folder."""
    notebook = nbformat.read(form, as_version=4)
    code = "\n".join(cell.source.replace(": None", f": {score}") for cell in notebook.cells if cell.cell_type == "code")
    exec(compile(code.replace('open("', f'open("{form.parent}/'), str(form), "exec"), {})  # noqa: S102
    return form.parent / f"ratings_{form.stem.removeprefix('form_')}.csv"


def test_forms_go_out_and_ratings_come_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    forms = gold.write_forms(conversations(20), AXES, tmp_path, seed=1)
    files = [filled(form, score) for form, score in zip(forms, (3, 4), strict=True)]
    assert "40 of 40 ratings" in capsys.readouterr().out
    ratings = gold.read_ratings(files, AXES)
    assert len(ratings) == 40 and set(ratings["first"]) == {3} and set(ratings["second"]) == {4}


def test_forms_differ_in_order_only_and_show_text_as_text(tmp_path: Path):
    forms = [nbformat.read(form, as_version=4) for form in gold.write_forms(conversations(20), AXES, tmp_path, seed=1)]
    shown = [[cell.source for cell in form.cells if "REPLY" in cell.source] for form in forms]
    texts = [[one.split("\n", 1)[1] for one in part] for part in shown]
    assert texts[0] != texts[1] and sorted(texts[0]) == sorted(texts[1])
    assert not any("<script>" in one or "<b>" in one for one in shown[0])


def write(file: Path, rows: list[tuple[str, str, object]]) -> Path:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("item", "axis", "score"), *rows])
    return file


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "naturalness", 6)], "no whole number from 1 to 5"),
        ([("a", "naturalness", "2.5")], "no whole number from 1 to 5"),
        ([("a", "naturalness", "good")], "'good' for item a on naturalness"),
        ([("a", "taste", 3)], "on one of naturalness, on_topic"),
        ([("a", "naturalness", 3), ("a", "naturalness", 4)], "twice"),
        ([("b", "naturalness", 3)], "no rated item in common"),
        ([("a", "naturalness", "")], "no rated item in common"),
    ],
)
def test_mistakes_get_a_sentence(tmp_path: Path, rows: list[tuple[str, str, object]], message: str):
    other = write(tmp_path / "ratings_second.csv", [("a", "naturalness", 3)])
    with pytest.raises(CompanionError, match=message):
        gold.read_ratings([write(tmp_path / "ratings_first.csv", rows), other], AXES)


def test_a_missing_file_gets_a_sentence(tmp_path: Path):
    with pytest.raises(CompanionError, match="is no table"):
        gold.read_ratings([tmp_path / "a.csv", tmp_path / "b.csv"], AXES)


@pytest.mark.parametrize(("number", "message"), [(20, "200 to 300"), (301, "200 to 300"), (250, "there are 240")])
def test_size_of_the_gold_set(number: int, message: str):
    with pytest.raises(CompanionError, match=message):
        gold.sample([str(n) for n in range(240)], number, seed=1)


def test_the_gold_set_does_not_hang_on_the_order_of_the_items():
    items = [str(n) for n in range(400)]
    drawn = gold.sample(items, 200, seed=1)
    assert drawn == gold.sample(items[::-1], 200, seed=1) and len(set(drawn)) == 200
    assert drawn != gold.sample(items, 200, seed=2)


def two_raters(noise: float, number: int = 120) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    truth = generator.integers(1, 6, number)
    given = [np.clip(np.round(truth + generator.normal(0, noise, number)), 1, 5).astype(int) for _ in range(2)]
    items = [f"item-{n}" for n in range(number)]
    return pd.DataFrame({"item": items, "axis": "naturalness", "first": given[0], "second": given[1]})


def test_agreement_falls_with_noise_and_is_one_without():
    (same,) = gold.measure_agreement(two_raters(0), 1).to_dict("records")
    assert same["alpha"] == same["kappa"] == same["exact"] == 1
    (noisy,) = gold.measure_agreement(two_raters(1), 1).to_dict("records")
    (noisier,) = gold.measure_agreement(two_raters(3), 1).to_dict("records")
    assert 1 > noisy["alpha"] > noisier["alpha"] and 1 > noisy["kappa"] > noisier["kappa"]
    assert noisy["alpha_low"] < noisy["alpha"] < noisy["alpha_high"]


def test_alpha_has_the_published_value_of_the_ordinal_example():
    # Krippendorff (2011), "Computing Krippendorff's alpha-reliability", binary data of section A: 10 units, alpha 0.095
    first = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 0])
    second = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    assert gold._alpha(first, second) == pytest.approx(0.095, abs=0.001)


def test_resamples_without_a_difference_leave_the_interval_as_it_is():
    scores = pd.DataFrame(
        {"item": list("abcdefgh"), "axis": "naturalness", "first": [3] * 7 + [4], "second": [3] * 7 + [5]}
    )
    limits = gold.measure_agreement(scores, seed=0)[["alpha_low", "alpha_high", "kappa_low", "kappa_high"]]
    assert limits.notna().all(axis=None)


def test_raters_with_one_score_have_no_agreement_to_measure():
    (row,) = gold.measure_agreement(two_raters(0).assign(first=3, second=3), 1).to_dict("records")
    assert np.isnan(row["alpha"]) and np.isnan(row["kappa"]) and row["exact"] == 1


def test_the_rule_nearest_to_the_raters_comes_first():
    generator = np.random.default_rng(1)
    ratings = two_raters(0)
    keys = [(annotator.name, prompt.name) for annotator in SIMULATED for prompt in PROMPTS]
    rows = [
        (item, "naturalness", *key, 5, np.clip(truth + generator.normal(0, 1), 1, 5), "")
        for item, truth in zip(ratings["item"], ratings["first"], strict=True)
        for key in keys
    ]
    columns = ["item", "axis", "annotator", "prompt", "scale", "score", "explanation"]
    answers = pd.DataFrame(rows, columns=columns)
    answers["rescaled"] = rescale(answers["score"].to_numpy(float), answers["scale"].to_numpy(float))
    table = gold.compute_rule_errors(answers, ratings, seed=1)
    assert set(table["rule"]) == {"mean", "median", "majority", "trimmed_mean", "best_single"}
    assert table["mse"].is_monotonic_increasing and table.loc[0, "rule"] in ("mean", "trimmed_mean", "median")
    assert table.iloc[-1]["rule"] == "best_single" and set(table["n_items"]) == {120}
