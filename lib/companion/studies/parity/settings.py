"""Settings of the study, checked before anything runs."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from companion.profiles import STRICT, Count
from companion.stats.graphs import Graph
from companion.studies.parity.simulation.experiment import PHOTOS, Design, Search

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Shares = Annotated[tuple[Share, ...], Field(min_length=2)]


@dataclass(frozen=True, config=STRICT)
class LevelSettings:
    """How often the tests reject where nothing is to be found.

    Attributes:
        graphs, designs: kinds of search, and what the labels depend on (see `simulation.experiment.SimulationSpec`).
        items: N.
        shares: of the groups.
        repetitions: catalogues of each run.
        seeds: runs of each kind.
    """

    graphs: tuple[Graph, ...]
    designs: tuple[Design, ...]
    items: Count
    shares: Shares
    repetitions: Count
    seeds: tuple[int, ...]


@dataclass(frozen=True, config=STRICT)
class PowerSettings:
    """How often the tests find a bias of known strength.

    Attributes:
        graphs: kinds of search.
        items: every N.
        shares: every set of shares of the groups.
        factors: strengths, as multiples of what the planner says is found four times in five.
        repetitions: catalogues of each run.
        seed: of all runs.
    """

    graphs: tuple[Search, ...]
    items: tuple[Count, ...]
    shares: tuple[Shares, ...]
    factors: tuple[Positive, ...]
    repetitions: Count
    seed: int


@dataclass(frozen=True, config=STRICT)
class ConfoundedSettings:
    """Catalogues of garments whose category goes with the tone of who wears them.

    Attributes:
        items: garments of each catalogue.
        share: of garments whose category is one of their tone's own.
        seeds: one catalogue for each.
    """

    items: Annotated[int, Field(ge=50)]
    share: Share
    seeds: tuple[int, ...]


@dataclass(frozen=True, config=STRICT)
class PhotographSettings:
    """A catalogue with several pictures of each person.

    Attributes:
        persons: how many.
        each: pictures of each.
        labellings: how often tones are drawn for the persons, each time tested.
    """

    persons: Annotated[int, Field(ge=10)]
    each: Annotated[int, Field(ge=2)]
    labellings: Count


@dataclass(frozen=True, config=STRICT)
class PictureSettings:
    """Search by pictures.

    Attributes:
        network: image network, see `models.image_network`.
        persons: designs of OpenMoji, each in five tones.
        subsets: catalogues of persons in which each design occurs once.
        garments: items of a drawn catalogue.
        size: height and width of all pictures, in pixels.
        draws: relabellings of each search.
        seeds: of the drawn catalogues; the first also chooses the persons.
        confounded, photographs: further catalogues of garments.
        margin: an excess share within this of zero is no leak.
        deepfashion: also search the photographs of ``$COMPANION_DATA/deepfashion``.
    """

    network: str
    persons: Annotated[int, Field(ge=10)]
    subsets: Annotated[int, Field(ge=0)]
    garments: Annotated[int, Field(ge=50)]
    size: Annotated[int, Field(ge=32)]
    draws: Count
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    confounded: ConfoundedSettings
    photographs: PhotographSettings
    margin: Share
    deepfashion: bool = False


@dataclass(frozen=True, config=STRICT)
class ParitySettings:
    """The section ``studies: parity`` of a profile.

    Attributes:
        depth: K, results of each query.
        draws: relabellings of each simulated catalogue; with the labels as they are, a multiple of 64 wastes nothing.
        level, power: the simulations.
        pictures: the search by pictures.
        level_margin: by how much a test may reject too often and still hold its level.
        slope_margin: how far from -1/2 the slope of the detectable bias may be.
    """

    depth: Count
    draws: Count
    level: LevelSettings
    power: PowerSettings
    pictures: PictureSettings
    level_margin: Share
    slope_margin: Share

    @model_validator(mode="after")
    def _has_shares_that_sum_to_one(self) -> Self:
        for shares in (self.level.shares, *self.power.shares):
            if abs(sum(shares) - 1) > 1e-9:
                raise ValueError(f"the shares {shares} do not sum to 1")
        return self

    @model_validator(mode="after")
    def _has_enough_items(self) -> Self:
        if (least := min(self.level.items, *self.power.items)) < 2 * self.depth + PHOTOS:
            raise ValueError(f"a catalogue of {least} items is too small for {self.depth} results of each")
        if (persons := self.pictures.persons) <= self.depth:
            raise ValueError(f"{persons} persons are too few for {self.depth} results of each: ask for more of them")
        return self
