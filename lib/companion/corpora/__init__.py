"""Real conversations, read from installed packages, filtered, and divided without leaks."""

from companion.corpora.conversation import Conversation, Turn, fingerprint, make_conversation
from companion.corpora.sources import SOURCES, WESNOTH, MissingPackage, Source, find_source, load_source, load_sources
from companion.corpora.splits import split

__all__ = [
    "SOURCES",
    "WESNOTH",
    "Conversation",
    "MissingPackage",
    "Source",
    "Turn",
    "find_source",
    "fingerprint",
    "load_source",
    "load_sources",
    "make_conversation",
    "split",
]
