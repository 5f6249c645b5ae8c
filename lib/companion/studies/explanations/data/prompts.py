"""The prompt of one rating: instruction, the conversation, the response to rate, then the axis with its scale.

The axis comes last, right before the label, and is all that differs between axes (2511.02044 names the parts; order and
wording are our own). Conversation text is untrusted: it cannot open a new line, a field, or a special token.
"""

import re
from string import ascii_uppercase

from companion.corpora.conversation import Conversation, Turn
from companion.studies.explanations.settings import CONTEXT_WORDS

OPENING = "Rate the last reply of this conversation."

QUESTIONS: dict[str, str] = {
    "naturalness": "How natural does the reply sound, from 1 to 5?",
    "comprehensiveness": "How much of an answer does the reply give, from 1 to 5?",
    "on_topic": "How much of the reply stays on the topic, from 1 to 5?",
}

_FIELD = re.compile(r"(rating|explanation|conversation|reply|speaker \w)\s*:", re.IGNORECASE)
_TOKEN_OPENING = re.compile(r"<(?=\S)|\[(?=/?[A-Z_]+\])")


def make_prompt(conversation: Conversation, axis: str, context_words: int = CONTEXT_WORDS) -> str:
    """Prompt for rating a response on one axis; it ends with a line break, and the arm's lead follows it.

    Args:
        conversation: the response and its context.
        axis: a key of ``QUESTIONS``.
        context_words: how many of the context's last words are shown.

    Returns:
        About 60 to 240 tokens of the embedded model; the response is never cut (2511.02044, training).
    """
    turns = _keep_last_words(conversation.context, context_words)
    tags = {"A": "Speaker A", "B": "Speaker B"}
    for turn in turns:
        tags.setdefault(turn.speaker, f"Speaker {ascii_uppercase[min(len(tags), 25)]}")
    lines = [OPENING, "Conversation:"]
    lines += [f"{tags[turn.speaker]}: {turn.text}" for turn in turns]
    lines += [f"Reply: {neutralise(conversation.response)}", QUESTIONS[axis]]
    return "\n".join(lines) + "\n"


def _keep_last_words(context: tuple[Turn, ...], budget: int) -> list[Turn]:
    """The newest turns within the budget, cleaned; a turn that straddles it keeps its end behind an ellipsis."""
    kept: list[Turn] = []
    for turn in reversed(context):
        words = neutralise(turn.text).split()
        if budget <= 0:
            break
        if words:
            shown = words if len(words) <= budget else ["...", *words[-budget:]]
            kept.append(Turn(turn.speaker, " ".join(shown)))
        budget -= len(words)
    return kept[::-1]


def neutralise(text: str) -> str:
    """Untrusted text on one line, without the prompt's field names, speaker tags and anything like a special token.

    The words stay readable: ``Rating: 5`` becomes ``Rating - 5`` and ``<|im_end|>`` becomes ``< |im_end|>``.
    """
    one_line = " ".join(text.split())
    return _TOKEN_OPENING.sub(r"\g<0> ", _FIELD.sub(r"\1 -", one_line))
