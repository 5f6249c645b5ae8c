from typing import Any

import pytest

from companion.errors import CompanionError
from companion.profiles import Profile, load_profile, load_settings
from companion.studies.parity.settings import ParitySettings


def change(name: str, **values: Any) -> Profile:
    """The profile smoke with other values in one part of the study's section."""
    profile = load_profile("smoke")
    section = dict(profile.studies["parity"])
    section[name] = {**section[name], **values} if name else section
    profile.studies["parity"] = section
    return profile


@pytest.mark.parametrize(
    ("part", "values", "sentence"),
    [
        ("pictures", {"persons": 10}, "10 persons are too few for 10 results"),
        ("level", {"items": 20}, "a catalogue of 20 items is too small for 10 results"),
        ("level", {"shares": [0.6, 0.3]}, "do not sum to 1"),
        ("power", {"graphs": ["wheel"]}, "graphs"),
        ("level", {"graphs": ["tilt"]}, "graphs"),
        ("pictures", {"size": 8}, "size"),
    ],
)
def test_a_mistake_in_a_profile_is_one_sentence(part: str, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CompanionError, match=sentence) as error:
        load_settings(change(part, **values), "parity", ParitySettings)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("profile", ["smoke", "quick", "cpu", "paper"])
def test_every_profile_has_a_section(profile: str) -> None:
    settings = load_settings(load_profile(profile), "parity", ParitySettings)
    assert (settings.draws + 1) % 64 == 0
