"""How training went: losses over the examples seen, and the recipes compared on validation items."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from companion.runs.spec import spec_id
from companion.runs.store import Record
from companion.stats import metrics
from companion.studies.explanations.results.results import Results
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.publish import read_records

RECIPE = ("learning_rate", "epochs", "batch_size")


def compute_learning_curves(results: Results, windows: int = 12) -> pd.DataFrame:
    """F7: training losses of each arm and seed in equal windows of examples seen (axes averaged)."""
    history = results.history
    width = history["examples_seen"].max() / windows
    window = np.ceil(history["examples_seen"] / width) * width
    long = history.assign(examples_seen=window).melt(
        ["arm", "seed", "axis", "examples_seen"], ["label_loss", "rest_loss"], "measure", "value"
    )
    keys = ["arm", "measure", "examples_seen", "seed"]
    return long.dropna().groupby(keys, sort=False)["value"].mean().reset_index()


def read_tuning(study: ExplanationsStudy) -> list[Record]:
    """Records of the choice of recipe; none where it was not made."""
    specs = study.tuning_specs()
    there = all(study.store.has(spec_id(spec)) for spec in specs)
    return read_records(study, specs) if there else []


def compare_recipes(study: ExplanationsStudy, records: Sequence[Record]) -> pd.DataFrame:
    """T0: validation accuracy and NLL of every recipe tried; the chosen one has the lowest NLL over arms and axes."""
    items = study.data.items
    labels = items[items["split"] == "validation"]["label"].to_numpy()
    rows = []
    for record in records:
        found = metrics.metrics(labels[record.arrays["row"]], record.arrays["probabilities"])
        recipe = {name: record.spec["recipe"][name] for name in RECIPE}
        rows.append({**recipe, "arm": record.spec["arm"], "accuracy": found["accuracy"], "nll": found["nll"]})
    table = pd.DataFrame(rows)
    keys = list(RECIPE)
    means = table.pivot_table(index=keys, columns="arm", values=["accuracy", "nll"], aggfunc="mean")
    means.columns = pd.Index(["_".join(map(str, pair)) for pair in means.columns])
    overall = table.groupby(keys)["nll"].mean().rename("nll")
    both = means.join(overall).reset_index()
    rates = both["learning_rate"].map("{:g}".format)
    return both.assign(learning_rate=rates, chosen=both["nll"] == both["nll"].min())
