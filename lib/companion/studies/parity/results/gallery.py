"""Pictures for a reader: results of a few queries, and the skin that is measured in them."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from companion.studies.parity.data import garments
from companion.studies.parity.data.drawing import Images
from companion.studies.parity.data.emoji import draw_persons
from companion.studies.parity.data.skin import measure_tones
from companion.studies.parity.names import NAMES
from companion.studies.parity.pictures.experiment import choose_designs, make_catalogue
from companion.studies.parity.results.pictures import Search
from companion.studies.parity.study import ParityStudy

SHOWN = 200
"""Garments whose skin is measured, at most."""
ResultList = tuple[str, Images, list[int]]


def draw_lists(searches: Sequence[Search], variants: Sequence[str], query: int) -> list[ResultList]:
    """Name, pictures (1 + K, h, w, 3) and tones of a person and its results in each variant of the search.

    The pictures are whole, whatever the search saw of them.
    """
    chosen = {one.variant: one for one in searches}
    spec = chosen["whole"].spec
    persons = choose_designs(spec.items, spec.seed)
    lists = []
    for variant in variants:
        rows = [query, *chosen[variant].retrieval.results[query]]
        tones = [int(tone) for tone in chosen[variant].groups.codes[rows]]
        shown = replace(persons, table=persons.table.iloc[rows], drawings=[persons.drawings[row] for row in rows])
        lists.append((NAMES.name("variant", variant), draw_persons(shown), tones))
    return lists


def measure_garments(study: ParityStudy) -> pd.DataFrame:
    """Angle of the skin of ``SHOWN`` garments of the first seed: known, under the true mask, by a rule of colour."""
    spec = next(one for one in study.search_specs() if one.catalogue == "garments")
    made = make_catalogue(replace(spec, items=min(spec.items, SHOWN)))
    images = garments.draw_garments(made)
    return pd.DataFrame(
        {
            "known": made.table["ita"],
            "oracle": measure_tones(images, garments.draw_skin(made)).ita,
            "rule": measure_tones(images).ita,
            "group": made.table["group"],
        }
    )


def describe_selection(angles: pd.DataFrame) -> str:
    """How many items each way of finding skin keeps, by tone, and how well it measures, in two sentences."""
    kept = angles.assign(kept=angles["rule"].notna()).groupby("group")["kept"].mean()
    close = [angles["known"].corr(angles[column], method="spearman") for column in ("oracle", "rule")]
    return (
        f"{len(angles)} garments. The rule of colour keeps {100 * kept.iloc[0]:.0f} % of the lightest and "
        f"{100 * kept.iloc[-1]:.0f} % of the darkest. Rank correlation with the tone as drawn: {close[0]:.3f} under "
        f"the true mask, {close[1]:.3f} by the rule; pictures differ in light. Grey lines part the six classes of skin."
    )
