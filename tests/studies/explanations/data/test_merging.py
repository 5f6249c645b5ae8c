"""Twelve answers make one score, by any rule, and one explanation."""

import re
from fractions import Fraction
from math import floor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import trim_mean

from companion.errors import CompanionError
from companion.studies.explanations.data.annotate import (
    MAX_TOKENS,
    MIN_SCORES,
    MIN_TOKENS,
    PROMPTS,
    SIMULATED,
    merge_explanations,
    merge_rules,
    merge_scores,
    rescale,
    to_label,
)


def ratings_of(scores, item="item", axis="on_topic", explanation="It is fine."):
    """Twelve answers with given scores on the scale from 1 to 5; None where not parsed."""
    keys = [(annotator.name, prompt.name) for annotator in SIMULATED for prompt in PROMPTS]
    frame = pd.DataFrame(keys[: len(scores)], columns=["annotator", "prompt"])
    texts = [explanation] * len(scores) if isinstance(explanation, str) else explanation
    return frame.assign(item=item, axis=axis, rescaled=np.array(scores, dtype=float), explanation=texts)


# --- scores


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


# --- explanations


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
