"""The whole way of the model annotators against a real server and a real model, with faults, killed twice.

At its own size it is a slow test of 12 conversations. The whole proof asks 100 conversations on three axes with twelve
prompts, and keeps its log: COMPANION_ANNOTATOR_CONVERSATIONS=100 COMPANION_ANNOTATOR_FOLDER=somewhere pytest -s <this>.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from companion.models.endpoint import Endpoint, read_answers
from companion.profiles import load_profile, load_settings
from companion.studies.explanations.data import dataset
from companion.studies.explanations.data.dataset import Data
from companion.studies.explanations.settings import Annotators, ExplanationsSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(6 * 3600)]
HERE, CACHE = Path(__file__).parent, os.environ.get("COMPANION_CACHE", "")
MODELS = ("chat", "chat-guided", "completion-guided")
CONVERSATIONS = int(os.environ.get("COMPANION_ANNOTATOR_CONVERSATIONS", "12"))
PARALLEL = 96 if CONVERSATIONS > 12 else 24
WAIT = 900.0 if CONVERSATIONS > 12 else 60.0
FAULTS = 0.1


def settings(url: str) -> ExplanationsSettings:
    """Degraded stand-ins, a fifth of the conversations from each of five sources (of 12: half from each of two)."""
    recorded = load_settings(load_profile("cpu"), "explanations", ExplanationsSettings)
    sources = ("assistant", "chat_high", "faq", "qa", "scripted") if CONVERSATIONS > 12 else ("assistant", "faq")
    each = CONVERSATIONS // len(sources)
    test, validation = max(2, each // 4), max(2, round(0.15 * each))
    sizes = {"train_items": each - test - validation, "validation_items": validation, "test_items": test}
    models = tuple(Endpoint(url, name, parallel=PARALLEL, timeout=WAIT, retries=8, answer_tokens=24) for name in MODELS)
    annotators = Annotators(models, merger="chat-guided", cap=0.0)
    return replace(recorded, sources=sources, train_versions=1, generation_items=0, annotators=annotators, **sizes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    named = os.environ.get("COMPANION_ANNOTATOR_FOLDER")
    folder = Path(named).resolve() if named else tmp_path_factory.mktemp("annotators")
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPANION_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """Address of the server; it has the embedded model from the usual cache."""
    command = [sys.executable, str(HERE / "local_server.py"), "--log", str(folder / "server.jsonl")]
    command += ["--faults", str(FAULTS), "--hold", str(WAIT + 5)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COMPANION_CACHE": CACHE})
    yield process.stdout.readline().strip()
    process.kill()
    process.communicate()


def ask(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, url], stdout=subprocess.PIPE, text=True)


def there(folder: Path) -> dict[str, str]:
    """Answers in the files by question id."""
    files = (folder / "explanations" / "answers").glob("*.jsonl")
    return {id_: answer.text for file in files for id_, answer in read_answers(file).items()}


def log(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "server.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def asked(folder: Path, server: str) -> list[tuple[set[str], int]]:
    """Ids in the files and lines of the server's log at each of two kills; then everything is asked to the end."""
    total, kills = CONVERSATIONS * 36, []
    for share in (1 / 3, 2 / 3):
        process = ask(server)
        while len(there(folder)) < share * total:
            assert process.poll() is None
            time.sleep(0.2)
        process.kill()
        process.communicate()
        kills.append((set(there(folder)), len(log(folder))))
    begun, process = time.monotonic(), ask(server)
    print(process.communicate()[0], f"{time.monotonic() - begun:.0f} s after the last kill")
    assert process.returncode == 0
    return kills


def test_no_answer_that_was_kept_is_asked_for_again(folder: Path, asked: list[tuple[set[str], int]]):
    noted = log(folder)
    for ids, lines in asked:
        assert not ids & {line["id"] for line in noted[lines:] if line["what"] == "asked"}
    answered = Counter(line["id"] for line in noted if line["what"] == "answered")
    # What the server had sent off when the asking process died may be lost: never more than was in flight.
    assert sum(answered.values()) - len(answered) <= 2 * PARALLEL
    assert {"times out", "429", "drops", "500", "junk"} <= {line["what"] for line in noted}


def test_the_data_set_is_whole(folder: Path, server: str, asked: list[tuple[set[str], int]]):
    data = build(server)
    facts = data.facts
    assert [one["questions"] for one in facts["annotators"]] == [CONVERSATIONS * 12] * 3
    assert len(data.items) + facts["dropped_for_too_few_scores"] == CONVERSATIONS * 3
    assert len(data.ratings) == CONVERSATIONS * 36
    print(json.dumps(summary(folder, data), indent=1))
    # Nothing is asked now: no server is needed any more.
    assert build("http://127.0.0.1:1/v1").hash == data.hash


def build(url: str) -> Data:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dataset.build(settings(url))


def summary(folder: Path, data: Data) -> dict[str, object]:
    noted = log(folder)
    return {
        "server": Counter(str(line["what"]) for line in noted),
        "server_seconds": max(float(str(line["at"])) for line in noted),
        "models": data.facts["annotators"],
        "ratings_kept": len(data.items),
        "ratings_dropped": data.facts["dropped_for_too_few_scores"],
        "conversations_kept": data.items["item"].nunique(),
        "hash": data.hash,
    }


if __name__ == "__main__":
    print(build(sys.argv[1]).hash)
