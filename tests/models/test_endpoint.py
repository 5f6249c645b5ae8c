"""A real HTTP server of ours that behaves as badly as real ones do; the client is the real one."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from companion.errors import CompanionError
from companion.models.endpoint import (
    Answer,
    Budget,
    Endpoint,
    Question,
    ask_questions,
    compute_highest_cost,
    compute_price,
    read_answers,
    sum_spending,
)

pytest.importorskip("openai")
Behaviour = Callable[[BaseHTTPRequestHandler, str, int], bool]


class Server:
    """Answers "echo: <user message>"; ``behave`` may answer in its place and then returns True."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.most_at_once = self.now = 0
        self.behave: Behaviour = lambda handler, text, time_seen: False
        self.delay = 0.0
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.answer(self, body["messages"][1]["content"])

            def log_message(self, *_: Any) -> None:
                """Keep the test's output clean."""

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler, text: str) -> None:
        with self.lock:
            self.seen[text] += 1
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
            times = self.seen[text]
        time.sleep(self.delay)
        if not self.behave(handler, text, times):
            send(handler, 200, reply(f"echo: {text}"))
        with self.lock:
            self.now -= 1


def reply(text: str | None) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def send(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> bool:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(data))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)
    return True


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture
def endpoint(server: Server) -> Endpoint:
    return Endpoint(server.url, "m", parallel=4, timeout=5, retries=3)


def questions(number: int) -> list[Question]:
    return [Question("m", "Be short.", f"q{place}") for place in range(number)]


def test_answers_come_back_and_are_asked_once(server: Server, endpoint: Endpoint, tmp_path: Path):
    file, told = tmp_path / "a" / "answers.jsonl", []
    asked = [*questions(20), *questions(20)]
    answers = ask_questions(
        endpoint, asked, file, Budget(0), on_progress=lambda done, total: told.append((done, total))
    )
    assert {answers[one.id].text for one in asked} == {f"echo: q{place}" for place in range(20)}
    assert told == [(done, 20) for done in range(1, 21)]
    assert ask_questions(endpoint, asked, file, Budget(0)) == answers == read_answers(file)
    assert set(server.seen.values()) == {1}


def test_no_more_calls_at_a_time_than_allowed(server: Server, endpoint: Endpoint, tmp_path: Path):
    server.delay = 0.05
    ask_questions(replace(endpoint, parallel=3), questions(12), tmp_path / "a.jsonl", Budget(0))
    assert server.most_at_once == 3


def overloaded(handler: BaseHTTPRequestHandler, text: str, times: int) -> bool:
    return times < 3 and send(handler, 429, {"error": {"message": "slow down"}}, Retry_After="0.01")


def broken(handler: BaseHTTPRequestHandler, text: str, times: int) -> bool:
    return times < 3 and send(handler, 503, b"<html>bad gateway</html>")


def hangs_up(handler: BaseHTTPRequestHandler, text: str, times: int) -> bool:
    if times < 2:
        handler.connection.close()
    return times < 2


def cut_short(handler: BaseHTTPRequestHandler, text: str, times: int) -> bool:
    if times < 2:
        handler.send_response(200)
        handler.send_header("Content-Length", "500")
        handler.end_headers()
        handler.wfile.write(b'{"id": "1", "choi')
        handler.close_connection = True
    return times < 2


@pytest.mark.parametrize("behaviour", [overloaded, broken, hangs_up, cut_short])
def test_passing_faults_are_tried_again(server: Server, endpoint: Endpoint, tmp_path: Path, behaviour: Behaviour):
    server.behave = behaviour
    answers = ask_questions(endpoint, questions(3), tmp_path / "a.jsonl", Budget(0))
    assert sorted(answer.text for answer in answers.values()) == ["echo: q0", "echo: q1", "echo: q2"]
    assert min(server.seen.values()) > 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "refused the key"),
        (403, "does not allow"),
        (404, "name of the model"),
        (429, "overloaded"),
        (500, "failed"),
    ],
)
def test_lasting_faults_get_a_sentence_without_the_key(
    server: Server,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    message: str,
):
    monkeypatch.setenv("OUR_KEY", "sk-secret")
    server.behave = lambda handler, text, times: send(handler, status, {"error": {"message": "bad key sk-secret"}})
    with pytest.raises(CompanionError, match=message) as caught:
        ask_questions(
            replace(endpoint, key_variable="OUR_KEY", retries=0), questions(30), tmp_path / "a.jsonl", Budget(0)
        )
    assert "sk-secret" not in str(caught.value)
    assert len(server.seen) < 30


def test_missing_key(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OUR_KEY", raising=False)
    with pytest.raises(CompanionError, match="environment variable OUR_KEY"):
        ask_questions(replace(endpoint, key_variable="OUR_KEY"), questions(1), tmp_path / "a.jsonl", Budget(0))


def test_nobody_there(tmp_path: Path):
    endpoint = Endpoint("http://127.0.0.1:1/v1", "m", retries=0)
    with pytest.raises(CompanionError, match="could not be reached: start the server"):
        ask_questions(endpoint, questions(1), tmp_path / "a.jsonl", Budget(0))


def test_slow_server(server: Server, endpoint: Endpoint, tmp_path: Path):
    server.delay = 0.5
    with pytest.raises(CompanionError, match=r"did not answer in 0\.1 s"):
        ask_questions(replace(endpoint, timeout=0.1, retries=0), questions(1), tmp_path / "a.jsonl", Budget(0))


@pytest.mark.parametrize(
    "body",
    [reply(None), {"choices": []}, {}, b"[]", reply("") | {"usage": None}],
    ids=["null", "none", "{}", "[]", "bare"],
)
def test_junk_is_an_empty_answer_that_is_not_asked_again(server: Server, endpoint: Endpoint, tmp_path: Path, body: Any):
    server.behave = lambda handler, text, times: send(handler, 200, body)
    for _ in range(2):
        (answer,) = ask_questions(endpoint, questions(1), tmp_path / "a.jsonl", Budget(0)).values()
        assert answer.text == "" and answer.refused == "no text"
    assert server.seen["q0"] == 1


def test_refused_content_is_kept_with_its_reason(server: Server, endpoint: Endpoint, tmp_path: Path):
    server.behave = lambda handler, text, times: text == "q1" and send(handler, 400, {"error": {"message": "filtered"}})
    answers = ask_questions(endpoint, questions(3), tmp_path / "a.jsonl", Budget(0))
    assert sorted(one.refused for one in answers.values()) == ["", "", "status 400"]


def test_the_cap_stops_before_it_is_passed(server: Server, endpoint: Endpoint, tmp_path: Path):
    paid = replace(endpoint, prompt_price=1.0, answer_price=2.0, parallel=2)
    file, cap = tmp_path / "a.jsonl", 0.0015
    with pytest.raises(CompanionError, match="cap of 0.0015 US dollars is reached, asking m"):
        ask_questions(paid, questions(200), file, Budget(cap))
    cost = sum_spending(paid, read_answers(file).values())
    highest = compute_highest_cost(paid, questions(1))
    assert cap - 3 * highest < cost <= cap
    assert len(ask_questions(paid, questions(200), file, Budget(1.0))) == 200
    assert max(server.seen.values()) == 1


def test_what_went_elsewhere_counts_and_other_questions_do_not(server: Server, endpoint: Endpoint, tmp_path: Path):
    paid = replace(endpoint, prompt_price=1.0, answer_price=2.0)
    file, one = tmp_path / "a.jsonl", compute_highest_cost(paid, questions(1))
    ask_questions(paid, [Question("m", "Be short.", "another study's")], file, Budget(1.0))
    assert len(ask_questions(paid, questions(1), file, Budget(one))) == 1
    with pytest.raises(CompanionError, match="is reached"):
        ask_questions(paid, questions(2), file, Budget(0.01, elsewhere=0.01))


def test_the_estimate_is_never_too_low(endpoint: Endpoint):
    paid = replace(endpoint, prompt_price=1.0, answer_price=2.0)
    assert compute_highest_cost(paid, questions(10)) >= 10 * compute_price(paid, 10, 5)


def test_an_answer_cut_short_by_a_kill_is_asked_again(server: Server, endpoint: Endpoint, tmp_path: Path):
    file = tmp_path / "a.jsonl"
    ask_questions(endpoint, questions(5), file, Budget(0))
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert len(read_answers(file)) == 4
    answers = ask_questions(endpoint, questions(5), file, Budget(0))
    assert len(answers) == 5 and sorted(file.read_bytes().split(b"\n")) == sorted(whole.split(b"\n"))
    assert sum(server.seen.values()) == 6


def test_a_damaged_line_is_an_error(tmp_path: Path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": "1"\n{}\n')
    with pytest.raises(CompanionError, match="is damaged"):
        read_answers(file)


def test_ids_hang_on_every_text():
    one = Question("m", "s", "u")
    ids = {one.id, Question("n", "s", "u").id, Question("m", "t", "u").id, Question("m", "s", "v").id}
    assert len(ids) == 4 and Question("m", "s", "u").id == one.id
    assert Answer(one.id, "", 0, 0).refused == ""
