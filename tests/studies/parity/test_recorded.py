"""What was asked of the recorded run before it was made, looked up in its tables."""

import pandas as pd
import pytest
from scipy import stats

from companion import paths

FOLDER = paths.results("cpu", "parity")


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / f"{name}.csv")


def test_thirty_six_rates_are_at_their_level() -> None:
    table = read("T1_level")
    rates = table[table["arm"].isin(["centred", "share", "chi_square"])][["random", "near_low", "near_high", "hubs"]]
    low, high = stats.binom.ppf([0.005 / 36, 1 - 0.005 / 36], 1000, 9 / 192) / 1000
    assert rates.size == 36 and rates.min().min() >= low and rates.max().max() <= high


def test_the_detectable_bias_shrinks_as_planned() -> None:
    slopes = read("T3_slopes").set_index(["graph", "shares"])["estimate"]
    assert ((slopes["random"] + 0.5).abs() < 0.05).all()
    table = read("T3_detectable")
    ratio = table["estimate"] / table["planned"]
    assert (ratio[table["graph"].isin(["near_low", "hubs"])] - 1).abs().max() < 0.15


def test_pictures_return_by_tone_as_far_as_it_is_seen() -> None:
    table = read("T4_variants")
    persons = table[table["catalogue"] == "persons"].set_index("variant")["excess"]
    assert persons["skin_only"] > persons["whole"] > persons["skin_neutral"] > 0.05
    once = read("T5_once").set_index("variant").loc[["skin_and_hair_neutral", "random"]]
    assert once["rejected"].between(0.02, 0.09).all()


def test_tests_that_keep_to_the_design_hold_their_level() -> None:
    table = read("T6_designs").set_index(["situation", "exchange"])
    tied, within = table.loc[("tied", "free")], table.loc[("tied", "within_categories")]
    assert tied["n"] == within["n"] == 20 and tied["largest_p"] < 0.001 and within["rejected"] <= 4 / 20
    assert table.loc[("several", "by_person"), "rejected"] < 0.1
    assert table.loc[("several", "free"), "rejected"] > 0.9


@pytest.mark.parametrize("name", ["T1_level", "T3_slopes", "T4_variants", "T6_designs"])
def test_every_share_says_its_interval(name: str) -> None:
    columns = set(read(name).columns)
    assert any(column.endswith("low") for column in columns) and any(column.endswith("high") for column in columns)
