"""Random relabellings as bits: one bit of a 64-bit word is one draw, so that 64 draws are counted at a time.

Labels move between units: single things, or blocks of things that share a label (all photographs of one model). They
stay inside strata. In a stratum of at most ``SHUFFLED`` units every draw is a fresh random order: each unit draws a
random number, and the order of these deals out the labels. In a larger one, one random order is drawn and then shifted
around by random numbers of places: under the null hypothesis the labels that one has seen are as likely as any of these
shifts, so that p is exact here too (Hemerik and Goeman 2018).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.stats.retrieval import Groups, Integers

WORD = 64
SHUFFLED = 9_999
"""Most units that are shuffled; of more there are as many shifts as the usual number of draws."""
PIECE = 4096
"""Labels that are turned into bits at a time."""
SPARE = 28
"""Random bits that are left of 32 beside a label, less those of the pairs of units: below, keys have 64 bits."""
LEFT = 128
"""Rows of bits that are summed one by one; more are added up as binary numbers."""
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Exchange:
    """What may be exchanged with what under the null hypothesis.

    Attributes:
        strata: (n,) numbers from 0 on; labels are exchanged inside a stratum only.
        blocks: (n,) numbers from 0 on; the things of a block keep one label together.
    """

    strata: Integers | None = None
    blocks: Integers | None = None

    @property
    def free(self) -> bool:
        """Whether every label may go anywhere."""
        return self.strata is None and self.blocks is None


def split_by_size(blocks: Integers, strata: Integers | None = None, least: int = 20) -> Integers:
    """Strata (n,) inside which blocks are of about one size, so that exchanging them keeps what sizes do.

    Inside each stratum blocks are sorted by size. A class ends before a size that is twice its first, and wherever the
    size changes with ``least`` blocks on both sides.
    """
    unit, size = np.unique(blocks, return_inverse=True, return_counts=True)[1:]
    first = np.unique(unit, return_index=True)[1]
    place = np.zeros(len(size), dtype=np.int64)
    if strata is not None:
        place = np.unique(strata, return_inverse=True)[1][first]
    part = np.zeros(len(size), dtype=np.int64)
    opened = 0
    for stratum in range(int(place.max()) + 1):
        inside = np.flatnonzero(place == stratum)
        sizes = np.sort(size[inside])
        starts = [0]
        for start in np.flatnonzero(np.diff(sizes)) + 1:
            many = min(start - starts[-1], len(sizes) - start) >= least
            if many or sizes[start] >= 2 * sizes[starts[-1]]:
                starts.append(int(start))
        borders = sizes[starts]
        part[inside] = opened + np.searchsorted(borders, size[inside], side="right") - 1
        opened += len(starts)
    return part[unit]


@dataclass
class Relabelling:
    """Draws of labels for ``groups`` that keep to ``exchange``; the very first draw is the labels as they are.

    Raises:
        CompanionError: more than 256 groups, a block with two labels or in two strata, all things in one block, or a
            label that is constant inside every stratum, so that nothing can be exchanged.
    """

    groups: Groups
    exchange: Exchange
    generator: np.random.Generator
    _unit_of: Integers | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        codes, strata = self.groups.codes, self.exchange.strata
        if self.groups.number > 256:
            raise CompanionError(f"there are {self.groups.number} groups: at most 256 can be compared")
        if self.exchange.blocks is not None:
            first, self._unit_of = np.unique(self.exchange.blocks, return_index=True, return_inverse=True)[1:]
            if len(first) < 2:
                raise CompanionError("all items are in one block: nothing can be exchanged")
            _check_constant(codes, first, self._unit_of, "two labels of the attribute")
            codes = codes[first]
            if strata is not None:
                _check_constant(strata, first, self._unit_of, "two strata")
                strata = strata[first]
        self._place = (
            np.zeros(len(codes), dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
        )
        # Units sorted by stratum and, inside each, in a random order.
        self._order = np.lexsort((self.generator.random(len(codes)), self._place))
        self._size = np.bincount(self._place)
        self._start = np.cumsum(self._size) - self._size
        self._labels = codes[self._order].astype(np.uint8)
        pairs = self._place * self.groups.number + codes
        if len(np.unique(pairs)) == len(self._size):
            of = " of blocks of about one size" if self.exchange.blocks is not None else ""
            raise CompanionError(f"the attribute is constant inside every stratum{of}: nothing can be exchanged")
        self._drawn = False

    @property
    def units(self) -> tuple[Groups, Integers]:
        """Labels and strata, as numbers from 0, of what is exchanged: single things, or blocks."""
        order = np.argsort(self._order)
        return Groups(self._labels[order].astype(np.int64), self.groups.number), self._place

    def draw(self, words: int) -> Words:
        """The next 64 x ``words`` draws as (n, P, words): P bits tell the groups apart, the lowest first."""
        draws, bits = words * WORD, int(self.groups.number - 1).bit_length()
        units = np.empty((len(self._labels), bits, words), dtype=np.uint64)
        for start, size in zip(self._start, self._size, strict=True):
            part = self._labels[start : start + size]
            for rows, drawn in _draw_stratum(part, draws, self.generator, not self._drawn):
                for bit in range(bits):
                    units[self._order[start:][rows], bit] = _pack(drawn >> np.uint8(bit) & np.uint8(1))
        self._drawn = True
        return units if self._unit_of is None else units[self._unit_of]


def _draw_stratum(
    labels: NDArray[np.uint8], draws: int, generator: np.random.Generator, first: bool
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Pieces (draws, rows) of the labels of one stratum, drawn anew; if ``first``, draw 0 is the labels themselves."""
    size = len(labels)
    if size <= SHUFFLED:
        drawn = _shuffle(labels, draws, generator)
        if first:
            drawn[0] = labels
        yield slice(0, size), drawn
        return
    twice = np.concatenate([labels, labels])
    shifts = generator.integers(size, size=draws)
    shifts[0] *= not first
    for start in range(0, size, PIECE):
        end = min(start + PIECE, size)
        yield slice(start, end), np.stack([twice[shift + start : shift + end] for shift in shifts])


def _shuffle(labels: NDArray[np.uint8], draws: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Random orders (draws, n) of the labels; an order in which two random numbers tie is drawn again."""
    kinds = np.unique(labels)
    deal = _deal_two if len(kinds) == 2 else _deal_sorted
    drawn = np.empty((draws, len(labels)), dtype=np.uint8)
    for start in range(0, draws, WORD):
        rest = np.arange(start, min(start + WORD, draws))
        while len(rest):
            drawn[rest], tied = deal(labels, kinds, len(rest), generator)
            rest = rest[tied]
    return drawn


def _deal_two(
    labels: NDArray[np.uint8], kinds: NDArray[np.uint8], draws: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The first label to the smallest random numbers, and where the last of these ties with one beyond it."""
    number = int((labels == kinds[0]).sum())
    keys = _draw_keys(len(labels), draws, 32, generator)
    cut = np.partition(keys, number - 1, axis=1)[:, number - 1 : number]
    above = keys > cut
    drawn = above.view(np.uint8) * (kinds[1] - kinds[0])
    drawn += kinds[0]
    return drawn, np.count_nonzero(above, axis=1) != len(labels) - number


def _deal_sorted(
    labels: NDArray[np.uint8], kinds: NDArray[np.uint8], draws: int, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The labels in the order of random numbers that carry them in their lowest bits, and where two of these tie."""
    bits = int(kinds[-1]).bit_length()
    width = 32 if len(labels) ** 2 < 2 ** (SPARE - bits) else 64
    keys = _draw_keys(len(labels), draws, width, generator)
    mask = keys.dtype.type(2**bits - 1)
    keys &= ~mask
    keys |= labels
    keys.sort(axis=1)
    tied = np.any((keys[:, 1:] ^ keys[:, :-1]) <= mask, axis=1)
    return (keys & mask).astype(np.uint8), np.logical_and(tied, len(kinds) > 1)


def _draw_keys(size: int, draws: int, width: int, generator: np.random.Generator) -> NDArray[np.unsignedinteger]:
    """Random whole numbers of 32 or 64 bits: (draws, size)."""
    numbers = generator.integers(0, 2**64, size=(draws, -(-size * width // 64)), dtype=np.uint64)
    return numbers.view(f"u{width // 8}")[:, :size]


def _pack(drawn: NDArray[np.uint8]) -> Words:
    """(draws, rows) of 0 and 1 as (rows, draws / 64) words."""
    octets = drawn.reshape(-1, 8, drawn.shape[1])
    packed = octets[:, 0].copy()
    for place in range(1, 8):
        packed |= octets[:, place] << place
    return np.ascontiguousarray(packed.T).view(np.uint64)


def _check_constant(values: Integers, first: Integers, unit: Integers, what: str) -> None:
    if (uneven := values != values[first][unit]).any():
        block = int(unit[uneven.argmax()])
        raise CompanionError(f"block number {block} has {what}: a block keeps one")


def count_bits(*levels: Words) -> Integers:
    """How many rows have each bit set, (n, words) -> (64 x words,), by carry-save addition of the rows.

    Rows of the second array count twice, those of the third four times, and so on.
    """
    total = np.zeros(levels[0].shape[1] * WORD, dtype=np.int64)
    rows = levels[0][:0]
    level = 0
    while len(rows) or level < len(levels):
        if level < len(levels):
            rows = np.concatenate([rows, levels[level]]) if len(rows) else levels[level]
        carries = []
        while len(rows) > LEFT:
            third = len(rows) // 3
            one, two, three = rows[:third], rows[third : 2 * third], rows[2 * third : 3 * third]
            odd, carry = one ^ two, two ^ three
            carry &= odd
            carry ^= two
            odd ^= three
            carries.append(carry)
            rows = np.concatenate([odd, rows[3 * third :]])
        if len(rows):
            ones = np.unpackbits(np.ascontiguousarray(rows).view(np.uint8), axis=1, bitorder="little")
            total += ones.sum(axis=0, dtype=np.uint8).astype(np.int64) << level
        rows = np.concatenate(carries) if carries else rows[:0]
        level += 1
    return total
