"""Drawings whose parts are named, so that skin, hair and garment can be painted over without a look at their colours.

A part is a group of an SVG whose ``id`` begins with its name ("skin", "skin-shadow", "skin-b"). Groups, not colours:
hair changes its colour with the tone, and one brown is the skin of one picture and the hair of another.
"""

import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
"""Pictures as (n, height, width, 3), sRGB."""

SIZE = 128
"""Height and width of a picture in pixels."""
WHITE = "#ffffff"
BLACK = "#000000"
OTHER = "other"
"""Every shape that is in no named part."""
SHAPES = {"path", "circle", "ellipse", "line", "polyline", "polygon", "rect"}
ET.register_namespace("", "http://www.w3.org/2000/svg")


def paint(svg: str, parts: tuple[str, ...], paints: Mapping[str, str]) -> str:
    """Give all shapes of some parts one flat colour each; what is see-through stays so.

    Args:
        svg: text of a drawing with presentation attributes (no style sheets).
        parts: names of the parts to tell apart; a shape in none of them is ``OTHER``.
        paints: colour (``#rrggbb``) of each part to paint over; parts that are not named keep their own colours.

    Returns:
        Text of the new drawing. A part in front of another still hides it.
    """
    if not paints:
        return svg
    root = ET.fromstring(svg)
    _paint(root, OTHER, {"fill": BLACK, "stroke": "none"}, parts, paints)
    return ET.tostring(root, encoding="unicode")


def _paint(
    element: ET.Element, part: str, inherited: dict[str, str], parts: tuple[str, ...], paints: Mapping[str, str]
) -> None:
    name = element.get("id", "")
    part = next((known for known in parts if name.startswith(known)), part)
    now = {key: element.get(key, value) for key, value in inherited.items()}
    if part in paints and element.tag.rpartition("}")[2] in SHAPES:
        for key, value in now.items():
            element.set(key, "none" if value == "none" else paints[part])
    for child in element:
        _paint(child, part, now, parts, paints)


def rasterise(svg: str, size: int = SIZE) -> NDArray[np.uint8]:
    """Draw an SVG with a square view box on white, as (size, size, 3) sRGB."""
    import resvg_py
    from PIL import Image

    png = resvg_py.svg_to_bytes(svg_string=svg, background="white", width=size, height=size, skip_system_fonts=True)
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def rasterise_all(drawings: list[str], size: int = SIZE) -> Images:
    """Draw many; a drawing that comes more than once is drawn once, so that its pictures are equal in every pixel."""
    drawn = {svg: rasterise(svg, size) for svg in dict.fromkeys(drawings)}
    return np.stack([drawn[svg] for svg in drawings])
