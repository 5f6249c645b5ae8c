"""Exact near-duplicate search: Jaccard similarity of word shingles through an inverted index."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

SHINGLE_WORDS = 3
_WORD = re.compile(r"\w+")


def extract_words(text: str) -> list[str]:
    """Split text into lower-case words, dropping punctuation."""
    return _WORD.findall(text.casefold())


def make_shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Give the set of runs of three words; a shorter text is its own single shingle, an empty one has none."""
    tokens = extract_words(text)
    if not tokens:
        return frozenset()
    starts = range(max(1, len(tokens) - SHINGLE_WORDS + 1))
    return frozenset(tuple(tokens[start : start + SHINGLE_WORDS]) for start in starts)


def find_similar_pairs(texts: Sequence[str], threshold: float) -> Iterator[tuple[int, int]]:
    """Yield every pair (earlier, later) of positions whose shingle sets have a Jaccard similarity >= threshold > 0.

    Exact, unlike MinHash: the index proposes only texts that share a shingle, and every proposal is counted in full.
    """
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sets = [make_shingles(text) for text in texts]
    for later, own in enumerate(sets):
        shared = Counter(earlier for shingle in own for earlier in index[shingle])
        for earlier, common in sorted(shared.items()):
            if common >= threshold * (len(own) + len(sets[earlier]) - common):
                yield earlier, later
        for shingle in own:
            index[shingle].append(later)
