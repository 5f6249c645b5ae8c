"""What a profile costs before anything is run: runs, tokens, memory, hours and money, per card and on this machine."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from companion.errors import CompanionError
from companion.models.endpoint import compute_price
from companion.profiles import STRICT, validate
from companion.runs.log import parse_events, read_number
from companion.runs.spec import spec_id
from companion.studies.explanations.data import texts
from companion.studies.explanations.settings import Annotators, ExplanationsSettings
from companion.studies.explanations.training.experiment import RunSpec, plan, plan_tuning
from companion.studies.study import Study

WORDS = {"prompt": 100.0, "explanation": 35.0}
"""Mean words before the data are built: five of the originals have 52 to 97 in a prompt, the arena's replies more."""

TOKENS_PER_WORD = {"prompt": 1.6, "explanation": 1.3}
"""Counted with a vocabulary of 49,152: prompts of five of the originals 1.45 to 1.74, plain sentences 1.29."""

LEAD_TOKENS = 4
"""``Rating: `` after the prompt, and again ``Explanation:`` on its line; the label and the end of text are one each."""

SCORING_SPEEDUP = 3.0
"""Scoring is one forward pass; training with checkpoints is two of them and a backward pass to the activations."""

WRITING_SLOWDOWN = 4.0
"""A token written one by one in batches of 32 is taken to need as long as four trained ones."""

CALLS_PER_RATING = 12
"""Three models x four prompts for each conversation and axis; one more call condenses the twelve explanations."""

ANSWER_TOKENS = {"rating": 60.0, "merged explanation": 55.0}

GIB = 2.0**30
NF4_BITS = 4.127
"""Bits of an NF4 weight with double quantisation (QLoRA, arXiv 2305.14314, section 3)."""

EXAMPLES_AT_ONCE = 2
CONTEXT_GIB = 1.0
"""CUDA's own memory and what the allocator cannot use."""

Positive = Annotated[float, Field(gt=0)]


@checked(frozen=True, config=STRICT)
class Card:
    """One kind of GPU, as ``cards.yaml`` describes it."""

    memory: Positive
    tensor: Positive
    bandwidth: Positive
    price: Positive
    price_source: str
    speed_source: str
    speed: Positive | None = None
    billions: Positive | None = None
    measured: bool = False
    reference: bool = False

    @property
    def known_by(self) -> str:
        """Where the speed comes from, in a word."""
        return "scaled" if self.speed is None else "measured" if self.measured else "published"


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama-like model, named as in its ``config.json``."""

    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    tie_word_embeddings: bool

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the seven linear layers of one block."""
        hidden, inner = self.hidden_size, self.intermediate_size
        heads = hidden * self.num_key_value_heads // self.num_attention_heads
        return [*[(hidden, hidden), (hidden, heads)] * 2, *[(hidden, inner)] * 2, (inner, hidden)]

    @property
    def linear(self) -> int:
        """Weights of all blocks."""
        return self.num_hidden_layers * sum(map(prod, self.matrices))

    @property
    def billions(self) -> float:
        """All weights, in 1e9."""
        return (self.linear + self.embedding) / 1e9

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and of the head where it has its own."""
        return self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    def adapter(self, rank: int) -> int:
        """Weights of LoRA on all seven."""
        return self.num_hidden_layers * rank * sum(map(sum, self.matrices))


SHAPES = {
    "mistralai/Mistral-7B-v0.1": Shape(4096, 32, 14336, 32, 8, 32000, False),
    "embedded": Shape(576, 30, 1536, 9, 3, 49152, True),
}


@dataclass(frozen=True)
class Lengths:
    """Mean tokens of a prompt with its lead, and of an explanation with its lead; ``source`` says where from."""

    prompt: float
    explanation: float
    source: str

    def response(self, arm: str) -> float:
        """Label, end of text, and what stands between or before them."""
        return 2.0 if arm == "label" else 2.0 + self.explanation


@dataclass(frozen=True)
class Load:
    """What a list of runs needs: tokens trained on (all epochs), scored in one forward pass, and written one by one."""

    runs: int
    trained: float
    scored: float
    written: float

    def hours(self, trained_a_second: float) -> float:
        """Hours at a speed of training, scoring and writing in proportion to it."""
        seconds = self.trained + self.scored / SCORING_SPEEDUP + self.written * WRITING_SLOWDOWN
        return seconds / trained_a_second / 3600


def load_cards() -> dict[str, Card]:
    """The table of cards beside this module.

    Raises:
        CompanionError: a mistake in it.
    """
    file = Path(__file__).with_name("cards.yaml")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {name: validate(Card, one, f"{file.name}, {name}") for name, one in content.items()}


def estimate_speed(card: Card, cards: dict[str, Card], billions: float) -> float:
    """Tokens/s of QLoRA training on a model of so many parameters: published, measured, or scaled by the reference."""
    if card.speed and card.billions:
        return card.speed * card.billions / billions
    reference = next(one for one in cards.values() if one.reference)
    ratio = min(card.tensor / reference.tensor, card.bandwidth / reference.bandwidth)
    return estimate_speed(reference, cards, billions) * ratio


def compute_workload(specs: Sequence[RunSpec], settings: ExplanationsSettings, lengths: Lengths) -> Load:
    """Tokens of these runs; conversations times versions times axes give the examples of a student."""
    trained = scored = written = 0.0
    for spec in specs:
        cells = len(settings.sources) * len(spec.axes)
        items = cells * getattr(settings, f"{spec.score_split}_items")
        if spec.recipe:
            examples = cells * settings.train_items * settings.train_versions * spec.recipe["epochs"]
            trained += examples * (lengths.prompt + lengths.response(spec.arm))
        scored += items * lengths.prompt
        explains_first = spec.arm == "explanation_first"
        written += items * lengths.explanation if explains_first else min(spec.generation_items, items) * 4
    return Load(len(specs), trained, scored, written)


def estimate_memory(shape: Shape, dtype: str, rank: int, max_length: int) -> dict[str, float]:
    """GiB of training with gradient checkpoints, by part; two examples of the greatest length are in it at once.

    Weights: linear layers in their format, the rest in 16 bits, and the head once more in 32. Adapter: weight, gradient
    and AdamW's two moments in 32 bits. Activations, 16 bits: the input of every block, and of the block in hand six
    states of the hidden size and four of the inner one with their gradients; for NF4 also two copies of the largest
    matrix in 16 bits.
    """
    bits = {"nf4": NF4_BITS, "float32": 32.0}.get(dtype, 16.0)
    tokens = EXAMPLES_AT_ONCE * max_length
    hidden, inner, head = shape.hidden_size, shape.intermediate_size, shape.vocab_size * shape.hidden_size
    rest = 4 if dtype == "float32" else 2
    in_hand = 2 * (6 * hidden + 4 * inner)
    copies = 2 * hidden * inner if dtype == "nf4" else 0
    sizes = {
        "weights": shape.linear * bits / 8 + shape.embedding * rest + head * 4,
        "adapter": shape.adapter(rank) * 16,
        "activations": rest * (tokens * (shape.num_hidden_layers * hidden + in_hand) + copies),
        "context": CONTEXT_GIB * GIB,
    }
    return {part: size / GIB for part, size in sizes.items()}


def load_shape(model: str, revision: str | None) -> Shape:
    """Sizes of a profile's model; of one on the hub only ``config.json`` is read.

    Raises:
        CompanionError: the model is unavailable, or not of Llama type.
    """
    if model in SHAPES:
        return SHAPES[model]
    from huggingface_hub import hf_hub_download

    try:
        folder = Path(model)
        file = folder / "config.json" if folder.is_dir() else hf_hub_download(model, "config.json", revision=revision)
        config = json.loads(Path(file).read_text(encoding="utf-8"))
        known = {"num_key_value_heads": config["num_attention_heads"], "tie_word_embeddings": False, **config}
        return Shape(**{field.name: known[field.name] for field in fields(Shape)})
    except (OSError, ValueError, KeyError) as error:
        raise CompanionError(f"The sizes of model {model} can't be read ({type(error).__name__}): {error}.") from error


def measure_lengths(study: Study) -> Lengths:
    """Mean lengths, from the study's own texts where they are built, else as assumed above."""
    frozen = study.frozen()
    if frozen and texts.get_texts_file(frozen["data"]).exists():
        examples = [one for split in ("train", "test") for one in texts.load_examples(frozen["data"], split)]
        columns = {"prompt": [one.prompt for one in examples], "explanation": [one.explanation for one in examples]}
        words = {name: sum(len(text.split()) for text in texts) / len(texts) for name, texts in columns.items()}
        source = "counted in the study's data"
    else:
        words, source = WORDS, "assumed; the data are not built yet"
    tokens = {name: count * TOKENS_PER_WORD[name] + LEAD_TOKENS for name, count in words.items()}
    told = ", ".join(f"{count:.0f} words ({tokens[name]:.0f} tokens) in each {name}" for name, count in words.items())
    told = f"{told}; {source}"
    return Lengths(tokens["prompt"], tokens["explanation"], told)


def list_specs(study: Study) -> tuple[list[RunSpec], list[RunSpec]]:
    """The runs of the study and of its tuning; before it starts only their sizes matter, not their ids."""
    frozen = study.frozen()
    unknown = {"model": study.profile.model, "revision": None, "weights": "", "dtype": study.profile.dtype}
    base, data = (dict(frozen["base"]), frozen["data"]) if frozen else (unknown, "")
    return plan(study.settings, base, data), plan_tuning(study.settings, base, data)


def read_logged_hours(study: Study, specs: Sequence[RunSpec]) -> tuple[int, float] | None:
    """How many of these runs this machine's logs hold, and the hours that all take at their mean for each arm."""
    seconds: dict[str, list[float]] = {}
    for spec in specs:
        if found := _seconds(study.logs / f"{spec_id(spec)}.jsonl"):
            seconds.setdefault(spec.arm, []).append(found)
    if not seconds:
        return None
    every = [one for some in seconds.values() for one in some]
    means = {spec.arm: seconds.get(spec.arm, every) for spec in specs}
    total = sum(sum(means[spec.arm]) / len(means[spec.arm]) for spec in specs)
    return len(every), total / study.slots() / 3600


def _seconds(log: Path) -> float:
    """Seconds of the last time that a run was made; 0 where it was not, or the log is damaged."""
    try:
        made = [event for event in parse_events(log.read_bytes()) if event["event"] == "end"]
    except OSError:
        return 0.0
    return (read_number(made[-1], "seconds") or 0.0) if made else 0.0


def count_ratings(settings: ExplanationsSettings, lengths: Lengths) -> dict[str, float]:
    """Calls and tokens of language models as annotators, for every conversation of every split."""
    from companion.studies.explanations.data.annotate import PROMPTS
    from companion.studies.explanations.data.language_annotators import MERGER, write_instruction

    items = len(settings.sources) * (settings.train_items + settings.validation_items + settings.test_items)
    rated = items * len(settings.axes)
    texts = [write_instruction(axis, prompt) for axis in settings.axes for prompt in PROMPTS]
    system = sum(len(text.split()) for text in texts) / len(texts) * TOKENS_PER_WORD["prompt"]
    merging = len(MERGER.split()) * TOKENS_PER_WORD["prompt"] + CALLS_PER_RATING * ANSWER_TOKENS["rating"]
    parts = {
        "read to rate": rated * CALLS_PER_RATING * (system + lengths.prompt),
        "read to merge": rated * merging,
        "written to rate": rated * CALLS_PER_RATING * ANSWER_TOKENS["rating"],
        "written to merge": rated * ANSWER_TOKENS["merged explanation"],
    }
    return {
        **parts,
        "conversations": items,
        "calls": rated * CALLS_PER_RATING + rated,
        "read": parts["read to rate"] + parts["read to merge"],
        "written": parts["written to rate"] + parts["written to merge"],
    }


def estimate_dollars(asked: Mapping[str, float], annotators: Annotators) -> float:
    """US dollars of what ``count_ratings`` gives: every model rates its share, the merger condenses."""
    share = [round(asked[part] / len(annotators.models)) for part in ("read to rate", "written to rate")]
    rating = [compute_price(one, *share) for one in annotators.models]
    return sum(rating) + compute_price(
        annotators.merging, round(asked["read to merge"]), round(asked["written to merge"])
    )
