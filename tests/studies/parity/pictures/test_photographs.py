from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from companion.errors import CompanionError
from companion.models.image_network import load_image_network
from companion.studies.parity.data import deepfashion
from companion.studies.parity.data.garments import draw_garments, make_garments
from companion.studies.parity.data.skin import classify
from companion.studies.parity.pictures import photographs
from companion.studies.parity.pictures.experiment import PictureSpec, embed_and_search

pytest.importorskip("faiss")
NETWORK = "efficientnet-lite0"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The layout of DeepFashion with drawn garments: 16 items of three photographs, the last one in white alone."""
    made = make_garments(48, shares=(0.2,) * 5, photos=3, seed=1)
    folder, lines, boxes = tmp_path / "deepfashion", [], []
    for row, image in enumerate(draw_garments(made, size=256)):
        item, category = f"id_{row // 3:08d}", "Dresses" if row % 2 else "Tees"
        file = f"img/WOMEN/{category}/{item}/01_{row % 3}_front.jpg"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image if row < 45 else np.full_like(image, 255)).save(folder / file, quality=95)
        lines.append(f"{file} {item} train")
        boxes.append(f"{file} 1 1 60 60 200 230")
    (folder / "Eval").mkdir()
    (folder / "Anno").mkdir()
    head = "48\nimage_name item_id evaluation_status\n"
    (folder / "Eval" / deepfashion.PARTITION).write_text(head + "\n".join(lines) + "\n")
    head = "48\nimage_name clothes_type pose_type x_1 y_1 x_2 y_2\n"
    (folder / "Anno" / deepfashion.BOXES).write_text(head + "\n".join(boxes) + "\n")
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    return made.table


def test_an_item_has_the_tone_of_its_skin_and_is_left_out_without_any(shop: pd.DataFrame) -> None:
    vectors, table, dropped = photographs.embed_photographs(load_image_network(NETWORK), 64, False)
    assert dropped == 3 and len(vectors) == len(table) == 45
    assert (table.groupby("item")["tone"].nunique() == 1).all()
    known = classify(shop["ita"].to_numpy())[:45]
    assert np.corrcoef(known, table["tone"])[0, 1] > 0.6


def test_a_face_decides_where_skin_is_measured(shop: pd.DataFrame) -> None:
    table = photographs.list_photographs()
    faces = pd.DataFrame({"file": table["file"], "left": 1, "top": 1, "right": 9, "bottom": 9})
    faces.to_csv(photographs.find_folder() / photographs.FACES, index=False)
    assert set(photographs.list_photographs()["face"]) == {(1, 1, 9, 9)}
    # A corner of the background is no skin.
    assert photographs.embed_photographs(load_image_network(NETWORK), 64, False)[2] > 30


@pytest.mark.parametrize("rendition", ["whole", "garment_only"])
def test_a_search_of_photographs_leaves_out_their_own_item(shop: pd.DataFrame, rendition) -> None:
    spec = PictureSpec("deepfashion", rendition, 0, 1, 0.0, 5, 0, 64, NETWORK, "w", "d", 0)
    arrays, facts = embed_and_search(spec)
    assert facts["dropped"] == 3
    for name in [name for name in arrays if name.startswith("results")]:
        assert (arrays["person"][arrays[name]] != arrays["person"][:, None]).all()


def test_what_decides_the_result_is_hashed_and_mistakes_are_one_sentence(
    shop: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = photographs.list_photographs()
    file = photographs.find_folder() / before["file"].iloc[0]
    Image.new("RGB", (50, 50), "red").save(file)
    assert (photographs.list_photographs()["sha256"] != before["sha256"]).tolist() == [True] + [False] * 47
    (photographs.find_folder() / photographs.FACES).write_text("file,left\nx,1\n")
    with pytest.raises(CompanionError, match="columns file, left, top, right, bottom"):
        photographs.list_photographs()
    monkeypatch.delenv("COMPANION_DATA")
    with pytest.raises(CompanionError, match="name a folder that holds 'deepfashion'"):
        photographs.find_folder()
