"""From records to the tables, figures and claims in a study's folder: what a notebook needs to write and show them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from companion.errors import CompanionError
from companion.runs.spec import spec_id
from companion.runs.store import Record
from companion.show.provenance import Provenance
from companion.show.style import save_figure
from companion.show.tables import view, write_table
from companion.studies.study import Study


def read_records(study: Study, specs: Sequence[Any]) -> list[Record]:
    """Records of these runs, in their order; raises CompanionError for one that is missing or damaged."""
    ids = [spec_id(spec) for spec in specs]
    if missing := sum(not study.store.has(run_id) for run_id in ids):
        raise CompanionError(f"{missing} of {len(ids)} runs are not recorded; run '{study.command}' first.")
    return [study.store.read(run_id) for run_id in ids]


def records_origin(study: Study, records: Sequence[Record]) -> Provenance:
    """Origin of what is computed from these records."""
    commits = sorted({record.meta.get("commit", "unknown") for record in records})
    return Provenance(study.name, study.profile.name, tuple(record.id for record in records), " ".join(commits))


def data_origin(study: Study) -> Provenance:
    """Origin of what rests on the data alone, no run."""
    return Provenance(study.name, study.profile.name, (), str(study.data.facts["commit"]))


def publish_table(
    study: Study, frame: pd.DataFrame, name: str, caption: str, note: str, origin: Provenance | None = None
) -> pd.DataFrame:
    """Write a table as csv, md and tex into the study's folder and return what a reader sees of it.

    ``origin`` tells the runs behind the numbers; without it the table comes from the data set alone.
    """
    write_table(frame, study.folder, name, caption, note, origin or data_origin(study), study.names)
    return view(frame, study.names)


def publish_figure(study: Study, figure: Figure, name: str, caption: str, origin: Provenance | None = None) -> Figure:
    """Write a figure as pdf and png into the study's folder and return it for display."""
    save_figure(figure, study.folder, name, origin or data_origin(study), caption)
    return figure


def published(study: Study, name: str) -> Path:
    """An output that another notebook made; raises CompanionError where it is not there."""
    file = study.folder / name
    if not file.is_file():
        raise CompanionError(f"{file} is missing; run '{study.command}' first.")
    return file
