"""DeepFashion's in-shop photographs from a folder of the user's own (52,712 images of 7,982 items).

Liu et al., "DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich Annotations" (2016). The data set
is given out by its authors on request, for research only; nothing of it comes with this project. Expected, as its
archives unpack::

    FOLDER/img/WOMEN/Dresses/id_00000002/02_1_front.jpg    (gender, category, item, colour_number_view)
    FOLDER/Eval/list_eval_partition.txt
        52712
        image_name item_id evaluation_status
        img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000002 train
    FOLDER/Anno/list_bbox_inshop.txt
        52712
        image_name clothes_type pose_type x_1 y_1 x_2 y_2
        img/WOMEN/Dresses/id_00000002/02_1_front.jpg 3 1 50 49 208 248
    FOLDER/Anno/list_item_inshop.txt
        7982
        id_00000001

The first list must be there; the boxes and the items are used where they are. The lists may also lie in each other's
folder or in FOLDER itself, as they did in older archives. No list says which photographs show the same person: the item
is the smallest block that is known, and an item is usually worn by one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from companion.errors import CompanionError
from companion.studies.parity.data.drawing import SIZE, Images

PARTITION, BOXES, ITEMS = "list_eval_partition.txt", "list_bbox_inshop.txt", "list_item_inshop.txt"
PLACES = ("Eval", "Anno", ".")
NAME = re.compile(r"img/(MEN|WOMEN)/([\w&-]+)/(id_\d+)/(\w+)\.(?:jpg|jpeg|png)")
SPLITS = {"train", "query", "gallery"}
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Photographs:
    """What is in the folder.

    Attributes:
        table: a row per image in the order of the list: ``file`` (below the folder, with /), ``item``, ``gender``
            (``MEN`` or ``WOMEN``), ``category`` (``Dresses``), ``colour`` (number of the item's colour), ``view``
            (``front``, ``side``, ``back``, ``full``, ``additional``, ``flat``), ``split`` (``train``, ``query``,
            ``gallery``) and ``box`` (left, top, right, bottom in pixels, or None).
        dropped: why and how many images are listed and not in the table.
    """

    table: pd.DataFrame
    dropped: dict[str, int]


def read_deepfashion(folder: Path) -> Photographs:
    """Read the lists, and see which images are there.

    Raises:
        CompanionError: a list is missing or damaged (the sentence says at which line), or no listed image is there.
    """
    boxes = _read_boxes(folder)
    items = _read_items(folder)
    rows: list[dict[str, object]] = []
    dropped = {"no file": 0, "item not in the list": 0}
    for place, (file, item, split) in _read_rows(folder, PARTITION, 3):
        match = NAME.fullmatch(file)
        if not match or match[3] != item or split not in SPLITS:
            raise CompanionError(f"{place}: expected img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000002 train")
        gender, category, _, stem = match.groups()
        if items is not None and item not in items:
            dropped["item not in the list"] += 1
        elif not (folder / file).is_file():
            dropped["no file"] += 1
        else:
            colour, _, view = stem.partition("_")
            facts = {"colour": colour, "view": view.rpartition("_")[2], "split": split, "box": boxes.get(file)}
            rows.append({"file": file, "item": item, "gender": gender, "category": category, **facts})
    if not rows:
        raise CompanionError(
            f"none of the images listed in {PARTITION} is below {folder / 'img'}: unpack img.zip there"
        )
    return Photographs(pd.DataFrame(rows), dropped)


def load_photographs(files: Sequence[Path], size: int = SIZE, boxes: Sequence[Box | None] | None = None) -> Images:
    """Photographs as (n, size, size, 3): scaled to fit, not stretched, and centred on white.

    Args:
        files: images that Pillow can read.
        size: height and width.
        boxes: a part of each to cut out first, or None for all of it; what lies outside the image is left out.

    Raises:
        CompanionError: a file cannot be read, or nothing of it is in its box.
    """
    places = [None] * len(files) if boxes is None else boxes
    return np.stack([_load(file, size, box) for file, box in zip(files, places, strict=True)])


def _load(file: Path, size: int, box: Box | None) -> Images:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CompanionError(
            f"{file} cannot be read as an image ({type(error).__name__}): remove or replace it"
        ) from error
    if box is not None:
        left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], image.width), min(box[3], image.height)
        if left >= right or top >= bottom:
            raise CompanionError(f"nothing of {file} is in its box {box}: leave the box or the image out")
        image = image.crop((left, top, right, bottom))
    return np.asarray(ImageOps.pad(image, (size, size), method=Image.Resampling.LANCZOS, color="white"))


def _find_list(folder: Path, name: str) -> Path | None:
    return next((folder / place / name for place in PLACES if (folder / place / name).is_file()), None)


def _read_rows(folder: Path, name: str, width: int) -> Iterator[tuple[str, list[str]]]:
    """Place (for messages) and words of each line below the head; as many as the first line says, or an error."""
    file = _find_list(folder, name)
    if file is None:
        raise CompanionError(
            f"{folder} has no Eval/{name} or Anno/{name}: name the folder of DeepFashion's in-shop data"
        )
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    head = 2 if width > 1 else 1
    count = int(lines[0]) if lines and lines[0].strip().isdecimal() else -1
    rows = [(number, words) for number, line in enumerate(lines[head:], head + 1) if (words := line.split())]
    if count != len(rows):
        raise CompanionError(f"{file}: its first line should say how many rows follow, and {len(rows)} do")
    for number, words in rows:
        if len(words) != width:
            raise CompanionError(f"{file}, line {number}: expected {width} words and found {len(words)}")
        yield f"{file}, line {number}", words


def _read_boxes(folder: Path) -> dict[str, Box]:
    if _find_list(folder, BOXES) is None:
        return {}
    boxes: dict[str, Box] = {}
    for place, (file, *words) in _read_rows(folder, BOXES, 7):
        if not all(word.isdecimal() for word in words):
            raise CompanionError(f"{place}: expected six whole numbers after the name")
        left, top, right, bottom = (int(word) for word in words[2:])
        boxes[file] = (left, top, right, bottom)
    return boxes


def _read_items(folder: Path) -> set[str] | None:
    if _find_list(folder, ITEMS) is None:
        return None
    return {words[0] for _, words in _read_rows(folder, ITEMS, 1)}
