"""From an estimate to the word in the claims ledger; no verdict is ever written by hand."""

from typing import Literal, get_args

import numpy as np

from companion.errors import CompanionError
from companion.stats.estimate import Estimate

Claim = Literal["greater", "less", "equivalent"]
Verdict = Literal["supported", "contradicted", "undecided"]
CLAIMS = get_args(Claim)


def verdict(estimate: Estimate, claim: Claim, threshold: float = 0.0) -> Verdict:
    """Whether the interval lies inside the claimed region (supported), outside (contradicted) or neither (undecided).

    Regions are open: "greater" is (threshold, inf), "less" (-inf, -threshold), "equivalent" (-threshold, threshold),
    where ``threshold`` is the smallest effect of interest or the margin. Touching the border, or nan, is undecided.
    Pass the 90 % interval for TOST at 5 %, and a wider interval (1 - alpha / m) where m claims form one family. Raises
    CompanionError for an unknown claim, a negative or infinite threshold, or equivalence without a positive margin.
    """
    if claim not in CLAIMS or not 0 <= threshold < np.inf or (claim == "equivalent" and threshold == 0):
        raise CompanionError(f"no claim is {claim!r} with threshold {threshold}: use one of {CLAIMS} and a finite size")
    low, high = estimate.low, estimate.high
    if np.isnan([low, high]).any():
        return "undecided"
    if claim == "less":
        low, high = -high, -low
    if claim == "equivalent":
        inside, outside = max(-low, high) < threshold, max(low, -high) > threshold
    else:
        inside, outside = low > threshold, high < threshold
    return "supported" if inside else "contradicted" if outside else "undecided"
