"""Relabelling results at random: this project's bits against a loop in numpy and the usual tools."""

import importlib.util
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from companion.bench.turns import SECONDS, Way, forget_peak
from companion.runs.worker import die_with_parent
from companion.stats.graphs import Graph, make_retrieval
from companion.stats.join_moments import centred_kernel, join_moments
from companion.stats.joins import Weighted, count_joins
from companion.stats.relabelling import Exchange, Relabelling
from companion.stats.retrieval import Groups, Retrieval, make_groups

SIZES = (10**3, 10**4, 10**5)
LARGE = (10**6,)
"""Sizes for this project and numpy alone; 10**7 can be added and would take minutes."""
SHOWN: tuple[Graph, ...] = ("random", "near_low")
DEPTH, DRAWS, GROUPS = 10, 999, 2
FEW, LONG = 19, 20.0
"""A tool that would take more than LONG seconds for all draws is timed with FEW, and the time scaled up."""
Floats = NDArray[np.float64]
Test = Callable[[int], Floats]
"""From a number of draws to a statistic of the labels as they are, and then of each draw."""


def ways() -> list[Way]:
    """One thread each; a tool only where it is installed. The tools come with the extra `bench`."""
    shuffled = "labels shuffled by numpy, the tool's coefficient of each"
    found = [
        _way("companion", prepare_ours, SIZES + LARGE, "64 draws in a word, from 10,000 items on shifts of one order"),
        _way("companion, moments", prepare_moments, SIZES, "exact mean, variance and skewness; nothing is drawn"),
        _way("numpy", prepare_numpy, SIZES + LARGE, "labels shuffled and compared, one draw at a time"),
        _way("igraph", prepare_igraph, SIZES, f"assortativity_nominal, {shuffled}"),
        _way("esda", prepare_esda, SIZES[:2], "Join_Counts with its own permutations"),
        _way("networkx", prepare_networkx, SIZES[:2], f"attribute_assortativity_coefficient, {shuffled}"),
    ]
    return [way for way in found if way.name.startswith("companion") or importlib.util.find_spec(way.name)]


def _way(name: str, prepare: Callable[[Retrieval, Groups], Test], sizes: tuple[int, ...], note: str) -> Way:
    tasks = tuple(name_task(graph, items) for items in sizes for graph in SHOWN)
    return Way(name, tasks, partial(measure, prepare), note, 1, 1, SECONDS)


def name_task(graph: Graph, items: int) -> str:
    """Such as "random, 1,000 items"."""
    return f"{graph}, {items:,} items"


def read_task(task: str) -> tuple[Graph, int]:
    """Graph and number of items in the name of a task."""
    name, _, items = task.removesuffix(" items").partition(", ")
    return next(graph for graph in get_args(Graph) if graph == name), int(items.replace(",", ""))


def measure(prepare: Callable[[Retrieval, Groups], Test], task: str) -> float:
    """Seconds of all draws of a task; what a tool needs before it can begin, such as its own graph, is not timed."""
    graph, items = read_task(task)
    test = prepare(*load_case(graph, items))
    test(1)
    if prepare not in (prepare_ours, prepare_moments):
        # The labels as they are count as one draw more.
        took = clock(test, FEW) * (DRAWS + 1) / (FEW + 1)
        if took > LONG:
            return took
    forget_peak()
    return clock(test, DRAWS)


def clock(test: Test, draws: int) -> float:
    """Seconds of so many draws."""
    start = time.perf_counter()
    test(draws)
    return time.perf_counter() - start


def load_case(graph: Graph, items: int, depth: int = DEPTH, number: int = GROUPS) -> tuple[Retrieval, Groups]:
    """Results and groups of equal size, the same for all ways; the results are kept in the working folder."""
    file = Path(f"{graph}-{items}-{depth}.npy")
    if not file.exists():
        # In a process of its own, so that the memory for making them is not counted.
        fresh = get_context("spawn")
        with ProcessPoolExecutor(1, fresh, initializer=die_with_parent, initargs=(os.getpid(),)) as maker:
            maker.submit(write_results, file, graph, items, depth).result()
    labels = np.random.default_rng(1).permutation(np.arange(items) % number)
    return Retrieval(np.load(file), items, np.arange(items)), make_groups(labels)


def write_results(file: Path, graph: Graph, items: int, depth: int) -> None:
    """Make results and write them."""
    np.save(file, make_retrieval(np.random.default_rng(0), graph, items, depth).results)


def count_ours(retrieval: Retrieval, groups: Groups, draws: int) -> Weighted:
    """This project's counts."""
    relabelling = Relabelling(groups, Exchange(), np.random.default_rng(2))
    return count_joins(retrieval, groups, relabelling, draws).weigh(np.ones(1))


def prepare_ours(retrieval: Retrieval, groups: Groups) -> Test:
    """Share of results in the group of their query."""
    return lambda draws: count_ours(retrieval, groups, draws).same_share


def prepare_moments(retrieval: Retrieval, groups: Groups) -> Test:
    """Moments of the centred join count over all relabellings, whatever the number of draws."""

    def test(_draws: int) -> Floats:
        moments = join_moments(retrieval, groups, centred_kernel(groups.shares))
        return np.array([moments.mean, moments.variance, moments.skewness])

    return test


def shuffle(labels: NDArray, draws: int, statistic: Callable[[NDArray], float]) -> Floats:
    """The statistic of the labels and of so many random orders of them."""
    generator = np.random.default_rng(2)
    return np.array([statistic(labels), *(statistic(generator.permutation(labels)) for _ in range(draws))])


def prepare_numpy(retrieval: Retrieval, groups: Groups) -> Test:
    """Share of results in the group of their query."""

    def share(labels: NDArray) -> float:
        return float((labels[retrieval.queries][:, None] == labels[retrieval.results]).mean())

    return lambda draws: shuffle(groups.codes, draws, share)


def prepare_igraph(retrieval: Retrieval, groups: Groups) -> Test:
    """Nominal assortativity of the directed graph; igraph is faster with lists than with arrays."""
    from igraph import Graph as Network

    network = Network(retrieval.items, _edges(retrieval), directed=True)
    return lambda draws: shuffle(
        groups.codes, draws, lambda labels: network.assortativity_nominal(labels.tolist(), directed=True)
    )


def prepare_networkx(retrieval: Retrieval, groups: Groups) -> Test:
    """Nominal assortativity of the directed graph."""
    import networkx

    network = networkx.DiGraph()
    network.add_nodes_from(range(retrieval.items))
    network.add_edges_from(_edges(retrieval).tolist())

    def coefficient(labels: NDArray) -> float:
        networkx.set_node_attributes(network, dict(enumerate(labels.tolist())), "group")
        return float(networkx.attribute_assortativity_coefficient(network, "group"))

    return lambda draws: shuffle(groups.codes, draws, coefficient)


def prepare_esda(retrieval: Retrieval, groups: Groups) -> Test:
    """Share of joins between items of one group, of two groups."""
    from esda import Join_Counts
    from libpysal.weights import W

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the graph is in parts
        weights = W(dict(enumerate(retrieval.results.tolist())), silence_warnings=True)

    def test(draws: int) -> Floats:
        np.random.seed(2)  # noqa: NPY002 (the only generator that the tool takes)
        counts = Join_Counts(groups.codes, weights, permutations=draws)
        return np.array([counts.autocorr_pos, *counts.sim_autocurr_pos], dtype=np.float64) / counts.J

    return test


def _edges(retrieval: Retrieval) -> NDArray[np.int64]:
    """(edges, 2) query and result."""
    rows, found = retrieval.edges()
    return np.column_stack([rows, found])
