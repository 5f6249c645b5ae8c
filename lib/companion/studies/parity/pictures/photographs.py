"""Photographs of a shop: DeepFashion's in-shop data, with the tone of the skin that is seen in them.

The folder is ``$COMPANION_DATA/deepfashion`` (see `data.deepfashion`). ``faces.csv`` in it may name a face in each
photograph, as found by a detector of the user's own, with the columns file, left, top, right, bottom (pixels).
"""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from companion.corpora.originals import FOLDER_VARIABLE
from companion.errors import CompanionError
from companion.stats.retrieval import Integers
from companion.studies.parity.data.deepfashion import load_photographs, read_deepfashion
from companion.studies.parity.data.skin import classify, measure_tones

if TYPE_CHECKING:
    from companion.models.image_network import ImageNetwork

FACES = "faces.csv"
SHRUNK = 0.1
"""Share of a face's width and height that is left out on each side, where hair and background are."""
SIDE = 256
"""Height and width at which skin is measured, in pixels; 200 of them must be skin (see `data.skin.ENOUGH`)."""
PIECE = 512
"""Photographs in memory at a time."""


def find_folder() -> Path:
    """Folder of the photographs; raises CompanionError where the environment names none."""
    if not has_photographs():
        raise CompanionError(f"There are no photographs: let {FOLDER_VARIABLE} name a folder that holds 'deepfashion'.")
    return Path(os.environ[FOLDER_VARIABLE]) / "deepfashion"


def has_photographs() -> bool:
    """Whether the environment names a folder that holds them."""
    return (Path(os.environ.get(FOLDER_VARIABLE) or os.devnull) / "deepfashion").is_dir()


def list_photographs() -> pd.DataFrame:
    """The photographs that are there, with ``sha256`` of each file and ``face`` (box or None).

    Raises CompanionError as `find_folder` and `read_deepfashion`, and for a damaged ``faces.csv``.
    """
    folder = find_folder()
    table = read_deepfashion(folder).table
    faces = _read_faces(folder / FACES)
    digests = [hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in table["file"]]
    return table.assign(sha256=digests, face=table["file"].map(faces.get))


def embed_photographs(
    network: "ImageNetwork", size: int, garment_only: bool
) -> tuple[NDArray[np.float32], pd.DataFrame, int]:
    """Vectors of the photographs (n, d), their rows with ``tone`` (class 0 light to 5 dark), and how many have none.

    The tone is that of the item's median angle, since photographs of one item show one person in most cases. With
    ``garment_only`` the network sees the garment's box where the lists have one.
    """
    folder, table = find_folder(), list_photographs()
    vectors, angles = [], []
    for start in range(0, len(table), PIECE):
        rows = table.iloc[start : start + PIECE]
        files = [folder / file for file in rows["file"]]
        vectors.append(network.embed(load_photographs(files, size, rows["box"].tolist() if garment_only else None)))
        skin = load_photographs(files, SIDE, [_shrink(face) for face in rows["face"]])
        angles.append(measure_tones(skin, enough=200).ita)
    table = table.assign(ita=np.concatenate(angles))
    tone: Integers = classify(table.groupby("item")["ita"].transform("median").to_numpy())
    return np.concatenate(vectors)[tone >= 0], table.assign(tone=tone)[tone >= 0], int((tone < 0).sum())


def _shrink(face: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
    if face is None:
        return None
    left, top, right, bottom = face
    across, down = round(SHRUNK * (right - left)), round(SHRUNK * (bottom - top))
    return left + across, top + down, right - across, bottom - down


def _read_faces(file: Path) -> dict[str, tuple[int, int, int, int]]:
    if not file.is_file():
        return {}
    try:
        table = pd.read_csv(file)[["file", "left", "top", "right", "bottom"]]
        boxes = table[["left", "top", "right", "bottom"]].astype("int64").to_numpy()
    except (OSError, ValueError, KeyError, pd.errors.ParserError) as error:
        raise CompanionError(
            f"{file} cannot be read: give a CSV with the columns file, left, top, right, bottom in pixels."
        ) from error
    return {str(name): (a, b, c, d) for name, (a, b, c, d) in zip(table["file"], boxes.tolist(), strict=True)}
