"""The claims of arXiv 1909.06429 and of what surrounds it, with the test that decides each and this run's verdict.

Fixed before the recorded run; a prototype on other seeds and catalogues said what to expect. The claims of one family
use intervals of level 1 - 0.05 / members. What the paper's own system did is not known and is not claimed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from companion.show.claims import Claim
from companion.stats.estimate import Estimate
from companion.stats.paired import t_test
from companion.stats.verdict import Claim as Side
from companion.stats.verdict import verdict
from companion.studies.parity.names import NAMES
from companion.studies.parity.results.pictures import SearchEffect
from companion.studies.parity.results.simulation import ALPHA, estimate_rate, fit_detectable
from companion.studies.parity.settings import ParitySettings


def decide_level_claims(catalogues: pd.DataFrame, settings: ParitySettings) -> list[Claim]:
    """1a and on: the permutation test holds its level on each graph; 3: tests of independent draws do not."""
    graphs = list(dict.fromkeys(catalogues["graph"]))
    family, most = 1 - 0.05 / len(graphs), ALPHA + settings.level_margin
    claims = []
    for place, graph in enumerate(graphs):
        rate = estimate_rate(catalogues.loc[catalogues["graph"] == graph, "centred"], family)
        claims.append(
            _claim(
                f"1{'abcdefgh'[place]}",
                f"The test at {ALPHA:g} rejects at most {most:g} of catalogues without dependence: "
                f"{NAMES.name('graph', graph)}.",
                _less(rate, most, family),
                "less",
                unit=f"rejection rate less {most:g}",
                n=f"{rate['n']:,} catalogues",
                test="exact binomial interval of the rejection rate; plain, inside strata and by block together",
                rests_on=(NAMES.name("graph", graph),),
            )
        )
    plain = catalogues[catalogues["design"] == "plain"]
    if "near_low" in graphs:
        claims.append(_claim_naive(plain[plain["graph"] == "near_low"]))
    return claims


def _claim_naive(catalogues: pd.DataFrame) -> Claim:
    rate = estimate_rate(catalogues["naive_chi_square"])
    return _claim(
        "3",
        "A chi-square test that takes results for independent draws rejects too often on nearest neighbours.",
        _less(rate, ALPHA, 0.95),
        "greater",
        unit=f"rejection rate less {ALPHA:g}",
        n=f"{rate['n']:,} catalogues",
        test="exact binomial interval of the rejection rate",
        rests_on=(NAMES.name("graph", "near_low"),),
    )


def decide_power_claims(catalogues: pd.DataFrame, settings: ParitySettings) -> list[Claim]:
    """2a and on: the bias that can be found shrinks as one over the root of N, on each graph."""
    graphs = list(dict.fromkeys(catalogues["graph"]))
    claims = []
    for place, graph in enumerate(graphs):
        chosen = catalogues[catalogues["graph"] == graph]
        slopes = [fit_detectable(group, settings.depth).slope for _, group in chosen.groupby("shares", sort=False)]
        found = pool_estimates(slopes, 1 - 0.1 / len(graphs))
        shifted = replace(found, estimate=found.estimate + 0.5, low=found.low + 0.5, high=found.high + 0.5)
        claims.append(
            _claim(
                f"2{'abcdefgh'[place]}",
                "The bias that is found four times in five shrinks as N to the power \u22121/2: "
                f"{NAMES.name('graph', graph)}.",
                shifted,
                "equivalent",
                threshold=settings.slope_margin,
                unit="slope plus 1/2",
                n=f"{found.n:,} catalogues",
                test="slope of log b* on log N: logistic regression of rejection on both, delta method; equivalence",
                rests_on=(NAMES.name("graph", graph),),
            )
        )
    return claims


def decide_picture_claims(
    tested: Sequence[SearchEffect], once: Mapping[str, tuple[np.ndarray, np.ndarray]], settings: ParitySettings
) -> list[Claim]:
    """4: a search by pixels returns by tone where tone is seen; 5: not where it was removed; 6: nor is erasing enough.

    Drawn catalogues of several seeds count as one: their mean, with the error of each. ``once`` are the catalogues of
    persons with each design once, which decide where the five tones of a design look the same: with all of them in one
    catalogue, Delta would be zero by construction.
    """
    claims = []
    for name, (catalogue, variant, side, statement) in PICTURE_CLAIMS.items():
        family = 1 - (0.1 if side == "equivalent" else 0.05) / sum(each[2] == side for each in PICTURE_CLAIMS.values())
        if catalogue == "once":
            found = t_test(once[variant][0], unit="catalogue", level=family)
            n, test = f"{found.n} catalogues", "t interval of the excess share over catalogues"
        else:
            chosen = [one for one in tested if (one.search.spec.catalogue, one.search.variant) == (catalogue, variant)]
            found = pool_estimates([one.excess for one in chosen], family)
            n = f"{len(chosen)} \u00d7 {chosen[0].search.retrieval.items:,} pictures"
            test = "excess share; dyadic-robust t"
        claims.append(
            _claim(
                name,
                statement,
                found,
                side,
                threshold=settings.pictures.margin if side == "equivalent" else 0.0,
                unit="share of results",
                n=n,
                test=test,
                rests_on=(f"pictures of {'garments' if catalogue == 'garments' else 'persons'}",),
            )
        )
    return claims


PICTURE_CLAIMS: dict[str, tuple[str, str, Side, str]] = {
    "4a": ("persons", "whole", "greater", "A search by whole pictures of persons returns by tone."),
    "4b": ("persons", "skin_only", "greater", "A search by the skin of persons alone returns by tone."),
    "4c": ("garments", "whole", "greater", "A search by whole pictures of garments on persons returns by tone."),
    "4d": ("garments", "skin_only", "greater", "A search by the skin alone of persons in garments returns by tone."),
    "5a": (
        "once",
        "skin_and_hair_neutral",
        "equivalent",
        "With skin and hair of persons painted over, results do not depend on tone.",
    ),
    "5b": (
        "garments",
        "skin_neutral",
        "equivalent",
        "With the skin of persons painted over, results of garments do not depend on tone.",
    ),
    "6a": (
        "persons",
        "all_directions",
        "greater",
        "Results of persons depend on tone after the differences of all tones' means were erased.",
    ),
    "6b": ("garments", "all_directions", "greater", "Results of garments depend on tone after the same was erased."),
}
"""Claim -> catalogue, variant, side and statement."""


def pool_estimates(estimates: Sequence[Estimate], level: float) -> Estimate:
    """Mean of independent estimates, weighted by precision, with a normal interval of another level."""
    half = stats.norm.ppf(0.975)
    errors = np.array([(one.high - one.low) / (2 * half) for one in estimates])
    weights = errors**-2 / (errors**-2).sum()
    mean = float(weights @ np.array([one.estimate for one in estimates]))
    limit = float(stats.norm.ppf(0.5 + level / 2) / np.sqrt((errors**-2).sum()))
    first = estimates[0]
    return Estimate(
        mean, mean - limit, mean + limit, np.nan, sum(one.n for one in estimates), first.unit, first.method, level
    )


def _less(rate: dict[str, float], limit: float, level: float) -> Estimate:
    """A rejection rate less a limit."""
    estimate, low, high = (rate[name] - limit for name in ("estimate", "low", "high"))
    return Estimate(estimate, low, high, np.nan, int(rate["n"]), "catalogue", "Clopper and Pearson", level)


def _claim(
    name: str,
    statement: str,
    found: Estimate,
    side: Side,
    *,
    threshold: float = 0.0,
    unit: str,
    n: str,
    test: str,
    rests_on: tuple[str, ...],
) -> Claim:
    return Claim(
        id=name,
        statement=statement,
        verdict=verdict(found, side, threshold),
        side=side,
        threshold=threshold,
        unit=unit,
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        level=f"{100 * found.level:.4g} %",
        n=n,
        test=test,
        note="",
        rests_on=rests_on,
    )
