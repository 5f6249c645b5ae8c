"""Where an output came from: study, profile, runs and commit."""

import hashlib
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """The origin of one table or figure.

    ``runs`` are the ids of the records the numbers were computed from. ``commit`` is the commit of the code that made
    those records (as they tell it), not the one checked out now: else a rebuild from the same records would differ.
    """

    study: str
    profile: str
    runs: tuple[str, ...]
    commit: str

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that stand for the set of runs, whatever their order."""
        return hashlib.sha256("\n".join(sorted(self.runs)).encode()).hexdigest()[:8]

    def footer(self) -> str:
        """One line for the foot of a table or figure, such as ``profile quick · 27 runs 1a2b3c4d · commit abc1234``."""
        count = len(self.runs)
        runs = "no runs" if count == 0 else f"{count} run{'s' if count > 1 else ''} {self.digest}"
        # Only the hashes are shortened: a suffix such as -dirty must stay readable.
        commit = re.sub(r"\b([0-9a-f]{7})[0-9a-f]+", r"\1", self.commit)
        return f"profile {self.profile} · {runs} · commit {commit}"
