import re
import time
from random import Random

import numpy as np
import pandas as pd
import pytest

from companion.corpora.conversation import Turn, make_conversation
from companion.studies.explanations.data.annotate import (
    MAX_TOKENS,
    MIN_TOKENS,
    SIMULATED,
    Rating,
    annotate,
    merge_explanations,
    merge_rules,
    merge_scores,
    to_label,
)
from companion.studies.explanations.data.degrade import AXES, Item, Operation, make_items
from companion.studies.explanations.data.phrases import EVIDENCE
from companion.studies.explanations.data.wording import leaks_label

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
        operations[axis] = Operation(share=0.5, quotes=quotes)
    return Item(f"item-{number}", conversation, dict(zip(AXES, levels, strict=True)), operations)


def some_items(count, seed=0):
    draw = Random(seed)
    return [make_item(number, [draw.randint(1, 5) for _ in AXES]) for number in range(count)]


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


# --- merging


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
