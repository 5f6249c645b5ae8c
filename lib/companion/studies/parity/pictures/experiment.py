"""One run of the picture study: draw a catalogue in one rendition, embed it, and search it with every erasure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from companion.models.neighbours import find_neighbours
from companion.origin import describe_origin
from companion.runs.log import report_progress
from companion.stats.dyadic import estimate_excess
from companion.stats.joins import relabel
from companion.stats.margins import Pairs
from companion.stats.retrieval import Groups, Integers, Retrieval
from companion.studies.parity.data import emoji, garments
from companion.studies.parity.data.erase import fit_class_means, fit_leace
from companion.studies.parity.pictures.photographs import embed_photographs
from companion.studies.parity.simulation.bias import draw_groups

if TYPE_CHECKING:
    from companion.models.image_network import ImageNetwork

Erasure = Literal["none", "one_direction", "all_directions", "leace", "random"]
ERASURES: tuple[Erasure, ...] = ("none", "one_direction", "all_directions", "leace", "random")
"""What is done to the vectors of the rendition ``whole``: nothing; light minus dark, the differences of all group
means, or all that correlates with the group taken out; or noise in their place. Others are searched as they are."""
Rendition = Literal["whole", "skin_only", "skin_neutral", "skin_and_hair_neutral", "garment_only"]
Source = Literal["persons", "garments", "deepfashion"]
DRAWS = 199
TONE_SHARES = (0.2,) * 5
"""Five groups of tones alike."""


@dataclass(frozen=True)
class PictureSpec:
    """All that can change the result of one run.

    Attributes:
        catalogue: ``persons`` (OpenMoji, every design in five tones), ``garments`` (drawn by code) or ``deepfashion``
            (photographs of a shop, see `photographs`).
        rendition: what of the picture is left, see ``emoji.PAINTS`` and ``garments.PAINTS``.
        items: designs of persons, or garments; 0 of photographs, all of which are taken.
        photos: pictures of each person of a catalogue of garments.
        confounding: share of garments whose category goes with the tone.
        depth: K.
        labellings: how often tones are drawn at random: one for each design of persons, or for each person with
            several photos.
        size: height and width of the pictures, in pixels.
        network, weights: image network and the sha256 of its weights.
        drawings: sha256 of the drawings.
    """

    catalogue: Source
    rendition: Rendition
    items: int
    photos: int
    confounding: float
    depth: int
    labellings: int
    size: int
    network: str
    weights: str
    drawings: str
    seed: int
    result_version: int = 4

    def __str__(self) -> str:
        tied = f", confounding {self.confounding:g}" if self.confounding else ""
        several = f", {self.photos} photos of each" if self.photos > 1 else ""
        return f"{self.catalogue}, {self.rendition}, {self.items}{tied}{several}, seed {self.seed}"


@dataclass(frozen=True)
class Embedded:
    """Pictures with their vectors (n, d), tone (n,) from 0, what is held fixed (design or category), and the person."""

    vectors: NDArray[np.float64]
    tone: Integers
    kind: Integers
    person: Integers
    dropped: int = 0


def embed_and_search(spec: PictureSpec) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Make one record: results of each erasure, tones and kinds; and for each labelling Delta and p.

    Labellings of persons are catalogues in which each design occurs once. With several photos, ``p_items`` exchanges
    the labels of photos and ``p_persons`` those of persons.
    """
    # Only who makes a record waits for torch.
    from companion.models.backend import get_device
    from companion.models.image_network import load_image_network

    embedded = embed(spec, load_image_network(spec.network, get_device()))
    tone, person = embedded.tone, embedded.person
    arrays: dict[str, NDArray[Any]] = {"tone": tone, "kind": embedded.kind}
    if spec.catalogue == "deepfashion":
        arrays["person"] = person
    erasures = ERASURES if spec.rendition == "whole" else ERASURES[:1]
    for place, erasure in enumerate(erasures):
        report_progress("scoring", place, len(erasures))
        changed = erase(embedded.vectors, tone, erasure, spec.seed)
        own = np.arange(len(tone)) if spec.catalogue == "garments" else person
        found = find_neighbours(changed, spec.depth, exclude=own, seed=spec.seed)
        arrays[f"results_{erasure}"] = found.indices.astype(np.int32)
        if spec.catalogue == "persons" and spec.labellings:
            by_subset = search_subsets(changed, embedded, spec, fresh=erasure == "random")
            arrays |= {f"{name}_{erasure}": values for name, values in by_subset.items()}
        elif spec.photos > 1:
            arrays |= run_labellings(found.indices, person, spec)
    return arrays, describe_origin() | ({"dropped": embedded.dropped} if embedded.dropped else {})


def embed(spec: PictureSpec, network: "ImageNetwork") -> Embedded:
    """The pictures of a run as the network sees them."""
    if spec.catalogue == "deepfashion":
        found, table, dropped = embed_photographs(network, spec.size, spec.rendition == "garment_only")
        tone, kind, item = (_number(table[column]) for column in ("tone", "category", "item"))
        return Embedded(found.astype(np.float64), tone, kind, item, dropped)
    if spec.catalogue == "garments":
        made = make_catalogue(spec)
        images = garments.draw_garments(made, cast(garments.Variant, spec.rendition), spec.size)
        vectors = network.embed(images).astype(np.float64)
        tones, model = (made.table[column].to_numpy() for column in ("group", "model"))
        return Embedded(vectors, tones, _number(made.table["category"]), model)
    persons = choose_designs(spec.items, spec.seed)
    images = emoji.draw_persons(persons, cast(emoji.Variant, spec.rendition), spec.size)
    design = _number(persons.table["design"])
    vectors = network.embed(images).astype(np.float64)
    return Embedded(vectors, persons.table["tone"].to_numpy() - 1, design, design)


def _number(values: pd.Series) -> Integers:
    """Values as numbers from 0, in their order."""
    numbers: Integers = np.unique(values, return_inverse=True)[1]
    return numbers


def make_catalogue(spec: PictureSpec) -> garments.Garments:
    """The garments of a run: five groups of tones alike."""
    return garments.make_garments(
        spec.items, shares=TONE_SHARES, photos=spec.photos, confounding=spec.confounding, seed=spec.seed
    )


def choose_designs(count: int, seed: int) -> emoji.Persons:
    """Some designs of persons, drawn at random, each in its five tones; all where there are no more."""
    persons = emoji.read_persons()
    designs = np.unique(persons.table["design"])
    chosen = np.random.default_rng(seed).permutation(designs)[:count]
    rows = np.flatnonzero(persons.table["design"].isin(chosen))
    table = persons.table.iloc[rows].reset_index(drop=True)
    return emoji.Persons(table, [persons.drawings[row] for row in rows], persons.dropped)


def erase(vectors: NDArray[np.float64], tone: Integers, erasure: Erasure, seed: int) -> NDArray[np.float64]:
    """The vectors without the attribute, as the erasure says; it is fitted on the very vectors that it is used on."""
    if erasure == "random":
        return np.random.default_rng(seed).normal(size=vectors.shape)
    if erasure == "one_direction":
        ends = np.select([tone == tone.min(), tone == tone.max()], [0, 1], -1)
        return fit_class_means(vectors, ends).erase(vectors)
    if erasure == "all_directions":
        return fit_class_means(vectors, tone).erase(vectors)
    return fit_leace(vectors, tone).erase(vectors) if erasure == "leace" else vectors


def search_subsets(
    vectors: NDArray[np.float64], drawn: Embedded, spec: PictureSpec, fresh: bool
) -> dict[str, NDArray[np.float64]]:
    """Delta, and p, of each catalogue in which every design occurs once.

    ``fresh``: each catalogue has noise of its own in place of its vectors. One draw of noise goes with tone a little by
    chance, and all catalogues would share that.
    """
    designs, found = int(drawn.kind.max()) + 1, []
    for subset in range(spec.labellings):
        generator = np.random.default_rng([spec.seed, subset])
        order = generator.permutation(len(vectors))
        rows = np.sort(order[np.unique(drawn.kind[order], return_index=True)[1]])
        searched = generator.normal(size=(designs, vectors.shape[1])) if fresh else vectors[rows]
        near = find_neighbours(searched, spec.depth, seed=subset).indices
        groups = Groups(np.unique(drawn.tone[rows], return_inverse=True)[1], len(np.unique(drawn.tone[rows])))
        retrieval = Retrieval(near, designs, np.arange(designs))
        pairs = Pairs(retrieval, groups, groups)
        delta = estimate_excess(pairs, np.ones(near.shape[1])).estimate
        found.append((delta, float(relabel(pairs, DRAWS, generator).p[0])))
    delta, p = np.array(found).T
    return {"delta": delta, "p": p}


def run_labellings(results: Integers, person: Integers, spec: PictureSpec) -> dict[str, NDArray[np.float64]]:
    """Delta of tones drawn at random for each person, and p by exchanging labels of photos and of persons."""
    retrieval = Retrieval(results, len(results), np.arange(len(results)))
    others, weights, found = retrieval.leave_out(person), np.ones(results.shape[1]), []
    for labelling in range(spec.labellings):
        generator = np.random.default_rng([spec.seed, labelling])
        tones = draw_groups(generator, TONE_SHARES, int(person.max()) + 1)
        groups = Groups(tones.codes[person], tones.number)
        free, by_person = Pairs(retrieval, groups, groups), Pairs(others, groups, groups, person)
        p = [float(relabel(pairs, DRAWS, generator).p[0]) for pairs in (free, by_person)]
        found.append((estimate_excess(by_person, weights).estimate, *p))
    delta, items, persons = np.array(found).T
    return {"delta": delta, "p_items": items, "p_persons": persons}
