from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from companion.errors import CompanionError
from companion.studies.parity.data import garments, skin
from companion.studies.parity.data.drawing import paint
from companion.studies.parity.data.figure import CATEGORIES, HAIRSTYLES, PATTERNS
from companion.studies.parity.data.garments import Garments, draw_garments, make_garments

FIVE = (0.2,) * 5


@pytest.fixture(scope="module")
def catalogue() -> Garments:
    return make_garments(60, shares=FIVE, seed=4)


@pytest.fixture(scope="module")
def pictures(catalogue: Garments) -> dict[str, np.ndarray]:
    return {name: draw_garments(catalogue, name) for name in garments.VARIANTS}


@pytest.fixture(scope="module")
def masks(catalogue: Garments) -> np.ndarray:
    return garments.draw_skin(catalogue)


# --- the table -----------------------------------------------------------------------------------------------------


def test_a_large_catalogue_holds_everything_in_its_share() -> None:
    table = make_garments(800, shares=(0.8, 0.2)).table
    assert list(table) == ["model", "category", "colour", "pattern", "tied", "gain", "group", "tone", "ita"]
    assert abs((table["group"] == 0).mean() - 0.8) < 0.05
    assert (table.loc[table["group"] == 0, "tone"] < 0.5).all() and (
        table.loc[table["group"] == 1, "tone"] >= 0.5
    ).all()
    for column, known in (("category", CATEGORIES), ("pattern", PATTERNS), ("colour", tuple(garments.COLOURS))):
        shares = table[column].value_counts(normalize=True)
        assert set(shares.index) == set(known) and shares.min() > 0.5 / len(known)
    assert table["model"].tolist() == list(range(800)) and not table["tied"].any()


def test_the_angle_falls_from_light_to_dark_through_all_classes() -> None:
    angles = skin.compute_ita([garments.mix_skin(tone) for tone in np.linspace(0, 1, 200)])
    assert (np.diff(angles) < 0).all() and set(skin.classify(angles)) == set(range(6))
    assert skin.classify(skin.compute_ita(garments.PALETTE)).tolist() == [0, 1, 2, 3, 4, 5]
    back = skin.convert_to_lab(skin.convert_to_srgb(garments.PALETTE))
    np.testing.assert_allclose(back, garments.PALETTE, atol=1e-6)  # sRGB can show all of them


def test_the_seed_determines_everything_and_smaller_catalogues_are_parts_of_larger_ones(catalogue: Garments) -> None:
    again = make_garments(20, shares=FIVE, seed=4)
    assert again.drawings == catalogue.drawings[:20]
    pd.testing.assert_frame_equal(again.table, catalogue.table[:20])
    assert make_garments(20, shares=FIVE, seed=5).drawings != again.drawings


def test_photos_of_a_model_share_skin_hair_build_and_garment() -> None:
    made = make_garments(10, photos=4, seed=2)
    table = made.table
    assert table["model"].tolist() == [0] * 4 + [1] * 4 + [2] * 2
    same = ["group", "tone", "ita", "category", "colour", "pattern"]
    assert (table.groupby("model")[same].nunique() == 1).all().all()
    assert table["category"].nunique() > 1 and table["gain"].nunique() == len(set(made.drawings)) == 10


def test_confounding_ties_the_category_and_nothing_else() -> None:
    free, tied = (make_garments(500, shares=(0.5, 0.5), confounding=strength).table for strength in (0.0, 0.5))
    for column in ("model", "group", "tone", "ita", "colour", "pattern", "gain"):
        assert (free[column] == tied[column]).all(), column
    assert abs(tied["tied"].mean() - 0.5) < 0.08
    own = tied["category"].map(CATEGORIES.index) // 4 == tied["group"]
    assert own[tied["tied"]].all() and abs(own[~tied["tied"]].mean() - 0.5) < 0.1
    assert (free["category"] == tied["category"])[~tied["tied"]].all()
    every = make_garments(200, shares=(0.3, 0.3, 0.4), confounding=1).table
    assert every.groupby("category")["group"].nunique().max() == 1 and every["category"].nunique() == 8


# --- the pictures --------------------------------------------------------------------------------------------------


def test_variants_show_what_they_say(pictures: dict[str, np.ndarray], masks: np.ndarray, catalogue: Garments) -> None:
    assert {images.shape for images in pictures.values()} == {(60, 128, 128, 3)}
    assert (pictures["skin_only"][masks] == pictures["whole"][masks]).all()
    assert (masks.sum(axis=(1, 2)) > skin.ENOUGH).all()
    for number, gain in enumerate(catalogue.table["gain"]):
        grey, white = garments.light(np.array([0xBD, 0xFF], dtype=np.uint8), gain)
        assert (pictures["skin_neutral"][number][masks[number]] == grey).all()
        assert (pictures["garment_only"][number][masks[number]] == white).all()
        drawn = (pictures["garment_only"][number] != white).any(axis=2)
        assert 0.01 < drawn.mean() < 0.25


def test_nothing_of_the_tone_is_in_a_picture_without_skin(catalogue: Garments) -> None:
    """Two people who differ in nothing but their skin: equal in every pixel once the skin is gone."""
    light = make_garments(4, shares=(1.0,), seed=7)
    one, other = (garments.convert_to_srgb(garments.mix_skin(tone)) for tone in (light.table["tone"][0], 0.95))
    swapped = light.drawings[0].replace(garments._to_hex(one), garments._to_hex(other))
    assert swapped != light.drawings[0]
    for name in ("skin_neutral", "garment_only"):
        assert paint(swapped, garments.PARTS, garments.PAINTS[name]) == paint(
            light.drawings[0], garments.PARTS, garments.PAINTS[name]
        )


def test_the_angle_is_found_again(pictures: dict[str, np.ndarray], masks: np.ndarray, catalogue: Garments) -> None:
    truth = catalogue.table["ita"].to_numpy()
    known, guessed = skin.measure_tones(pictures["whole"], masks), skin.measure_tones(pictures["whole"])
    assert known.kept.all() and np.corrcoef(known.ita, truth)[0, 1] > 0.98
    assert 0.6 < np.corrcoef(guessed.ita[guessed.kept], truth[guessed.kept])[0, 1] < 0.98


def test_light_is_linear_and_clips() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert (garments.light(values, 1.0) == values).all()
    halved = skin.linearise(garments.light(values, 0.5) / 255)
    np.testing.assert_allclose(halved, skin.linearise(values / 255) / 2, atol=0.005)
    assert garments.light(values, 1.2)[250:].tolist() == [255] * 6


def test_every_combination_can_be_drawn_and_looks_different() -> None:
    made = make_garments(400, seed=1)
    seen = {(row.category, row.pattern) for row in made.table.itertuples()}
    assert len(seen) == len(CATEGORIES) * len(PATTERNS)
    assert all(any(style in text for text in made.drawings) for style in ('id="hair-back"', "url(#cloth)"))
    assert len(HAIRSTYLES) == 4
    small = draw_garments(Garments(made.table[:40], made.drawings[:40]), size=32)
    assert all((one != other).any() for one, other in pairwise(small))


# --- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"count": 0}, "at least one of each"),
        ({"photos": 0}, "at least one of each"),
        ({"shares": (0.5, 0.6)}, "positive numbers with the sum 1"),
        ({"shares": (1.5, -0.5)}, "positive numbers with the sum 1"),
        ({"shares": ()}, "give 1 to 8 positive numbers"),
        ({"shares": (0.1,) * 10}, "give 1 to 8 positive numbers"),
        ({"confounding": 1.2}, "choose 0 to 1"),
        ({"confounding": float("nan")}, "choose 0 to 1"),
    ],
)
def test_settings_that_make_no_catalogue(settings: dict, sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence):
        make_garments(**{"count": 3, **settings})


def test_no_such_variant(catalogue: Garments) -> None:
    with pytest.raises(CompanionError, match="the variants are whole, skin_only, skin_neutral, garment_only"):
        draw_garments(catalogue, "naked")
