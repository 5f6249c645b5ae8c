"""What can be asked of an audit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from companion.errors import CompanionError

DEPTHS = (5, 10, 20)
ALPHA = 0.05
CAUSE = "Dependence is not cause: whatever goes with the attribute does the same unless it is held fixed."
WANTED = (0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked of an audit.

    Attributes:
        sensitive_features: attributes, "gender x age" crosses two; without any, every column that can be one.
        k: numbers of results that are looked at; without any, those of ``DEPTHS`` that are there.
        stratum: column inside whose values labels are exchanged.
        block: column whose values keep one label, such as the model of photographs.
        exclude_same: column; results that share its value with the query are left out.
        weights: ``none``, or ``log2`` to discount ranks as DCG does.
        columns: role to column, where no alias fits (roles of `formats.ALIASES`, item_id and query_id of the tables).
        order: rank, score, distance or file; needed where rank and score disagree.
        bins: groups that numbers are cut into.
        margin: C within which results count as independent; no p ever shows that.
        draws: most relabellings.
        wanted: strengths of bias for which the size of the catalogue is said.
    """

    sensitive_features: tuple[str, ...] = ()
    k: tuple[int, ...] = ()
    stratum: str = ""
    block: str = ""
    exclude_same: str = ""
    weights: str = "none"
    columns: Mapping[str, str] = field(default_factory=dict)
    order: str = ""
    bins: int = 5
    margin: float | None = None
    draws: int = 9_999
    seed: int = 0
    level: float = 0.95
    wanted: tuple[float, ...] = WANTED

    def __post_init__(self) -> None:
        if any(depth < 1 for depth in self.k) or self.weights not in ("none", "log2"):
            raise CompanionError(
                f"No audit has K = {list(self.k)} with weights {self.weights!r}; use K from 1 on, and none or log2."
            )
        if self.margin is not None and not 0 < self.margin < 1:
            raise CompanionError(f"The margin is {self.margin}; give a share between 0 and 1, such as 0.01.")
        if self.bins < 2 or self.draws < 99 or not 0 < self.level < 1 or not all(each > 0 for each in self.wanted):
            raise CompanionError("An audit needs 2 bins, 99 draws, a level between 0 and 1 and wanted biases above 0.")
