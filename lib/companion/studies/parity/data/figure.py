"""A standing person in one garment as an SVG, drawn from numbers: the picture of a catalogue without a photograph.

Parts are groups: ``skin`` (with its own shadow), ``hair``, ``garment`` (with its pattern); background, face, shoes and
the plain clothes that go with the garment are in none of them. No length or line depends on the colour of the skin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin

Point = tuple[float, float]

CATEGORIES = ("t-shirt", "shirt", "jumper", "coat", "dress", "skirt", "trousers", "shorts")
PATTERNS = ("plain", "stripes", "pinstripes", "checks", "dots")
HAIRSTYLES = ("short", "bob", "long", "bun")
TOPS = {"t-shirt", "shirt", "jumper", "coat", "dress"}
LIGHT_CLOTH, DARK_CLOTH, SHOES, PAPER = "#e6e3dd", "#85888d", "#3c3d42", "#f3f3f1"
SLEEVES = {"t-shirt": 0.42, "shirt": 1.0, "jumper": 1.0, "coat": 1.0, "dress": 0.18}
"""How far down the arm a sleeve goes."""
HEMS = {
    "t-shirt": (68.0, 12.8),
    "shirt": (71.0, 13.0),
    "jumper": (68.0, 13.2),
    "coat": (90.0, 16.5),
    "dress": (88.0, 19.0),
}
"""Height of a top's hem, from the crown of the head down, and half its width."""


@dataclass(frozen=True)
class Pose:
    """How a person stands; lengths are in pixels of a picture of 128, angles in degrees.

    Attributes:
        scale: size of the person; 1 is 114 pixels tall.
        shift: how far right and down.
        lean: rotation of the whole person.
        arms: for each arm the angle of its upper and its lower half, outwards from hanging down.
        stance: how far each foot is set outwards.
        build: width of the body; 1 is average.
    """

    scale: float
    shift: Point
    lean: float
    arms: tuple[Point, Point]
    stance: float
    build: float


@dataclass(frozen=True)
class Look:
    """What a person looks like and wears; colours are ``#rrggbb``.

    Attributes:
        skin: colour of the skin, and of its shadow.
        hair: colour of the hair, and of its edge.
        hairstyle: one of ``HAIRSTYLES``.
        category: one of ``CATEGORIES``.
        pattern: one of ``PATTERNS``.
        cloth: colour of the garment, of its pattern, and of its edges and folds.
    """

    skin: tuple[str, str]
    hair: tuple[str, str]
    hairstyle: str
    category: str
    pattern: str
    cloth: tuple[str, str, str]

    @property
    def fill(self) -> str:
        """What the garment's shapes are filled with: a colour, or the tile that is named so."""
        return self.cloth[0] if self.pattern == "plain" else "url(#cloth)"


def draw_figure(look: Look, pose: Pose) -> str:
    """Text of an SVG with a view box of 128 x 128."""
    arms, legs = _place_arms(pose), _place_legs(pose)
    back, front = _draw_hair(look)
    layers = [
        _group("hair-back", back),
        _group("skin", _draw_skin(look, pose, arms, legs)),
        _draw_face(),
        _draw_company(look.category, pose, legs),
        _group("garment", _draw_garment(look, pose, arms, legs)),
        _group("hair", front),
    ]
    x, y = 64 + pose.shift[0], 8 + pose.shift[1]
    place = f"translate({x:.2f} {y:.2f}) rotate({pose.lean:.2f} 0 100) scale({pose.scale:.3f})"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128">'
        f"<defs>{_draw_pattern(look)}</defs>"
        f'<rect width="128" height="128" fill="{PAPER}"/>'
        f'<g transform="{place}"><ellipse cx="0" cy="113.5" rx="22" ry="2.6" fill="#dededb"/>'
        f"{''.join(layers)}</g></svg>"
    )


# --- where limbs are -----------------------------------------------------------------------------------------------


def _place_arms(pose: Pose) -> tuple[list[Point], list[Point]]:
    """Shoulder, elbow and wrist of the left and the right arm of the picture."""
    placed = []
    for side, (upper, lower) in zip((-1, 1), pose.arms, strict=True):
        shoulder = (side * 12.2 * pose.build, 32.2)
        elbow = _go(shoulder, side * upper, 18.5)
        placed.append([shoulder, elbow, _go(elbow, side * lower, 17)])
    return placed[0], placed[1]


def _place_legs(pose: Pose) -> tuple[list[Point], list[Point]]:
    """Hip, knee and ankle of both legs."""
    hip = 6.2 * pose.build
    left, right = (
        [(side * hip, 67.0), (side * (hip + pose.stance * 0.45), 89.0), (side * (hip - 0.6 + pose.stance), 110.0)]
        for side in (-1, 1)
    )
    return left, right


def _go(start: Point, angle: float, length: float) -> Point:
    return start[0] + length * sin(radians(angle)), start[1] + length * cos(radians(angle))


def _cut(line: Sequence[Point], share: float) -> list[Point]:
    """The first part of a line of two equal pieces."""
    (ax, ay), (bx, by), (cx, cy) = line
    if share <= 0.5:
        return [line[0], (ax + (bx - ax) * 2 * share, ay + (by - ay) * 2 * share)]
    rest = 2 * share - 1
    return [line[0], line[1], (bx + (cx - bx) * rest, by + (cy - by) * rest)]


# --- shapes --------------------------------------------------------------------------------------------------------


def _group(name: str, shapes: Sequence[str]) -> str:
    return f'<g id="{name}">{"".join(shapes)}</g>'


def _path(line: str, fill: str, edge: str = "none", width: float = 0.9) -> str:
    return f'<path d="{line}" fill="{fill}" stroke="{edge}" stroke-width="{width}" stroke-linejoin="round"/>'


def _outline(right: Sequence[Point], bottom: float, top: float) -> str:
    """A closed outline that is the same on both sides.

    Args:
        right: a point and then three of each cubic curve, down the right side.
        bottom: height to which the join below is bent in the middle.
        top: the same of the join above.
    """
    left = [(-x, y) for x, y in reversed(right)]
    down, up = (" ".join(f"{x:.2f} {y:.2f}" for x, y in side[1:]) for side in (right, left))
    (rx, ry), (lx, ly) = right[0], left[0]
    return f"M{rx:.2f} {ry:.2f}C{down}Q0 {bottom:.2f} {lx:.2f} {ly:.2f}C{up}Q0 {top:.2f} {rx:.2f} {ry:.2f}Z"


def _crease(line: str, edge: str, width: float = 0.7) -> str:
    return f'<path d="{line}" fill="none" stroke="{edge}" stroke-width="{width}" stroke-linecap="round"/>'


def _disc(x: float, y: float, rx: float, ry: float, fill: str) -> str:
    return f'<ellipse cx="{x:.2f}" cy="{y:.2f}" rx="{rx:.2f}" ry="{ry:.2f}" fill="{fill}"/>'


def _limb(line: Sequence[Point], widths: Sequence[float], fill: str, edge: str, rounded: bool = True) -> list[str]:
    """A limb or sleeve that narrows along a line; its outline is the same shape, drawn larger and before."""
    shapes = []
    for grow, colour in ((0.45, edge), (0.0, fill)):
        wide = [width / 2 + grow for width in widths]
        pieces = [_taper(line[at], line[at + 1], wide[at], wide[at + 1]) for at in range(len(line) - 1)]
        joints = zip(line[: len(line) if rounded else -1], wide, strict=False)
        # One path, as cloth is laid out anew for each; all its pieces turn the same way, so that none cuts another out.
        shapes.append(_path("".join([*pieces, *(_round(x, y, radius) for (x, y), radius in joints)]), colour))
    return shapes


def _round(x: float, y: float, radius: float) -> str:
    arc = f"a{radius:.2f} {radius:.2f} 0 1 1"
    return f"M{x - radius:.2f} {y:.2f}{arc} {2 * radius:.2f} 0{arc} {-2 * radius:.2f} 0Z"


def _taper(start: Point, end: Point, first: float, last: float) -> str:
    (ax, ay), (bx, by) = start, end
    length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5 or 1.0
    nx, ny = (by - ay) / length, (ax - bx) / length
    corners = [
        (ax + nx * first, ay + ny * first),
        (bx + nx * last, by + ny * last),
        (bx - nx * last, by - ny * last),
        (ax - nx * first, ay - ny * first),
    ]
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in corners) + "Z"


# --- the person ----------------------------------------------------------------------------------------------------


def _draw_skin(
    look: Look, pose: Pose, arms: tuple[list[Point], list[Point]], legs: tuple[list[Point], list[Point]]
) -> list[str]:
    skin, shadow = look.skin
    build = pose.build
    shapes: list[str] = []
    for leg in legs:
        shapes += _limb(leg, (10.5 * build, 7.6 * build, 5.2), skin, shadow)
    for arm in arms:
        shapes += _limb(arm, (7.0 * build, 5.6, 4.2), skin, shadow)
        shapes.append(_disc(arm[2][0], arm[2][1] + 1.2, 2.9, 3.3, skin))
    shoulder, waist, hip = 13.5 * build, 9.8 * build, 12.2 * build
    side = [(4.0, 25.0), (5, 28), (shoulder, 27), (shoulder, 33), (shoulder - 1, 42), (waist, 46), (waist, 54)]
    body = _outline([*side, (waist, 60), (hip, 62), (hip, 70)], 70, 25)
    shapes.append(_path(body, skin))
    shapes += _limb([(0, 17), (0, 28)], (6.6, 7.6), skin, shadow)
    shapes.append(
        _group("skin-shadow", [_path("M-3.2 19C-2 22.4 2 22.4 3.2 19L3.4 22.5C2 25 -2 25 -3.4 22.5Z", shadow)])
    )
    shapes += [_disc(-7.4, 11.6, 1.5, 2.2, skin), _disc(7.4, 11.6, 1.5, 2.2, skin)]
    shapes += [_disc(0, 11, 7.9, 10.0, shadow), _disc(0, 11, 7.45, 9.55, skin)]
    return shapes


def _draw_face() -> str:
    eyes = [_disc(x, 11.2, 0.85, 1.0, "#26262b") for x in (-2.9, 2.9)]
    return _group("face", [*eyes, _crease("M-2.2 16.2Q0 17.6 2.2 16.2", "#8d4a48", 0.9)])


def _draw_hair(look: Look) -> tuple[list[str], list[str]]:
    """What is behind the head, and what is in front."""
    colour, edge = look.hair
    cap = (
        "M-8.4 11C-9.4 2 -5.5 -0.9 0 -0.9C5.5 -0.9 9.4 2 8.4 11L7 10.6C7.2 7.4 6 5.6 4.6 4.8"
        "C0 7.4 -4.6 6.8 -6.4 5.4C-7 7 -7 8.8 -7 10.6Z"
    )
    behind = {
        "short": "",
        "bob": "M-9 8C-10.5 15 -10 19 -8.6 21.5L8.6 21.5C10 19 10.5 15 9 8Z",
        "long": "M-9 8C-11 18 -11.4 27 -9.4 36L9.4 36C11.4 27 11 18 9 8Z",
        "bun": "M-4.2 0.6A4.2 4 0 1 1 4.2 0.6Z",
    }[look.hairstyle]
    return ([_path(behind, colour, edge, 0.7)] if behind else []), [_path(cap, colour, edge, 0.7)]


# --- what is worn --------------------------------------------------------------------------------------------------


def _draw_company(category: str, pose: Pose, legs: tuple[list[Point], list[Point]]) -> str:
    """Shoes, and plain clothes in one grey that go with the garment."""
    shapes = [
        _disc(side * abs(leg[2][0]) + side * 1.2, 112.2, 4.6, 2.3, SHOES)
        for side, leg in zip((-1, 1), legs, strict=True)
    ]
    build = pose.build
    if category in ("skirt", "trousers", "shorts"):
        shapes.append(_path(_top(build, 60, 10.6, 5.6), LIGHT_CLOTH, "#c9c5bd"))
    elif category != "dress":
        for leg in legs:
            shapes += _limb(leg, (12 * build, 9.4 * build, 7.2), DARK_CLOTH, "#6d7075", rounded=False)
        shapes.append(_path(_seat(build), DARK_CLOTH))
    return _group("company", shapes)


def _top(build: float, hem: float, half: float, neck: float) -> str:
    """Outline of a top without its sleeves."""
    edge, arm, waist = (14 * build - 1.5, 28.4), (14 * build - 0.8, 36.0), 11.4 * build
    shoulder = [(neck, 26.4), (neck, 26.4), edge, edge, (14 * build, 29), (14 * build + 0.4, 33), arm]
    return _outline([*shoulder, (waist, 44), (waist, 50), (half * build, hem)], hem + 2.2, 26.4 + 0.75 * neck)


def _seat(build: float) -> str:
    hip = 12.8 * build
    return _outline([(10.4 * build, 56.0), (hip, 60), (hip, 64), (hip, 70)], 75, 57.6)


def _draw_garment(
    look: Look, pose: Pose, arms: tuple[list[Point], list[Point]], legs: tuple[list[Point], list[Point]]
) -> list[str]:
    category, build = look.category, pose.build
    cloth, edge = look.fill, look.cloth[2]
    if category in TOPS:
        return _draw_top(look, pose, arms)
    if category == "skirt":
        waist = 10.6 * build
        side = [(waist, 56.0), (14 * build, 64), (17 * build, 76), (18.5 * build, 85)]
        line = _outline(side, 89, 57.4)
        folds = [_crease(f"M{x * 0.5:.1f} 64L{x:.1f} 84", edge) for x in (-8, 0.5, 8.5)]
        return [_path(line, cloth, edge), *folds, _crease(f"M{-waist:.2f} 58.4Q0 59.8 {waist:.2f} 58.4", edge)]
    short = category == "shorts"
    shapes: list[str] = []
    for leg in legs:
        covered = _cut(leg, 0.36) if short else leg
        widths = (13 * build, 13 * build) if short else (12.6 * build, 10 * build, 8.4)
        shapes += _limb(covered, widths, cloth, edge, rounded=False)
    band = _crease(f"M{-10.6 * build:.2f} 58.4Q0 60 {10.6 * build:.2f} 58.4", edge)
    return [*shapes, _path(_seat(build), cloth), band, _crease("M0 60L0 70", edge)]


def _draw_top(look: Look, pose: Pose, arms: tuple[list[Point], list[Point]]) -> list[str]:
    category, build = look.category, pose.build
    cloth, edge = look.fill, look.cloth[2]
    loose = {"coat": 2.0, "jumper": 1.2}.get(category, 0.6)
    shapes: list[str] = []
    for arm in arms:
        line = _cut(arm, SLEEVES[category])
        widths = [6.4 * build + loose, 6.2 + loose, 5.2 + loose][: len(line)]
        shapes += _limb(line, widths, cloth, edge, rounded=False)
    hem, half = HEMS[category]
    neck = {"dress": 7.2, "t-shirt": 6.0, "jumper": 5.4}.get(category, 4.6)
    shapes.append(_path(_top(build, hem, half, neck), cloth, edge))
    return shapes + _draw_details(category, cloth, edge, hem, half * build)


def _draw_details(category: str, cloth: str, edge: str, hem: float, half: float) -> list[str]:
    """Collar, buttons, folds: what tells one top from another."""
    if category == "shirt":
        collar = [
            _path(f"M{side * 4.6} 25.6L{side * 0.3} 30L{side * 4.4} 33L{side * 6.4} 27.4Z", cloth, edge)
            for side in (-1, 1)
        ]
        return [
            _crease(f"M0 30L0 {hem + 0.8:.2f}", edge),
            *collar,
            *[_disc(1.4, y, 0.6, 0.6, edge) for y in range(36, 68, 7)],
        ]
    if category == "coat":
        lapels = [
            _path(f"M{side * 4.6} 25.4L{side * 0.2} 46L{side * 6.6} 38L{side * 8.2} 28Z", cloth, edge)
            for side in (-1, 1)
        ]
        buttons = [_disc(x, y, 0.85, 0.85, edge) for y in (50, 58, 66) for x in (-3.2, 3.2)]
        return [_crease(f"M0 46L-0.6 {hem + 1:.2f}", edge, 0.9), *lapels, *buttons]
    if category == "jumper":
        return [
            _crease(f"M{-half:.2f} {hem - 3:.2f}Q0 {hem - 0.6:.2f} {half:.2f} {hem - 3:.2f}", edge),
            _crease("M-5.6 27.6Q0 33.2 5.6 27.6", edge),
        ]
    if category == "dress":
        folds = [_crease(f"M{x * 0.5:.1f} 58L{x:.1f} {hem - 1:.1f}", edge) for x in (-9, 0.5, 9.5)]
        return [_crease("M-10.4 54Q0 56.4 10.4 54", edge, 0.9), *folds]
    return [_crease("M-6.2 27.4Q0 33.4 6.2 27.4", edge)]


def _draw_pattern(look: Look) -> str:
    """Cloth as a tile that repeats; the tile is part of the garment, so that it is painted with it."""
    if look.pattern == "plain":
        return ""
    base, second, _ = look.cloth
    tiles = {
        "stripes": (6, f'<rect width="6" height="2.6" fill="{second}"/>'),
        "pinstripes": (4, f'<rect width="1.3" height="4" fill="{second}"/>'),
        "checks": (7, f'<path d="M0 0H3.5V3.5H0ZM3.5 3.5H7V7H3.5Z" fill="{second}"/>'),
        "dots": (6, "".join(f'<circle cx="{at}" cy="{at}" r="1.35" fill="{second}"/>' for at in (1.5, 4.5))),
    }
    side, shapes = tiles[look.pattern]
    # The ground is wider than the tile, so that no seam shows where tiles meet.
    ground = f'<rect x="-1" y="-1" width="{side + 2}" height="{side + 2}" fill="{base}"/>'
    tile = _group("garment-tile", [ground, shapes])
    return f'<pattern id="cloth" width="{side}" height="{side}" patternUnits="userSpaceOnUse">{tile}</pattern>'
