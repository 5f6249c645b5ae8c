"""One run of the simulation study: many made-up catalogues of one kind, each tested in every way."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from companion.origin import describe_origin
from companion.runs.log import report_progress
from companion.runs.spec import spec_id
from companion.stats.dyadic import estimate_centred
from companion.stats.graphs import Graph, make_retrieval
from companion.stats.join_moments import centred_kernel, join_moments
from companion.stats.joins import Weighted, count_joins, permutation_p
from companion.stats.margins import Pairs
from companion.stats.relabelling import Exchange, Relabelling
from companion.stats.retrieval import Groups, Integers, Retrieval
from companion.studies.parity.simulation import naive
from companion.studies.parity.simulation.bias import (
    cut_into_groups,
    draw_groups,
    inject_mixture,
    inject_tilt,
    match_tilt,
)

Design = Literal["plain", "strata", "blocks"]
Search = Literal[Graph, "tilt"]
STRATA, PULL = 5, 0.5
"""Strata of that design, and the share of results that are drawn from the query's own stratum."""
PHOTOS = 4
"""Items of a block."""
PERMUTED = ("centred", "share", "chi_square", "parity")
"""Names of the p-values by permutation as the design asks: of three statistics, and of parity to the catalogue."""
TESTS = (*PERMUTED, "unrestricted", "pearson", "normal", "naive_chi_square", "naive_parity", "random_results")
"""Beside them, where no bias is put in: C by unrestricted permutation; C by its exact moments and the Pearson III law;
S by its exact moments and the normal law; and three tests that take results for independent draws."""


@dataclass(frozen=True)
class SimulationSpec:
    """All that can change the result of one run.

    Attributes:
        graph: kind of search, see `graphs.make_retrieval`; ``tilt``: results are drawn by nearness of a number, whose
            ranges are the groups (see `bias.match_tilt`).
        design: ``plain``; ``strata``: the group and half of the results depend on a stratum; ``blocks``: four items
            share a label and nearly a place.
        items, depth: N and K.
        shares: of the groups.
        strength: of the bias by mixture that is injected, or that the tilt is as strong as.
        repetitions: catalogues.
        draws: relabellings of each.
    """

    graph: Search
    design: Design
    items: int
    depth: int
    shares: tuple[float, ...]
    strength: float
    repetitions: int
    draws: int
    seed: int
    result_version: int = 3

    def __str__(self) -> str:
        shares = "/".join(f"{100 * share:g}" for share in self.shares)
        return f"{self.graph}, {self.design}, N {self.items}, {shares}, b {self.strength:g}, seed {self.seed}"


@dataclass(frozen=True)
class Catalogue:
    """One made-up catalogue: results, groups, and what may be exchanged with what."""

    retrieval: Retrieval
    groups: Groups
    exchange: Exchange

    @cached_property
    def counted(self) -> Retrieval:
        """Results that are counted; those in the block of their query match whatever the labels are."""
        blocks = self.exchange.blocks
        return self.retrieval if blocks is None else self.retrieval.leave_out(blocks)

    @property
    def pairs(self) -> Pairs:
        """What is relabelled, and what intervals are made from."""
        return Pairs(self.counted, self.groups, self.groups, self.exchange.blocks, self.exchange.strata)


def simulate(spec: SimulationSpec) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Make one record: p-values and the estimate of C, one row for each catalogue, and the facts.

    Without a bias there is a p of each of ``TESTS``, with one of ``PERMUTED`` alone.
    """
    rows = []
    for repetition in range(spec.repetitions):
        report_progress("step", repetition, spec.repetitions)
        generator = seed_generator(spec, repetition)
        catalogue = make_catalogue(generator, spec)
        joins = count(catalogue, generator, spec.draws)
        rows.append(run_permutation_tests(catalogue, joins))
        if not spec.strength:
            if not catalogue.exchange.free:
                catalogue = replace(catalogue, exchange=Exchange())
                joins = count(catalogue, generator, spec.draws)
            rows[-1] |= {"unrestricted": permutation_p(joins.standardized), **run_other_tests(catalogue, joins)}
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}, describe_origin()


def seed_generator(spec: SimulationSpec, repetition: int) -> np.random.Generator:
    """Random numbers of one catalogue; those of two kinds of catalogue are independent even with one seed."""
    return np.random.default_rng([spec.seed, repetition, int(spec_id(spec), 16)])


def make_catalogue(generator: np.random.Generator, spec: SimulationSpec) -> Catalogue:
    """Draw a catalogue of the kind that the spec asks for."""
    if spec.graph == "tilt":
        values = generator.normal(size=spec.items)
        retrieval = inject_tilt(generator, values, match_tilt(spec.strength, spec.shares), spec.depth)
        return Catalogue(retrieval, cut_into_groups(values, spec.shares), Exchange())
    if spec.design == "blocks":
        blocks = np.arange(spec.items) // PHOTOS
        labels = draw_groups(generator, spec.shares, int(blocks[-1]) + 1)
        groups = Groups(labels.codes[blocks], labels.number)
        retrieval = make_retrieval(generator, spec.graph, spec.items, spec.depth, blocks)
        exchange = Exchange(blocks=blocks)
    else:
        retrieval = make_retrieval(generator, spec.graph, spec.items, spec.depth)
        groups, exchange = draw_groups(generator, spec.shares, spec.items), Exchange()
    if spec.design == "strata":
        strata = _draw_strata(generator, groups)
        exchange = Exchange(strata=strata)
        retrieval = inject_mixture(generator, retrieval, Groups(strata, STRATA), PULL)
    if spec.strength:
        retrieval = inject_mixture(generator, retrieval, groups, spec.strength)
    return Catalogue(retrieval, groups, exchange)


def _draw_strata(generator: np.random.Generator, groups: Groups) -> Integers:
    """A stratum for each item, half of them from its group's favourite ones."""
    favourite = groups.codes % STRATA
    anywhere = generator.integers(0, STRATA, len(groups.codes))
    return np.where(generator.random(len(groups.codes)) < 0.5, favourite, anywhere)


def count(catalogue: Catalogue, generator: np.random.Generator, draws: int) -> Weighted:
    """Counts of the catalogue as it is, and relabelled, with the table of groups."""
    relabelling = Relabelling(catalogue.groups, catalogue.exchange, generator)
    return count_joins(catalogue.counted, catalogue.groups, relabelling, draws, table=True).weigh(np.ones(1))


def run_permutation_tests(catalogue: Catalogue, joins: Weighted) -> dict[str, float]:
    """p of each of ``PERMUTED``, and C with its interval."""
    estimate = estimate_centred(catalogue.pairs, np.ones(catalogue.retrieval.results.shape[1]))
    return {
        "centred": permutation_p(joins.standardized),
        "share": permutation_p(joins.same_share),
        "chi_square": permutation_p(joins.chi_square),
        "parity": permutation_p(joins.parity_distance),
        "estimate": estimate.estimate,
        "low": estimate.low,
        "high": estimate.high,
        "reciprocity": catalogue.retrieval.reciprocity,
    }


def run_other_tests(catalogue: Catalogue, joins: Weighted) -> dict[str, float]:
    """p of the tests of ``TESTS`` that need no relabelling, of a catalogue without strata or blocks."""
    retrieval, groups = catalogue.retrieval, catalogue.groups
    assert joins.table is not None
    kernel = centred_kernel(groups.shares)
    exact = join_moments(retrieval, groups, kernel)
    share = join_moments(retrieval, groups, np.eye(groups.number))
    return {
        "pearson": exact.p(float((kernel * joins.table[0]).sum())),
        "normal": float(stats.norm.sf((joins.matches[0] - share.mean) / np.sqrt(share.variance))),
        "naive_chi_square": naive.chi_square_p(retrieval, groups),
        "naive_parity": naive.parity_p(retrieval, groups),
        "random_results": naive.random_results_p(retrieval, groups),
    }
