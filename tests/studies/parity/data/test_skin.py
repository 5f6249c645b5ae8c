import numpy as np
import pytest

from companion.errors import CompanionError
from companion.studies.parity.data import skin

# sRGB with its CIELAB (D65, 2 degrees), rounded, as colour tables print them.
KNOWN = {
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (119, 119, 119): (50.03, 0.0, 0.0),
    (255, 255, 0): (97.14, -21.55, 94.48),
}


def test_known_colours() -> None:
    lab = skin.convert_to_lab(list(KNOWN))
    np.testing.assert_allclose(lab, list(KNOWN.values()), atol=0.03)


def test_there_and_back() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (500, 3))
    np.testing.assert_allclose(skin.convert_to_srgb(skin.convert_to_lab(colours)), colours, atol=1e-6)


def test_what_srgb_cannot_show_is_clipped() -> None:
    assert skin.convert_to_srgb([50, 120, -120]).min() >= 0 and skin.convert_to_srgb([99, 90, 90]).max() <= 255


def test_the_angle_by_hand() -> None:
    lab = [[70, 9, 20], [50, 9, 20], [30, 9, 20], [50 + 20 / np.sqrt(3), 0, 20]]
    np.testing.assert_allclose(skin.compute_ita(lab), [45, 0, -45, 30], atol=1e-9)


def test_classes_and_their_bounds() -> None:
    angles = [56, 55, 42, 41, 29, 28, 11, 10, 0, -29.9, -30, -31, np.nan]
    assert skin.classify(angles).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, -1]
    assert len(skin.CLASSES) == len(skin.BOUNDS) + 1


def test_the_six_classes_of_the_emoji_modifiers_are_in_order() -> None:
    colours = [bytes.fromhex(code) for code in ("fadcbc", "debb90", "c19a65", "a57939", "6a462f")]
    angles = skin.compute_ita(skin.convert_to_lab([list(colour) for colour in colours]))
    assert (np.diff(angles) < 0).all()


def test_the_rule_of_colour() -> None:
    colours = {"light": (224, 172, 138), "brown": (120, 75, 50), "white": (255, 255, 255), "blue": (30, 60, 160)}
    image = np.array([[list(colours.values())]], dtype=np.uint8)
    assert skin.find_skin(image)[0, 0].tolist() == [True, True, False, False]


def make_picture(lab: tuple[float, float, float], pixels: int) -> np.ndarray:
    image = np.full((20, 20, 3), 255, dtype=np.uint8)
    image.reshape(-1, 3)[:pixels] = np.round(skin.convert_to_srgb(lab))
    return image


def test_the_median_over_skin_pixels() -> None:
    labs = [(76, 7, 14), (57, 13, 22), (45, 13, 20)]
    images = np.stack([make_picture(lab, 100) for lab in labs])
    masks = np.zeros((3, 20, 20), dtype=bool)
    masks.reshape(3, -1)[:, :100] = True
    images[:, 0, :20] = (10, 200, 10)  # a fifth of the mask is something else: the median does not move
    tones = skin.measure_tones(images, masks)
    np.testing.assert_allclose(tones.ita, skin.compute_ita(labs), atol=2)
    assert tones.pixels.tolist() == [100] * 3 and tones.kept.all()
    guessed = skin.measure_tones(images)
    np.testing.assert_allclose(guessed.ita, tones.ita, atol=2)
    assert guessed.pixels.tolist() == [80] * 3


def test_too_few_pixels_have_no_tone() -> None:
    images = np.stack([make_picture((57, 13, 22), count) for count in (0, 49, 50)])
    tones = skin.measure_tones(images)
    assert np.isnan(tones.ita).tolist() == [True, True, False] and tones.kept.tolist() == [False, False, True]
    assert skin.classify(tones.ita).tolist() == [-1, -1, 3]
    assert np.isnan(skin.measure_tones(images, enough=0).ita).tolist() == [True, False, False]


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(CompanionError, match=r"give \(n, height, width, 3\) and \(n, height, width\)"):
        skin.measure_tones(np.zeros((2, 4, 4, 3), dtype=np.uint8), np.zeros((1, 4, 4), dtype=bool))
    with pytest.raises(CompanionError, match="with masks of shape None"):
        skin.measure_tones(np.zeros((4, 4, 3), dtype=np.uint8))
