"""Division into train, validation and test so that nothing said in one is nearly repeated in another."""

import hashlib
from collections.abc import Mapping, Sequence

from scipy.cluster.hierarchy import DisjointSet

from companion.corpora.conversation import Conversation
from companion.corpora.filters import get_comparison_text
from companion.corpora.similarity import extract_words, find_similar_pairs
from companion.errors import CompanionError

LEAK_SIMILARITY = 0.5


def _clusters(conversations: Sequence[Conversation], seed: int) -> list[list[Conversation]]:
    """Collect what is tied by group, question or near-duplicate response, directly or through others.

    The order is drawn from the seed and does not depend on the order given.
    """
    tied: DisjointSet[int] = DisjointSet(range(len(conversations)))
    first: dict[tuple[str, str], int] = {}
    for place, item in enumerate(conversations):
        question = " ".join(extract_words(" ".join(turn.text for turn in item.context)))
        for key in (("group", item.group), ("question", question)):
            tied.merge(first.setdefault(key, place), place)
    for one, other in find_similar_pairs([get_comparison_text(item) for item in conversations], LEAK_SIMILARITY):
        tied.merge(one, other)

    def draw(item: Conversation) -> str:
        return hashlib.sha256(f"{seed}|split|{item.id}".encode()).hexdigest()

    clusters = [sorted((conversations[place] for place in places), key=draw) for places in tied.subsets()]
    return sorted(clusters, key=lambda cluster: draw(cluster[0]))


def split(conversations: Sequence[Conversation], sizes: Mapping[str, int], seed: int) -> dict[str, list[Conversation]]:
    """Draw disjoint splits of the sizes asked for; call it once for each source to stratify by source.

    Conversations that share a group or a context, or whose responses (short answers: with the last turn) have a Jaccard
    similarity of word triples of 0.5 or more, are tied, also through others, and stay in one split. A cluster goes to
    the split that lacks the largest share of its size among those with room for all of it; clusters that fit nowhere
    fill the last places in part. A cluster gives one conversation, or two, four or all where the sizes cannot be filled
    otherwise.

    Raises CompanionError if more conversations are asked for than these rules leave.
    """
    clusters = _clusters(conversations, seed)
    # Replies of one chat are alike: as few of a cluster as the sizes allow, so that items are as good as independent.
    for most in (1, 2, 4, len(conversations)):
        drawn = _draw([cluster[:most] for cluster in clusters], sizes)
        placed = sum(len(items) for items in drawn.values())
        if placed == sum(sizes.values()):
            return drawn
    source = conversations[0].source if conversations else "an empty source"
    raise CompanionError(
        f"{sum(sizes.values())} conversations of {source} are asked for but only {placed} of its "
        f"{len(conversations)} can be placed without near-duplicates across splits: ask for fewer"
    )


def _draw(clusters: list[list[Conversation]], sizes: Mapping[str, int]) -> dict[str, list[Conversation]]:
    """Place whole clusters first, then parts of those that fit nowhere."""
    drawn: dict[str, list[Conversation]] = {name: [] for name in sizes}
    left_over = [cluster for cluster in clusters if not _place(cluster, len(cluster), drawn, sizes)]
    for cluster in left_over:
        _place(cluster, 1, drawn, sizes)
    return drawn


def _place(
    cluster: list[Conversation], room: int, drawn: dict[str, list[Conversation]], sizes: Mapping[str, int]
) -> bool:
    """Put a cluster, or as much of it as fits, into the split that needs most; False if none has room."""
    lacking = {name: size - len(drawn[name]) for name, size in sizes.items()}
    open_splits = [name for name, lack in lacking.items() if lack >= room]
    if not open_splits:
        return False
    name = max(open_splits, key=lambda name: lacking[name] / sizes[name])
    drawn[name].extend(cluster[: lacking[name]])
    return True
