"""From item-level results to the estimates that tables, figures and claims show; every test is one of ``stats``.

The unit over several data sets is the source (Demsar 2006): differences are paired by seed and item, averaged over
axes, then tested over sources. The 18 cells share items and students, so their count only describes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from companion.runs.store import Record
from companion.stats import metrics, paired
from companion.stats.bootstrap import nested_bootstrap
from companion.stats.estimate import Estimate
from companion.stats.metrics import reliability_curve
from companion.stats.power import Design, cell_error, design_error, equivalence_power, minimal_effect, smallest_margin
from companion.studies.explanations.data.annotate import merge_rules
from companion.studies.explanations.results.results import Results, probability_names
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.study import ExplanationsStudy

RECIPE = ("learning_rate", "epochs", "batch_size")
SHORTCUTS = ("majority", "length", "words_only")
RESAMPLING_SEED = 20251103
EFFECT_SDS = (0.02, 0.05)
HIGHEST = {
    "correct": 1.0,
    "within_one": 1.0,
    "absolute_error": np.inf,
    "brier": 2.0,
    "nll": np.inf,
    "peak_mass": 1.0,
    "output_entropy": np.inf,
    "label_entropy": np.inf,
}
"""The most that a column of `Results.predictions` can be; the least is 0."""


def pairs(results: Results, treated: str, control: str, column: str) -> pd.DataFrame:
    """Differences treated - control of an item-level column, paired by axis, source, item and seed.

    An arm that was run with one seed (``base``) is compared with every seed of the other.
    """
    keys = ["axis", "source", "item", "seed"]
    frame = results.predictions[["arm", *keys, column]].rename(columns={column: "value"})
    sides = [frame[frame["arm"] == arm] for arm in (treated, control)]
    seeds = sorted(set(sides[0]["seed"]) | set(sides[1]["seed"]))
    wide = pd.concat([side if side["seed"].nunique() > 1 else _every_seed(side, seeds) for side in sides])
    return paired.differences(wide, treated, control)


def _every_seed(side: pd.DataFrame, seeds: Sequence[int]) -> pd.DataFrame:
    return pd.concat([side.assign(seed=seed) for seed in seeds])


def bootstrap(differences: pd.DataFrame, resamples: int, new_sources: bool = True, level: float = 0.95) -> Estimate:
    """Nested bootstrap over sources, seeds and items of paired differences, axes averaged first; t limits."""
    generator = np.random.default_rng(RESAMPLING_SEED)
    tables = paired.items_by_source(differences)
    return nested_bootstrap(tables, generator, new_sources=new_sources, level=level, resamples=resamples)


def level_estimate(results: Results, arm: str, column: str, resamples: int, axis: str | None = None) -> Estimate:
    """Mean of a column in one arm with the nested bootstrap interval for new sources, cut at its possible range."""
    rows = results.predictions[results.predictions["arm"] == arm]
    rows = rows if axis is None else rows[rows["axis"] == axis]
    estimate = bootstrap(rows.rename(columns={column: "difference"}), resamples)
    return within(estimate, 0.0, HIGHEST[column])


def within(estimate: Estimate, lowest: float, highest: float) -> Estimate:
    """The estimate with its interval cut at what is possible; a few seeds can make a t interval longer than that."""
    low, high = np.clip([estimate.low, estimate.high], lowest, highest)
    return replace(estimate, low=float(low), high=float(high))


def possible(estimate: Estimate, column: str) -> Estimate:
    """A difference of two means of a column, with its interval cut at what is possible."""
    highest = HIGHEST.get(column, np.inf)
    return within(estimate, -highest, highest)


def design_table(settings: ExplanationsSettings, comparisons: int) -> pd.DataFrame:
    """What the design can find at 80 % power in a family of so many comparisons, before any result is looked at.

    ``minimal_effect`` is the smallest accuracy difference (between arms, all axes or one; of an arm to the most
    frequent label, which a verdict needs; of each single cell, for all of them to lie clearly above zero),
    ``smallest_margin`` the smallest margin within which two equally good arms can be shown to be so,
    ``power_at_margin`` the chance of that at the stated margin. Assumed, not estimated: on a third of the items exactly
    one arm is right, half of that noise is the same for every seed, and true effects vary between sources, and seeds,
    with the standard deviation ``effect_sd``.
    """
    one, axes = settings, len(settings.axes)
    rows: list[dict[str, object]] = []
    for name, count in {f"two arms, {axes} axes": axes, "two arms, one axis": 1}.items():
        for design in _designs(one, len(one.sources), count):
            error = design_error(design)
            found = {
                "minimal_effect": minimal_effect(*error, alpha=0.05 / comparisons),
                "smallest_effect_of_interest": one.smallest_effect,
                "smallest_margin": smallest_margin(*error),
                "equivalence_margin": one.equivalence_margin,
                "power_at_margin": equivalence_power(one.equivalence_margin, *error),
                "smallest_p": paired.smallest_p(design.sources, comparisons),
            }
            rows.append({"comparison": name, **_sizes(design), **found})
    for design in _designs(one, len(one.sources), axes):
        learnt = minimal_effect(*design_error(design))
        rows.append({"comparison": "arm to most frequent label", **_sizes(design), "minimal_effect": learnt})
    cells = len(one.sources) * axes
    for design in _designs(one, 1, 1):
        needed = minimal_effect(*cell_error(design), power=0.8 ** (1 / cells))
        rows.append({"comparison": f"each of {cells} cells", **_sizes(design), "minimal_effect": needed})
    return pd.DataFrame(rows)


def _designs(settings: ExplanationsSettings, sources: int, axes: int) -> list[Design]:
    seeds, items = len(settings.seeds), settings.test_items * axes
    return [Design(sources, seeds, items, 1 / 3, 0.5, effect_sd, effect_sd) for effect_sd in EFFECT_SDS]


def _sizes(design: Design) -> dict[str, float]:
    sizes = {"n_sources": design.sources, "n_seeds": design.seeds, "n_items": design.items}
    return {"effect_sd": design.source_sd, **sizes}


def data_table(items: pd.DataFrame, sources: Sequence[dict[str, str]]) -> pd.DataFrame:
    """T1: per source and axis, sizes; on the test items shares of the labels and what context-free shortcuts reach.

    ``level_accuracy`` is what a rater would reach who knew the level; labels are merged from noisy ratings. Where no
    level is known it is missing, and ``rho_length`` is that of the label.
    """
    rows = []
    for source in sources:
        for axis in items["axis"].unique():
            cell = items[(items["source"] == source["name"]) & (items["axis"] == axis)]
            test = cell[cell["split"] == "test"]
            sizes = {f"n_{split}": int((cell["split"] == split).sum()) for split in ("train", "validation", "test")}
            shares = {f"label_{label}": float((test["label"] == label).mean()) for label in range(1, 6)}
            reached = {f"{name}_accuracy": float((test[name] == test["label"]).mean()) for name in SHORTCUTS}
            truth = test["level"] if levels_known(items) else test["label"]
            length = {"rho_length": float(test["words"].corr(truth, method="spearman"))}
            known = {"level_accuracy": float((truth == test["label"]).mean()) if levels_known(items) else np.nan}
            rows.append({"source": source["name"], "axis": axis, **sizes, **shares, **length, **reached, **known})
    return pd.DataFrame(rows)


def levels_known(items: pd.DataFrame) -> bool:
    """Whether replies were made worse by known amounts."""
    return bool(items["level"].notna().all())


def merge_table(study: ExplanationsStudy) -> pd.DataFrame:
    """T2: error of each merge rule against the known level, and the paired difference to the mean, over sources."""
    items = study.data.items[["item", "axis", "source", "split", "level"]]
    errors = merge_rules(study.data.ratings, items)
    test = errors.merge(items[["item", "axis", "source"]], on=["item", "axis"]).assign(seed=0)
    rows = []
    for rule, group in test.groupby("rule", sort=False):
        row: dict[str, object] = {"rule": rule}
        for measure in ("absolute_error", "squared_error"):
            estimate = within(
                bootstrap(group.rename(columns={measure: "difference"}), study.settings.resamples), 0, np.inf
            )
            row |= _limits(measure, estimate)
            row |= _worse_than_mean(test, str(rule), measure, study.settings.resamples)
        rows.append(row)
    return pd.DataFrame(rows).assign(n_items=test["item"].nunique())


def _worse_than_mean(errors: pd.DataFrame, rule: str, measure: str, resamples: int) -> dict[str, float]:
    """Error of a merge rule minus that of the mean on the same items; nothing to compare for the mean."""
    name = f"{measure}_difference"
    if rule == "mean":
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    keys = ["rule", "axis", "source", "item", "seed", measure]
    arms = errors[keys].rename(columns={"rule": "arm", measure: "value"})
    return _limits(name, bootstrap(paired.differences(arms, rule, "mean"), resamples))


def _limits(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.estimate, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _drawn(estimate: Estimate) -> dict[str, float]:
    return {"estimate": estimate.estimate, "low": estimate.low, "high": estimate.high}


def cell_table(results: Results, resamples: int, treated: str = "explanation", control: str = "label") -> pd.DataFrame:
    """T3: the cells, treated against control: accuracies, shortcuts, difference with interval, McNemar per seed.

    ``estimate`` is the difference with its bootstrap interval over seeds and items of this source; ``mcnemar_better``
    and ``mcnemar_worse`` count the seeds whose exact McNemar p, Holm-adjusted over all cells and seeds, is below 0.05.
    """
    differences = pairs(results, treated, control, "correct")
    tests = mcnemar_table(results, treated, control)
    rows = []
    for cell_key, group in differences.groupby(["axis", "source"], sort=False):
        axis, source = map(str, cell_key)
        estimate = within(bootstrap(group, resamples, new_sources=False), -1.0, 1.0)
        clear = tests[(tests["axis"] == axis) & (tests["source"] == source) & (tests["p_holm"] < 0.05)]
        rows.append(
            {
                "axis": axis,
                "source": source,
                "n_items": group["item"].nunique(),
                "n_seeds": group["seed"].nunique(),
                **_shortcut_accuracy(results.items, axis, source),
                **{arm: _accuracy(results, arm, axis, source) for arm in ("base", control, treated)},
                **_drawn(estimate),
                "mcnemar_better": int((clear["difference"] > 0).sum()),
                "mcnemar_worse": int((clear["difference"] < 0).sum()),
            }
        )
    return pd.DataFrame(rows)


def run_metrics(results: Results, keys: Sequence[str]) -> pd.DataFrame:
    """Every measure of each group of predictions by these columns; one row per group."""
    rows = []
    for key, group in results.predictions.groupby(list(keys), sort=False):
        found = metrics.metrics(group["label"].to_numpy(), group[probability_names(results.labels)].to_numpy())
        row: dict[str, object] = dict(zip(keys, key, strict=True))
        rows.append(row | found)
    return pd.DataFrame(rows)


def cell_metrics(results: Results) -> pd.DataFrame:
    """T3's second table: every measure of every arm in every cell, each the mean over the seeds."""
    keys = ["axis", "source", "arm"]
    cells = run_metrics(results, [*keys, "seed"]).groupby(keys, sort=False)
    return cells.mean().drop(columns="seed").assign(n_seeds=cells["seed"].nunique()).reset_index()


def _accuracy(results: Results, arm: str, axis: str, source: str) -> float:
    rows = results.predictions
    chosen = rows[(rows["arm"] == arm) & (rows["axis"] == axis) & (rows["source"] == source)]
    return float(chosen["correct"].mean())


def _shortcut_accuracy(items: pd.DataFrame, axis: str, source: str | None = None) -> dict[str, float]:
    test = items[(items["split"] == "test") & (items["axis"] == axis)]
    test = test if source is None else test[test["source"] == source]
    return {name: float((test[name] == test["label"]).mean()) for name in SHORTCUTS}


def mcnemar_table(results: Results, treated: str = "explanation", control: str = "label") -> pd.DataFrame:
    """Exact McNemar test of each cell and seed, with Holm over all of them."""
    keys = ["axis", "source", "seed"]
    rows = []
    correct = results.predictions.pivot(index=[*keys, "item"], columns="arm", values="correct")[[treated, control]]
    for cell, group in correct.dropna().groupby(level=keys, sort=False):
        test = paired.mcnemar(group[treated].to_numpy() > 0, group[control].to_numpy() > 0)
        row: dict[str, object] = dict(zip(keys, cell, strict=True))
        row |= {"n_items": len(group), "gained": test.gained, "lost": test.lost}
        rows.append(row | {"difference": (test.gained - test.lost) / len(group), "p": test.p})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=paired.holm(table["p"]))


def summary_rows(
    results: Results, resamples: int, treated: str = "explanation", control: str = "label"
) -> pd.DataFrame:
    """Differences over sources for each axis and for all axes together (the diamonds of F2)."""
    differences = pairs(results, treated, control, "correct")
    axes = list(differences["axis"].unique())
    parts = {axis: differences[differences["axis"] == axis] for axis in axes} | {"pooled": differences}
    rows = []
    for label, part in parts.items():
        estimate = within(bootstrap(part, resamples), -1.0, 1.0)
        rows.append({"label": label, **_drawn(estimate)})
    return pd.DataFrame(rows)


def arm_table(results: Results, resamples: int, control: str = "label") -> pd.DataFrame:
    """T4: every arm: accuracy, its difference to ``label`` over sources, and the other measures of agreement.

    p is the exact sign-flip test over sources; Holm runs over the arms of the table. macro F1 and kappa are means over
    axes and seeds of the pooled sources.
    """
    arms = list(results.predictions["arm"].unique())
    rows = [_arm_row(results, arm, control, resamples) for arm in arms]
    per_run = run_metrics(results, ["arm", "axis", "seed"]).groupby("arm")[["macro_f1", "kappa"]].mean()
    table = pd.DataFrame(rows).merge(per_run, on="arm", sort=False)
    compared = table["arm"] != control
    table.loc[compared, "p_holm"] = paired.holm(table.loc[compared, "p"])
    return table


def _arm_row(results: Results, arm: str, control: str, resamples: int) -> dict[str, object]:
    rows = results.predictions[results.predictions["arm"] == arm]
    row: dict[str, object] = {"arm": arm, "n_seeds": rows["seed"].nunique()}
    row |= _limits("accuracy", level_estimate(results, arm, "correct", resamples))
    row |= _difference_to(control, results, arm, resamples)
    row |= {"accuracy_on_level": rows["correct_level"].mean()}
    return row | {"within_one": rows["within_one"].mean(), "mae": rows["absolute_error"].mean()}


def _difference_to(control: str, results: Results, arm: str, resamples: int) -> dict[str, float]:
    """Accuracy difference to the control with interval and sign-flip p (Holm to come); none for the control."""
    if arm == control:
        return dict.fromkeys(("difference", "difference_low", "difference_high", "p", "p_holm"), np.nan)
    differences = pairs(results, arm, control, "correct")
    estimate = within(bootstrap(differences, resamples), -1.0, 1.0)
    p = paired.sign_flip(paired.source_by_seed(differences).mean(axis=1))
    return {**_limits("difference", estimate), "p": p, "p_holm": np.nan}


def reliability_table(results: Results, resamples: int) -> pd.DataFrame:
    """T5: reliability of each arm: NLL and Brier with nested intervals; ECE as mean over axes and seeds."""
    ece = _ece_by_seed(results).groupby("arm").mean()
    rows = []
    for arm in results.predictions["arm"].unique():
        seeds = results.predictions.loc[results.predictions["arm"] == arm, "seed"].nunique()
        row: dict[str, object] = {"arm": arm, "n_seeds": seeds}
        for column in ("nll", "brier"):
            row |= _limits(column, level_estimate(results, arm, column, resamples))
        rows.append(row | {"ece": float(ece[arm])} | _generation_row(results, arm))
    return pd.DataFrame(rows)


def _generation_row(results: Results, arm: str) -> dict[str, float]:
    """Share of greedy answers that open with a label, and how many of those give the label that scoring gives."""
    if results.generated.empty:
        return {}
    rows = results.generated[results.generated["arm"] == arm]
    parsed = rows[rows["generated"] > 0]
    agreed = float((parsed["generated"] == parsed["predicted"]).mean()) if len(parsed) else float("nan")
    return {"generation_parses": float((rows["generated"] > 0).mean()), "generation_agrees": agreed}


def arm_points(results: Results) -> pd.DataFrame:
    """F3's dots: accuracy of each arm and seed, per axis and pooled (sources with equal weight)."""
    by_cell = results.predictions.groupby(["arm", "axis", "seed", "source"], sort=False)["correct"].mean().reset_index()
    by_axis = by_cell.groupby(["arm", "axis", "seed"], sort=False)["correct"].mean().reset_index()
    pooled = by_axis.groupby(["arm", "seed"], sort=False)["correct"].mean().reset_index().assign(axis="pooled")
    return pd.concat([by_axis, pooled], ignore_index=True).rename(columns={"correct": "value"})


def arm_intervals(results: Results, resamples: int) -> pd.DataFrame:
    """F3's intervals: accuracy of each arm for new sources, per axis and pooled."""
    rows = []
    for arm in results.predictions["arm"].unique():
        for axis in (*results.predictions["axis"].unique(), "pooled"):
            estimate = level_estimate(results, arm, "correct", resamples, None if axis == "pooled" else axis)
            rows.append({"arm": arm, "axis": axis, **_drawn(estimate)})
    return pd.DataFrame(rows)


def shortcut_references(results: Results) -> pd.DataFrame:
    """F3's dashed lines: accuracy of the shortcuts per axis, and their mean over the axes."""
    axes = list(results.items["axis"].unique())
    reached = pd.DataFrame({axis: _shortcut_accuracy(results.items, axis) for axis in axes}).assign(
        pooled=lambda frame: frame[axes].mean(axis=1)
    )
    return reached.rename_axis("name").reset_index().melt("name", var_name="axis")


def layer_values(results: Results) -> pd.DataFrame:
    """F4: entropy by layer of each arm and seed (sources with equal weight)."""
    return _layer_means(results, ["arm", "measure", "layer", "seed"])


def layer_differences(results: Results, control: str = "label") -> pd.DataFrame:
    """F4's second figure: entropy of each trained arm minus ``control``, paired by source and seed."""
    means = _layer_means(results, ["arm", "measure", "layer", "source", "seed"])
    wide = means.pivot(index=["measure", "layer", "source", "seed"], columns="arm", values="value")
    rows = []
    for arm in [one for one in means["arm"].unique() if one not in (control, "base")]:
        differences = (wide[arm] - wide[control]).dropna().rename("value").reset_index()
        for (measure, layer), group in differences.groupby(["measure", "layer"], sort=False):
            table = group.pivot(index="source", columns="seed", values="value")
            estimate = paired.t_test(table.to_numpy())
            rows.append({"arm": arm, "measure": measure, "layer": layer, **_drawn(estimate)})
    return pd.DataFrame(rows)


def _layer_means(results: Results, keys: list[str]) -> pd.DataFrame:
    return results.layers.groupby(keys, sort=False)["value"].mean().reset_index()


def sharpness_points(results: Results) -> pd.DataFrame:
    """F5's dots: mean of each sharpness measure per arm, seed and source over all items of that kind."""
    rows = results.predictions
    right = rows["correct"] > 0
    frames = {name: rows[["arm", "seed", "source", name]] for name in ("output_entropy", "label_entropy", "peak_mass")}
    for name, chosen in {"confidence_right": rows[right], "confidence_wrong": rows[~right]}.items():
        frames[name] = chosen[["arm", "seed", "source", "confidence"]].rename(columns={"confidence": name})
    parts = []
    for name, frame in frames.items():
        means = frame.rename(columns={name: "value"}).groupby(["arm", "seed", "source"], sort=False)["value"].mean()
        parts.append(means.reset_index().assign(measure=name))
    return pd.concat(parts, ignore_index=True)


def sharpness(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F5: dots per seed, and crossed t intervals over sources and seeds; sources without a value are left out."""
    points = sharpness_points(results)
    rows = []
    for (arm, measure), group in points.groupby(["arm", "measure"], sort=False):
        table = group.pivot(index="source", columns="seed", values="value").dropna()
        row = {"arm": arm, "measure": measure, "estimate": group["value"].mean(), "low": np.nan, "high": np.nan}
        if len(table) > 1:
            highest = np.log(results.labels) if measure == "label_entropy" else HIGHEST.get(str(measure), 1.0)
            row |= _drawn(within(paired.t_test(table), 0.0, highest))
        rows.append(row)
    dots = points.groupby(["arm", "seed", "measure"], sort=False)["value"].mean().reset_index()
    return dots, pd.DataFrame(rows)


def _ece_by_seed(results: Results) -> pd.Series:
    """Expected calibration error by arm and seed: 15 bins on each axis's items, then the mean over axes (T5, F6)."""
    return run_metrics(results, ["arm", "seed", "axis"]).groupby(["arm", "seed"])["ece"].mean()


def calibration(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """F6: reliability curves over all seeds, axes and sources, and T5's ECE with a t interval over seeds."""
    curves, errors = [], []
    by_seed = _ece_by_seed(results)
    for arm, rows in results.predictions.groupby("arm", sort=False):
        probability = rows[probability_names(results.labels)].to_numpy()
        curves.append(reliability_curve(rows["label"].to_numpy(), probability).assign(arm=arm))
        values = by_seed[arm].to_numpy()
        low, high = np.nan, np.nan
        if len(values) > 1:
            estimate = within(paired.t_test(values, unit="seed"), 0.0, 1.0)
            low, high = estimate.low, estimate.high
        errors.append({"arm": arm, "estimate": float(np.mean(values)), "low": low, "high": high})
    return pd.concat(curves, ignore_index=True), pd.DataFrame(errors)


def learning(results: Results, windows: int = 12) -> pd.DataFrame:
    """F7: training losses of each arm and seed in equal windows of examples seen (axes averaged)."""
    history = results.history
    width = history["examples_seen"].max() / windows
    window = np.ceil(history["examples_seen"] / width) * width
    long = history.assign(examples_seen=window).melt(
        ["arm", "seed", "axis", "examples_seen"], ["label_loss", "rest_loss"], "measure", "value"
    )
    keys = ["arm", "measure", "examples_seen", "seed"]
    return long.dropna().groupby(keys, sort=False)["value"].mean().reset_index()


def tuning_table(study: ExplanationsStudy, records: Sequence[Record]) -> pd.DataFrame:
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


def pipeline_counts(study: ExplanationsStudy) -> dict[str, int]:
    """F1's counts, from the data table and the plan."""
    items, specs = study.data.items, study.specs()
    of_split = items.groupby("split")["item"].nunique()
    rows = (items["split"] == "test").sum()
    trained = [arm for arm in study.settings.arms if arm != "base"]
    return {
        "sources": items["source"].nunique(),
        "texts": items["item"].str.rpartition("-")[0].nunique(),
        "train_items": int(of_split["train"]),
        "validation_items": int(of_split["validation"]),
        "test_items": int(of_split["test"]),
        "axes": items["axis"].nunique(),
        "ratings": len(study.data.ratings),
        "explanations": len(items),
        "arms": len(study.settings.arms),
        "targets": int((items["split"] == "train").sum()) * len(trained),
        "seeds": len(study.settings.seeds),
        "students": sum(spec.recipe is not None for spec in specs),
        "predictions": int(rows) * (len(study.settings.seeds) * len(trained) + ("base" in study.settings.arms)),
        "records": len(specs),
    }
