"""Fine-tuning targets: what each arm asks the student to write after the same prompt (2511.02044, objective)."""

from __future__ import annotations

import random
from collections.abc import Sequence as Many
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from companion.errors import CompanionError
from companion.studies.explanations.data.prompts import neutralise
from companion.studies.explanations.data.texts import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from companion.models.batches import Sequence

ARMS: dict[str, str] = {
    "base": "the pre-trained model as it is, without training",
    "label": "the label alone",
    "explanation": "the label, then the item's own explanation",
    "shuffled": "the label, then the words of the item's own explanation in random order (R1)",
    "bag_of_words": "the label, then as many words drawn at random from all training explanations of the axis (R2)",
    "mismatched": "the label, then the explanation of an item with a different label (R3)",
    "uniform_tokens": "the label, then as many tokens drawn at random from the whole vocabulary (R4)",
    "explanation_first": "the item's own explanation, then the label",
    "label_token_matched": "the label, repeated until there are as many loss tokens as in the explanation arm",
    "label_weighted": "as the explanation arm, with the full weight on the label and the mean over the rest added",
}
PRIMARY = ("label", "explanation", "shuffled", "bag_of_words")
CONTROLS = ("mismatched", "uniform_tokens", "explanation_first", "label_token_matched", "label_weighted")

CODES = "123456789ABCDEFGHIJK"
"""How labels are written, one character each: label n (of the five levels, or of a reader's own 2 to 20) is the nth."""

LEVELS = tuple(CODES[:5])
"""The five levels of the study as students write them."""

LABEL_LEAD = "Rating: "
EXPLANATION_LEAD = "Explanation:"
ALPHA = 1.0
"""Weight of the mean explanation loss in the ``label_weighted`` arm (2511.02044, objective)."""


class Pool(tuple[Example, ...]):
    """Training examples with the tables that ``bag_of_words`` and ``mismatched`` draw from, built once, on first use.

    The tables do not depend on the order of the examples.
    """

    @cached_property
    def words(self) -> dict[str, list[str]]:
        """Axis -> every word of every explanation, with repeats, so that a uniform draw is a unigram draw."""
        tables: dict[str, list[str]] = {}
        for example in self._sorted:
            tables.setdefault(example.axis, []).extend(_split_words(example))
        return tables

    @cached_property
    def by_axis_and_label(self) -> dict[tuple[str, int], list[Example]]:
        """(axis, label) -> its examples."""
        tables: dict[tuple[str, int], list[Example]] = {}
        for example in self._sorted:
            tables.setdefault((example.axis, example.label), []).append(example)
        return tables

    @cached_property
    def _sorted(self) -> list[Example]:
        return sorted(self, key=lambda example: (example.axis, example.id))


def make_target(
    example: Example, arm: str, seed: int, tokenizer: PreTrainedTokenizerBase, pool: Many[Example]
) -> Sequence:
    """Prompt and response token ids of one example in one arm, with the loss weight of each response token.

    All arms share the prompt text. Random text depends on the example, its axis, the arm, the seed and the pool alone,
    so it stays the same in every epoch. Each of the |r| response tokens weighs 1/|r|; in ``label_weighted`` the label
    weighs 1 and each other token ALPHA/(|r|-1) (2511.02044, objective).

    Args:
        seed: training seed; it changes the random text only.
        pool: training examples; give a ``Pool`` when many examples are made, so that its tables are built once.

    Raises:
        CompanionError: the arm has no target, the pool has nothing to draw from, or the tokenizer merges the label with
            the text beside it.
    """
    if arm not in (*PRIMARY, *CONTROLS):
        raise CompanionError(
            f"There is no training target for arm {arm!r}; choose one of {', '.join(PRIMARY + CONTROLS)}."
        )
    from companion.models.batches import Sequence

    response = _make_response(example, arm, seed, tokenizer, pool if isinstance(pool, Pool) else Pool(pool))
    label_index = len(response) - 2 if arm == "explanation_first" else 0
    weights = [1 / len(response)] * len(response)
    if arm == "label_weighted":
        weights = [1.0] + [ALPHA / (len(response) - 1)] * (len(response) - 1)
    prompt = make_scoring_prompt(example, tokenizer, arm)
    group, stratum = f"{example.axis} {example.conversation}", f"{example.axis} {example.label}"
    return Sequence(tuple(prompt), tuple(response), tuple(weights), label_index, group, stratum)


def make_scoring_prompt(example: Example, tokenizer: PreTrainedTokenizerBase, arm: str = "label") -> list[int]:
    """Token ids of prompt and lead; what follows is the label, or in ``explanation_first`` the explanation."""
    lead = EXPLANATION_LEAD if arm == "explanation_first" else LABEL_LEAD
    return list(tokenizer(example.prompt + lead)["input_ids"])


def _make_response(example: Example, arm: str, seed: int, tokenizer: PreTrainedTokenizerBase, pool: Pool) -> list[int]:
    """Token ids of the whole response, the end-of-sequence token included."""
    end = [_get_end_token(tokenizer)]
    if arm == "explanation_first":
        text = f" {' '.join(_split_words(example))}\n{LABEL_LEAD}"
        return _tokenize_continuation(tokenizer, EXPLANATION_LEAD, text) + _tokenize_label(example, tokenizer) + end
    label = _tokenize_label(example, tokenizer)
    if arm == "label":
        return label + end
    if arm == "label_token_matched":
        return label * (1 + len(_tokenize_explanation(example, _split_words(example), tokenizer))) + end
    if arm == "uniform_tokens":
        return label + _draw_uniform_tokens(example, seed, tokenizer) + end
    return label + _tokenize_explanation(example, _choose_words(example, arm, seed, pool), tokenizer) + end


def _choose_words(example: Example, arm: str, seed: int, pool: Pool) -> list[str]:
    """Words of the arm's explanation: the item's own, in any order, or drawn from the pool."""
    own, random_state = _split_words(example), _make_generator(example, arm, seed)
    if arm == "shuffled":
        return random_state.sample(own, len(own))
    if arm == "bag_of_words":
        words = pool.words.get(example.axis) or _raise_nothing_to_draw(example, arm)
        return random_state.choices(words, k=len(own))
    if arm == "mismatched":
        others = [key for key in pool.by_axis_and_label if key[0] == example.axis and key[1] != example.label]
        tables = [pool.by_axis_and_label[key] for key in sorted(others)]
        if not tables:
            _raise_nothing_to_draw(example, arm)
        table = random_state.choices(tables, weights=[len(table) for table in tables])[0]
        return _split_words(random_state.choice(table))
    if arm not in ("explanation", "label_weighted"):
        raise CompanionError(f"The arm {arm!r} has no text to train on; write it in {__name__}.")
    return own


def _raise_nothing_to_draw(example: Example, arm: str) -> NoReturn:
    raise CompanionError(
        f"Arm {arm!r} finds no explanation to draw from for item {example.id} on axis {example.axis!r}; "
        "give training examples of this axis with at least two different labels."
    )


def _draw_uniform_tokens(example: Example, seed: int, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The explanation's lead, then random ordinary tokens in place of each token of the text."""
    opening = _tokenize_explanation(example, [], tokenizer)
    n_tokens = len(_tokenize_explanation(example, _split_words(example), tokenizer)) - len(opening)
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    random_state, drawn = _make_generator(example, "uniform_tokens", seed), list[int]()
    while len(drawn) < n_tokens:
        token = random_state.randrange(len(tokenizer))
        if token not in special:
            drawn.append(token)
    return opening + drawn


def _tokenize_explanation(example: Example, words: list[str], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids that follow the label: the explanation's lead on a new line, then the words."""
    text = " ".join([EXPLANATION_LEAD, *words])
    return _tokenize_continuation(tokenizer, f"{LABEL_LEAD}{CODES[example.label - 1]}", f"\n{text}")


def _tokenize_label(example: Example, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    code = CODES[example.label - 1]
    token = _tokenize_continuation(tokenizer, LABEL_LEAD, code)
    if len(token) != 1:
        raise CompanionError(
            f"This model's tokenizer makes {len(token)} tokens of the label {code}; use another model."
        )
    return token


def _tokenize_continuation(tokenizer: PreTrainedTokenizerBase, before: str, text: str) -> list[int]:
    """Token ids that ``text`` adds after ``before``; tokenised together, because some tokenizers prefix every text."""
    opening = tokenizer(before)["input_ids"]
    whole = tokenizer(before + text)["input_ids"]
    if whole[: len(opening)] != opening:
        raise CompanionError(f"This model's tokenizer merges {before!r} with the text after it; use another model.")
    return list(whole[len(opening) :])


def _split_words(example: Example) -> list[str]:
    return neutralise(example.explanation).split()


def _make_generator(example: Example, arm: str, seed: int) -> random.Random:
    return random.Random(f"{arm}|{seed}|{example.axis}|{example.id}")


def _get_end_token(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise CompanionError("This model's tokenizer has no end-of-sequence token; use another model.")
    return int(tokenizer.eos_token_id)
