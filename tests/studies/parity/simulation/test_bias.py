import numpy as np
import pytest

from companion.stats.graphs import make_retrieval
from companion.stats.retrieval import Groups
from companion.studies.parity.simulation.bias import draw_groups, inject_mixture, inject_tilt


def excess(retrieval, groups: Groups) -> float:
    rows, items = retrieval.edges()
    return float((groups.codes[rows] == groups.codes[items]).mean() - (groups.shares**2).sum())


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.6, 0.3, 0.1)])
def test_a_mixture_adds_its_strength_times_the_share_of_other_groups(shares: tuple[float, ...]) -> None:
    generator = np.random.default_rng(0)
    values = []
    for _ in range(30):
        groups = draw_groups(generator, shares, 400)
        retrieval = make_retrieval(generator, "random", 400, 10)
        values.append(excess(inject_mixture(generator, retrieval, groups, 0.3), groups))
    assert np.mean(values) == pytest.approx(0.3 * (1 - (groups.shares**2).sum()), abs=0.01)


def test_no_strength_changes_nothing_and_small_groups_keep_their_results() -> None:
    generator = np.random.default_rng(1)
    retrieval = make_retrieval(generator, "random", 60, 10)
    groups = draw_groups(generator, (0.9, 0.1), 60)
    assert (inject_mixture(generator, retrieval, groups, 0.0).results == retrieval.results).all()
    changed = inject_mixture(generator, retrieval, groups, 1.0).results
    assert (changed[groups.codes == 1] == retrieval.results[groups.codes == 1]).all()
    assert (groups.codes[changed[groups.codes == 0]] == 0).all()


def test_a_tilt_draws_like_to_like() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=300)
    far = [
        np.abs(values[inject_tilt(generator, values, b, 10).results] - values[:, None]).mean() for b in (0.0, 1.0, 3.0)
    ]
    assert far[0] > far[1] > far[2]


def test_groups_have_their_shares_and_none_is_empty() -> None:
    groups = draw_groups(np.random.default_rng(3), (0.95, 0.05), 100)
    assert list(groups.sizes) == [95, 5]
    assert draw_groups(np.random.default_rng(3), (0.99, 0.01), 20).sizes.min() == 1
