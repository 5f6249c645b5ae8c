"""A catalogue of garments on drawn persons whose skin colour is known: the ground truth of whether a search leaks.

Everything but the skin is drawn independently of it, unless ``confounding`` ties the category to the tone: then the
tone can be told from the garment alone, as in a catalogue that shows some clothes on some people. A person ("model")
may be seen in several pictures, with one skin, hair, build and garment. All is determined by the seed, and the first
items of a larger catalogue are those of a smaller one.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.studies.parity.data.drawing import BLACK, OTHER, SIZE, WHITE, Images, paint, rasterise
from companion.studies.parity.data.figure import CATEGORIES, HAIRSTYLES, PATTERNS, Look, Pose, draw_figure
from companion.studies.parity.data.skin import compute_ita, convert_to_srgb, delinearise, linearise

PARTS = ("skin", "hair", "garment")
NEUTRAL_SKIN = "#bdbdbd"
Variant = Literal["whole", "skin_only", "skin_neutral", "garment_only"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
PAINTS: dict[Variant, dict[str, str]] = {
    "whole": {},
    "skin_only": {"hair": WHITE, "garment": WHITE, OTHER: WHITE},
    "skin_neutral": {"skin": NEUTRAL_SKIN},
    "garment_only": {"skin": WHITE, "hair": WHITE, OTHER: WHITE},
}
"""What each variant paints over; ``only`` leaves what is seen of that part, on white."""

PALETTE = (
    (77.0, 6.0, 13.0),
    (70.0, 9.0, 18.0),
    (64.0, 11.0, 21.0),
    (56.0, 13.0, 22.0),
    (44.0, 13.0, 20.0),
    (31.0, 10.0, 12.5),
)
"""CIELAB colours of skin from light to dark, one in each class of ``skin.CLASSES``; tones between them are mixed."""
COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((350, 366), (0.65, 0.85), (0.65, 0.85)),
    "orange": ((18, 30), (0.7, 0.9), (0.85, 0.95)),
    "yellow": ((44, 54), (0.6, 0.85), (0.88, 0.98)),
    "green": ((105, 150), (0.4, 0.7), (0.4, 0.7)),
    "teal": ((172, 192), (0.45, 0.75), (0.45, 0.7)),
    "blue": ((208, 228), (0.5, 0.8), (0.45, 0.8)),
    "purple": ((262, 285), (0.35, 0.6), (0.45, 0.7)),
    "pink": ((330, 345), (0.25, 0.5), (0.85, 0.97)),
    "beige": ((30, 42), (0.2, 0.35), (0.75, 0.9)),
    "grey": ((200, 230), (0.0, 0.06), (0.5, 0.7)),
    "black": ((200, 260), (0.0, 0.15), (0.14, 0.25)),
    "white": ((30, 60), (0.0, 0.04), (0.94, 1.0)),
}
"""Ranges of hue (degrees), saturation and value of a garment's named colour."""
HAIR = (
    ("#2b2220", "#151010"),
    ("#4a3122", "#332015"),
    ("#7a5230", "#5a3a1e"),
    ("#c79a4e", "#9d7532"),
    ("#8e8a86", "#6c6864"),
)
GAIN = (0.85, 1.15)
"""Range of the light of a picture, as a factor on linear values."""


@dataclass(frozen=True)
class Garments:
    """A catalogue, as drawings.

    Attributes:
        table: a row per item: ``model`` (number of the person), ``category``, ``colour``, ``pattern``, ``group`` (of
            tones, 0 the lightest), ``tone`` (0 light to 1 dark), ``ita`` (degrees, of the skin as drawn, before the
            light), ``tied`` (the category was chosen by the group) and ``gain`` (light).
        drawings: text of each row's SVG.
    """

    table: pd.DataFrame
    drawings: list[str]


def make_garments(
    count: int,
    *,
    shares: Sequence[float] = (0.5, 0.5),
    photos: int = 1,
    confounding: float = 0.0,
    seed: int = 0,
) -> Garments:
    """Draw a catalogue's items at random.

    Args:
        count: how many items.
        shares: share of models in each group of tones, from light to dark; the groups divide the palette evenly, so
            that (0.2,) * 5 draws all tones alike.
        photos: pictures of each model, in one garment; the last may have fewer.
        confounding: share of items whose category is drawn from their group's own part of the categories, 0 to 1.
        seed: of everything.

    Raises:
        CompanionError: no items or photos, shares that are not positive numbers with the sum 1, or a confounding
            outside 0 to 1.
    """
    if count < 1 or photos < 1:
        raise CompanionError(f"{count} items with {photos} photos of each model: ask for at least one of each")
    if not 1 <= len(shares) <= len(CATEGORIES) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise CompanionError(f"shares {tuple(shares)}: give 1 to {len(CATEGORIES)} positive numbers with the sum 1")
    if not 0 <= confounding <= 1:
        raise CompanionError(f"confounding {confounding} is a share of the items: choose 0 to 1")
    rows, drawings = [], []
    for number in range(count):
        model = _draw_model(np.random.default_rng([seed, 0, number // photos]), shares)
        garment = np.random.default_rng([seed, 1, number // photos])
        item = _draw_item(garment, model["group"], len(shares), confounding)
        photo = np.random.default_rng([seed, 2, number])
        gain, pose = float(photo.uniform(*GAIN)), Pose(**_draw_pose(photo), build=model["build"])
        look = Look(model["skin"], model["hair"], model["hairstyle"], item["category"], item["pattern"], item["cloth"])
        drawings.append(draw_figure(look, pose))
        facts = {key: item[key] for key in ("category", "colour", "pattern", "tied")}
        known = {key: model[key] for key in ("group", "tone", "ita")}
        rows.append({"model": number // photos, **facts, "gain": gain, **known})
    return Garments(pd.DataFrame(rows), drawings)


def draw_garments(garments: Garments, variant: Variant = "whole", size: int = SIZE) -> Images:
    """Pictures of all rows as (n, size, size, 3), each in its own light.

    Raises:
        CompanionError: there is no such variant.
    """
    if variant not in PAINTS:
        raise CompanionError(f"there is no variant {variant!r}; the variants are {', '.join(VARIANTS)}")
    pairs = zip(garments.drawings, garments.table["gain"], strict=True)
    return np.stack([light(rasterise(paint(svg, PARTS, PAINTS[variant]), size), gain) for svg, gain in pairs])


def draw_skin(garments: Garments, size: int = SIZE) -> NDArray[np.bool_]:
    """Where skin is seen, as (n, size, size): pixels that are skin, or its shadow, and nothing else."""
    black = {"skin": BLACK, "hair": WHITE, "garment": WHITE, OTHER: WHITE}
    return np.stack([rasterise(paint(svg, PARTS, black), size).max(axis=2) == 0 for svg in garments.drawings])


def light(image: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
    """The picture in ``gain`` times as much light; what is brighter than white is clipped."""
    table = np.round(delinearise(linearise(np.arange(256) / 255) * gain) * 255).astype(np.uint8)
    return table[image]


def mix_skin(tone: float) -> NDArray[np.float64]:
    """CIELAB colour (3,) of a tone from 0, the lightest of ``PALETTE``, to 1, the darkest."""
    place = np.linspace(0, 1, len(PALETTE))
    return np.array([np.interp(tone, place, channel) for channel in zip(*PALETTE, strict=True)])


def _draw_model(generator: np.random.Generator, shares: Sequence[float]) -> dict[str, Any]:
    group = int(generator.choice(len(shares), p=shares))
    tone = (group + generator.random()) / len(shares)
    lab = mix_skin(tone)
    return {
        "group": group,
        "tone": tone,
        "ita": float(compute_ita(lab)),
        "skin": (_to_hex(convert_to_srgb(lab)), _to_hex(convert_to_srgb(lab * (0.87, 1.05, 1.05)))),
        "hair": HAIR[generator.integers(len(HAIR))],
        "hairstyle": HAIRSTYLES[generator.integers(len(HAIRSTYLES))],
        "build": generator.uniform(0.88, 1.12),
    }


def _draw_item(generator: np.random.Generator, group: int, groups: int, confounding: float) -> dict[str, Any]:
    # Each draw is made whatever the settings, so that those of one item never depend on another setting.
    tied, any_category, own = generator.random() < confounding, *generator.random(2)
    first, last = (len(CATEGORIES) * edge // groups for edge in (group, group + 1))
    number = first + int(own * (last - first)) if tied else int(any_category * len(CATEGORIES))
    colour = list(COLOURS)[generator.integers(len(COLOURS))]
    hue, saturation, value = (generator.uniform(*bounds) for bounds in COLOURS[colour])
    return {
        "tied": bool(tied),
        "category": CATEGORIES[number],
        "colour": colour,
        "pattern": PATTERNS[generator.integers(len(PATTERNS))],
        "cloth": _mix_cloth(hue, saturation, value),
    }


def _mix_cloth(hue: float, saturation: float, value: float) -> tuple[str, str, str]:
    """Colours of the cloth, of its pattern (much lighter, or darker where the cloth is light) and of its edges."""
    pale = value > 0.8 and saturation < 0.6
    second = (
        (saturation + 0.1 * (saturation > 0.1), value * 0.62) if pale else (saturation * 0.2, min(value + 0.5, 0.97))
    )
    edge = (saturation, value * 0.6 if value > 0.3 else value * 0.5)
    pairs = ((saturation, value), second, edge)
    return tuple(_to_hex(np.multiply(colorsys.hsv_to_rgb(hue % 360 / 360, *pair), 255)) for pair in pairs)  # type: ignore[return-value]


def _draw_pose(generator: np.random.Generator) -> dict[str, Any]:
    on_hip, upper, lower = generator.random(2) < 0.2, generator.uniform(7, 24, 2), generator.uniform(-5, 16, 2)
    arms = [
        (40.0, -40.0) if hip else (float(up), float(low)) for hip, up, low in zip(on_hip, upper, lower, strict=True)
    ]
    return {
        "scale": generator.uniform(0.93, 1.02),
        "shift": tuple(generator.uniform((-6, -2), (6, 2))),
        "lean": generator.uniform(-3, 3),
        "arms": tuple(arms),
        "stance": generator.uniform(0, 6),
    }


def _to_hex(colour: NDArray[np.float64]) -> str:
    return "#" + bytes(int(channel) for channel in np.round(colour)).hex()
