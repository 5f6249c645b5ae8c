"""Tests that treat results as if they were drawn one by one; their level is what the simulation looks at."""

import numpy as np
from scipy import stats

from companion.stats.retrieval import Groups, Retrieval


def chi_square_p(retrieval: Retrieval, groups: Groups) -> float:
    """p of the chi-square test of independence of query group and result group; nan where a group is absent."""
    rows, items = retrieval.edges()
    table = np.zeros((groups.number, groups.number))
    np.add.at(table, (groups.codes[rows], groups.codes[items]), 1)
    if (table.sum(axis=0) == 0).any() or (table.sum(axis=1) == 0).any():
        return float("nan")
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def parity_p(retrieval: Retrieval, groups: Groups) -> float:
    """p of the chi-square test that pooled results have the groups' shares in the catalogue."""
    _, items = retrieval.edges()
    found = np.bincount(groups.codes[items], minlength=groups.number)
    return float(stats.chisquare(found, groups.shares * len(items)).pvalue)


def random_results_p(retrieval: Retrieval, groups: Groups) -> float:
    """Upper p of the share of results in the query's group, if every result were a random other item (normal law)."""
    rows, items = retrieval.edges()
    sizes, count = groups.sizes, len(groups.codes)
    expected = float((sizes * (sizes - 1)).sum()) / (count * (count - 1))
    share = float((groups.codes[rows] == groups.codes[items]).mean())
    return float(stats.norm.sf((share - expected) / np.sqrt(expected * (1 - expected) / len(items))))
