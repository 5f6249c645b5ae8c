import re
import time
from fractions import Fraction
from math import floor
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import trim_mean

from companion.corpora.conversation import Turn, make_conversation
from companion.errors import CompanionError
from companion.studies.explanations.data.annotate import (
    MAX_TOKENS,
    MIN_SCORES,
    MIN_TOKENS,
    PROMPTS,
    SIMULATED,
    Rating,
    annotate,
    merge_explanations,
    merge_rules,
    merge_scores,
    rescale,
    to_label,
)
from companion.studies.explanations.data.degrade import AXES, Item, Operation, make_items
from companion.studies.explanations.data.wording import EVIDENCE, leaks_label

WORDS = (
    "tea",
    "water",
    "kettle",
    "morning",
    "garden",
    "friend",
    "letter",
    "window",
    "river",
    "paper",
    "summer",
    "bread",
    "music",
    "road",
    "story",
    "winter",
)
DAMAGE = {"naturalness": "swapped", "comprehensiveness": "filler", "on_topic": "foreign"}


def make_item(number, levels, response="tea water kettle morning garden friend letter window river paper"):
    """An item whose operations quote the response, as if they had been applied."""
    conversation = make_conversation("x", f"g{number}", [Turn("A", f"Question {number}?")], response)
    operations = {}
    for axis, level in zip(AXES, levels, strict=True):
        quotes = {DAMAGE[axis]: ("kettle morning", "river paper")} if level < 5 else {}
        operations[axis] = Operation(level=level, share=0.5, visible=0.5, count=5, total=10, quotes=quotes)
    return Item(f"item-{number}", conversation, response, dict(zip(AXES, levels, strict=True)), operations)


def some_items(count, seed=0):
    draw = Random(seed)
    return [make_item(number, [draw.randint(1, 5) for _ in AXES]) for number in range(count)]


def ratings_of(scores, item="item", axis="on_topic", explanation="It is fine."):
    """Twelve answers with given scores on the scale from 1 to 5; None where not parsed."""
    keys = [(annotator.name, prompt.name) for annotator in SIMULATED for prompt in PROMPTS]
    frame = pd.DataFrame(keys[: len(scores)], columns=["annotator", "prompt"])
    texts = [explanation] * len(scores) if isinstance(explanation, str) else explanation
    return frame.assign(item=item, axis=axis, rescaled=np.array(scores, dtype=float), explanation=texts)


@pytest.fixture(scope="module")
def items():
    return some_items(40)


@pytest.fixture(scope="module")
def ratings(items):
    return annotate(items, AXES, SIMULATED, "train", 0)


# --- the simulated ensemble


def test_twelve_answers_per_item_and_axis(items, ratings):
    assert list(ratings.columns) == [
        "item", "axis", "annotator", "prompt", "scale", "score", "rescaled", "explanation",
    ]  # fmt: skip
    assert len(ratings) == len(items) * len(AXES) * 12
    assert (ratings.groupby(["item", "axis"]).size() == 12).all()
    assert not ratings.duplicated(["item", "axis", "annotator", "prompt"]).any()


def test_everyone_in_the_ensemble_is_called_simulated():
    assert len(SIMULATED) == 3
    assert all(annotator.name.startswith("simulated") for annotator in SIMULATED)


def test_scores_lie_on_their_own_scale(ratings):
    parsed = ratings[ratings["score"].notna()]
    assert parsed["score"].between(1, parsed["scale"]).all()
    assert parsed["rescaled"].between(1, 5).all()
    assert set(parsed.loc[parsed["scale"] == 4, "score"]) == {1, 2, 3, 4}
    assert set(parsed.loc[parsed["scale"] == 5, "score"]) == {1, 2, 3, 4, 5}


def test_a_small_share_is_unparsable_and_then_says_nothing(ratings):
    missing = ratings["score"].isna()
    assert 0 < missing.mean() < 0.1
    assert (ratings.loc[missing, "explanation"] == "").all()
    assert ratings.loc[missing, "rescaled"].isna().all()
    assert (ratings.loc[~missing, "explanation"] != "").all()


def test_an_answer_depends_on_nothing_but_its_item_and_the_seed(items, ratings):
    alone = annotate(items[7:8], AXES, SIMULATED[::-1], "train", 0)
    key = ["item", "axis", "annotator", "prompt"]
    both = alone.merge(ratings, on=key, suffixes=("", "_before"))
    assert len(both) == 36
    assert both["score"].equals(both["score_before"])
    assert both["explanation"].equals(both["explanation_before"])
    other = annotate(items, AXES, SIMULATED, "train", 1)
    assert not other["score"].equals(ratings["score"])


def test_each_annotator_errs_around_its_own_bias():
    middle = [make_item(number, (3, 3, 3)) for number in range(300)]
    found = annotate(middle, AXES, SIMULATED, "train", 0).groupby(["annotator", "axis"])["rescaled"].mean() - 3
    for annotator in SIMULATED:
        for axis in AXES:
            expected = annotator.bias[axis] + np.mean(list(annotator.prompt_effect.values()))
            assert found[annotator.name, axis] == pytest.approx(expected, abs=0.15)


def test_the_answers_of_one_annotator_share_part_of_their_error():
    middle = [make_item(number, (3, 3, 3)) for number in range(300)]
    frame = annotate(middle, ["on_topic"], SIMULATED[:2], "train", 0)
    wide = frame.pivot(index="item", columns=["annotator", "prompt"], values="rescaled")
    first, second = SIMULATED[0].name, SIMULATED[1].name
    correlation = wide.corr()
    assert correlation[first, "scale_5"][first, "scale_4"] > 0.3
    assert abs(correlation[first, "scale_5"][second, "scale_5"]) < 0.2


# --- their explanations


def test_explanations_have_15_to_40_words_quote_the_response_and_do_not_leak(items, ratings):
    responses = {item.id: item.conversation.response for item in items}
    said = ratings[ratings["explanation"] != ""]
    lengths = said["explanation"].str.split().str.len()
    assert lengths.between(15, 40).all()
    assert not said["explanation"].map(leaks_label).any()
    for row in said.itertuples():
        (quote,) = re.findall(r'"([^"]+)"', row.explanation)
        assert quote in responses[row.item]


def test_only_damage_that_was_done_is_named(items, ratings):
    levels = {(item.id, axis): item.levels[axis] for item in items for axis in AXES}
    for row in ratings[ratings["explanation"] != ""].itertuples():
        masked = re.sub(r'"[^"]+"', '"{quote}"', row.explanation)
        named = {kind for kind, texts in EVIDENCE["train"][row.axis].items() if any(text in masked for text in texts)}
        assert named == ({"sound"} if levels[row.item, row.axis] == 5 else {DAMAGE[row.axis]})


def test_wording_differs_between_training_and_held_out_items(items):
    def sentences(split):
        texts = annotate(items, AXES, SIMULATED, split, 0)["explanation"]
        return {re.sub(r'"[^"]*"', "", part) for text in texts for part in re.split(r"(?<=[.!?])\s", text) if part}

    train, validation, test = map(sentences, ("train", "validation", "test"))
    assert validation == test
    assert not train & test


def test_wording_is_varied(ratings):
    per_item = ratings.groupby(["item", "axis"])["explanation"].nunique()
    assert per_item.mean() > 6


def test_replies_that_were_really_degraded_can_be_explained():
    draw = Random(3)
    conversations = [
        make_conversation("x", f"g{number}", [Turn("A", f"{' '.join(draw.sample(WORDS, 4))}?")], response)
        for number in range(30)
        for response in [" ".join(draw.choices([*WORDS, "and", "the", "5", "well,", "so."], k=20))]
    ]
    for split in ("train", "test"):
        items = make_items(conversations, split, 0)
        responses = {item.id: item.conversation.response for item in items}
        for row in annotate(items, AXES, SIMULATED, split, 0).itertuples():
            for quote in re.findall(r'"([^"]+)"', row.explanation):
                assert quote in responses[row.item]
            assert not leaks_label(row.explanation)


# --- merging scores


@given(st.sampled_from([4, 5]))
def test_both_scales_span_one_to_five_evenly(scale):
    found = rescale(np.arange(1, scale + 1), np.full(scale, scale))
    assert found[0] == 1
    assert found[-1] == 5
    assert np.allclose(np.diff(found), 4 / (scale - 1))


ANSWERS = st.lists(
    st.sampled_from([4, 5]).flatmap(lambda scale: st.tuples(st.just(scale), st.none() | st.integers(1, scale))),
    min_size=12,
    max_size=12,
)


def merged(answers):
    """What ``merge_scores`` makes of twelve (scale, score) answers."""
    scores = np.array([np.nan if score is None else score for _, score in answers])
    return merge_scores(ratings_of(rescale(scores, np.array([scale for scale, _ in answers]))))


@given(ANSWERS)
@settings(max_examples=60)
def test_the_label_is_the_exact_mean_rounded_half_up(answers):
    exact = [1 + Fraction(4 * (score - 1), scale - 1) for scale, score in answers if score is not None]
    found = merged(answers)
    if len(exact) < MIN_SCORES:
        assert found.empty
        return
    mean = sum(exact) / len(exact)
    row = found.iloc[0]
    assert row["n_scores"] == len(exact)
    assert row["mean_score"] == pytest.approx(float(mean))
    assert row["label"] == min(5, max(1, floor(mean + Fraction(1, 2))))


@given(ANSWERS, st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_merging_does_not_depend_on_the_order_of_answers(answers, shuffler):
    shuffled = shuffler.sample(answers, len(answers))
    before, after = merged(answers), merged(shuffled)
    assert before["label"].tolist() == after["label"].tolist()
    assert np.allclose(before["mean_score"], after["mean_score"])


@pytest.mark.parametrize(("parsed", "kept"), [(7, 0), (8, 1), (12, 1)])
def test_fewer_than_eight_scores_drop_the_item_on_that_axis_only(parsed, kept):
    few = ratings_of([3] * parsed + [None] * (12 - parsed), axis="on_topic")
    whole = ratings_of([3] * 12, axis="naturalness")
    found = merge_scores(pd.concat([few, whole]))
    assert (found["axis"] == "on_topic").sum() == kept
    assert (found["axis"] == "naturalness").sum() == 1


def test_labels_stay_between_one_and_five():
    assert to_label(np.array([0.2, 1.49, 1.5, 4.5, 5.6])).tolist() == [1, 1, 2, 5, 5]


# --- comparing the rules


def rules_of(rows):
    """Errors of each rule on one axis, from (item, split, level, twelve scores)."""
    ratings = pd.concat([ratings_of(scores, item=item) for item, _, _, scores in rows])
    levels = pd.DataFrame([{"item": r[0], "axis": "on_topic", "split": r[1], "level": r[2]} for r in rows])
    return merge_rules(ratings, levels)


def test_perfect_annotators_leave_no_error_under_any_rule():
    errors = rules_of([(f"i{n}", split, n, [n] * 12) for n in (1, 3, 5) for split in [("train", "test")[n == 3]]])
    assert set(errors["rule"]) == {"mean", "median", "majority", "trimmed_mean", "best_single"}
    assert (errors[["absolute_error", "squared_error"]] == 0).all(axis=None)


def test_errors_are_reported_item_by_item_and_not_for_training_items(ratings, items):
    splits = ["train"] * 20 + ["validation"] * 5 + ["test"] * 15
    levels = pd.DataFrame(
        [
            {"item": item.id, "axis": axis, "split": split, "level": item.levels[axis]}
            for item, split in zip(items, splits, strict=True)
            for axis in AXES
        ]
    )
    errors = merge_rules(ratings, levels)
    assert set(errors["split"]) == {"validation", "test"}
    assert (errors.groupby(["axis", "rule"]).size() == 20).all()
    assert np.allclose(errors["squared_error"], errors["absolute_error"] ** 2)
    assert np.allclose(errors["absolute_error"], (errors["merged"] - errors["level"]).abs())
    mean = errors[errors["rule"] == "mean"].merge(merge_scores(ratings), on=["item", "axis"])
    assert np.allclose(mean["merged"], mean["mean_score"])


def test_the_best_single_prompt_is_chosen_on_training_items_alone():
    good_in_training = [3] + [5] * 11
    good_in_test = [5] + [3] * 11
    errors = rules_of([("a", "train", 3, good_in_training), ("b", "test", 3, good_in_test)])
    assert errors.set_index("rule").loc["best_single", "merged"] == 5


def test_where_the_best_single_prompt_gave_no_score_the_next_best_counts():
    train = [3, 4] + [5] * 10
    errors = rules_of([("a", "train", 3, train), ("b", "test", 3, [None, 2] + [5] * 10)])
    assert errors.set_index("rule").loc["best_single", "merged"] == 2


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1, 1, 1, 5, 5, 2, 2, 3], 1),
        ([1, 1, 5, 5, 5, 5, 5, 5], 5),
        ([1, 1, 2, 2, 5, 5, 5, 4], 5),
        ([2, 2, 4, 4, 4, 2, 5, 3], 4),  # a tie: the mean is 3.25, nearer to 4
        ([2, 2, 4, 4], 2),  # a tie at equal distance: the lower
        ([3 + 2 / 3, 4, 1, 1 + 4 / 3], 4),  # thirds vote for the nearest label
    ],
)
def test_majority_vote(scores, expected):
    scores = scores + [None] * (12 - len(scores))
    errors = rules_of([("a", "train", 3, [3] * 12), ("b", "test", 3, scores)])
    assert errors.set_index("rule").loc["majority", "merged"] == expected


@given(st.lists(st.integers(1, 5), min_size=8, max_size=12))
@settings(max_examples=15)
def test_mean_median_and_trimmed_mean_ignore_missing_scores(scores):
    padded = scores + [None] * (12 - len(scores))
    errors = rules_of([("a", "train", 3, [3] * 12), ("b", "test", 3, padded)]).set_index("rule")["merged"]
    assert errors["mean"] == pytest.approx(np.mean(scores))
    assert errors["median"] == np.median(scores)
    assert errors["trimmed_mean"] == pytest.approx(trim_mean(scores, 0.2))


@pytest.mark.parametrize("split", ["train", "test"])
def test_rules_need_training_items_and_others(split):
    with pytest.raises(CompanionError, match="training items"):
        rules_of([("a", split, 3, [3] * 12), ("b", split, 3, [3] * 12)])


# --- merging explanations


def test_one_explanation_per_item_and_axis_within_the_length(ratings):
    found = merge_explanations(ratings, 0)
    assert not found.duplicated(["item", "axis"]).any()
    assert len(found) == len(ratings) / 12
    n_tokens = found["explanation"].map(lambda text: len(re.findall(r"\w+|[^\w\s]", text)))
    assert n_tokens.between(MIN_TOKENS, MAX_TOKENS).all()
    assert not found["explanation"].map(leaks_label).any()
    pd.testing.assert_frame_equal(found, merge_explanations(ratings, 0))


def test_the_merged_explanation_comes_from_someone_who_gave_the_merged_label(ratings):
    parsed = ratings[ratings["rescaled"].notna()].merge(merge_scores(ratings), on=["item", "axis"])
    agreeing = parsed[to_label(parsed["rescaled"].to_numpy()) == parsed["label"]]
    texts = agreeing.groupby(["item", "axis"])["explanation"].agg(set)
    assert len(texts) > 100
    chosen = merge_explanations(ratings, 0).set_index(["item", "axis"])["explanation"]
    assert all(chosen[key] in allowed for key, allowed in texts.items())


@given(st.integers(0, 11), st.sampled_from([1, 5]), st.integers(0, 3))
@settings(max_examples=40)
def test_an_outlier_is_never_chosen(place, outlying, seed):
    usual = 3
    texts = [f'The reply drifts here and there, see "tea water", in way {chr(97 + n)} of several.' for n in range(12)]
    scores = [usual] * 12
    texts[place] = 'Nothing belongs here at all, take for example "tea water", it is a mess from start to end.'
    scores[place] = outlying
    found = merge_explanations(ratings_of(scores, explanation=texts), seed)
    assert found["explanation"].item() != texts[place]
    assert found["explanation"].item() in texts


def test_the_quote_of_the_majority_is_preferred():
    texts = [
        f'There is padding in it, as the words "{"rare" if n < 5 else "usual"} words" in the reply show.'
        for n in range(12)
    ]
    found = merge_explanations(ratings_of([3] * 12, explanation=texts), 0)
    assert '"usual words"' in found["explanation"].item()


def test_sentences_that_spell_out_the_score_are_left_out():
    rest = "The reply is friendly, complete and easy to read, and nothing in it sounds odd to me."
    found = merge_explanations(ratings_of([3] * 12, explanation=f"I rate this reply 3 out of 5. {rest}"), 0)
    assert found["explanation"].item() == rest


def test_an_item_about_which_nothing_is_left_to_say_is_left_out():
    assert merge_explanations(ratings_of([3] * 12, explanation="Score: 3"), 0).empty
    assert merge_explanations(ratings_of([None] * 12, explanation=""), 0).empty


@pytest.mark.parametrize("words", [1, 5, 14, 20, 39, 60, 200])
def test_short_texts_are_joined_and_long_ones_cut(words):
    text = " ".join(["tea"] * words) + "."
    found = merge_explanations(ratings_of([3] * 12, explanation=text), 0)["explanation"].item()
    n_tokens = len(re.findall(r"\w+|[^\w\s]", found))
    assert MIN_TOKENS <= n_tokens <= MAX_TOKENS


# --- other annotators


class Fixed:
    """An annotator that is no simulation: the protocol asks for no more than this."""

    name = "fixed"

    def rate(self, item, axis, prompt, split, seed):
        return Rating(prompt.scale, f"The reply about {item.conversation.response.split()[0]} is very good.")


def test_any_annotator_fits_the_protocol(items):
    found = annotate(items[:2], ["on_topic"], [Fixed()], "test", 0)
    assert found["rescaled"].tolist() == [5.0] * 8
    assert set(found["annotator"]) == {"fixed"}


@pytest.mark.slow
def test_fifteen_hundred_items_take_seconds():
    items = some_items(1500)
    start = time.perf_counter()
    ratings = annotate(items, AXES, SIMULATED, "train", 0)
    merge_scores(ratings)
    merge_explanations(ratings, 0)
    assert len(ratings) == 54_000
    assert time.perf_counter() - start < 15
