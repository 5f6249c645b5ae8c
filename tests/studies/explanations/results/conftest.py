"""Results in which each arm has an accuracy of its own."""

import pytest
from tests.studies.conftest import made_up

from companion.studies.explanations.results.results import Results

PLANTED = {"base": 0.2, "label": 0.5, "explanation": 0.7, "shuffled": 0.6, "bag_of_words": 0.5}


@pytest.fixture(scope="package")
def planted() -> Results:
    return made_up(PLANTED)
