"""Training examples as token ids, the order of an epoch, and the parts of a batch that memory holds at a time."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from companion.models.attention import find_common_prefix

CANDIDATES = 8
"""Groups among which the next one of an epoch is chosen; with more, the orders of different seeds grow alike."""


@dataclass(frozen=True)
class Sequence:
    """One training example as token ids.

    `weights` gives each response token its share of the loss; `label_index` is the place of the label token in the
    response. Examples of one `group` (unless it is empty) follow each other in training, such as versions of one text;
    `stratum` names what the order keeps in even shares, such as the label. Neither may differ by arm.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    weights: tuple[float, ...]
    label_index: int
    group: str = ""
    stratum: str = ""

    @property
    def length(self) -> int:
        """Tokens of prompt and response together."""
        return len(self.prompt) + len(self.response)


def epoch_batches(sequences: list[Sequence], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of one epoch's batches, in an order drawn from seed and epoch that keeps the shares of strata even.

    Groups stay together. The next group is, of `CANDIDATES` drawn at random, the one that brings the examples so far
    nearest to every stratum's share of the whole: chance runs of one label are much of the noise of a short training.
    Only groups, strata, seed and epoch matter, so every arm sees the same examples in the same batches.
    """
    draw = np.random.default_rng([seed, epoch])
    members: dict[str, list[int]] = {}
    for number, sequence in enumerate(sequences):
        members.setdefault(sequence.group or f"alone {number}", []).append(number)
    groups = [draw.permutation(numbers).tolist() for numbers in members.values()]
    excess = _compute_excess(groups, [sequence.stratum for sequence in sequences])
    left = draw.permutation(len(groups)).tolist()
    so_far = np.zeros(excess.shape[1])
    order: list[int] = []
    while left:
        chosen = left.pop(int(((so_far + excess[left[:CANDIDATES]]) ** 2).sum(1).argmin()))
        so_far += excess[chosen]
        order += groups[chosen]
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _compute_excess(groups: list[list[int]], strata: list[str]) -> NDArray[np.float64]:
    """Examples of each stratum (columns) in each group beyond its share, in units of the root of that share."""
    names = {name: column for column, name in enumerate(sorted(set(strata)))}
    counts = np.zeros((len(groups), len(names)))
    for row, numbers in enumerate(groups):
        np.add.at(counts[row], [names[strata[number]] for number in numbers], 1)
    share = counts.sum(0) / counts.sum()
    scaled: NDArray[np.float64] = (counts - counts.sum(1, keepdims=True) * share) / np.sqrt(share)
    return scaled


def split_batch(batch: list[Sequence], shared: bool, room: int) -> list[list[Sequence]]:
    """The batch in as many parts of like size as keep each near `room` tokens, in order; one where it is small.

    `shared` tells whether the prompts' common prefix is held once.
    """
    tokens = sum(sequence.length for sequence in batch)
    if shared:
        tokens -= (len(batch) - 1) * find_common_prefix([sequence.prompt for sequence in batch])
    size = math.ceil(len(batch) / math.ceil(tokens / room))
    return [batch[start : start + size] for start in range(0, len(batch), size)]
