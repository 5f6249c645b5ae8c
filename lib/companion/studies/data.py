"""Inputs of a study as numbers: frames and facts, kept beside the records so that tables can be rebuilt anywhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from companion.errors import CompanionError
from companion.files import file_sha256, write_whole


@dataclass(frozen=True)
class Data:
    """What the runs of a study are made from, as far as numbers say it.

    Attributes:
        frames: tables by name.
        facts: JSON types; ``hash`` of all inputs, and ``commit`` of the code that read them.
    """

    frames: Mapping[str, pd.DataFrame]
    facts: dict[str, Any]

    @property
    def hash(self) -> str:
        """Hash of all inputs."""
        return str(self.facts["hash"])

    def save(self, folder: Path) -> None:
        """Write each frame as a Parquet file, and the facts with the files' sha256 as ``data.json``.

        Raises CompanionError as `files.write_whole`.
        """
        for name, frame in self.frames.items():
            write_whole(folder / f"{name}.parquet", frame.to_parquet(index=False))
        sums = {f"{name}.parquet": file_sha256(folder / f"{name}.parquet") for name in self.frames}
        text = json.dumps({**self.facts, "files": sums}, indent=1, sort_keys=True) + "\n"
        write_whole(folder / "data.json", text.encode())

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read what `save` wrote; ``None`` where there is nothing yet.

        Raises CompanionError where a file is missing or does not have the recorded checksum.
        """
        if not (folder / "data.json").exists():
            return None
        try:
            facts = json.loads((folder / "data.json").read_text(encoding="utf-8"))
            files = {Path(name).name: checksum for name, checksum in facts["files"].items()}
            facts["hash"]  # noqa: B018
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CompanionError(
                f"{folder / 'data.json'} is damaged; delete the folder {folder} and run again."
            ) from error
        for name, expected in files.items():
            if not (folder / name).is_file() or file_sha256(folder / name) != expected:
                raise CompanionError(
                    f"{folder / name} is missing or damaged; delete the folder {folder} and run again."
                )
        try:
            return cls({Path(name).stem: pd.read_parquet(folder / name) for name in files}, facts)
        except (OSError, ValueError) as error:
            raise CompanionError(f"{folder} holds no readable data; delete it and run again.") from error
