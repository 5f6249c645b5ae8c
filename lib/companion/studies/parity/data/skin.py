"""Skin tone as a number: the individual typology angle (ITA) of skin pixels, and its six classes.

Source: Chardon, Cretois and Hourseau, "Skin colour typology and suntanning pathways" (1991), and the classes of Del
Bino and Bernerd (2013). It is a property of pixels, not of a person: light and camera move it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from companion.errors import CompanionError

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

CLASSES = ("very light", "light", "intermediate", "tan", "brown", "dark")
BOUNDS = (55.0, 41.0, 28.0, 10.0, -30.0)
"""Degrees above which an angle is in the first, second, ... class; an angle on a bound is in the darker class."""
ENOUGH = 50
"""Skin pixels of a 128-pixel picture below which it has no tone: 0.3 % of it."""
_CB, _CR = (77, 127), (133, 173)

# sRGB (IEC 61966-2-1) to XYZ for the 2-degree observer and D65, the white of that matrix, and CIELAB's two constants.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_TO_RGB = np.linalg.inv(_TO_XYZ)
_WHITE = _TO_XYZ.sum(axis=1)
_DELTA = 6 / 29


def convert_to_lab(colours: ArrayLike) -> Floats:
    """CIELAB (D65) of sRGB colours.

    Args:
        colours: (..., 3) from 0 to 255.

    Returns:
        (..., 3): L* from 0 to 100, a* (green to red) and b* (blue to yellow).
    """
    linear = linearise(np.asarray(colours, dtype=np.float64) / 255)
    ratio = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(ratio > _DELTA**3, np.cbrt(ratio), ratio / (3 * _DELTA**2) + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def convert_to_srgb(lab: ArrayLike) -> Floats:
    """The inverse of ``convert_to_lab``: (..., 3) from 0 to 255, not rounded; what sRGB cannot show is clipped."""
    lightness, a, b = np.moveaxis(np.asarray(lab, dtype=np.float64), -1, 0)
    y = (lightness + 16) / 116
    roots = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    ratio = np.where(roots > _DELTA, roots**3, 3 * _DELTA**2 * (roots - 4 / 29))
    return delinearise(ratio * _WHITE @ _TO_RGB.T) * 255


def linearise(values: ArrayLike) -> Floats:
    """Light of sRGB values, both from 0 to 1."""
    values = np.asarray(values, dtype=np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def delinearise(light: ArrayLike) -> Floats:
    """sRGB values of light, both from 0 to 1; what lies outside is clipped."""
    light = np.clip(np.asarray(light, dtype=np.float64), 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def compute_ita(lab: ArrayLike) -> Floats:
    """ITA in degrees, atan2(L* - 50, b*), of (..., 3) CIELAB colours; the lighter the skin the larger."""
    values = np.asarray(lab, dtype=np.float64)
    return np.degrees(np.arctan2(values[..., 0] - 50, values[..., 2]))


def classify(ita: ArrayLike) -> NDArray[np.int64]:
    """Class of each angle, 0 (very light) to 5 (dark), as an index of ``CLASSES``; -1 of an angle that is not there."""
    angles = np.asarray(ita, dtype=np.float64)
    number = (angles[..., None] <= np.array(BOUNDS)).sum(axis=-1)
    return np.where(np.isnan(angles), -1, number)


def find_skin(images: NDArray[np.uint8]) -> Booleans:
    """Pixels of the colour of skin: Cb from 77 to 127 and Cr from 133 to 173 (Chai and Ngan 1999), (n, h, w).

    A rule of colour alone: beige cloth and wood pass it, very dark and very pale skin may not.
    """
    red, green, blue = np.moveaxis(images.astype(np.float32), -1, 0)
    cb = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    return (cb >= _CB[0]) & (cb <= _CB[1]) & (cr >= _CR[0]) & (cr <= _CR[1])


@dataclass(frozen=True)
class Tones:
    """Tones of pictures.

    Attributes:
        ita: (n,) degrees, the median over skin pixels; nan where there are too few.
        pixels: (n,) how many there are.
    """

    ita: Floats
    pixels: NDArray[np.int64]

    @property
    def kept(self) -> Booleans:
        """(n,) whether there are enough; report their share by tone, as a rule of colour loses some tones more."""
        return ~np.isnan(self.ita)


def measure_tones(images: NDArray[np.uint8], masks: Booleans | None = None, enough: int = ENOUGH) -> Tones:
    """ITA of each picture.

    Args:
        images: (n, h, w, 3) sRGB bytes.
        masks: (n, h, w) true where skin is, as a renderer knows it; without, ``find_skin`` guesses.
        enough: skin pixels that a picture must have.

    Raises:
        CompanionError: shapes that do not fit.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or (masks is not None and masks.shape != images.shape[:3]):
        raise CompanionError(
            f"pictures of shape {images.shape} with masks of shape {None if masks is None else masks.shape}: give "
            "(n, height, width, 3) and (n, height, width)"
        )
    chosen = find_skin(images) if masks is None else masks
    pixels = chosen.sum(axis=(1, 2), dtype=np.int64)
    angles = [
        np.median(compute_ita(convert_to_lab(image[mask]))) if count >= max(enough, 1) else np.nan
        for image, mask, count in zip(images, chosen, pixels, strict=True)
    ]
    return Tones(np.array(angles, dtype=np.float64), pixels)
