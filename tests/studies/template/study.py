"""A complete study in a few dozen lines: does a bent coin show heads more often than a fair one?"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field
from pydantic import dataclasses as checked

from companion.origin import describe_origin, get_commit
from companion.profiles import STRICT, Count
from companion.studies.data import Data
from companion.studies.study import Study


@checked.dataclass(frozen=True, config=STRICT)
class CoinSettings:
    """The section ``studies: coin`` of a profile."""

    heads: dict[str, Annotated[float, Field(ge=0, le=1)]]
    flips: Count
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class CoinSpec:
    """All that can change the result of one run; raise ``result_version`` when the code changes it."""

    arm: str
    seed: int
    heads: float
    flips: int
    data: str
    result_version: int = 1

    def __str__(self) -> str:
        return f"{self.arm}, seed {self.seed}"


def flip(spec: CoinSpec) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Make one record: the arrays, and the facts of the machine."""
    generator = np.random.default_rng([spec.seed, len(spec.arm)])
    return {"heads": generator.random(spec.flips) < spec.heads}, describe_origin()


@dataclass(frozen=True)
class CoinStudy(Study):
    """Fair and bent coins."""

    settings: CoinSettings
    name: ClassVar[str] = "coin"
    paper: ClassVar[str] = "0000.00000"
    title: ClassVar[str] = "Bent coins, re-run"
    statement: ClassVar[str] = "A bent coin shows heads more often than a fair one."
    main_figure: ClassVar[str] = "F1_heads"
    settings_class: ClassVar[type] = CoinSettings
    spec_classes: ClassVar[tuple[type, ...]] = (CoinSpec,)
    unit: ClassVar[str] = "seed"

    def make_data(self, quiet: bool) -> Data:
        """Weigh the coins; a real study reads texts, pictures or catalogues here."""
        coins = pd.DataFrame({"coin": list(self.settings.heads), "heads": list(self.settings.heads.values())})
        digest = hashlib.sha256(coins.to_csv(index=False).encode()).hexdigest()[:16]
        return Data({"coins": coins}, {"hash": digest, "commit": get_commit()})

    def data_settings(self) -> dict[str, Any]:
        """Settings that the data depend on."""
        return {"heads": self.settings.heads}

    def specs(self) -> list[CoinSpec]:
        """One run for each coin and seed."""
        one, version = self.settings, self.version(CoinSpec)
        pairs = [(seed, coin) for seed in one.seeds for coin in one.heads]
        return [CoinSpec(coin, seed, one.heads[coin], one.flips, self.data.hash, version) for seed, coin in pairs]

    @property
    def work(self) -> Any:
        """What makes a record."""
        return flip

    def group(self, spec: CoinSpec) -> str:
        """Runs are counted by coin."""
        return spec.arm

    @property
    def size(self) -> str:
        """What every note says of n."""
        return f"{len(self.settings.seeds)} seeds, {self.settings.flips} flips each"
