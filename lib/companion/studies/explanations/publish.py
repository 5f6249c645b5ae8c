"""What a notebook needs to write a table, a figure or the claims into the study's folder and show it."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from companion.runs.spec import spec_id
from companion.show.claims import Claim, claims_frame, write_claims
from companion.show.figures import save_figure
from companion.show.provenance import Provenance
from companion.show.tables import view, write_table
from companion.studies.explanations.analysis import tuning_table
from companion.studies.explanations.results import provenance
from companion.studies.explanations.study import NAME, Study


def publish_table(
    study: Study, frame: pd.DataFrame, name: str, caption: str, note: str, origin: Provenance | None = None
) -> pd.DataFrame:
    """Write a table as csv, md and tex into the study's folder and return what a reader sees of it.

    Args:
        origin: runs behind the numbers; without it the table comes from the data set alone.
    """
    write_table(frame, study.folder, name, caption, note, origin or data_origin(study))
    return view(frame)


def publish_tuning(study: Study) -> pd.DataFrame | str:
    """Write T0_tuning, the recipes compared on validation items; where that was not run, one sentence instead."""
    ids = [spec_id(spec) for spec in study.tuning_specs()]
    if not all(map(study.store.has, ids)):
        return f"No recipes were compared here: 'companion tune -p {study.profile.name}' does it."
    records = [study.store.read(run_id) for run_id in ids]
    note = (
        "Axes and seeds averaged. One recipe for all arms: the lowest log loss over arms and axes; rule fixed before."
    )
    origin = provenance(study, records)
    return publish_table(study, tuning_table(study, records), "T0_tuning", "Recipes on validation items", note, origin)


def publish_figure(study: Study, figure: Figure, name: str, caption: str, origin: Provenance | None = None) -> Figure:
    """Write a figure as pdf and png into the study's folder and return it for display."""
    save_figure(figure, study.folder, name, origin or data_origin(study), caption)
    return figure


def publish_claims(study: Study, claims: list[Claim], origin: Provenance) -> pd.DataFrame:
    """Write the claims ledger as csv, md, tex and an HTML page and return it as a frame."""
    write_claims(claims, study.folder, origin)
    return claims_frame(claims)


def data_origin(study: Study) -> Provenance:
    """Origin of what rests on the data set alone, no run."""
    facts: dict[str, Any] = study.data.facts
    return Provenance(NAME, study.profile.name, (), str(facts["commit"]))
