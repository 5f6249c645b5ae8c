"""An OpenAI-compatible server for tests: the real embedded model answers waiting requests in batches, or faults come.

Run as a program it prints its address; its log has one JSON line per request: id, what was done, seconds since start.
Three decoding set-ups of the one model go by the names of three: ``chat`` writes freely, ``chat-guided`` is made to
close its first line with a score, as servers with structured output do, and ``completion-guided`` is so too, but gets
no chat template.
"""

import argparse
import hashlib
import json
import queue
import re
import select
import socket
import sys
import threading
import time
from collections import Counter
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODELS = ("chat", "chat-guided", "completion-guided")
FAULTS = ("times out", "429", "drops", "500", "junk")
BATCH = 48


class Waiting:
    """One request until it is answered."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.model, self.most = body["model"], body["max_tokens"]
        self.system, self.user = (message["content"] for message in body["messages"])
        self.id = hashlib.sha256(json.dumps([self.model, self.system, self.user]).encode()).hexdigest()[:16]
        self.done = threading.Event()
        self.text, self.counts, self.gone = "", (0, 0), False


class Guide:
    """A logits processor: the end of the first line, or of the tokens allowed, turns into a score line on the scale."""

    def __init__(self, tokenizer: Any, rows: list[Waiting], start: int) -> None:
        line = tokenizer("\nScore: ", add_special_tokens=False).input_ids
        digits = tokenizer.convert_tokens_to_ids(list("12345"))
        self.ends = [*_breaks(tokenizer), tokenizer.eos_token_id]
        self.forced = [[token] for token in line], digits, [[tokenizer.eos_token_id]]
        self.last = [start + row.most - len(line) - 2 for row in rows]
        self.scales = [
            int(found[1]) if row.model.endswith("guided") and (found := re.search(r"from 1 to (\d)", row.system)) else 0
            for row in rows
        ]
        self.start, self.told = start, [0] * len(rows)

    def __call__(self, ids: Any, scores: Any) -> Any:
        for row, scale in enumerate(self.scales):
            if scale:
                line, digits, end = self.forced
                at = self.told[row]
                ended = at or ids.shape[1] >= self.last[row] or int(scores[row].argmax()) in self.ends
                if not ended or ids.shape[1] == self.start:
                    scores[row, self.ends] = -float("inf")
                    continue
                allowed = [*line, digits[:scale], *end][min(at, len(line) + 1)]
                kept = scores[row, allowed].clone()
                scores[row] = -float("inf")
                scores[row, allowed] = kept
                self.told[row] += 1
        return scores


@cache
def _breaks(tokenizer: Any) -> list[int]:
    """Tokens with a line break."""
    return [token for token in range(len(tokenizer)) if "\n" in tokenizer.decode(token)]


class Model:
    """The embedded model; the keys and values of an instruction are computed once and shared by all its requests."""

    def __init__(self, dtype: str) -> None:
        import torch

        from companion.models.base import load_base

        torch.set_num_threads(1)
        base = load_base("embedded", None, dtype)
        _attend_in_groups(base.model)
        self.model, self.tokenizer, self.prefixes = base.model, base.tokenizer, dict[str, Any]()

    def texts(self, row: Waiting) -> tuple[str, str]:
        """Instruction and the rest, as the model reads them."""
        if row.model.startswith("completion"):
            return row.system, f"\n\n{row.user}\nThe reason in one sentence:"
        told = [{"role": "system", "content": row.system}, {"role": "user", "content": row.user}]
        whole = self.tokenizer.apply_chat_template(told, add_generation_prompt=True, tokenize=False)
        cut = whole.index(row.system) + len(row.system)
        return whole[:cut], whole[cut:]

    def answer(self, rows: list[Waiting]) -> None:
        """Greedy continuations of a batch: [padding, instruction] from the cache, then [padding, the rest]."""
        import torch
        from transformers import DynamicCache, GenerationConfig, LogitsProcessorList

        from companion.models.score import give_contiguous_rows

        encode = lambda text: self.tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
        parts = [tuple(encode(text) for text in self.texts(row)) for row in rows]
        wide, long = (max(len(part[place]) for part in parts) for place in (0, 1))
        mask = torch.tensor(
            [[0] * (wide - len(one)) + [1] * len(one) + [0] * (long - len(two)) + [1] * len(two) for one, two in parts]
        )
        ids = torch.tensor([[0] * wide + [0] * (long - len(two)) + two for _, two in parts])
        most, end = max(row.most for row in rows), self.tokenizer.eos_token_id
        config = GenerationConfig(max_new_tokens=most, do_sample=False, eos_token_id=end, pad_token_id=end)
        with torch.inference_mode(), give_contiguous_rows(self.model):
            kept = [self._prefix(tuple(one)) for one, _ in parts]
            layers = [
                tuple(torch.cat([_left(one[layer][side], wide) for one in kept]) for side in (0, 1))
                for layer in range(len(kept[0]))
            ]
            found = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=DynamicCache(layers),
                generation_config=config,
                logits_processor=LogitsProcessorList([Guide(self.tokenizer, rows, ids.shape[1])]),
            )
        for row, (one, two), tokens in zip(rows, parts, found[:, ids.shape[1] :].tolist(), strict=True):
            written = tokens[: tokens.index(end)] if end in tokens else tokens
            row.text = self.tokenizer.decode(written, skip_special_tokens=True)
            row.counts = (len(one) + len(two), len(written))

    def _prefix(self, tokens: tuple[int, ...]) -> Any:
        import torch

        if tokens not in self.prefixes:
            cache = self.model(torch.tensor([tokens]), use_cache=True, logits_to_keep=1).past_key_values
            self.prefixes[tokens] = [(layer.keys, layer.values) for layer in cache.layers]
        return self.prefixes[tokens]


def _attend_in_groups(model: Any) -> None:
    """One new token attends without copies of shared keys: a third of the time that torch's attention takes here."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **rest: Any) -> Any:
        if query.shape[2] > 1:
            return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **rest)
        grouped = query.unflatten(1, (key.shape[1], -1)).flatten(2, 3)
        scores = (grouped @ key.transpose(-1, -2)).float() * scaling
        scores = scores if mask is None else scores.masked_fill(~mask, -float("inf"))
        attended = scores.softmax(-1).to(value.dtype) @ value
        return attended.flatten(1, 2).unsqueeze(1), None

    AttentionInterface.register("grouped", attend)
    AttentionMaskInterface.register("grouped", sdpa_mask)
    model.set_attn_implementation("grouped")


def _left(values: Any, wide: int) -> Any:
    """Keys or values (1, heads, tokens, d) padded on the left to so many tokens."""
    import torch

    return torch.nn.functional.pad(values, (0, 0, wide - values.shape[2], 0))


class Server:
    """The HTTP door, the queue and the one thread that asks the model."""

    def __init__(self, port: int, log: Path, faults: float, hold: float, dtype: str) -> None:
        self.model, self.log, self.faults, self.hold = Model(dtype), log.open("a", encoding="utf-8"), faults, hold
        self.queue: queue.Queue[Waiting] = queue.Queue()
        self.seen: Counter[str] = Counter()
        self.lock, self.begun = threading.Lock(), time.monotonic()
        self.http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.http.daemon_threads = True
        threading.Thread(target=self._work, daemon=True).start()

    def note(self, request: Waiting, what: str) -> None:
        with self.lock:
            line = {"id": request.id, "model": request.model, "what": what, "tokens": request.counts}
            self.log.write(json.dumps({**line, "at": round(time.monotonic() - self.begun, 2)}) + "\n")
            self.log.flush()

    def fault(self, request: Waiting) -> str:
        """Which fault this request gets: only the first try of a fixed share of the questions gets one."""
        with self.lock:
            self.seen[request.id] += 1
            first = self.seen[request.id] == 1
        draw = int(request.id, 16)
        return FAULTS[draw % len(FAULTS)] if first and draw / 16**16 < self.faults else ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802
                request = Waiting(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                server.note(request, "asked")
                if fault := server.fault(request):
                    server.note(request, fault)
                    server.misbehave(self, fault)
                    return
                server.queue.put(request)
                while not request.done.wait(0.2):
                    request.gone = request.gone or _closed(self.connection)
                if request.gone or _closed(self.connection):
                    self.close_connection = True
                    server.note(request, "gone")
                    return
                send(self, 200, reply(request))
                server.note(request, "answered")

            def log_message(self, *_: Any) -> None:
                """The log has it."""

        return Handler

    def misbehave(self, handler: BaseHTTPRequestHandler, fault: str) -> None:
        if fault == "429":
            send(handler, 429, {"error": {"message": "slow down"}}, Retry_After="1")
        elif fault == "500":
            send(handler, 500, {"error": {"message": "broken"}})
        elif fault == "junk":
            send(handler, 200, {"choices": [{"message": {"role": "assistant", "content": "}{ Score: 9 <|im_end|>"}}]})
        else:
            time.sleep(self.hold if fault == "times out" else 0)
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)

    def _work(self) -> None:
        while True:
            rows = [self.queue.get()]
            time.sleep(0.05)
            while len(rows) < BATCH and not self.queue.empty():
                rows.append(self.queue.get())
            alive = [row for row in rows if not row.gone]
            if alive:
                self.model.answer(alive)
            for row in rows:
                row.done.set()


def _closed(connection: socket.socket) -> bool:
    """Whether the other side has hung up."""
    try:
        return bool(select.select([connection], [], [], 0)[0]) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def reply(request: Waiting) -> dict[str, Any]:
    prompt, answer = request.counts
    message = {"role": "assistant", "content": request.text}
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": request.id, "object": "chat.completion", "model": request.model, "choices": [choice], "usage": usage}


def send(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
    data = json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--faults", type=float, default=0.0, help="share of the questions whose first try fails")
    parser.add_argument("--hold", type=float, default=30.0, help="seconds that a request which times out is held")
    parser.add_argument("--dtype", default="auto")
    asked = parser.parse_args()
    server = Server(asked.port, asked.log, asked.faults, asked.hold, asked.dtype)
    print(f"http://127.0.0.1:{server.http.server_port}/v1", flush=True)
    server.http.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
