"""What makes a record of either kind of run."""

from typing import Any

from companion.studies.parity.pictures.experiment import PictureSpec, embed_and_search
from companion.studies.parity.simulation.experiment import SimulationSpec, simulate


def make_record(spec: SimulationSpec | PictureSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays and facts of one run."""
    return simulate(spec) if isinstance(spec, SimulationSpec) else embed_and_search(spec)
