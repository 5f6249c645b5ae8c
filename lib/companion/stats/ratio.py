"""Share of a gap closed, (middle - low) / (high - low), with an interval that can say "undefined"."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from companion.stats.estimate import Estimate, MeanError, as_table, mean_error


def gap_closed(part: ArrayLike, whole: ArrayLike, unit: str = "source", level: float = 0.95) -> Estimate:
    """Ratio of mean ``part`` to mean ``whole`` with Fieller's interval; both (units,) or (units, seeds), same units.

    Pass middle - low as ``part`` and high - low as ``whole``. Where the gap itself is not distinguishable
    from zero at ``level`` (either sign), Fieller's set is unbounded: the estimate is nan, the limits infinite, and
    ``method`` says undefined. p is nan: test ``part`` itself. Read with care when defined by a narrow margin: a gap
    that had to be significant is overestimated, so its closed share is then too small.
    """
    error = mean_error(part, whole)
    units = len(as_table(whole))
    method = f"Fieller over {error.covers}"
    limits = _fieller(error, level)
    if limits is None:
        reason = "no gap was shown" if error.spread else "no spread"
        return Estimate(np.nan, -np.inf, np.inf, np.nan, units, unit, f"{method}; undefined: {reason}", level)
    ratio = float(error.mean[0] / error.mean[1])
    return Estimate(ratio, limits[0], limits[1], np.nan, units, unit, method, level)


def _fieller(error: MeanError, level: float) -> tuple[float, float] | None:
    """Roots of (part - r whole)^2 = t^2 var(part - r whole) in r, or None where the solution set is not bounded."""
    if not error.spread:
        return None
    squared = float(stats.t.ppf(0.5 + level / 2, error.degrees)) ** 2
    part, whole = error.mean
    (part_variance, shared), (_, whole_variance) = error.covariance
    a = whole**2 - squared * whole_variance
    b = part * whole - squared * shared
    c = part**2 - squared * part_variance
    if a <= 0:
        return None
    # rounding alone can make the discriminant negative when part is a multiple of whole
    root = np.sqrt(max(0.0, b**2 - a * c))
    return float((b - root) / a), float((b + root) / a)
