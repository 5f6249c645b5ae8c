"""The study of arXiv 1909.06429 at one profile: what only this paper says."""

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, ClassVar

import pandas as pd

from companion.corpora.originals import FOLDER_VARIABLE
from companion.origin import get_commit
from companion.runs.engine import Work
from companion.stats.detectable import detectable_bias
from companion.stats.graphs import RECIPROCITY
from companion.studies.data import Data
from companion.studies.parity.data import emoji, garments
from companion.studies.parity.data.garments import make_garments
from companion.studies.parity.names import NAMES
from companion.studies.parity.pictures.experiment import TONE_SHARES, PictureSpec, Rendition, Source, choose_designs
from companion.studies.parity.pictures.photographs import has_photographs, list_photographs
from companion.studies.parity.record import make_record
from companion.studies.parity.settings import ParitySettings
from companion.studies.parity.simulation.experiment import Design, Search, SimulationSpec
from companion.studies.study import Study

Spec = SimulationSpec | PictureSpec
PHOTOGRAPHS: tuple[Rendition, ...] = ("whole", "garment_only")
DATA_SETTINGS = ("persons", "garments", "seeds", "confounded", "photographs")


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
    spec_classes: ClassVar[tuple[type, ...]] = (SimulationSpec, PictureSpec)
    unit: ClassVar[str] = "catalogue"

    def make_data(self, quiet: bool) -> Data:
        """The persons and the garments of the picture searches, without their drawings."""
        one = self.settings.pictures
        persons = choose_designs(one.persons, one.seeds[0])
        kinds = [
            *((one.garments, 1, 0.0, seed) for seed in one.seeds),
            *((one.confounded.items, 1, one.confounded.share, seed) for seed in one.confounded.seeds),
            (one.photographs.persons * one.photographs.each, one.photographs.each, 0.0, one.seeds[0]),
        ]
        drawn = [
            make_garments(count, shares=TONE_SHARES, photos=photos, confounding=tied, seed=seed).table.assign(
                seed=seed, confounding=tied, photos=photos
            )
            for count, photos, tied, seed in kinds
        ]
        frames = {"persons": persons.table, "garments": pd.concat(drawn, ignore_index=True)}
        if one.deepfashion and has_photographs():
            frames["deepfashion"] = list_photographs()
        text = "".join(frame.to_csv(index=False, float_format="%.9g") for frame in frames.values())
        digest = hashlib.sha256(f"{emoji.SHA256}{text}".encode()).hexdigest()[:16]
        return Data(frames, {"hash": digest, "dropped": persons.dropped, "commit": get_commit()})

    def data_settings(self) -> dict[str, Any]:
        """Settings that the pictures depend on."""
        settings = asdict(self.settings.pictures)
        return {name: json.loads(json.dumps(settings[name])) for name in DATA_SETTINGS}

    def facts(self) -> dict[str, Any]:
        """Facts frozen beside the settings: the data and the weights of the image network."""
        from companion.models.image_network import load_image_network

        one = self.settings.pictures
        weights = load_image_network(one.network).sha256
        there = {"deepfashion": True} if one.deepfashion and has_photographs() else {}
        return {"data": self.data.hash, "weights": weights, **there}

    def left_out(self) -> str:
        """A study keeps the photographs that it began with, or does without."""
        if not self.settings.pictures.deepfashion or (self.frozen() or self.facts()).get("deepfashion"):
            return ""
        return (
            f"DeepFashion's photographs are left out: let {FOLDER_VARIABLE} name a folder that holds 'deepfashion', "
            f"move {self.folder} away if it is there, and run again to have them"
        )

    def model_settings(self) -> dict[str, Any]:
        """The image network."""
        return {"network": self.settings.pictures.network}

    @property
    def inputs(self) -> str:
        """What the data are made from."""
        return "the drawings of OpenMoji and of this library"

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
            planned = detectable_bias(items, depth, shares, RECIPROCITY.get(graph))
            strength = float(f"{factor * planned:.4g}")
            specs.append(self._spec(graph, "plain", items, shares, strength, one.repetitions, one.seed))
        return specs

    def _spec(
        self,
        graph: Search,
        design: Design,
        items: int,
        shares: tuple[float, ...],
        strength: float,
        repetitions: int,
        seed: int,
    ) -> SimulationSpec:
        depth, draws, version = self.settings.depth, self.settings.draws, self.version(SimulationSpec)
        return SimulationSpec(graph, design, items, depth, shares, strength, repetitions, draws, seed, version)

    def search_specs(self) -> list[PictureSpec]:
        """Searches of persons and of garments in every rendition."""
        one, frozen = self.settings.pictures, self.frozen() or self.facts()
        persons = [
            self._picture_spec(frozen, "persons", rendition, one.persons, one.seeds[0], labellings=one.subsets)
            for rendition in emoji.VARIANTS
        ]
        return (
            persons
            + [
                self._picture_spec(frozen, "garments", rendition, one.garments, seed)
                for seed in one.seeds
                for rendition in garments.VARIANTS
            ]
            + [
                self._picture_spec(frozen, "deepfashion", rendition, 0, one.seeds[0])
                for rendition in (PHOTOGRAPHS if frozen.get("deepfashion") else ())
            ]
        )

    def design_specs(self) -> list[PictureSpec]:
        """Searches of garments without skin whose category goes with the tone, and of several pictures of each."""
        one, frozen = self.settings.pictures, self.frozen() or self.facts()
        tied, photos = one.confounded, one.photographs
        count = photos.persons * photos.each
        return [
            self._picture_spec(frozen, "garments", "garment_only", tied.items, seed, confounding=tied.share)
            for seed in tied.seeds
        ] + [
            self._picture_spec(
                frozen,
                "garments",
                "garment_only",
                count,
                one.seeds[0],
                photos=photos.each,
                labellings=photos.labellings,
            )
        ]

    def _picture_spec(
        self,
        frozen: dict[str, Any],
        catalogue: Source,
        rendition: Rendition,
        items: int,
        seed: int,
        *,
        photos: int = 1,
        confounding: float = 0.0,
        labellings: int = 0,
    ) -> PictureSpec:
        one = self.settings.pictures
        return PictureSpec(
            catalogue,
            rendition,
            items,
            photos,
            confounding,
            self.settings.depth,
            labellings,
            one.size,
            one.network,
            frozen["weights"],
            frozen["data"],
            seed,
            self.version(PictureSpec),
        )

    def specs(self) -> list[Spec]:
        """Every run behind the tables."""
        return [*self.search_specs(), *self.design_specs(), *self.level_specs(), *self.power_specs()]

    @property
    def work(self) -> Work:
        """What makes a record."""
        return make_record

    def group(self, spec: Spec) -> str:
        """Runs are counted by kind of search."""
        return spec.catalogue if isinstance(spec, PictureSpec) else spec.graph

    @property
    def size(self) -> str:
        """What every note says of n."""
        level, power = self.settings.level, self.settings.power
        return (
            f"{level.repetitions * len(level.seeds):,} catalogues of {level.items:,} items for each level, "
            f"{power.repetitions} for each power; K = {self.settings.depth}, {self.settings.draws} relabellings"
        )
