"""The study of arXiv 1909.06429 at one profile: what only this paper says."""

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, ClassVar

import pandas as pd

from companion.origin import get_commit
from companion.runs.engine import Work
from companion.stats.detectable import detectable_bias
from companion.studies.data import Data
from companion.studies.parity.names import NAMES
from companion.studies.parity.settings import ParitySettings
from companion.studies.parity.simulation.experiment import Design, SimulationSpec, simulate
from companion.studies.parity.simulation.graphs import Graph
from companion.studies.study import Study


@dataclass(frozen=True)
class ParityStudy(Study):
    """Does what a search returns depend on a protected attribute of the query?"""

    settings: ParitySettings
    name: ClassVar[str] = "parity"
    paper: ClassVar[str] = "1909.06429"
    title: ClassVar[str] = "Recommendation or Discrimination?, re-run"
    statement: ClassVar[str] = (
        "A permutation-type test finds out whether search results depend on a protected attribute of the query, and "
        "the bias that it can find shrinks as the catalogue grows."
    )
    main_figure: ClassVar[str] = "F4_detectable"
    names = NAMES
    settings_class: ClassVar[type] = ParitySettings
    spec_classes: ClassVar[tuple[type, ...]] = (SimulationSpec,)
    unit: ClassVar[str] = "catalogue"

    def make_data(self, quiet: bool) -> Data:
        """The designs that are simulated; each run draws its catalogues itself."""
        designs = pd.DataFrame([asdict(spec) for spec in (*self.level_specs(), *self.power_specs())])
        designs["shares"] = designs["shares"].map(json.dumps)
        digest = hashlib.sha256(designs.to_csv(index=False).encode()).hexdigest()[:16]
        return Data({"designs": designs}, {"hash": digest, "commit": get_commit()})

    def data_settings(self) -> dict[str, Any]:
        """None: new designs are new runs, and those that are there stay as they are."""
        return {}

    def level_specs(self) -> list[SimulationSpec]:
        """Catalogues without dependence, of every graph and design."""
        one = self.settings.level
        kinds = product(one.graphs, one.designs, one.seeds)
        return [
            self._spec(graph, design, one.items, one.shares, 0.0, one.repetitions, seed)
            for graph, design, seed in kinds
        ]

    def power_specs(self) -> list[SimulationSpec]:
        """Catalogues with a bias near the one that is found four times in five, of every graph, N and shares."""
        one, depth = self.settings.power, self.settings.depth
        specs = []
        for graph, shares, items, factor in product(one.graphs, one.shares, one.items, one.factors):
            strength = float(f"{factor * detectable_bias(items, depth, shares):.4g}")
            specs.append(self._spec(graph, "plain", items, shares, strength, one.repetitions, one.seed))
        return specs

    def _spec(
        self,
        graph: Graph,
        design: Design,
        items: int,
        shares: tuple[float, ...],
        strength: float,
        repetitions: int,
        seed: int,
    ) -> SimulationSpec:
        depth, draws, version = self.settings.depth, self.settings.draws, self.version(SimulationSpec)
        return SimulationSpec(graph, design, items, depth, shares, strength, repetitions, draws, seed, version)

    def specs(self) -> list[SimulationSpec]:
        """Every run behind the tables."""
        return [*self.level_specs(), *self.power_specs()]

    @property
    def work(self) -> Work:
        """What makes a record."""
        return simulate

    def group(self, spec: SimulationSpec) -> str:
        """Runs are counted by kind of search."""
        return spec.graph

    @property
    def size(self) -> str:
        """What every note says of n."""
        level, power = self.settings.level, self.settings.power
        return (
            f"{level.repetitions * len(level.seeds)} catalogues of {level.items} items for each level, "
            f"{power.repetitions} for each power; K = {self.settings.depth}, {self.settings.draws} relabellings"
        )
