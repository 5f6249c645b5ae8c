"""The result that every procedure of this room returns, and the standard error that several of them share.

One rule holds in the whole room: where the data show no spread at all, no standard error can be estimated, so limits
and p are nan (never a zero-width interval and never p = 0), and a verdict built on them is "undecided".
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from companion.errors import CompanionError

NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    ``low`` and ``high`` bound the interval of confidence ``level``, in the unit of ``estimate``; ``p`` is two-sided
    unless ``method`` says otherwise, and nan where the procedure gives none. ``n`` counts the independent ``unit``.
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int
    unit: str
    method: str
    level: float = 0.95


def as_columns(estimate: Estimate, name: str = "") -> dict[str, Any]:
    """The estimate as columns ``estimate``, ``low``, ``high``; under a name ``name``, ``name_low``, ``name_high``."""
    keys = (name, f"{name}_low", f"{name}_high") if name else ("estimate", "low", "high")
    return dict(zip(keys, (estimate.estimate, estimate.low, estimate.high), strict=True))


@dataclass(frozen=True)
class MeanError:
    """Means (k,), the covariance of their errors (k, k), its degrees of freedom, and in words what it covers."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    degrees: float
    covers: str

    @property
    def spread(self) -> bool:
        """Whether every mean has an error above rounding noise."""
        scale = NO_SPREAD * np.maximum(1.0, np.abs(self.mean))
        return bool((np.sqrt(np.diag(self.covariance)) > scale).all())

    @property
    def single(self) -> tuple[float, float]:
        """The mean of a single set of differences and its standard error, zero without spread."""
        return float(self.mean[0]), float(np.sqrt(self.covariance[0, 0])) if self.spread else 0.0


def as_table(differences: ArrayLike) -> NDArray[np.float64]:
    """Differences as a table (units, seeds); a vector (units,) becomes one column.

    Raises CompanionError for fewer than two units, other shapes, or values that are not finite.
    """
    table = np.asarray(differences, dtype=float)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 1:
        shape = np.shape(differences)
        raise CompanionError(f"differences of shape {shape}: give (units,) or (units, seeds), two units or more")
    if not np.isfinite(table).all():
        raise CompanionError("differences contain a value that is not finite: drop the failed runs or repeat them")
    return table


def mean_error(*differences: ArrayLike) -> MeanError:
    """Means of k sets of differences with a joint standard error, each (units,) or all (units, seeds).

    Unit means only: the usual error over units with n - 1 degrees; it holds the trained models fixed. A table with
    two seeds or more, where column j is the SAME model (seed) tested on every unit: units and seeds are crossed
    random effects, and a seed's effect common to all units never shows between units. The error is then Clark's
    (1973, minF'): covariance over units plus covariance over seeds, with Satterthwaite's degrees (smallest over the k
    sets). It is conservative, because noise of single entries counts twice.
    """
    sets = [as_table(each) for each in differences]
    if len({table.shape for table in sets}) > 1:
        raise CompanionError("the sets of differences have different shapes: give the same units and seeds for each")
    tables = np.stack(sets)
    _, units, seeds = tables.shape
    by_unit = np.atleast_2d(np.cov(tables.mean(axis=2))) / units
    mean = tables.mean(axis=(1, 2))
    if seeds == 1:
        return MeanError(mean, by_unit, float(units - 1), "units, models held fixed")
    by_seed = np.atleast_2d(np.cov(tables.mean(axis=1))) / seeds
    degrees = satterthwaite([np.diag(by_unit), np.diag(by_seed)], [units - 1, seeds - 1])
    return MeanError(mean, by_unit + by_seed, float(degrees.min()), "units and seeds, crossed")


def satterthwaite(parts: ArrayLike, degrees: ArrayLike, total: ArrayLike | None = None) -> NDArray[np.float64]:
    """Degrees of freedom of a sum of variance estimates: parts (m, k), degrees (m,) -> (k,).

    ``total`` replaces the plain sum where the variance used is a corrected one. All parts zero gives the smallest
    degrees.
    """
    pieces = np.asarray(parts, dtype=float)
    each = np.asarray(degrees, dtype=float)
    whole = pieces.sum(axis=0) if total is None else np.asarray(total, dtype=float)
    below = (pieces**2 / each[:, None]).sum(axis=0)
    return np.where(below > 0, whole**2 / np.where(below > 0, below, 1.0), each.min())


def from_error(mean: float, error: float, degrees: float, level: float) -> tuple[float, float, float]:
    """Low, high and two-sided p of a t interval; all nan when ``error`` is zero or not finite."""
    if not (np.isfinite(error) and error > 0):
        return np.nan, np.nan, np.nan
    half = float(stats.t.ppf(0.5 + level / 2, degrees)) * error
    return mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, degrees))
