"""Where the paper's six data sets come from: a folder with the files of the release, else a pinned copy on the hub."""

import ast
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from companion.corpora import native
from companion.corpora.conversation import Conversation
from companion.corpora.filters import Limits, Raw, select_fitting, take_dissimilar
from companion.errors import CompanionError

FOLDER_VARIABLE = "COMPANION_DATA"
LARGEST_POOL = 6000
RATEABLE = Limits(response_words=(1, 400), context_words=(1, 600), previous_turns=12)


@dataclass(frozen=True)
class Original:
    """One data set of the paper.

    Attributes:
        title: its name in the paper.
        folder: its folder below the one that the environment variable COMPANION_DATA names.
        hub, revision: repository of a copy on the hub and the full hash of its commit.
        files: patterns of the files to read, in the release and on the hub.
        licence: what its owners ask.
        read: from the files found to unfiltered conversations.
    """

    name: str
    title: str
    folder: str
    hub: str
    revision: str
    files: tuple[str, ...]
    licence: str
    read: Callable[[list[Path]], Iterator[Raw]]

    @property
    def facts(self) -> dict[str, str]:
        """Facts of the data set for tables; ``read_from`` is ``hub``, or ``folder`` for files of the release."""
        named = {name: getattr(self, name) for name in ("name", "title", "hub", "revision", "licence")}
        return {**named, "read_from": "folder" if _release(self) else "hub"}


def read_rows(files: Iterable[Path], convert: Callable[[Any], Iterable[Raw]]) -> Iterator[Raw]:
    """Convert the rows of Parquet, JSON and JSON Lines files (plain or gzip) one after another."""
    return chain.from_iterable(
        native.convert_rows(str(file), read_numbered_rows(file), lambda row: convert(_parse(row))) for file in files
    )


def read_numbered_rows(file: Path) -> Iterator[tuple[int, Any]]:
    """Give the rows of one file with their numbers; those of text files are still to be parsed.

    Raises:
        CompanionError: the file is damaged.
    """
    try:
        if file.suffix == ".parquet":
            batches = pq.ParquetFile(file).iter_batches(1024)
            return enumerate(row for batch in batches for row in batch.to_pylist())
        if file.name.endswith("v1.0.json"):
            return enumerate(json.loads(file.read_text(encoding="utf-8"))["data"])
    except (pa.ArrowInvalid, ValueError, KeyError, TypeError) as error:
        raise CompanionError(f"{file} is damaged ({type(error).__name__}): download it again.") from error
    return native.read_numbered_lines(file)


def _parse(row: Any) -> Any:
    """A row of a text file; AmazonQA's are Python literals, which JSON takes for errors, and all others JSON."""
    if not isinstance(row, str):
        return row
    try:
        return json.loads(row)
    except ValueError:
        return ast.literal_eval(row)


def load_original(original: Original) -> list[Conversation]:
    """Read one of the six: conversations of a length that can be rated, without near-duplicates, in a fixed order.

    Raises:
        CompanionError: its files are unavailable or damaged.
    """
    folder = _release(original) or _load_from_hub(original)
    files = sorted(file for pattern in original.files for file in folder.rglob(pattern) if file.is_file())
    if not files:
        raise CompanionError(f"{folder} has no file {' or '.join(original.files)} of {original.title}.")
    return take_dissimilar(select_fitting(original.name, original.read(files), RATEABLE), LARGEST_POOL)


def _release(original: Original) -> Path | None:
    """The folder with the files of the release, if the user has one."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) / original.folder if named else None
    return folder if folder and folder.is_dir() else None


def _load_from_hub(original: Original) -> Path:
    """Local copy of the files at the pinned revision."""
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    page = f"https://huggingface.co/datasets/{original.hub}"
    by_hand = f"or put its files into the folder {original.folder} below the one that {FOLDER_VARIABLE} names"
    try:
        patterns = [f"**/{pattern}" for pattern in original.files] + list(original.files)
        return Path(
            snapshot_download(original.hub, repo_type="dataset", revision=original.revision, allow_patterns=patterns)
        )
    except GatedRepoError as error:
        raise CompanionError(
            f"{original.title} is given only to those who accepted its terms: do so on {page}, then log in with "
            f"'hf auth login' or set HF_TOKEN, {by_hand}."
        ) from error
    except (HTTPError, OSError, ValueError) as error:
        raise CompanionError(
            f"{original.title} could not be fetched from {page} at {original.revision[:12]} "
            f"({type(error).__name__}): check the network, {by_hand}."
        ) from error


_CONVERTERS: dict[str, Callable[..., Any]] = {
    "arena": native.convert_arena_row,
    "hh_chosen": partial(native.convert_hh_row, kept="chosen"),
    "hh_rejected": partial(native.convert_hh_row, kept="rejected"),
    "amazonqa": native.convert_amazon_row,
    "coqa": native.convert_coqa_row,
}
_READERS: dict[str, Callable[..., Any]] = {
    name: partial(read_rows, convert=convert) for name, convert in _CONVERTERS.items()
}
_READERS |= {"cornell": lambda files: native.read_cornell(files[0].parent)}
_FACTS = yaml.safe_load(Path(__file__).with_name("originals.yaml").read_text(encoding="utf-8"))
ORIGINALS = {
    name: Original(name=name, **{**_FACTS[name], "files": tuple(_FACTS[name]["files"])}, read=read)
    for name, read in _READERS.items()
}
"""The paper's data sets by name; ``originals.yaml`` holds their facts."""
