import pytest

from companion.corpora.sources import SOURCES
from companion.show import names


def test_every_source_is_shown_with_what_it_stands_in_for() -> None:
    assert all(f"(for {source.stands_in_for})" in names.source_name(name) for name, source in SOURCES.items())
    assert names.source_name("faq") == "faq (for AmazonQA)"
    assert names.source_name("chat_high") == "chat high (for HH-RLHF chosen)"
    assert names.source_name("other_source") == "other_source"


@pytest.mark.parametrize("field", ["label", "colour", "marker"])
def test_no_two_arms_look_the_same(field: str) -> None:
    looks = [getattr(style, field) for style in names.ARM_STYLES.values()]
    assert len(set(looks)) == len(looks) == 10


def test_the_primary_arms_keep_their_colours() -> None:
    colours = [names.arm_style(arm).colour for arm in ("label", "explanation", "shuffled", "bag_of_words")]
    assert colours == ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]


def test_orders_do_not_depend_on_the_frame() -> None:
    assert names.arm_order(["new", "explanation", "base", "label", "new"]) == ["base", "label", "explanation", "new"]
    assert names.axis_order(["pooled", "x", "on_topic"]) == ["on_topic", "pooled", "x"]


def test_unknown_names_are_shown_plainly() -> None:
    assert names.arm_name("my_arm") == "my arm"
    assert names.heading("share_of_gap") == "share of gap"
    assert names.heading("n_items") == "items"
    assert names.heading("mae") == "mean absolute error (levels)"
