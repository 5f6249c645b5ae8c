import numpy as np
import pytest

from companion.studies.parity.data.drawing import paint, rasterise, rasterise_all

PARTS = ("skin", "hair")
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20">
  <g id="skin" fill="#a57939"><g id="inner"><rect x="0" y="0" width="10" height="10"/></g></g>
  <g id="skin-shadow"><rect x="10" y="0" width="10" height="10" fill="#6a462f" stroke="none"/></g>
  <g id="hair-2"><rect x="0" y="10" width="10" height="10" fill="#a57939"/></g>
  <rect x="10" y="10" width="10" height="10"/>
  <rect id="cover" x="0" y="0" width="5" height="5" fill="#00ff00"/>
  <path d="M0 0H20" fill="none"/>
</svg>"""


def colours(svg: str) -> dict[str, tuple[int, ...]]:
    pixels = rasterise(svg, 20)
    places = {"cover": (2, 2), "skin": (7, 7), "shadow": (5, 15), "hair": (15, 5), "other": (15, 15)}
    return {name: tuple(int(value) for value in pixels[place]) for name, place in places.items()}


def test_parts_are_known_by_their_groups_and_not_by_their_colours() -> None:
    before = colours(SVG)
    assert before["skin"] == before["hair"] == (0xA5, 0x79, 0x39)
    after = colours(paint(SVG, PARTS, {"skin": "#010203"}))
    assert after == before | {"skin": (1, 2, 3), "shadow": (1, 2, 3)}
    assert colours(paint(SVG, PARTS, {"hair": "#010203"})) == before | {"hair": (1, 2, 3)}


def test_other_shapes_still_hide_what_is_behind_them() -> None:
    white = (255, 255, 255)
    after = colours(paint(SVG, PARTS, {"hair": "#ffffff", "other": "#ffffff"}))
    assert after == colours(SVG) | {"hair": white, "other": white, "cover": white}


def test_nothing_to_paint_changes_no_pixel() -> None:
    assert (rasterise(paint(SVG, PARTS, {})) == rasterise(SVG)).all()


def test_what_is_see_through_stays_so() -> None:
    assert paint(SVG, PARTS, {"other": "#ffffff"}).count('fill="none"') == 1


@pytest.mark.parametrize("size", [16, 128])
def test_equal_drawings_are_equal_pictures(size: int) -> None:
    images = rasterise_all([SVG, paint(SVG, PARTS, {"skin": "#000000"}), SVG], size)
    assert images.shape == (3, size, size, 3) and images.dtype == np.uint8
    assert (images[0] == images[2]).all() and (images[0] != images[1]).any()
