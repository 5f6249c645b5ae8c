"""The simulated catalogues as one table, and what it says: how often tests reject, and which bias is found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from companion.show.provenance import Provenance
from companion.stats.detectable import detectable_bias
from companion.stats.estimate import Estimate
from companion.stats.joins import relabel
from companion.studies.parity.simulation.experiment import TESTS, SimulationSpec, make_catalogue, seed_generator
from companion.studies.parity.study import ParityStudy, Spec
from companion.studies.publish import read_records, records_origin

ALPHA, POWER = 0.05, 0.8


def load_catalogues(study: ParityStudy, specs: list[SimulationSpec]) -> pd.DataFrame:
    """One row for each simulated catalogue: what it was, p of each test, and the estimate of C with its interval.

    Raises CompanionError for a record that is missing or damaged.
    """
    frames = []
    for spec, record in zip(specs, read_records(study, specs), strict=True):
        shares = "/".join(f"{100 * share:g}" for share in spec.shares)
        kind = {"graph": spec.graph, "design": spec.design, "items": spec.items, "shares": shares, "seed": spec.seed}
        squares = sum(share**2 for share in spec.shares)
        frames.append(
            pd.DataFrame(dict(record.arrays)).assign(
                **kind, strength=spec.strength, truth=spec.strength * (1 - squares)
            )
        )
    return pd.concat(frames, ignore_index=True)


def count_rejections(catalogues: pd.DataFrame, keys: list[str], tests: tuple[str, ...] = TESTS) -> pd.DataFrame:
    """Share of catalogues in which each test has p <= 0.05, with exact 95 % intervals, by the columns ``keys``."""
    rows = []
    for values, group in catalogues.groupby(keys, sort=False):
        fixed = dict(zip(keys, values, strict=True))
        rows += [fixed | {"test": test, **estimate_rate(group[test])} for test in tests]
    return pd.DataFrame(rows)


def estimate_rate(p: pd.Series, level: float = 0.95) -> dict[str, float]:
    """Share of p <= 0.05 with its exact (Clopper and Pearson) interval; tests that could not be made do not count."""
    made = p.dropna()
    hits = int((made <= ALPHA).sum())
    low, high = proportion_confint(hits, len(made), 1 - level, method="beta")
    return {"n": len(made), "estimate": hits / len(made), "low": float(low), "high": float(high)}


def tabulate_levels(catalogues: pd.DataFrame) -> pd.DataFrame:
    """T1: one row for each design and test, with the rate and its interval for each graph."""
    rates = count_rejections(catalogues, ["design", "graph"]).rename(columns={"test": "arm"})
    tables = []
    for graph, group in rates.groupby("graph", sort=False):
        names = {"estimate": str(graph), "low": f"{graph}_low", "high": f"{graph}_high"}
        tables.append(group.set_index(["design", "arm"])[list(names)].rename(columns=names))
    return pd.concat(tables, axis=1).reset_index()


@dataclass(frozen=True)
class Detectable:
    """What a logistic regression of rejection on log strength and log N says for one graph and one set of shares.

    Attributes:
        curve: one row for each N: the strength found four times in five, its interval, and what was planned.
        slope: of log strength on log N, with a 95 % interval by the delta method.
    """

    curve: pd.DataFrame
    slope: Estimate


def fit_detectable(catalogues: pd.DataFrame, depth: int, test: str = "centred") -> Detectable:
    """The smallest bias that is found four times in five, by N, from catalogues of one graph and one set of shares."""
    table = catalogues.assign(found=(catalogues[test] <= ALPHA).astype(float), log_b=np.log(catalogues["strength"]))
    table["log_n"] = np.log(table["items"])
    sizes = np.sort(table["items"].unique())
    table["log_n"] -= (centre := float(table["log_n"].mean()))
    fit = sm.GLM(table["found"], sm.add_constant(table[["log_b", "log_n"]]), family=sm.families.Binomial()).fit()
    constant, by_bias, by_size = fit.params
    covariance = fit.cov_params().to_numpy()
    shares = [float(share) / 100 for share in str(table["shares"].iloc[0]).split("/")]
    reciprocity = table.groupby("items")["reciprocity"].mean()
    goal, rows = stats.logistic.ppf(POWER), []
    for size in sizes:
        place = np.log(size) - centre
        log_bias = (goal - constant - by_size * place) / by_bias
        error = _delta(np.array([-1.0, -log_bias, -place]) / by_bias, covariance)
        low, high = np.exp(log_bias + np.array([-1, 1]) * stats.norm.ppf(0.975) * error)
        planned = detectable_bias(int(size), depth, shares, float(reciprocity[size]))
        rows.append({"items": int(size), "estimate": np.exp(log_bias), "low": low, "high": high, "planned": planned})
    slope = -by_size / by_bias
    error = _delta(np.array([0.0, -slope, -1.0]) / by_bias, covariance)
    low, high = slope + np.array([-1, 1]) * stats.norm.ppf(0.975) * error
    method = "logistic regression, delta method"
    return Detectable(
        pd.DataFrame(rows), Estimate(float(slope), float(low), float(high), np.nan, len(table), "catalogue", method)
    )


def _delta(gradient: np.ndarray, covariance: np.ndarray) -> float:
    return float(np.sqrt(gradient @ covariance @ gradient))


def tabulate_power(catalogues: pd.DataFrame) -> pd.DataFrame:
    """T2: how often C and S find each bias, by graph, shares, N and strength."""
    keys = ["graph", "shares", "items", "strength"]
    rates = count_rejections(catalogues, keys, ("centred", "share"))
    wide = rates.pivot_table(index=[*keys, "n"], columns="test", values=["estimate", "low", "high"], sort=False)
    found = {"power": "estimate", "power_low": "low", "power_high": "high"}
    table = pd.DataFrame({name: wide[column]["centred"] for name, column in found.items()})
    table["power_of_share"] = wide["estimate"]["share"]
    return table.reset_index().sort_values(keys, ignore_index=True)


def tabulate_coverage(catalogues: pd.DataFrame) -> pd.DataFrame:
    """T2_coverage: how often the 95 % interval of C holds the true C, by graph, shares and N; all strengths together.

    Truth is b (1 - s), what a mixture adds in expectation. A tilt is not counted: its truth is known for large N only.
    """
    rows = []
    for values, group in catalogues[catalogues["graph"] != "tilt"].groupby(["graph", "shares", "items"], sort=False):
        held = int(((group["low"] <= group["truth"]) & (group["truth"] <= group["high"])).sum())
        low, high = proportion_confint(held, len(group), method="beta")
        fixed = dict(zip(("graph", "shares", "items"), values, strict=True))
        rows.append(fixed | {"n": len(group), "estimate": held / len(group), "low": float(low), "high": float(high)})
    return pd.DataFrame(rows)


def tabulate_detectable(catalogues: pd.DataFrame, depth: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """T3: the detectable bias of each graph, set of shares and N beside the planner's; and the slopes."""
    curves, slopes = [], []
    for (graph, shares), group in catalogues.groupby(["graph", "shares"], sort=False):
        found = fit_detectable(group, depth)
        curves.append(found.curve.assign(graph=str(graph), shares=str(shares)))
        slope = found.slope
        slopes.append(
            {
                "graph": graph,
                "shares": shares,
                "n": slope.n,
                "estimate": slope.estimate,
                "low": slope.low,
                "high": slope.high,
            }
        )
    curve = pd.concat(curves, ignore_index=True)
    return curve[["graph", "shares", "items", "estimate", "low", "high", "planned"]], pd.DataFrame(slopes)


def get_origin(study: ParityStudy, specs: Sequence[Spec]) -> Provenance:
    """Origin of what is computed from these runs."""
    return records_origin(study, read_records(study, specs))


def draw_nulls(study: ParityStudy, draws: int) -> pd.DataFrame:
    """C of a plain catalogue of each graph without dependence, observed (draw 0) and in ``draws`` relabellings."""
    parts: list[pd.DataFrame] = []
    for spec in study.level_specs():
        if spec.design != "plain" or spec.graph in [part["graph"].iloc[0] for part in parts]:
            continue
        generator = seed_generator(spec, 0)
        one = make_catalogue(generator, spec)
        values = relabel(one.pairs, draws, generator).values[:, 0]
        parts.append(pd.DataFrame({"graph": spec.graph, "draw": range(len(values)), "centred": values}))
    return pd.concat(parts, ignore_index=True)
