import numpy as np
import pandas as pd
import pytest

from companion.show.provenance import Provenance
from companion.stats.metrics import item_measures
from companion.stats.paired import t_test
from companion.studies.explanations.own.tables import compare_arms, estimate_difference, shortcut_accuracy
from companion.studies.explanations.results.arms import compute_arm_intervals, compute_arm_points
from companion.studies.explanations.results.claims import decide_claims, explain_undecided
from companion.studies.explanations.results.estimates import estimate_level
from companion.studies.explanations.results.inside import compute_sharpness
from companion.studies.explanations.results.results import Results, probability_names

LABELS = 3


def made(accuracy, seeds=5, groups=60, size=(1, 4), entropy=None):
    """Results on one data set in which each arm is right with a given chance; groups of uneven size."""
    random = np.random.default_rng(4)
    sizes = random.integers(*size, groups, endpoint=True)
    source = np.repeat([f"g{number:04d}" for number in range(groups)], sizes)
    label = random.integers(1, LABELS + 1, len(source))
    parts = []
    for arm, chance in accuracy.items():
        for seed in range(seeds):
            right = random.random(len(source)) < chance
            predicted = np.where(right, label, label % LABELS + 1)
            probability = np.full((len(source), LABELS), 0.2)
            probability[np.arange(len(source)), predicted - 1] = 0.6
            frame = item_measures(label, probability).assign(
                arm=arm, seed=seed, axis="label", source=source, label=label, item=np.arange(len(source)).astype(str)
            )
            columns = dict(zip(probability_names(LABELS), probability.T, strict=True))
            noise = random.normal(0, 0.05, len(source))
            shift = (entropy or {}).get(arm, 0.0)
            parts.append(
                frame.assign(**columns, output_entropy=1 + shift + noise, label_entropy=0.9, peak_mass=0.5 - shift / 2)
            )
    predictions = pd.concat(parts, ignore_index=True)
    items = predictions.query("seed == 0 and arm == 'label'")[["item", "axis", "source", "label"]]
    items = items.assign(split="test", majority=1, length=2, words_only=3)
    origin = Provenance("explanations", "made up", ("a",), "0" * 40)
    return Results(items, predictions, pd.DataFrame(), pd.DataFrame(), pd.DataFrame(), origin, unit="group")


class Settings:
    resamples = 100
    equivalence_margin = 0.05


def verdicts(results):
    layers = [
        {"arm": arm, "seed": seed, "axis": "label", "source": source, "measure": "E1", "layer": layer, "value": value}
        for arm in results.predictions["arm"].unique()
        for seed in range(5)
        for source in results.items["source"].unique()
        for layer, value in enumerate(np.random.default_rng(seed).normal(0.8, 0.01, 6), 1)
    ]
    whole = Results(**{**vars(results), "layers": pd.DataFrame(layers)})
    return {claim.id: claim for claim in decide_claims(whole, Settings())}


def test_a_clear_gain_is_supported_and_a_clear_loss_contradicted():
    better = verdicts(made({"label": 0.5, "explanation": 0.75, "shuffled": 0.75, "bag_of_words": 0.5}))
    assert (better["1a"].verdict, better["2a"].verdict, better["2b"].verdict) == ("supported", "supported", "undecided")
    assert better["1a"].n == "60 groups \u00d7 5 seeds"
    assert "groups, 5 of 5 seeds" in better["1a"].agreement
    assert np.isnan(better["1a"].smallest_p)
    assert better["1a"].p < 0.001
    worse = verdicts(made({"label": 0.75, "explanation": 0.5, "shuffled": 0.5}))
    assert worse["1a"].verdict == "contradicted"


def test_no_interval_is_wider_than_what_is_possible():
    """Two seeds leave one degree of freedom, of which t has a quantile of 13 at 95 %, and of 51 in a family of four."""
    results = made({"label": 0.3, "explanation": 0.6, "shuffled": 0.5}, seeds=2, groups=12, size=(1, 2))
    rows = results.predictions
    for column in ("correct", "peak_mass"):
        rows[column] = rows[column].where(rows["arm"] != "explanation", 1.0 - rows["seed"])
    found = verdicts(results)
    assert {(found[claim].low, found[claim].high) for claim in ("1a", "2d", "3d")} == {(-1, 1)}
    gain = estimate_difference(results, "explanation", "label", "correct")
    assert (gain.low, gain.high) == (-1, 1)


def test_the_claim_about_all_cells_is_left_out():
    assert "1b" not in verdicts(made({"label": 0.5, "explanation": 0.5}))


def constant(results, arm, label):
    """The arm answers one label whatever is asked."""
    rows = results.predictions
    rows.loc[rows["arm"] == arm, "correct"] = (rows["label"] == label).astype(float)
    return results


def test_a_constant_answer_is_not_learnt_however_the_groups_weigh():
    results = made({"label": 0.5, "explanation": 0.5}, groups=12)
    # One large group says 1, so that most rows do; the many small ones say 2.
    large = results.items["source"].value_counts().index[0]
    for table in (results.items, results.predictions):
        table["label"] = np.where(table["source"] == large, 1, 2)
    found = verdicts(constant(constant(results, "label", 1), "explanation", 2))
    assert found["1a"].low > 0
    assert found["1a"].verdict == "undecided"


def test_fewer_than_four_groups_decide_nothing():
    better = {"label": 0.3, "explanation": 0.95}
    assert verdicts(made(better, groups=12, size=(9, 9)))["1a"].verdict == "supported"
    few = made(better, groups=3, size=(60, 60))
    assert verdicts(few)["1a"].verdict == "undecided"
    assert explain_undecided(few) == "Nothing is decided: fewer than 4 test groups."
    assert verdicts(few)["1a"].note.startswith("Nothing is decided")


def test_baselines_weigh_groups_as_students_do():
    test = pd.DataFrame({"source": list("aaab"), "label": [1, 1, 1, 2], "majority": 1, "length": 2, "words_only": 3})
    assert shortcut_accuracy(test).to_dict() == {"majority": 0.5, "length": 0.5, "words_only": 0.0}


def test_groups_count_once():
    results = made({"label": 0.5, "explanation": 0.7})
    rows = results.predictions.query("arm == 'label'")
    by_group = rows.groupby(["source", "seed"])["correct"].mean().unstack("seed")
    found = estimate_level(results, "label", "correct")
    assert found.estimate == pytest.approx(by_group.to_numpy().mean())
    assert (found.low, found.high) == pytest.approx((t_test(by_group).low, t_test(by_group).high))
    assert found.n == 60


def test_the_table_compares_every_arm_with_labels_alone():
    results = made({"label": 0.5, "explanation": 0.7, "shuffled": 0.5})
    table = compare_arms(results, ordered=True).set_index("arm")
    assert np.isnan(table.loc["label", ["difference", "p", "p_holm"]].astype(float)).all()
    gain = estimate_difference(results, "explanation", "label", "correct")
    assert table.loc["explanation", "difference"] == gain.estimate
    assert table.loc["explanation", "p_holm"] == pytest.approx(2 * gain.p)
    assert {"kappa", "mae", "within_one"} <= set(table.columns)
    assert not {"kappa", "mae", "within_one"} & set(compare_arms(results, ordered=False).columns)


def test_sharpness_and_intervals_have_a_row_for_each_arm():
    results = made({"label": 0.5, "explanation": 0.7}, entropy={"explanation": -0.2})
    dots, intervals = compute_sharpness(results)
    assert len(dots) == 2 * 5 * 3
    entropy = intervals.query("measure == 'output_entropy'").set_index("arm")
    assert entropy.loc["explanation", "high"] < entropy.loc["label", "low"]
    for shown in (compute_arm_points(results), compute_arm_intervals(results)):
        assert list(shown["axis"].unique()) == ["label"]


@pytest.mark.parametrize(("group_sd", "seed_sd"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.03), (0.1, 0.03)])
def test_type_one_error_and_coverage_with_many_groups_and_five_seeds(group_sd, seed_sd):
    """Sixty groups of one to four items, a third of the items discordant; a family of three reads 98.33 % limits."""
    random = np.random.default_rng(41)
    sizes = random.integers(1, 4, 60, endpoint=True)
    wrong = missed = 0
    for _ in range(600):
        effect = group_sd * random.standard_normal((60, 1)) + seed_sd * random.standard_normal((1, 5))
        noise = random.choice([-1, 0, 1], p=[1 / 6, 2 / 3, 1 / 6], size=(60, 4, 5))
        kept = np.arange(4) < sizes[:, None]
        means = (noise * kept[:, :, None]).sum(axis=1) / sizes[:, None]
        wrong += t_test(means + effect, level=1 - 0.05 / 3).p <= 0.05 / 3
        found = t_test(means + effect)
        missed += not found.low <= 0 <= found.high
    assert wrong / 600 <= 0.03
    assert missed / 600 <= 0.075
