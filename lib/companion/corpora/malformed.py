"""Count, name and skip rows that can't be read, as long as they are few."""

import warnings
from collections.abc import Sequence

from companion.errors import CompanionError

SHARE = 0.01
LEAST = 5


def warn_of_skipped_rows(place: str, rows: Sequence[int], total: int, why: str) -> None:
    """Warn of the skipped rows of a file; do nothing if there are none.

    Raises:
        CompanionError: they are more than five and more than one in a hundred, or all of them.
    """
    if not rows:
        return
    shown = ", ".join(map(str, rows[:5])) + ", ..." * (len(rows) > 5)
    what = f"{len(rows)} of {total} rows of {place} {why} (rows {shown})"
    if len(rows) == total or len(rows) > max(LEAST, SHARE * total):
        raise CompanionError(f"{what}: check that it is the right file, and whole.")
    warnings.warn(f"{what} and were left out", stacklevel=2)
