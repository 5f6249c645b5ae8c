"""Random relabellings as bits: one bit of a 64-bit word is one draw, so that 64 draws are counted at a time.

Labels move between units: single things, or blocks of things that share a label (all photographs of one model). They
stay inside strata. In a stratum of at most ``SHUFFLED`` units every draw is a fresh random order. In a larger one, one
random order is drawn and then shifted around by random numbers of places: under the null hypothesis the labels that one
has seen are as likely as any of these shifts, so that p is exact here too (Hemerik and Goeman 2018).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from companion.errors import CompanionError
from companion.stats.retrieval import Groups, Integers

WORD = 64
SHUFFLED = 20_000
PIECE = 4096
"""Labels that are turned into bits at a time."""
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
            raise CompanionError("the attribute is constant inside every stratum: nothing can be exchanged")
        self._drawn = False

    def draw(self, words: int) -> Words:
        """The next 64 x ``words`` draws as (n, P, words): P bits tell the groups apart, the lowest first."""
        draws, bits = words * WORD, int(self.groups.number - 1).bit_length()
        units = np.empty((len(self._labels), bits, words), dtype=np.uint64)
        for start, size in zip(self._start, self._size, strict=True):
            part = self._labels[start : start + size]
            for rows, drawn in _draw_stratum(part, draws, self.generator, not self._drawn):
                labels = np.ascontiguousarray(drawn.T)
                for bit in range(bits):
                    packed = np.packbits(labels >> bit & 1, axis=1, bitorder="little")
                    units[self._order[start:][rows], bit] = packed.view(np.uint64)
        self._drawn = True
        return units if self._unit_of is None else units[self._unit_of]


def _draw_stratum(
    labels: NDArray[np.uint8], draws: int, generator: np.random.Generator, first: bool
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Pieces (draws, rows) of the labels of one stratum, drawn anew; if ``first``, draw 0 is the labels themselves."""
    size = len(labels)
    if size <= SHUFFLED:
        drawn = np.tile(labels, (draws, 1))
        generator.permuted(drawn[first:], axis=1, out=drawn[first:])
        yield slice(0, size), drawn
        return
    twice = np.concatenate([labels, labels])
    shifts = generator.integers(size, size=draws)
    shifts[0] *= not first
    for start in range(0, size, PIECE):
        end = min(start + PIECE, size)
        yield slice(start, end), np.stack([twice[shift + start : shift + end] for shift in shifts])


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
        while (third := len(rows) // 3) > 0:
            one, two, three = rows[:third], rows[third : 2 * third], rows[2 * third : 3 * third]
            odd = one ^ two
            carries.append((one & two) | (odd & three))
            odd ^= three
            rows = np.concatenate([odd, rows[3 * third :]])
        for row in rows:
            total += np.unpackbits(row.view(np.uint8), bitorder="little").astype(np.int64) << level
        rows = np.concatenate(carries) if carries else rows[:0]
        level += 1
    return total
