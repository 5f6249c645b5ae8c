import pytest
from tests.studies.conftest import made_up
from tests.studies.explanations.results.conftest import PLANTED

from companion.studies.explanations.results.inside import compute_layer_differences, compute_layer_values
from companion.studies.explanations.results.results import Results


def test_layer_curves_and_differences_have_every_layer(planted: Results) -> None:
    values = compute_layer_values(planted)
    assert len(values) == (6 * (len(PLANTED) - 1) + 1) * 3 * 6
    differences = compute_layer_differences(made_up(PLANTED, sharper=0.2))
    assert set(differences["arm"]) == {"explanation", "shuffled", "bag_of_words"}
    assert differences["estimate"].to_numpy() == pytest.approx(0.02, abs=0.003)
