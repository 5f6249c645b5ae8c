from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from companion.errors import CompanionError
from companion.studies.parity.data import deepfashion
from companion.studies.parity.data.deepfashion import load_photographs, read_deepfashion

FILES = {
    "img/WOMEN/Dresses/id_00000002/02_1_front.jpg": "train",
    "img/WOMEN/Dresses/id_00000002/02_2_side.jpg": "query",
    "img/WOMEN/Graphic_Tees/id_00000007/01_7_additional.jpg": "gallery",
    "img/MEN/Jackets-Vests/id_00000011/03_4_full.jpg": "train",
}


def item(file: str) -> str:
    return file.split("/")[3]


def write_list(file: Path, head: str, rows: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # The archives align their columns with blanks.
    file.write_text(
        "\n".join([str(len(rows)), *([head] if head else []), *(row.replace(" ", "     ") for row in rows)])
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, file in enumerate(FILES):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 60), (50 * number, 0, 0)).save(tmp_path / file, quality=100)
    partition = [f"{file} {item(file)} {split}" for file, split in FILES.items()]
    write_list(tmp_path / "Eval" / deepfashion.PARTITION, "image_name item_id evaluation_status", partition)
    boxes = [f"{file} 3 1 5 6 30 50" for file in list(FILES)[:3]]
    write_list(tmp_path / "Anno" / deepfashion.BOXES, "image_name clothes_type pose_type x_1 y_1 x_2 y_2", boxes)
    write_list(tmp_path / "Anno" / deepfashion.ITEMS, "", sorted({item(file) for file in FILES}))
    return tmp_path


def test_what_the_names_and_lists_say(folder: Path) -> None:
    photographs = read_deepfashion(folder)
    table = photographs.table
    assert table["file"].tolist() == list(FILES) and table["split"].tolist() == list(FILES.values())
    assert table["item"].tolist() == ["id_00000002", "id_00000002", "id_00000007", "id_00000011"]
    assert table["gender"].tolist() == ["WOMEN"] * 3 + ["MEN"]
    assert table["category"].tolist() == ["Dresses", "Dresses", "Graphic_Tees", "Jackets-Vests"]
    assert table["colour"].tolist() == ["02", "02", "01", "03"]
    assert table["view"].tolist() == ["front", "side", "additional", "full"]
    assert table["box"].tolist() == [(5, 6, 30, 50)] * 3 + [None]
    assert photographs.dropped == {"no file": 0, "item not in the list": 0}


def test_lists_may_lie_elsewhere_and_only_the_partition_is_needed(folder: Path) -> None:
    (folder / "Eval" / deepfashion.PARTITION).rename(folder / deepfashion.PARTITION)
    (folder / "Anno" / deepfashion.BOXES).unlink()
    (folder / "Anno" / deepfashion.ITEMS).unlink()
    assert read_deepfashion(folder).table["box"].tolist() == [None] * 4


def test_what_is_not_there_is_counted(folder: Path) -> None:
    (folder / list(FILES)[1]).unlink()
    write_list(folder / "Anno" / deepfashion.ITEMS, "", ["id_00000002", "id_00000011"])
    photographs = read_deepfashion(folder)
    assert photographs.dropped == {"no file": 1, "item not in the list": 1}
    assert photographs.table["item"].tolist() == ["id_00000002", "id_00000011"]


def test_pictures_are_squares_that_are_not_stretched(folder: Path) -> None:
    table = read_deepfashion(folder).table
    images = load_photographs([folder / file for file in table["file"]], size=30)
    assert images.shape == (4, 30, 30, 3) and images.dtype == np.uint8
    assert (images[:, :, :4] > 250).all() and (images[:, :, -4:] > 250).all()  # 40 x 60 becomes 20 x 30
    np.testing.assert_allclose(images[:, 15, 15, 0], [0, 50, 100, 150], atol=3)
    cut = load_photographs([folder / table["file"][0]], size=44, boxes=[table["box"][0]])
    assert (cut[0, :, 12:32] < 60).all() and (cut[0, :, :8] > 250).all()  # the box is 25 x 44


# --- mistakes ------------------------------------------------------------------------------------------------------


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match=r"has no Eval/list_eval_partition.txt or Anno/"):
        read_deepfashion(tmp_path)


def test_no_images(folder: Path) -> None:
    for file in FILES:
        (folder / file).unlink()
    with pytest.raises(CompanionError, match=r"unpack img\.zip there"):
        read_deepfashion(folder)


@pytest.mark.parametrize(
    "row",
    [
        "img/WOMEN/Dresses/../../../etc/passwd id_00000002 train",
        "/img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000002 train",
        "img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000003 train",
        "img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000002 test",
        "img/WOMEN/id_00000002/02_1_front.jpg id_00000002 train",
    ],
)
def test_a_row_that_is_none(folder: Path, row: str) -> None:
    write_list(folder / "Eval" / deepfashion.PARTITION, "image_name item_id evaluation_status", [row])
    with pytest.raises(CompanionError, match=r"list_eval_partition.txt, line 3: expected img/WOMEN"):
        read_deepfashion(folder)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (deepfashion.PARTITION, "", "first line should say how many rows follow, and 0 do"),
        (deepfashion.PARTITION, "3\nhead\na b c\n", "first line should say how many rows follow, and 1 do"),
        (deepfashion.PARTITION, "1\nhead\na b\n", "line 3: expected 3 words and found 2"),
        (deepfashion.BOXES, "1\nhead\na 1 1 2 3 4 x\n", "line 3: expected six whole numbers"),
        (deepfashion.ITEMS, "two\nid_1\nid_2\n", "first line should say"),
    ],
)
def test_damaged_lists(folder: Path, name: str, text: str, sentence: str) -> None:
    (folder / "Eval" / name).write_text(text)
    with pytest.raises(CompanionError, match=sentence):
        read_deepfashion(folder)


def test_files_that_are_no_images(folder: Path) -> None:
    file = folder / "broken.jpg"
    file.write_bytes(b"not an image")
    with pytest.raises(CompanionError, match=r"broken\.jpg cannot be read as an image"):
        load_photographs([file])
    whole = (folder / next(iter(FILES))).read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CompanionError, match=r"broken\.jpg cannot be read as an image"):
        load_photographs([file])
    with pytest.raises(CompanionError, match=r"nothing of .* is in its box \(40, 0, 90, 60\)"):
        load_photographs([folder / next(iter(FILES))], boxes=[(40, 0, 90, 60)])


def test_a_box_that_reaches_beyond_its_image_is_clipped(folder: Path) -> None:
    file = folder / list(FILES)[1]
    clipped, inside = load_photographs([file, file], boxes=[(10, -5, 99, 60), (10, 0, 40, 60)])
    assert (clipped == inside).all()
