"""Numbers of an audit against naive loops, and what it doubts."""

import numpy as np
import pandas as pd
import pytest

from companion.errors import CompanionError
from companion.stats.dyadic import estimate_change
from companion.stats.joins import permutation_p, stop_early
from companion.stats.relabelling import Exchange
from companion.studies.parity.own import counts
from companion.studies.parity.own.attributes import Attribute
from companion.studies.parity.own.audit import Audit, audit, make_plan
from companion.studies.parity.own.counts import make_case
from companion.studies.parity.own.results import Ranking


def draw_results(rng: np.random.Generator, labels: np.ndarray, depth: int, bias: float = 0.0) -> np.ndarray:
    """(N, depth) results; each is drawn from the query's own group with probability ``bias``."""
    made = []
    for query, label in enumerate(labels):
        weight = np.where(
            labels == label, (1 - bias) / len(labels) + bias / (labels == label).sum(), (1 - bias) / len(labels)
        )
        weight[query] = 0
        made.append(rng.choice(len(labels), depth, replace=False, p=weight / weight.sum()))
    return np.array(made)


def as_frame(results: np.ndarray) -> pd.DataFrame:
    rows, ranks = np.nonzero(results >= 0)
    return pd.DataFrame({"query": rows, "item": results[rows, ranks], "rank": ranks + 1})


def naive_centred(results: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """C by loops, of results whose queries are the items in their order."""
    rows = [
        (labels[query], labels[item], weights[rank])
        for query, row in enumerate(results)
        for rank, item in enumerate(row)
        if item >= 0
    ]
    total = sum(weight for *_, weight in rows)
    kinds = sorted(set(labels))
    asked = np.array([sum(weight for mine, _, weight in rows if mine == kind) for kind in kinds]) / total
    found = np.array([sum(weight for _, theirs, weight in rows if theirs == kind) for kind in kinds]) / total
    one = found / (np.array([np.sum(labels == kind) for kind in kinds]) - found)
    others = found + asked * one - found * (asked @ one)
    expected = (asked * (others - one * (1 - found))).sum()
    return sum(weight for mine, theirs, weight in rows if mine == theirs) / total - expected


@pytest.mark.parametrize("weights", ["none", "log2"])
def test_the_overall_table_is_what_loops_give(weights: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(list("fgm"), 60, p=[0.5, 0.2, 0.3])
    results = draw_results(rng, labels, 4, 0.3)
    table = pd.DataFrame({"item": range(60), "sex": labels})
    found = audit(as_frame(results), table, k=(2, 4), draws=499, weights=weights)
    for row in found.overall.to_dict("records"):
        rank = np.where(np.arange(4) < row["k"], 1 / np.log2(np.arange(4) + 2) if weights == "log2" else 1, 0)
        shuffled = np.random.default_rng(1)
        null = [naive_centred(results, shuffled.permutation(labels), rank) for _ in range(300)]
        observed = naive_centred(results, labels, rank)
        assert row["centred"] == pytest.approx(observed) and abs(np.mean(null)) < 0.1 * np.std(null)
        assert row["p"] == pytest.approx(permutation_p(np.array([observed, *null])), abs=0.05)
        assert row["centred_low"] < row["centred"] < row["centred_high"]
        assert (row["n_queries"], row["n_results"], row["n_groups"], row["draws"]) == (60, 60 * row["k"], 3, 499)
    assert found.dependent and not found.equivalent


def test_pairs_of_groups_are_counted_and_expected() -> None:
    labels = np.array(list("ffmmm"))
    results = np.array([[1, 2], [0, 2], [3, 4], [2, 4], [0, 1]])
    found = audit(as_frame(results), pd.DataFrame({"item": range(5), "sex": labels}), k=(2,), draws=99)
    rows = found.by_group.set_index(["query_group", "result_group"])
    assert rows["observed"].to_dict() == {("f", "f"): 2, ("f", "m"): 2, ("m", "f"): 2, ("m", "m"): 4}
    expected = {("f", "f"): 10 * 2 / 20, ("f", "m"): 10 * 6 / 20, ("m", "f"): 10 * 6 / 20, ("m", "m"): 10 * 6 / 20}
    assert rows["expected"].to_dict() == pytest.approx(expected)


def biased(bias: float = 0.0, items: int = 300, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(["a", "b"], items, p=[0.7, 0.3])
    return as_frame(draw_results(rng, labels, 10, bias)), pd.DataFrame({"item": range(items), "tone": labels})


def run(bias: float = 0.0, **options: object) -> Audit:
    results, table = biased(bias)
    return audit(results, table, **({"k": (5, 10), "draws": 499} | options))


def test_an_injected_bias_is_found_with_its_size_and_none_is_not() -> None:
    found = run(0.2)
    last = found.overall.iloc[-1]
    assert found.dependent and last["verdict"] == "dependence" and last["p_adjusted"] <= 0.01
    assert found.plan["bias"].iloc[-1] == pytest.approx(0.2, abs=0.05)
    assert last["centred_low"] < 0.2 * (1 - 0.7**2 - 0.3**2) < last["centred_high"]
    nothing = run(0.0, margin=0.05)
    assert not nothing.dependent and nothing.equivalent
    assert set(nothing.overall["verdict"]) == {"equivalent"}
    assert set(run(0.0).overall["verdict"]) == {"undecided"}


def test_the_same_data_and_seed_give_the_same_numbers_whatever_is_audited_beside() -> None:
    results, table = biased(0.1)
    more = table.assign(other=np.random.default_rng(5).choice(list("xy"), len(table)))
    one, two = (audit(results, each, k=(10,), draws=199) for each in (table, more))
    columns = ["centred", "centred_low", "p"]
    assert one.overall[columns].iloc[0].tolist() == two.overall[columns].iloc[0].tolist()
    assert two.overall["p_adjusted"].iloc[0] == pytest.approx(2 * one.overall["p_adjusted"].iloc[0])


def test_who_is_returned_to_everybody_alike_is_another_question() -> None:
    rng = np.random.default_rng(6)
    tone, size = rng.choice(["a", "b"], 200, p=[0.7, 0.3]), rng.choice(["s", "l"], 200)
    likely = np.where(tone == "b", 3.0, 1.0)
    results = []
    for query in range(200):
        weight = np.where(np.arange(200) == query, 0.0, likely)
        results.append(rng.choice(200, 10, replace=False, p=weight / weight.sum()))
    found = audit(
        as_frame(np.array(results)),
        pd.DataFrame({"item": range(200), "tone": tone, "size": size}),
        k=(5, 10),
        draws=499,
    )
    assert not found.dependent
    rows = found.parity.set_index(["attribute", "k"])
    assert (rows.loc["tone", "p_adjusted"] <= 0.01).all() and (rows.loc["size", "p_adjusted"] > 0.05).all()
    shares = pd.Series(tone[np.array(results).ravel()]).value_counts(normalize=True)
    assert rows.loc[("tone", 10), "distance"] == pytest.approx(abs(shares["b"] - (tone == "b").mean()))
    assert (rows["draws"] == 499).all() and (rows["expected_distance"] < rows["distance"].max()).all()


def test_a_dependence_that_is_a_stratum_s_is_gone_inside_it() -> None:
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 2, 300)
    tone = np.where(rng.random(300) < 0.9, kind, 1 - kind)
    table = pd.DataFrame({"item": range(300), "tone": tone, "kind": kind})
    results = as_frame(draw_results(rng, kind, 10, 0.5))
    options = {"sensitive_features": ("tone",), "k": (10,), "draws": 499}
    assert audit(results, table, **options).dependent
    inside = audit(results, table, stratum="kind", **options)
    assert inside.overall["p"].iloc[0] > 0.05


def test_items_and_queries_without_the_attribute_are_left_out_and_counted() -> None:
    results, table = biased()
    table.loc[:9, "tone"] = ""
    found = audit(results, table, k=(10,), draws=99)
    frame = results[(results["query"] > 9) & (results["item"] > 9)]
    row = found.overall.iloc[0]
    assert (row["n_queries"], row["n_results"]) == (290, len(frame))
    lost = len(results) - len(frame)
    assert f"tone: 10 items and 10 queries without it are left out, with {lost} results." in found.notes


def test_queries_with_attributes_of_their_own() -> None:
    rng = np.random.default_rng(4)
    items, users = rng.choice(list("fm"), 80), rng.choice(list("fm"), 50)
    results = np.array(
        [rng.choice(80, 6, replace=False, p=(w := np.where(items == user, 3.0, 1.0)) / w.sum()) for user in users]
    )
    frame = as_frame(results).assign(query=lambda rows: "u" + rows["query"].astype(str))
    people = pd.DataFrame({"user": [f"u{place}" for place in range(50)], "sex": users})
    found = audit(frame, pd.DataFrame({"item": range(80), "sex": items}), query_attributes=people, k=(6,), draws=499)
    same = (items[results] == users[:, None]).mean()
    pi, rho = (np.array([(each == label).mean() for label in "fm"]) for each in (items, users))
    assert found.overall["difference"].iloc[0] == pytest.approx(same - pi @ rho, abs=1e-12)
    phi = np.array([(items[results] == label).mean() for label in "fm"])
    assert found.overall["centred"].iloc[0] == pytest.approx(same - phi @ rho, abs=1e-12)
    assert found.dependent
    assert np.isnan(found.parity["p"]).all() and (found.parity["distance"] >= 0).all()
    assert pi @ rho == pytest.approx(0.5, abs=0.1)


def test_relevance_splits_the_results_and_unjudged_ones_stand_apart() -> None:
    results, table = biased(0.3)
    judged = results[results["rank"] <= 6].assign(rel=lambda rows: (rows["rank"] <= 4).astype(int))
    judged = pd.concat([judged, pd.DataFrame({"query": [7777], "item": [1], "rel": [1]})])
    found = audit(results, table, k=(10,), draws=199, qrels=judged[["query", "item", "rel"]])
    rows = found.by_relevance.set_index("relevance")
    assert rows["n_results"].to_dict() == {"relevant": 1200, "not relevant": 600, "unjudged": 1200}
    assert (rows["p_holm"] <= 0.05).all()


def test_a_baseline_of_the_same_results_changes_nothing_and_a_fairer_one_does() -> None:
    results, table = biased(0.3)
    fair = as_frame(draw_results(np.random.default_rng(9), table["tone"].to_numpy(), 10, 0.0))
    change = audit(results, table, k=(10,), draws=199, baseline=fair).change.iloc[0]
    assert change["change"] == pytest.approx(change["now"] - change["baseline"], abs=1e-9)
    assert change["change_low"] > 0 and change["verdict"] == "more dependent"
    same = audit(results, table, k=(10,), draws=199, baseline=results).change.iloc[0]
    assert same["change"] == 0 and same["verdict"] == "undecided"
    some = audit(results, table, k=(10,), draws=199, baseline=fair[fair["query"] < 250])
    assert "250 queries are in both searches; others are left out." in some.notes
    with pytest.raises(CompanionError, match="share no query"):
        audit(results[results["query"] < 100], table, k=(10,), baseline=fair[fair["query"] >= 100])


def test_the_interval_of_a_change_covers_no_change_about_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(0), 0
    weights = np.ones(5)
    for _ in range(200):
        codes = (rng.random(80) < 0.3).astype(np.int64)
        cases = []
        for _ in range(2):
            results = draw_results(rng, codes, 5, 0.1).astype(np.int32)
            ranking = Ranking(np.arange(80, dtype=np.int32), results, (5,), (), np.nan)
            cases.append(make_case(ranking, Attribute("a", codes, ("x", "y")), None, Exchange()))
        change = estimate_change(cases[0].pairs, cases[1].pairs, weights)
        inside += change.low < 0 < change.high
    assert 0.9 <= inside / 200 <= 1.0


def test_one_relabelling_after_another_stops_early_and_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(0.0, draws=4_000)
    monkeypatch.setattr(counts, "LARGE", 10)
    early = run(0.0, draws=4_000)
    assert (early.overall["draws"] < 4_000).all()
    np.testing.assert_allclose(early.overall["p"], whole.overall["p"], rtol=0.7)
    found = run(0.3, draws=2_000)
    assert found.overall["draws"].tolist() == [2_000, 2_000]
    assert found.overall["p"].tolist() == pytest.approx([1 / 2_001] * 2)


def test_early_stopping_keeps_the_level() -> None:
    rng = np.random.default_rng(0)
    p = np.array([stop_early(rng.normal(size=1_000))[0] for _ in range(2_000)])
    for level in (0.05, 0.1, 0.5):
        assert (p <= level).mean() <= level + 3 * (level / 2_000) ** 0.5


def test_the_doubts_of_a_statistician_are_told() -> None:
    results, table = biased()
    table["tone"] = np.where(table.index < 2, "rare", table["tone"])
    table["model"] = [
        f"m{place}"
        for place in table.groupby("tone").cumcount() // 5 + 100 * table["tone"].map({"a": 1, "b": 2, "rare": 3})
    ]
    found = audit(results, table, k=(10,), draws=99, sensitive_features=("tone",))
    assert any("results are expected within rare; merge rare groups" in doubt for doubt in found.warnings)
    assert any("model has" in doubt and "use --block model" in doubt for doubt in found.warnings)
    blocked = audit(results, table, k=(10,), draws=99, sensitive_features=("tone",), block="model")
    assert not any("--block" in doubt for doubt in blocked.warnings)
    tied = audit(results.assign(score=1.0).drop(columns="rank"), table, k=(10,), draws=99, sensitive_features=("tone",))
    assert any("have the same score" in doubt for doubt in tied.warnings)
    table["kind"] = np.arange(300) % 2
    table.loc[table["kind"].eq(1) & (table.index < 200), "tone"] = None
    uneven = audit(results, table, k=(10,), draws=99, sensitive_features=("tone",), stratum="kind")
    assert any("tone is missing for 0% to 67% of a stratum" in doubt for doubt in uneven.warnings)


def test_a_block_is_asked_for_where_its_results_are_left_out_alone() -> None:
    results, table = biased()
    table["person"] = [f"p{place}" for place in table.groupby("tone").cumcount() // 5 + 100 * (table["tone"] == "a")]
    found = audit(results, table, k=(5,), draws=99, sensitive_features=("tone",), exclude_same="person")
    assert any("use --block person" in doubt for doubt in found.warnings)


def test_queries_unlike_the_catalogue_say_nothing_and_uneven_blocks_are_told() -> None:
    rng = np.random.default_rng(0)
    label = rng.random(200) < 0.5
    chance = np.where(label, 6.0, 1.0)
    rows = [
        (query, item)
        for query in rng.choice(200, 60, replace=False, p=chance / chance.sum())
        for item in rng.choice(200, 5, replace=False, p=np.where(label, 4.0, 1.0) / np.where(label, 4.0, 1.0).sum())
        if item != query
    ]
    results = pd.DataFrame(rows, columns=["query", "item"]).astype(str)
    table = pd.DataFrame({"item": np.arange(200).astype(str), "tone": np.where(label, "a", "b")})
    found = audit(results, table, k=(4,), draws=199, sensitive_features=("tone",))
    row = found.overall.iloc[0]
    assert row["p"] > 0.05 and row["centred_low"] < 0 < row["centred_high"]
    for sizes, sentence in (((7, 5), "too few to exchange only those of one size"), ((10, 2), "of about one size")):
        place = table.groupby("tone").cumcount() // np.where(label, *sizes)
        blocks = table.assign(person=table["tone"] + place.astype(str))
        try:
            found = audit(results, blocks, k=(4,), draws=199, sensitive_features=("tone",), block="person")
            assert any(sentence in doubt for doubt in found.warnings)
        except CompanionError as error:
            assert sizes == (10, 2) and sentence in str(error)


def test_blocks_are_exchanged_with_those_of_their_size() -> None:
    blocks = np.repeat(np.arange(60), np.repeat([2, 3], 30))
    results = np.roll(np.arange(150), 5)[:, None].astype(np.int32)
    ranking = Ranking(np.arange(150, dtype=np.int32), results, (1,), (), np.nan)
    attribute = Attribute("sex", blocks % 2, ("f", "m"))
    for strata, count in ((None, 2), (blocks % 2, 2), (np.where(blocks < 15, 0, 1), 2)):
        exchange = make_case(ranking, attribute, None, Exchange(strata, blocks)).exchange
        assert len(np.unique(exchange.strata)) == count
    alike = make_case(ranking, attribute, None, Exchange(None, np.arange(150) // 3 * 2 + np.arange(150) // 3 % 2))
    assert alike.exchange.strata is None


def test_equivalence_needs_matches_to_be_expected() -> None:
    """Hardly a match is to be expected of ten results and 20 groups, so that few say nothing of dependence."""
    labels = np.repeat([f"g{place:02}" for place in range(20)], 10)
    rng = np.random.default_rng(0)
    results = as_frame(draw_results(rng, labels, 1)).query("query % 20 == 3")
    table = pd.DataFrame({"item": range(200), "tone": labels})
    found = audit(results, table, k=(1,), draws=99, margin=0.6)
    row = found.overall.iloc[0]
    assert row["centred_low"] > -0.6 and row["centred_high"] < 0.6 and not found.equivalent
    assert any("results are expected within a group, or outside" in doubt for doubt in found.warnings)


@pytest.mark.parametrize("seed", range(4))
def test_a_group_of_one_item_expects_no_result_of_its_own_and_never_less(seed: int) -> None:
    labels = np.array(["z"] + ["a", "b"] * 30)[:60]
    results = as_frame(draw_results(np.random.default_rng(seed), labels, 5))
    found = audit(results, pd.DataFrame({"item": range(60), "tone": labels}), k=(5,), draws=99, margin=0.5)
    expected = found.by_group.set_index(["query_group", "result_group"])["expected"]
    assert expected["z", "z"] == pytest.approx(0, abs=1e-4) and (expected >= 0).all()
    told = " ".join(found.warnings)
    assert told.count("only 0.0 results are expected") == 2 and "-0.0" not in told


def test_equivalence_needs_labels_that_can_be_exchanged() -> None:
    """Tones differ only in a stratum that nobody asks from and nobody is shown, so no relabelling changes C."""
    labels, kinds = np.repeat(["a", "b"], 120), np.repeat(["x", "y"], 120)
    kinds[105:135] = "z"
    asking = [place for place in range(240) if kinds[place] != "z"]
    rng = np.random.default_rng(0)
    drawn = [(query, item) for query in asking for item in rng.choice(np.setdiff1d(asking, [query]), 10, replace=False)]
    results, table = pd.DataFrame(drawn, columns=["query", "item"]), pd.DataFrame({"tone": labels, "kind": kinds})
    found = audit(
        results,
        table.assign(item=range(240)),
        sensitive_features=("tone",),
        stratum="kind",
        k=(10,),
        draws=99,
        margin=0.5,
    )
    row = found.overall.iloc[0]
    assert row["p"] == 1 and np.isnan(row["centred_low"]) and not found.equivalent


def test_equivalence_looks_at_every_pair_of_groups() -> None:
    """a gives b, b gives c and c gives a more often than chance; each gives itself just as often as chance."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 200)
    rows = []
    for query in range(600):
        own, next_one = query // 200, (query // 200 + 1) % 3
        for group, count in ((own, 4), (next_one, 6), (3 - own - next_one, 2)):
            inside = np.setdiff1d(np.arange(200 * group, 200 * group + 200), [query])
            rows += [(query, item) for item in rng.choice(inside, count, replace=False)]
    results = pd.DataFrame(rows, columns=["query", "item"])
    found = audit(results, pd.DataFrame({"item": range(600), "tone": labels}), k=(12,), draws=99, margin=0.02)
    row = found.overall.iloc[0]
    assert row["centred_low"] > -0.02 and row["centred_high"] < 0.02 and row["verdict"] == "undecided"
    assert any("the share of results that are b for a may be" in doubt for doubt in found.warnings)


@pytest.mark.parametrize("strata", [False, True])
def test_a_plan_divides_by_what_a_bias_can_move(strata: bool) -> None:
    """Injected in every query, b moves C by b times the room; the table gives b back."""
    rng = np.random.default_rng(1)
    kind = np.arange(600) % 2
    label = np.where(rng.random(600) < np.where(kind == 0, 0.9, 0.1), "a", "b")
    rows = []
    for query in range(600):
        inside = np.flatnonzero((kind == kind[query]) & (np.arange(600) != query)) if strata else np.arange(600)
        own = inside[label[inside] == label[query]]
        for _ in range(8):
            rows.append((query, rng.choice(own if rng.random() < 0.3 else inside)))
    results = pd.DataFrame(rows, columns=["query", "item"]).query("query != item").drop_duplicates().astype(str)
    table = pd.DataFrame({"item": np.arange(600).astype(str), "tone": label, "kind": kind.astype(str)})
    found = audit(results, table, k=(5,), draws=199, sensitive_features=("tone",), stratum="kind" if strata else None)
    assert found.plan["bias"].iloc[0] == pytest.approx(0.3, abs=0.06)


def test_results_that_avoid_the_query_s_group_are_told() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b"], 200)
    results = np.array([rng.choice(np.flatnonzero(labels != label), 5, replace=False) for label in labels])
    found = audit(as_frame(results), pd.DataFrame({"item": range(200), "tone": labels}), k=(5,), draws=99)
    assert found.overall["p"].iloc[0] == 1 and not found.dependent
    assert "tone: results avoid the group of their query (C below 0), which p does not look for." in found.warnings


def test_items_that_are_returned_to_everybody_are_named() -> None:
    labels = np.array(["a"] * 150 + ["b"] * 150)
    hubs = {"a": range(5), "b": range(150, 155)}
    rng = np.random.default_rng(0)
    results = []
    for query, label in enumerate(labels):
        others = rng.choice(np.setdiff1d(np.arange(300), [query, *hubs["a"], *hubs["b"]]), 6, replace=False)
        results.append([*[hub for hub in hubs[label] if hub != query][:4], *others])
    table = pd.DataFrame({"item": range(300), "tone": labels})
    found = audit(as_frame(np.array(results)), table, k=(10,), draws=99)
    assert any(
        "ten items that are returned most hold 41% of the results and 97% of C" in doubt for doubt in found.warnings
    )


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ({"tone": "a"}, {"sensitive_features": ("tone",)}, "has 1 different value"),
        ({"s": lambda table: table["tone"]}, {"stratum": "s"}, "constant inside every stratum"),
        ({"s": lambda table: table.index // 2}, {"block": "s"}, "s '[0-9]+' has two values of tone; a block keeps one"),
        ({}, {"stratum": "none"}, "has no column 'none'"),
        ({}, {"k": (0,)}, r"No audit has K = \[0\]"),
        ({}, {"k": (30,)}, "K = 30 is more than the results has: at most 10"),
        ({}, {"margin": 2.0}, "The margin is 2.0; give a share"),
        ({}, {"draws": 3}, "needs 2 bins, 99 draws"),
        ({}, {"weights": "dcg"}, "with weights 'dcg'"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(change: dict, options: dict, sentence: str) -> None:
    results, table = biased()
    with pytest.raises(CompanionError, match=sentence):
        audit(results, table.assign(**change), **options)


def test_k_is_what_is_there_unless_it_is_asked_for() -> None:
    results, table = biased()
    assert audit(results, table, draws=99).overall["k"].tolist() == [5, 10]
    few = results[results["rank"] <= 3]
    assert audit(few, table, draws=99).overall["k"].tolist() == [3]
    mine = np.flatnonzero(table["tone"] == "a")
    kinds = table.assign(
        kind=np.where(np.isin(table["item"], mine[:150]), "x", [f"k{place}" for place in table["item"]])
    )
    cut = audit(results, kinds, draws=99, sensitive_features=("tone",), exclude_same="kind")
    assert any("of the query's own kind are left out" in note for note in cut.notes)
    with pytest.raises(CompanionError, match="no results that can be counted"):
        audit(results.assign(item=results["query"]), table)


def test_a_plan_needs_only_sizes_and_shares() -> None:
    plan = make_plan(1_000, [0.8, 0.2], [10], [0.01])
    assert plan["detectable"].iloc[0] == pytest.approx(2.486 * 0.01 * np.sqrt(1 - 10 / 999), rel=1e-3)
    assert plan["items_for_0.01"].iloc[0] == pytest.approx(6121, abs=2)


def test_queries_of_one_group_have_no_plan_and_nothing_to_test() -> None:
    results, table = biased()
    only = results[results["query"].isin(table.index[table["tone"] == "a"])]
    found = audit(only, table, k=(10,), draws=99, sensitive_features=("tone",))
    assert abs(found.overall["centred"].iloc[0]) < 1e-9 and not found.dependent and not found.equivalent
    assert found.plan[["bias", "detectable", "items_for_0.1"]].isna().all(axis=None)


def test_results_of_the_query_s_block_are_left_out_and_counted() -> None:
    results, table = biased()
    table["person"] = [
        f"{tone}{place // 5}" for tone, place in zip(table["tone"], table.groupby("tone").cumcount(), strict=True)
    ]
    person = table["person"].to_numpy()
    own = int((person[results["query"]] == person[results["item"]]).sum())
    found = audit(results, table, k=(10,), draws=99, sensitive_features=("tone",), block="person")
    assert any(f"{own:,} results in the block of their query are left out" in note for note in found.notes)
    assert found.overall["n_results"].iloc[0] == len(results) - own
