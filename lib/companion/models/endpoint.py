"""Ask a language model, behind an OpenAI-compatible address or in this process; every answer is kept as it comes."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked

from companion.errors import CompanionError
from companion.profiles import STRICT, Count

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

CHARACTERS_PER_TOKEN = 2
"""Fewer than any usual tokenizer needs for English, so that an estimate made of characters is not too low."""

MESSAGE_TOKENS = 16
"""Room for what a chat template adds around each message."""


Price = Annotated[float, Field(ge=0)]


@checked(frozen=True, config=STRICT)
class Endpoint:
    """One model at one address, or, without an address, loaded in this process.

    Attributes:
        url: such as ``http://localhost:8000/v1``; None loads the model here.
        model: its name there; here ``embedded``, a folder, or a hub model.
        revision: commit of a hub model that is loaded here.
        key_variable: environment variable that holds the key; None for servers that ask for none.
        prompt_price, answer_price: US dollars per million tokens; 0 for one's own machine.
        parallel: calls at a time; here, questions of a batch.
        timeout: seconds for one try.
        retries: tries after the first, with exponential waits of up to 8 s and jitter (openai client); a Retry-After
            header is obeyed.
        answer_tokens: most tokens of one answer.
    """

    url: str | None
    model: str
    revision: str | None = None
    key_variable: str | None = None
    prompt_price: Price = 0.0
    answer_price: Price = 0.0
    parallel: Count = 4
    timeout: Annotated[float, Field(gt=0)] = 120.0
    retries: Annotated[int, Field(ge=0)] = 5
    answer_tokens: Count = 200

    @model_validator(mode="after")
    def _fits_together(self) -> "Endpoint":
        if self.key_variable and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.key_variable):
            # What stands there might be the key itself: it is not repeated.
            raise ValueError("key_variable must be the name of an environment variable, in capitals; never a key")
        if self.url and self.revision:
            raise ValueError("revision is for a model that is loaded here, without a url")
        return self

    @property
    def name(self) -> str:
        """Name in questions, tables and files."""
        return f"{self.model}@{self.revision[:12]}" if self.revision else self.model

    @property
    def file(self) -> str:
        """Name of its file of answers; it is no path, whatever the model is called."""
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', self.name)}.jsonl"


@dataclass(frozen=True)
class Question:
    """A system and a user message to one model; the same texts have the same id in every run."""

    model: str
    system: str
    user: str

    @property
    def id(self) -> str:
        """16 hexadecimal digits."""
        return hashlib.sha256(json.dumps([self.model, self.system, self.user]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Answer:
    """What came back for a question: its text (empty where the server refused it, with the reason) and token counts."""

    id: str
    text: str
    prompt_tokens: int
    answer_tokens: int
    refused: str = ""


@dataclass(frozen=True)
class Budget:
    """US dollars that may be spent in all, and those that went elsewhere already, to other models."""

    cap: float
    elsewhere: float = 0.0


def compute_price(endpoint: Endpoint, prompt_tokens: int, answer_tokens: int) -> float:
    """US dollars of so many tokens."""
    return (prompt_tokens * endpoint.prompt_price + answer_tokens * endpoint.answer_price) / 1e6


def compute_highest_cost(endpoint: Endpoint, questions: Iterable[Question]) -> float:
    """US dollars that the questions cost at most: long answers throughout, two characters a token."""
    return sum(_compute_highest_price(endpoint, question) for question in questions)


def sum_spending(endpoint: Endpoint, answers: Iterable[Answer]) -> float:
    """US dollars that answers cost."""
    return sum(compute_price(endpoint, one.prompt_tokens, one.answer_tokens) for one in answers)


def _compute_highest_price(endpoint: Endpoint, question: Question) -> float:
    return compute_price(endpoint, *_bound_tokens(endpoint, question))


def _bound_tokens(endpoint: Endpoint, question: Question) -> tuple[int, int]:
    characters = len(question.system) + len(question.user)
    return characters // CHARACTERS_PER_TOKEN + 2 * MESSAGE_TOKENS, endpoint.answer_tokens


def read_answers(file: Path) -> dict[str, Answer]:
    """Answers by question id; a last line that a kill cut short is left out.

    Raises:
        CompanionError: another line is damaged.
    """
    if not file.exists():
        return {}
    *lines, last = file.read_text(encoding="utf-8").split("\n")
    try:
        answers = [Answer(**json.loads(line)) for line in lines]
    except (ValueError, TypeError, RecursionError) as error:
        raise CompanionError(
            f"{file} is damaged ({error}): move it away; its answers will be asked for again."
        ) from error
    return {answer.id: answer for answer in answers}


class _Ledger:
    """The file of answers, and the money spent and promised to calls in flight; safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, file: Path, budget: Budget, answers: Iterable[Answer]) -> None:
        self.endpoint, self.file, self.cap, self.lock = endpoint, file, budget.cap, Lock()
        self.sum = budget.elsewhere + sum_spending(endpoint, answers)

    def promise(self, question: Question) -> None:
        """Set aside what a call may cost at most, or refuse it where that could pass the cap."""
        with self.lock:
            if self.sum + _compute_highest_price(self.endpoint, question) > self.cap:
                raise CompanionError(
                    f"The cap of {self.cap:g} US dollars is reached, asking {self.endpoint.name}; every answer so far "
                    "is kept: raise the cap and run again."
                )
            self.sum += _compute_highest_price(self.endpoint, question)

    def keep(self, question: Question, answer: Answer) -> None:
        """Write an answer down and settle what it cost."""
        with self.lock:
            with self.file.open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(answer)) + "\n")
            self.sum += compute_price(self.endpoint, answer.prompt_tokens, answer.answer_tokens)
            self.sum -= _compute_highest_price(self.endpoint, question)


def ask_questions(
    endpoint: Endpoint,
    questions: Sequence[Question],
    file: Path,
    budget: Budget,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Answer]:
    """Ask what has not been answered yet; each answer is appended to ``file`` as it comes.

    Args:
        budget: what the answers to these questions may have cost in the end, with those of earlier calls.
        on_progress: called with answers there and answers wanted after each.

    Returns:
        Answers to the questions by id, also those of earlier calls.

    Raises:
        CompanionError: the cap is reached, the key is missing or refused, there is no such model, or the server can't
            be reached or is overloaded after all retries. Calls in flight end first and are kept.
    """
    wanted = {question.id: question for question in questions}
    answers = {id_: answer for id_, answer in read_answers(file).items() if id_ in wanted}
    missing = [question for id_, question in wanted.items() if id_ not in answers]
    if missing:
        _prepare(file)
        ledger = _Ledger(endpoint, file, budget, answers.values())
        there = len(answers)
        for done, answer in enumerate(
            (_call_server if endpoint.url else _generate_locally)(endpoint, ledger, missing), there + 1
        ):
            answers[answer.id] = answer
            on_progress(done, len(wanted))
    return answers


def _call_server(endpoint: Endpoint, ledger: _Ledger, questions: Sequence[Question]) -> Iterator[Answer]:
    """Answers from the address, as they come."""
    client = _client(endpoint)
    with ThreadPoolExecutor(endpoint.parallel) as pool:
        calls = [pool.submit(_ask_one, endpoint, client, ledger, question) for question in questions]
        try:
            for call in as_completed(calls):
                yield call.result()
        finally:
            # After a failure or Ctrl-C no further call starts; those in flight write their answers down.
            pool.shutdown(wait=True, cancel_futures=True)


def _generate_locally(endpoint: Endpoint, ledger: _Ledger, questions: Sequence[Question]) -> Iterator[Answer]:
    """Answers of a model in this process, batch by batch."""
    from companion.models.local import LocalModel

    local = LocalModel(endpoint.model, endpoint.revision)
    for start in range(0, len(questions), endpoint.parallel):
        batch = questions[start : start + endpoint.parallel]
        for question in batch:
            ledger.promise(question)
        texts = local.generate_answers([(one.system, one.user) for one in batch], endpoint.answer_tokens)
        for question, (text, prompt, written) in zip(batch, texts, strict=True):
            answer = Answer(question.id, text, prompt, written, refused="" if text else "no text")
            ledger.keep(question, answer)
            yield answer


def _prepare(file: Path) -> None:
    """Make the folder, and cut off a last line that a kill left unfinished, so that the next answer starts a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists() and not (data := file.read_bytes()).endswith(b"\n"):
        with file.open("r+b") as log:
            log.truncate(data.rfind(b"\n") + 1)


def _client(endpoint: Endpoint) -> "OpenAI":
    from openai import OpenAI

    key = os.environ.get(endpoint.key_variable) if endpoint.key_variable else "none"
    if not key:
        raise CompanionError(
            f"{endpoint.url} needs a key: put it into the environment variable {endpoint.key_variable}."
        )
    return OpenAI(base_url=endpoint.url, api_key=key, timeout=endpoint.timeout, max_retries=endpoint.retries)


def _ask_one(endpoint: Endpoint, client: "OpenAI", ledger: _Ledger, question: Question) -> Answer:
    """One call; what the server refuses for its content is an answer too, or it would be paid for again and again."""
    import openai

    ledger.promise(question)
    messages = [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]
    try:
        reply = client.chat.completions.create(
            model=endpoint.model,
            messages=cast("list[ChatCompletionMessageParam]", messages),
            temperature=0,
            seed=0,
            max_tokens=endpoint.answer_tokens,
        )
        answer = _read_reply(endpoint, question, reply)
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        answer = Answer(question.id, "", 0, 0, refused=f"status {error.status_code}")
    except openai.OpenAIError as error:
        raise CompanionError(_explain_error(endpoint, error)) from error
    ledger.keep(question, answer)
    return answer


def _read_reply(endpoint: Endpoint, question: Question, reply: Any) -> Answer:
    """The text and counts of a reply; where a server leaves the counts out, the highest possible are taken."""
    choices = getattr(reply, "choices", None) or []
    text = (choices[0].message.content if choices and choices[0].message else None) or ""
    usage = getattr(reply, "usage", None)
    used = _bound_tokens(endpoint, question) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return Answer(question.id, text, used[0], used[1], refused="" if text else "no text")


def _explain_error(endpoint: Endpoint, error: Exception) -> str:
    """What went wrong, in words that never hold the key (the server's own message might)."""
    import openai

    where = f"{endpoint.model} at {endpoint.url}"
    reasons: Mapping[type[Exception], str] = {
        openai.AuthenticationError: f"refused the key in {endpoint.key_variable}: set a valid one.",
        openai.PermissionDeniedError: f"does not allow this with the key in {endpoint.key_variable}.",
        openai.NotFoundError: "is not there: check the address and the name of the model.",
        openai.RateLimitError: "is overloaded or the account has reached its limit: wait, or make fewer calls.",
        openai.APITimeoutError: f"did not answer in {endpoint.timeout:g} s: allow more time, or make fewer calls.",
        openai.APIConnectionError: "could not be reached: start the server, or check the address.",
    }
    for kind, reason in reasons.items():
        if isinstance(error, kind):
            return f"{where} {reason} Every answer so far is kept."
    return f"{where} failed ({type(error).__name__}). Every answer so far is kept; run again later."
