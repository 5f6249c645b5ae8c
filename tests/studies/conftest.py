"""A study small enough for every test run: real text, a tiny random model, every arm; and results made up to order."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from companion.models.endpoint import Endpoint
from companion.profiles import Profile, load_profile, load_settings
from companion.show.provenance import Provenance
from companion.studies.explanations.results.results import Results, probability_names
from companion.studies.explanations.settings import Annotators, ExplanationsSettings
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.targets import CONTROLS, PRIMARY


def tiny_model_folder(folder: Path) -> Path:
    """A random three-layer Llama with one token per byte, saved as transformers saves models.

    Its weights are multiples of 1/512, so that they are the same on every processor.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(["<eos>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(vocabulary), max_position_embeddings=4096, eos_token_id=0, **sizes)
    model, drawn = LlamaForCausalLM(config), np.random.default_rng(3)
    with torch.no_grad():
        for weights in (parameter for parameter in model.parameters() if parameter.dim() > 1):
            weights.copy_(torch.from_numpy(drawn.integers(-128, 129, weights.shape) / 512))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_settings() -> ExplanationsSettings:
    """All arms, two sources, two axes, two seeds, a handful of items."""
    settings = load_settings(load_profile("smoke"), "explanations", ExplanationsSettings)
    recipe = replace(settings.recipe, lora_rank=2, max_length=4096)
    sizes = {"train_items": 3, "validation_items": 2, "test_items": 3, "resamples": 100, "generation_items": 2}
    arms = ("base", *PRIMARY, *CONTROLS)
    axes = ("naturalness", "on_topic")
    return replace(settings, sources=("faq", "qa"), axes=axes, arms=arms, recipe=recipe, **sizes)


@pytest.fixture(scope="session")
def tiny_profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    model = tiny_model_folder(tmp_path_factory.mktemp("model"))
    return Profile(name="tiny", model=str(model), revision=None, dtype="float32", workers=2, studies={})


@pytest.fixture
def tiny_study(tiny_profile: Profile, tiny_settings: ExplanationsSettings, tmp_path: Path) -> ExplanationsStudy:
    return ExplanationsStudy(tiny_profile, tiny_settings, tmp_path / "figures" / "tiny" / "explanations")


AXES = ("naturalness", "comprehensiveness", "on_topic")
SOURCES = ("assistant", "chat_high", "chat_low", "faq", "qa", "scripted")


def made_up(accuracy: dict[str, float], seeds: int = 6, items: int = 40, sharper: float = 0.0) -> Results:
    """Results in which each arm is right with a given chance; ``sharper`` moves the explanation arms' entropies."""
    random = np.random.default_rng(8)
    cells: list[dict[str, Any]] = []
    layers: list[dict[str, object]] = []
    for arm, chance in accuracy.items():
        for seed in range(seeds if arm != "base" else 1):
            for axis in AXES:
                for source in SOURCES:
                    shift = sharper * (arm not in ("base", "label"))
                    cells.append(_cell(random, arm, seed, axis, source, items, chance, shift))
                    layers += _layer_rows(random, arm, seed, axis, source, shift)
    # Columns first: a frame for every cell would take most of the tests' time.
    predictions = pd.DataFrame(
        {name: np.concatenate([np.broadcast_to(cell[name], items) for cell in cells]) for name in cells[0]}
    )
    table = predictions.drop_duplicates(["axis", "item"])[["item", "source", "axis", "label", "level"]]
    table = table.assign(split="test", words=20, majority=3, length=2, words_only=4)
    origin = Provenance("explanations", "made up", ("a", "b"), "0" * 40)
    return Results(table, predictions, pd.DataFrame(layers), pd.DataFrame(), pd.DataFrame(), origin)


def _cell(
    random: np.random.Generator, arm: str, seed: int, axis: str, source: str, items: int, chance: float, shift: float
) -> dict[str, Any]:
    """Columns of one cell, each an array of the items or one value for all."""
    label = np.arange(items) % 5 + 1
    right = random.random(items) < chance
    predicted = np.where(right, label, label % 5 + 1)
    probability = np.full((items, 5), 0.1)
    probability[np.arange(items), predicted - 1] = 0.6
    noise = random.normal(0, 0.02, items)
    columns = dict(zip(probability_names(5), probability.T, strict=True))
    return {
        "axis": axis,
        "source": source,
        "item": [f"{source}-{number}" for number in range(items)],
        "label": label,
        "level": label,
        "arm": arm,
        "seed": seed,
        **columns,
        "predicted": predicted,
        "correct": right.astype(float),
        "correct_level": right.astype(float),
        "within_one": right.astype(float),
        "absolute_error": 1.0 - right,
        "nll": -np.log(np.where(right, 0.6, 0.1)),
        "brier": 1.0 - right,
        "confidence": 0.6,
        "output_entropy": 1.5 - shift + noise,
        "peak_mass": 0.5 + shift / 2 + noise,
        "label_mass": 0.9,
        "label_entropy": 1.2,
    }


def _layer_rows(
    random: np.random.Generator, arm: str, seed: int, axis: str, source: str, shift: float
) -> list[dict[str, object]]:
    return [
        {
            "arm": arm,
            "seed": seed,
            "axis": axis,
            "source": source,
            "measure": measure,
            "layer": layer,
            "value": 0.8 + shift / 10 + random.normal(0, 0.002),
        }
        for measure in ("E1", "E2", "E3")
        for layer in range(1, 7)
    ]


class Model:
    """Rates by the reply it reads; ``obedient`` ones do what an attack asks for."""

    def __init__(self, answer: Callable[[str, str], str]) -> None:
        self.answer, self.calls = answer, 0
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                system, user = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
                model.calls += 1
                text = model.answer(system["content"], user["content"])
                message = {"role": "assistant", "content": text}
                body = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Keep the test's output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def endpoint(self, name: str, **more: Any) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.http.server_port}/v1", name, retries=0, **more)

    def annotators(self, cap: float = 0.0, **more: Any) -> Annotators:
        names = ("one", "two", "org/three:7b")
        return Annotators(tuple(self.endpoint(name, **more) for name in names), merger="two", cap=cap)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[str, str], str]], Model]]:
    models: list[Model] = []

    def start(answer: Callable[[str, str], str]) -> Model:
        models.append(Model(answer))
        return models[-1]

    yield start
    for model in models:
        model.http.shutdown()
        model.http.server_close()


def rate_by_length(system: str, user: str) -> str:
    reply = json.loads(user)["reply"]
    if "give this a 5" in reply:  # a model that falls for it, and writes what the attacker dictates
        return "Score: 5\nScore: 5 also for the next item\nFine, Score: 5"
    return f'Only "{reply.split()[0]}" decides here.\nScore: {1 + len(reply) % 4}'


@pytest.fixture
def rated() -> Callable[[str, str], str]:
    """What a model says that rates by the length of the reply, and does what an attack asks for."""
    return rate_by_length
