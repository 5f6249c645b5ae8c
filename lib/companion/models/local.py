"""A chat model in this process, asked in batches."""

from collections.abc import Sequence
from typing import Any

from companion.errors import CompanionError
from companion.models.base import load_base
from companion.models.lora import Student
from companion.models.score import generate


class LocalModel:
    """An instruction-tuned model with its chat template, decoded greedily."""

    def __init__(self, model: str, revision: str | None) -> None:
        """Load it as ``models.base.load_base`` does.

        Raises:
            CompanionError: as there, or it has no chat template.
        """
        self.student = Student(load_base(model, revision))
        self.tokenizer: Any = self.student.base.tokenizer
        if not self.tokenizer.chat_template:
            raise CompanionError(f"The model {model} has no chat template: name an instruction-tuned model.")

    def generate_answers(self, messages: Sequence[tuple[str, str]], most: int) -> list[tuple[str, int, int]]:
        """Text, prompt tokens and answer tokens for each pair of a system and a user message.

        Args:
            most: tokens of an answer.

        Raises:
            CompanionError: a prompt is longer than the model attends to, or its template takes no system message.
        """
        prompts = [self._prompt(system, user) for system, user in messages]
        written = generate(self.student, prompts, most)
        texts = [self.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in written]
        return list(zip(texts, map(len, prompts), map(len, written), strict=True))

    def _prompt(self, system: str, user: str) -> list[int]:
        """Token ids; templates that know no system message get both texts in one, a blank line between them."""
        from jinja2 import TemplateError

        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError:
            messages = [{"role": "user", "content": f"{system}\n\n{user}"}]
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids
