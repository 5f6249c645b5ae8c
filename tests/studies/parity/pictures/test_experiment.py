import numpy as np
import pytest

from companion.studies.parity.pictures.experiment import (
    Embedded,
    PictureSpec,
    choose_designs,
    embed_and_search,
    erase,
    search_subsets,
)

pytest.importorskip("faiss")


def spec(**changes) -> PictureSpec:
    fixed = {
        "catalogue": "persons",
        "rendition": "whole",
        "items": 10,
        "photos": 1,
        "confounding": 0.0,
        "depth": 5,
        "labellings": 2,
        "size": 128,
    }
    return PictureSpec(
        **(fixed | {"network": "efficientnet-lite0", "weights": "w", "drawings": "d", "seed": 0} | changes)
    )


def test_designs_come_in_five_tones_and_are_the_same_each_time() -> None:
    one, other = choose_designs(10, 3), choose_designs(10, 3)
    assert one.table.equals(other.table) and len(one.table) == 50
    assert (one.table.groupby("design")["tone"].apply(sorted).map(tuple) == (1, 2, 3, 4, 5)).all()


def test_a_search_of_persons_leaves_out_their_own_design() -> None:
    arrays, _ = embed_and_search(spec())
    for name in ("none", "one_direction", "all_directions", "leace", "random"):
        results = arrays[f"results_{name}"]
        assert results.shape == (50, 5) and (arrays["kind"][results] != arrays["kind"][:, None]).all()
        assert arrays[f"p_{name}"].shape == (2,)
    same = (arrays["tone"][arrays["results_none"]] == arrays["tone"][:, None]).mean()
    assert same > 0.25


def test_a_search_of_garments_keeps_their_groups() -> None:
    arrays, _ = embed_and_search(spec(catalogue="garments", rendition="garment_only", items=50, labellings=0))
    assert set(arrays) == {"tone", "kind", "results_none"} and arrays["tone"].max() == 4


def test_erasing_takes_the_means_together() -> None:
    generator = np.random.default_rng(0)
    tone = np.arange(60) % 5
    vectors = generator.normal(size=(60, 8)) + tone[:, None]
    means = [erase(vectors, tone, "all_directions", 0)[tone == each].mean(axis=0) for each in range(5)]
    assert np.ptp(means, axis=0).max() < 1e-9


def test_each_catalogue_of_noise_has_noise_of_its_own() -> None:
    """Vectors that are the tone are found again, noise that is drawn anew is not."""
    tone, design = np.tile(np.arange(5), 40), np.repeat(np.arange(40), 5)
    vectors = np.eye(5)[tone] + 0.01 * np.random.default_rng(0).normal(size=(200, 5))
    drawn = Embedded(vectors, tone, design, design)
    seen, noise = (search_subsets(vectors, drawn, spec(labellings=40), fresh) for fresh in (False, True))
    assert seen["p"].max() < 0.05 and seen["delta"].min() > 0.3
    assert noise["p"].max() > 0.5 and abs(noise["delta"].mean()) < 0.03
