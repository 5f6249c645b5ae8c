"""Two one-sided tests (TOST): showing that two arms are nearly as good, which a large p never does."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from companion.errors import CompanionError
from companion.stats.estimate import Estimate, as_table, from_error, mean_error


def equivalence(values: ArrayLike, margin: float, unit: str = "source", alpha: float = 0.05) -> Estimate:
    """Schuirmann's TOST of |mean difference| < margin over units; values (units,) or (units, seeds), see `mean_error`.

    p equals that of statsmodels' ``DescrStatsW.ttost_mean`` for unit means and takes the crossed error for a table. The
    interval is the (1 - 2 alpha) one: it lies inside the margin exactly when p < alpha. No spread: limits and p are
    nan. Raises CompanionError unless the margin is positive and finite.
    """
    if not (np.isfinite(margin) and margin > 0):
        raise CompanionError(f"equivalence margin is {margin}: give a positive number in the unit of the differences")
    error = mean_error(values)
    mean = float(error.mean[0])
    size = float(np.sqrt(error.covariance[0, 0])) if error.spread else 0.0
    low, high, _ = from_error(mean, size, error.degrees, 1 - 2 * alpha)
    p = float(stats.t.sf((margin - abs(mean)) / size, error.degrees)) if size else np.nan
    return Estimate(mean, low, high, p, len(as_table(values)), unit, f"TOST over {error.covers}", 1 - 2 * alpha)
