"""Records of the study as tidy frames; every metric and test is computed from these."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import entr

from companion.runs.store import Record
from companion.show.provenance import Provenance
from companion.stats.metrics import item_measures, predicted_labels
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.experiment import RunSpec, unpack_entropies
from companion.studies.publish import read_records, records_origin

MEASURES = ("E1", "E2", "E3")


@dataclass(frozen=True)
class Results:
    """What the recorded runs say.

    Attributes:
        items: the data table (see ``dataset.Data``).
        predictions: one row per arm, seed, axis and test item: source, label, level, the probabilities p1, p2, ... of
            the labels, and what follows from them: predicted, correct, correct_level (missing where no level is known),
            within_one, absolute_error, nll, brier, confidence, output_entropy and peak_mass (whole vocabulary),
            label_entropy (the labels), label_mass.
        layers: one row per arm, seed, axis, source, layer and measure: mean over the items of E1 to E3.
        history: one row per arm, seed, axis and optimiser step.
        generated: one row per item that was also answered by greedy generation: generated (0 = no label), predicted.
        provenance: ids of the records and the commit that made them.
        unit: what a row of ``source`` is: a source, or a group of a reader's own data.
    """

    items: pd.DataFrame
    predictions: pd.DataFrame
    layers: pd.DataFrame
    history: pd.DataFrame
    generated: pd.DataFrame
    provenance: Provenance
    unit: str = "source"

    @property
    def labels(self) -> int:
        """Number of labels."""
        return int(self.predictions.columns.str.fullmatch(r"p\d+").sum())


def probability_names(labels: int) -> list[str]:
    """Columns of the label probabilities, ``p1`` and so on."""
    return [f"p{label}" for label in range(1, labels + 1)]


def load_results(study: ExplanationsStudy, specs: Sequence[RunSpec] | None = None) -> Results:
    """Read every record of the plan, or of these specs; raises CompanionError for one that is missing or damaged."""
    specs = study.specs() if specs is None else specs
    records = read_records(study, specs)
    items = study.data.items
    test = items[items["split"] == "test"].reset_index(drop=True)
    pairs = list(zip(specs, records, strict=True))
    return Results(
        items=items,
        predictions=_predictions(pairs, test),
        layers=_layers([pair for pair in pairs if "E1" in pair[1].arrays], test),
        history=_concat([_history(spec, record) for spec, record in pairs if spec.recipe is not None]),
        generated=_concat([_generated(spec, record, test) for spec, record in pairs if "generated" in record.arrays]),
        provenance=records_origin(study, records),
        unit=study.unit,
    )


def _concat(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _predictions(pairs: Sequence[tuple[RunSpec, Record]], items: pd.DataFrame) -> pd.DataFrame:
    """One table made at once: a table for each record, put together, takes ten times as long."""

    def join(name: str) -> np.ndarray:
        return np.concatenate([record.arrays[name] for _, record in pairs])

    frame = items.loc[join("row"), ["axis", "source", "item", "label", "level"]].reset_index(drop=True)
    probability = join("probabilities").astype(float)
    measures = item_measures(frame["label"], probability)
    counts = [len(record.arrays["row"]) for _, record in pairs]
    return frame.join(measures).assign(
        arm=np.repeat([spec.arm for spec, _ in pairs], counts),
        seed=np.repeat([spec.seed for spec, _ in pairs], counts),
        **dict(zip(probability_names(probability.shape[1]), probability.T, strict=True)),
        correct_level=(measures["predicted"] == frame["level"]).astype(float).where(frame["level"].notna()),
        output_entropy=join("entropy").astype(float),
        peak_mass=join("peak").astype(float),
        label_mass=join("label_mass").astype(float),
        label_entropy=entr(probability).sum(axis=1),
    )


def _layers(pairs: Sequence[tuple[RunSpec, Record]], items: pd.DataFrame) -> pd.DataFrame:
    """Means per source; layer 1 is the output of the first block."""
    keys: list[tuple[str, int, str, str, str]] = []
    means: list[np.ndarray] = []
    for spec, record in pairs:
        values = unpack_entropies(record.arrays)
        rows = items.loc[record.arrays["row"], ["axis", "source"]].reset_index(drop=True)
        for cell, group in rows.groupby(["axis", "source"], sort=True):
            axis, source = map(str, cell)
            keys += [(spec.arm, spec.seed, axis, source, measure) for measure in MEASURES]
            means += list(values[group.index].mean(axis=0).T)
    if not keys:
        return pd.DataFrame()
    layers = len(means[0])
    frame = pd.DataFrame(keys, columns=["arm", "seed", "axis", "source", "measure"])
    frame = frame.loc[frame.index.repeat(layers)].reset_index(drop=True)
    return frame.assign(layer=np.tile(np.arange(1, layers + 1), len(means)), value=np.concatenate(means))


def _history(spec: RunSpec, record: Record) -> pd.DataFrame:
    names = ("examples_seen", "loss", "label_loss", "rest_loss")
    steps = {name: record.arrays[f"history_{name}"].astype(float) for name in names}
    return pd.DataFrame({"arm": spec.arm, "seed": spec.seed, "axis": "+".join(spec.axes), **steps})


def _generated(spec: RunSpec, record: Record, items: pd.DataFrame) -> pd.DataFrame:
    rows = record.arrays["generated_row"]
    place = {int(row): position for position, row in enumerate(record.arrays["row"])}
    predicted = predicted_labels(record.arrays["probabilities"])[[place[int(row)] for row in rows]]
    frame = items.loc[rows, ["axis", "source", "item", "label"]].reset_index(drop=True)
    return frame.assign(arm=spec.arm, seed=spec.seed, generated=record.arrays["generated"], predicted=predicted)
