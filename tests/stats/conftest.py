"""Simulated results shaped like the study: sources x seeds x items, one student (seed) tested on every source."""

from collections.abc import Callable

import numpy as np
import pytest

Simulate = Callable[..., np.ndarray]

SOURCES = 6
ITEMS = 60
ITEM_SD = 0.25
ENTRY_SD = 0.40
MIXED_SD = 0.02


@pytest.fixture
def simulate() -> Simulate:
    """Paired item differences (sources, seeds, items) with mean 0 and effects of sources and of seeds."""

    def draw(
        generator: np.random.Generator, seeds: int, source_sd: float = 0.0, seed_sd: float = 0.0, sources: int = SOURCES
    ) -> np.ndarray:
        values = source_sd * generator.standard_normal((sources, 1, 1))
        values = values + seed_sd * generator.standard_normal((1, seeds, 1))
        values = values + MIXED_SD * generator.standard_normal((sources, seeds, 1))
        values = values + ITEM_SD * generator.standard_normal((sources, 1, ITEMS))
        return values + ENTRY_SD * generator.standard_normal((sources, seeds, ITEMS))

    return draw
