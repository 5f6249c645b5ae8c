"""The claims of this study as a notebook writes them in one call."""

from collections.abc import Sequence

import pandas as pd

from companion.show.claims import claims_view, sort_claims
from companion.show.ledger import write_claims
from companion.studies.parity.results import claims, simulation
from companion.studies.parity.results.pictures import SearchEffect, load_subsets
from companion.studies.parity.study import ParityStudy


def publish_claims(study: ParityStudy, tested: Sequence[SearchEffect]) -> pd.DataFrame:
    """Write the claims as picture, table and page, and return what a reader sees of the table.

    ``tested`` are the picture searches. Raises CompanionError where runs of the simulations are missing.
    """
    level = simulation.load_catalogues(study, study.level_specs())
    power = simulation.load_catalogues(study, study.power_specs())
    found = claims.decide_level_claims(level, study.settings) + claims.decide_power_claims(power, study.settings)
    found += claims.decide_picture_claims(tested, load_subsets(study), study.settings)
    write_claims(found, study.folder, f"{study.size}.", simulation.get_origin(study, study.specs()))
    return claims_view(sort_claims(found))
