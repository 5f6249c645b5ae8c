"""The paper's data sets from a folder, from a hub that we serve ourselves, and from the real files where they lie."""

import gzip
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from companion.corpora import originals
from companion.corpora.originals import ORIGINALS, load_original
from companion.errors import CompanionError

REAL = Path(os.environ.get("COMPANION_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def _hh_line(number: int) -> str:
    texts = {kept: f"\n\nHuman: Topic {number}?\n\nAssistant: {kept} {number}." for kept in ("chosen", "rejected")}
    return json.dumps(texts) + "\n"


HH_FILE = gzip.compress("".join(map(_hh_line, range(40))).encode(), mtime=0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    return tmp_path


def test_files_of_a_release_are_read_from_the_folder(folder: Path):
    _put(folder / "hh-rlhf" / "helpful-base" / "train.jsonl.gz", HH_FILE)
    chosen, rejected = load_original(ORIGINALS["hh_chosen"]), load_original(ORIGINALS["hh_rejected"])
    assert len(chosen) + len(rejected) == 40
    assert {item.source for item in chosen} == {"hh_chosen"}
    assert not {item.group for item in chosen} & {item.group for item in rejected}
    assert chosen == load_original(ORIGINALS["hh_chosen"])


def test_amazon_lines_are_python_literals(folder: Path):
    row = {"asin": "B1", "question": "Is it 'new'?", "answer": "It is.", "answerTime": None}
    _put(folder / "amazonqa" / "qa_Toys.json.gz", gzip.compress(f"{row!r}\n".encode()))
    (item,) = load_original(ORIGINALS["amazonqa"])
    assert item.context[0].text == "Is it 'new'?" and item.response == "It is."


def test_parquet_and_short_answers(folder: Path):
    row = {
        "story": "Ann has a boat.",
        "questions": ["Has Ann a boat?", "Is it hers?"],
        "answers": {"input_text": ["yes", "yes"]},
    }
    file = folder / "coqa" / "data" / "train-0.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row]), file)
    found = load_original(ORIGINALS["coqa"])
    # two questions with the same short answer are two items
    assert [item.response for item in found] == ["yes", "yes"]
    assert {item.context[-1].text for item in found} == {"Has Ann a boat?", "Is it hers?"}


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("coqa", "coqa/coqa-train-v1.0.json", b"{}", "is damaged"),
        ("coqa", "coqa/train-0.parquet", b"PAR1", "is damaged"),
        ("amazonqa", "amazonqa/qa_Toys.json.gz", gzip.compress(b"{'asin':\n", mtime=0), "malformed"),
        ("arena", "chatbot-arena/readme.txt", b"", "has no file"),
        ("cornell", "cornell-movie-dialogs/movie_conversations.txt", b"x\n", "movie_lines.txt"),
    ],
)
def test_damaged_files_get_a_sentence(folder: Path, name: str, file: str, content: bytes, message: str):
    _put(folder / file, content)
    with pytest.raises(CompanionError, match=message):
        load_original(ORIGINALS[name])


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as one small, public data set needs; all others are gated."""

    file = "helpful-base/train.jsonl.gz"

    def do_HEAD(self) -> None:  # noqa: N802
        self._answer(with_body=False)

    def do_GET(self) -> None:  # noqa: N802
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path, original = urlsplit(self.path).path, ORIGINALS["hh_chosen"]
        headers, body, status = {}, b"", 200
        if original.hub not in path:
            status, headers = 403, {"X-Error-Code": "GatedRepo"}
        elif "/tree/" in path:
            body = json.dumps([{"type": "file", "path": self.file, "size": len(HH_FILE), "oid": "0" * 40}]).encode()
        elif "/revision/" in path:
            body = json.dumps(
                {"id": original.hub, "sha": original.revision, "siblings": [{"rfilename": self.file}]}
            ).encode()
        elif path.endswith(self.file):
            body, headers = HH_FILE, {"ETag": '"1"', "X-Repo-Commit": original.revision}
        else:
            status, headers = 404, {"X-Error-Code": "EntryNotFound"}
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.delenv("COMPANION_DATA", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield address
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore")
def test_hub_copy_at_the_pinned_revision(hub: str):
    assert len(load_original(ORIGINALS["hh_chosen"])) > 10


def test_gated_data_set_says_how_to_get_access_and_no_token(hub: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    with pytest.raises(CompanionError, match="accepted its terms") as caught:
        load_original(ORIGINALS["arena"])
    assert "chatbot_arena_conversations" in str(caught.value) and "secret" not in str(caught.value)


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COMPANION_DATA", raising=False)
    with pytest.raises(CompanionError, match="could not be fetched .* check the network, or put its files"):
        load_original(ORIGINALS["coqa"])


@pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
@pytest.mark.parametrize(
    ("name", "rows", "kept"),
    [
        ("hh_chosen", 747, 745),
        ("hh_rejected", 753, 751),
        ("amazonqa", 6000, 5851),
        ("coqa", 75, 45),
        ("cornell", 471, 30),
    ],
)
@pytest.mark.filterwarnings("error")
def test_real_files(name: str, rows: int, kept: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COMPANION_DATA", str(REAL))
    original = ORIGINALS[name]
    folder = REAL / original.folder
    files = sorted(file for pattern in original.files for file in folder.rglob(pattern))
    assert len(list(original.read(files))) == rows
    found = load_original(ORIGINALS[name])
    assert len(found) == kept
    assert all(item.response and item.context for item in found)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
def test_arena_layout_of_derived_rows():
    file = REAL / "fastchat-vicuna-bench" / "derived_arena_schema.jsonl"
    assert len(list(ORIGINALS["arena"].read([file]))) == 400


def test_every_revision_is_a_full_hash():
    assert all(len(one.revision) == 40 and int(one.revision, 16) for one in ORIGINALS.values())
    assert originals.FOLDER_VARIABLE == "COMPANION_DATA"
