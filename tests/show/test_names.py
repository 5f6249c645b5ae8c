from companion.show.names import Names, Style

NAMES = Names(
    styles={"slow": Style("the slow one", "#0072B2", "o"), "fast": Style("the fast one", "#D55E00", "s")},
    values={"axis": {"on_topic": "on-topic", "pooled": "all axes"}, "measure": {"risk": "risk (share)"}, "rule": {}},
    headings={"on_topic": "on-topic", "gained": "items gained"},
)


def test_an_arm_is_called_by_its_label_in_every_column_of_arms() -> None:
    assert {NAMES.name(column, "slow") for column in ("arm", "treatment", "baseline")} == {"the slow one"}
    assert NAMES.style("slow").dash == (0, ())


def test_unknown_names_are_shown_plainly_and_in_grey() -> None:
    assert NAMES.style("my_arm") == Style("my arm", "#444444", "o")
    assert NAMES.name("axis", "new_axis") == "new axis"
    assert NAMES.heading("share_of_gap") == "share of gap"


def test_only_columns_of_names_are_renamed() -> None:
    assert [column for column in ("arm", "axis", "measure", "rule", "source") if NAMES.has_names(column)] == [
        "arm",
        "axis",
        "measure",
        "rule",
    ]


def test_common_statistics_are_known_to_all_and_a_study_adds_its_own() -> None:
    assert Names().name("measure", "nll") == NAMES.name("measure", "nll") == "negative log-likelihood (nats)"
    assert NAMES.name("measure", "risk") == NAMES.heading("risk") == "risk (share)"
    assert Names().heading("n_items") == "items"
    assert (Names().heading("gained"), NAMES.heading("gained")) == ("gained", "items gained")
    assert Names().heading("mae") == "mean absolute error (levels)"


def test_orders_do_not_depend_on_the_frame() -> None:
    assert NAMES.order("arm", ["new", "fast", "slow", "new"]) == ["slow", "fast", "new"]
    assert NAMES.order("axis", ["pooled", "x", "on_topic"]) == ["on_topic", "pooled", "x"]
