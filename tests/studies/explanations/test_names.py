"""Each arm, axis and source of the study has a name, and no two arms look the same."""

import pytest

from companion.corpora.originals import ORIGINALS
from companion.corpora.sources import SOURCES
from companion.studies.explanations.names import NAMES
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.targets import CONTROLS, PRIMARY


def test_every_source_is_shown_with_what_it_stands_in_for() -> None:
    assert all(f"(for {source.stands_in_for})" in NAMES.name("source", name) for name, source in SOURCES.items())
    assert NAMES.name("source", "faq") == "faq (for AmazonQA)"
    assert NAMES.name("source", "chat_high") == "chat high (for HH-RLHF chosen)"
    assert all(NAMES.name("source", name) == original.title for name, original in ORIGINALS.items())


@pytest.mark.parametrize("field", ["label", "colour", "marker"])
def test_no_two_arms_look_the_same(field: str) -> None:
    looks = [getattr(style, field) for style in NAMES.styles.values()]
    assert len(set(looks)) == len(looks)


def test_every_arm_has_a_style_and_the_primary_ones_keep_their_colours() -> None:
    assert set(NAMES.styles) == {"base", *PRIMARY, *CONTROLS}
    assert [NAMES.style(arm).colour for arm in PRIMARY] == ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]


def test_the_study_hands_its_names_to_its_tables() -> None:
    assert ExplanationsStudy.names is NAMES
