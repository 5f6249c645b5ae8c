"""From records to one table, one figure and one claim."""

import pandas as pd
from companion.studies.coin.study import CoinStudy
from matplotlib.figure import Figure

from companion.show.claims import Claim
from companion.show.style import fix_layout, in_style, new_figure
from companion.stats.paired import t_test
from companion.stats.verdict import verdict
from companion.studies.publish import read_records


def heads_table(study: CoinStudy) -> pd.DataFrame:
    """Share of heads of each coin and seed."""
    records = read_records(study, study.specs())
    rows = [(one.spec["arm"], one.spec["seed"], one.arrays["heads"].mean()) for one in records]
    return pd.DataFrame(rows, columns=["arm", "seed", "heads"])


@in_style()
def heads_figure(table: pd.DataFrame, note: str) -> Figure:
    """Every coin and seed as a dot."""
    figure = new_figure(1.4, note)
    axes = figure.add_subplot(xlabel="share of heads", xlim=(0, 1))
    axes.plot(table["heads"], table["arm"], "o")
    return fix_layout(figure)


def claims(study: CoinStudy, table: pd.DataFrame) -> list[Claim]:
    """The one claim of the paper, decided by the interval of the paired difference over seeds."""
    shares = table.pivot(index="seed", columns="arm", values="heads")
    found = t_test((shares["bent"] - shares["fair"]).to_numpy(), study.unit)
    return [
        Claim(
            id="1",
            statement="A bent coin shows heads more often than a fair one.",
            verdict=verdict(found, "greater"),
            side="greater",
            unit="share of heads",
            estimate=found.estimate,
            low=found.low,
            high=found.high,
            level="95 %",
            n=study.size,
            test=found.method,
            note="",
            rests_on=("bent", "fair"),
        )
    ]
