"""Results between the same two things: returned both ways, found by two searches, or between the same two blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
SORTED = 2**23
"""Results that are sorted at a time."""
PIECE = 2**20
"""Results that are looked at, or runs that are summed, at a time."""


@dataclass(frozen=True)
class Side:
    """The results (M, K) of a search, -1 for none, as links between nodes.

    Attributes:
        asked: (M,) node of each query.
        units: (N,) node of each item; ``None``: every item is its own.
    """

    results: Integers
    asked: Integers
    units: Integers | None = None


@dataclass(frozen=True)
class Shared:
    """Results that are not alone between their two nodes, a run for each pair of nodes.

    Attributes:
        places: of the results in the order of all sides, row by row.
        starts: place in ``places`` where each run starts.
    """

    places: NDArray[np.unsignedinteger]
    starts: NDArray[np.unsignedinteger]

    def runs(self) -> Iterator[tuple[NDArray[np.unsignedinteger], Integers]]:
        """Whole runs, ``PIECE`` at a time: places, and where among them each run starts."""
        for first in range(0, len(self.starts), PIECE):
            starts = self.starts[first : first + PIECE].astype(np.int64)
            last = first + PIECE
            end = int(self.starts[last]) if last < len(self.starts) else len(self.places)
            yield self.places[starts[0] : end], starts - starts[0]


def find_shared(sides: Sequence[Side], nodes: int) -> Shared:
    """Results of all sides together that join the same two of ``nodes`` as another one does.

    Pairs of nodes are sorted in parts, so that what stands in memory beside the results is small.
    """
    size = sum(side.results.size for side in sides)
    kind = np.min_scalar_type(size)
    parts = 1 << max(0, (size - 1) // SORTED).bit_length()
    places, starts, counted = [np.empty(0, kind)], [np.empty(0, kind)], 0
    for part in range(parts):
        keys, where = _list_pairs(sides, nodes, parts, part)
        order = np.argsort(keys)
        keys = keys[order]
        same = keys[1:] == keys[:-1]
        after, before = np.r_[False, same][: len(keys)], np.r_[same, False][: len(keys)]
        shared = after | before
        places.append(where[order][shared].astype(kind))
        starts.append((counted + np.flatnonzero(~after[shared])).astype(kind))
        counted += len(places[-1])
    return Shared(np.concatenate(places), np.concatenate(starts))


def _list_pairs(sides: Sequence[Side], nodes: int, parts: int, part: int) -> tuple[Integers, Integers]:
    """The two nodes as one number, and the place, of each result whose nodes' sum leaves ``part`` of ``parts``."""
    keys: list[Integers] = []
    places: list[Integers] = []
    offset = 0
    for side in sides:
        depth = side.results.shape[1]
        step = max(1, PIECE // depth)
        for start in range(0, len(side.results), step):
            found = side.results[start : start + step]
            asked = side.asked[start : start + step].astype(np.int64)[:, None]
            nodes_found = (found if side.units is None else side.units[found]).astype(np.int64)
            chosen = found >= 0
            if parts > 1:
                chosen &= ((asked + nodes_found) & (parts - 1)) == part
            where = np.flatnonzero(chosen)
            one, other = asked[where // depth, 0], nodes_found.ravel()[where]
            keys.append(np.minimum(one, other) * nodes + np.maximum(one, other))
            places.append(where + (offset + start * depth))
        offset += side.results.size
    return np.concatenate([np.empty(0, np.int64), *keys]), np.concatenate([np.empty(0, np.int64), *places])
