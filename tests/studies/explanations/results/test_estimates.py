import pytest

from companion.studies.explanations.results.estimates import pair_differences
from companion.studies.explanations.results.results import Results


def test_base_with_one_seed_is_compared_with_every_seed(planted: Results) -> None:
    differences = pair_differences(planted, "label", "base", "correct")
    assert differences["seed"].nunique() == 6
    assert differences["difference"].mean() == pytest.approx(0.3, abs=0.03)
