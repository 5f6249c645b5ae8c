"""The texts of a data set, kept in the cache under its hash, and the examples that are made of them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from companion import paths
from companion.errors import CompanionError
from companion.files import write_whole


@dataclass(frozen=True)
class Example:
    """One item on one axis, ready for training or scoring.

    Attributes:
        id: the item; the same on every axis.
        prompt: what ``prompts.make_prompt`` gives.
        label: 1 to 5, the merged rating (own data: 1 to the number of labels); written as its place in ``CODES``.
        explanation: the merged explanation.
    """

    id: str
    source: str
    axis: str
    prompt: str
    label: int
    explanation: str

    @property
    def conversation(self) -> str:
        """Id of the conversation, which its differently degraded versions share; the item's ends in its levels."""
        return self.id.rpartition("-")[0]


def get_texts_file(digest: str) -> Path:
    """Where the cache holds the texts of a data set."""
    return paths.cache() / "explanations" / f"{digest}.parquet"


def save_texts(table: pd.DataFrame, digest: str) -> None:
    """Put the texts into the cache under their hash; ``table.attrs["labels"]`` is the number of labels if not five."""
    write_whole(get_texts_file(digest), table.to_parquet(index=False))


def load_examples(digest: str, name: str) -> list[Example]:
    """Examples of one split in the order of the data table's rows.

    Raises:
        CompanionError: the texts are not in the cache (they are rebuilt by ``companion run``).
    """
    file = get_texts_file(digest)
    if not file.exists():
        raise CompanionError(f"The texts of data set {digest} are not in {file.parent}; run 'companion run' again.")
    columns = ["item", "source", "axis", "prompt", "label", "explanation"]
    table = pd.read_parquet(file, columns=["split", *columns])
    rows = table.loc[table["split"] == name, columns].rename(columns={"item": "id"}).to_dict("records")
    return [Example(**{str(key): value for key, value in row.items()}) for row in rows]


def count_labels(digest: str) -> int:
    """Number of labels of a data set whose texts are in the cache: five levels, or as many as a reader's own has."""
    # pandas keeps these few facts in the file's head, so that the texts are not read for them.
    kept = pq.read_schema(get_texts_file(digest)).pandas_metadata.get("attributes", {})
    return int(kept.get("labels", 5))
