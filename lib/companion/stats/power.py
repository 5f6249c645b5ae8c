"""What a design can detect, to be shown before any result."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from companion.errors import CompanionError
from companion.stats.estimate import satterthwaite


@dataclass(frozen=True)
class Design:
    """A comparison of two arms before it is run; standard deviations are of paired differences, in shares (0..1).

    ``items`` counts test items per source (times axes where they are averaged); ``discordance`` is the share of items
    on which exactly one arm is right; ``repeated`` the share of that item noise which is the same for every seed;
    ``source_sd`` how much the true effect varies between sources; ``seed_sd`` the effect of a seed common to all
    sources.
    """

    sources: int
    seeds: int
    items: int
    discordance: float
    repeated: float
    source_sd: float
    seed_sd: float


def design_error(design: Design) -> tuple[float, float]:
    """Expected standard error of the mean difference and its degrees, as `mean_error` would estimate them on a table.

    With one seed the seed's own noise is absent, as it is from any test of one seed. Raises CompanionError for counts
    below two sources, one seed, one item, shares outside 0..1 or negative deviations.
    """
    _check(design)
    item = design.discordance / design.items
    single = item * (1 - design.repeated)
    by_source = (design.source_sd**2 + item * design.repeated + single / design.seeds) / design.sources
    if design.seeds == 1:
        return float(np.sqrt(by_source)), design.sources - 1.0
    by_seed = (design.seed_sd**2 + single / design.sources) / design.seeds
    degrees = satterthwaite([[by_source], [by_seed]], [design.sources - 1, design.seeds - 1])
    return float(np.sqrt(by_source + by_seed)), float(degrees[0])


def cell_error(design: Design) -> tuple[float, float]:
    """As `design_error` for one fixed source: error over seeds and items, as `nested_bootstrap` estimates it."""
    item = design.discordance / design.items
    single = item * (1 - design.repeated) / design.seeds
    by_item = item * design.repeated + single
    if design.seeds == 1:
        return float(np.sqrt(by_item)), design.items - 1.0
    by_seed = design.seed_sd**2 / design.seeds
    degrees = satterthwaite([[by_item], [by_seed + single]], [design.items - 1, design.seeds - 1], [by_item + by_seed])
    return float(np.sqrt(by_item + by_seed)), float(degrees[0])


def minimal_effect(error: float, degrees: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true mean difference that a two-sided t test finds with ``power``, in the unit of ``error``.

    Paired t over n units: ``error = sd / sqrt(n)``, ``degrees = n - 1`` (equal to statsmodels' TTestPower, which cannot
    do two units); before any result: ``*design_error(design)``. Zero error gives zero. Raises CompanionError for
    impossible arguments.
    """
    _check_test(error, degrees, power, alpha)
    limits = float(stats.t.ppf(1 - alpha / 2, degrees)) * _error_ratios(degrees)

    def lacking(effect: float) -> float:
        found = stats.norm.cdf(effect - limits) + stats.norm.cdf(-effect - limits)
        return float(found.mean()) - power

    return error * _find_root(lacking)


def equivalence_power(margin: float, error: float, degrees: float, alpha: float = 0.05) -> float:
    """Chance that TOST shows equivalence within ``margin`` when the true difference is zero; unit of ``error``."""
    limits = float(stats.t.ppf(1 - alpha, degrees)) * _error_ratios(degrees)
    return float(np.maximum(2 * stats.norm.cdf(margin / error - limits) - 1, 0.0).mean()) if error else 1.0


def smallest_margin(error: float, degrees: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest margin within which TOST shows equivalence with ``power`` when the true difference is zero.

    Unit and errors as in `minimal_effect`.
    """
    _check_test(error, degrees, power, alpha)
    return error * _find_root(lambda margin: equivalence_power(margin, 1.0, degrees, alpha) - power)


def _error_ratios(degrees: float) -> NDArray[np.float64]:
    """Estimated over true standard error, at 4,000 evenly spaced probabilities of its chi law.

    Power is then a plain mean over these; the library's noncentral t is nan for two units and strong effects.
    """
    ratios: NDArray[np.float64] = stats.chi.ppf((np.arange(4000) + 0.5) / 4000, degrees) / np.sqrt(degrees)
    return ratios


def _find_root(lacking: Callable[[float], float]) -> float:
    high = 1.0
    while lacking(high) < 0:
        high *= 2
    return float(optimize.brentq(lacking, 1e-9, high))


def _check(design: Design) -> None:
    counts = design.sources >= 2 and design.seeds >= 1 and design.items >= 1
    shares = 0 <= design.discordance <= 1 and 0 <= design.repeated <= 1
    if not (counts and shares and design.source_sd >= 0 and design.seed_sd >= 0):
        raise CompanionError(f"{design}: counts must be positive (two sources or more), shares 0..1, deviations >= 0")


def _check_test(error: float, degrees: float, power: float, alpha: float) -> None:
    if not (np.isfinite(error) and error >= 0 and degrees > 0 and 0 < alpha < power < 1):
        raise CompanionError(f"no test has error={error}, degrees={degrees}, power={power}, alpha={alpha}")
