"""What a reader sees of an audit: tables and figures with their notes, a summary, and the page."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from companion.show.page import write_index
from companion.show.provenance import Provenance
from companion.show.style import save_figure
from companion.show.tables import view, write_table
from companion.show.text import format_interval, format_number, format_p_value, one_line
from companion.studies.parity.names import AUDIT_NAMES as NAMES
from companion.studies.parity.own.audit import Audit
from companion.studies.parity.own.figures import plot_depths, plot_null, plot_pairs
from companion.studies.parity.own.options import ALPHA, CAUSE

TABLES = {
    "T0_reading": "What was read, and what to doubt",
    "T1_overall": "Do results depend on the query's attribute?",
    "T1b_parity": "Do all results together have the shares of the catalogue?",
    "T2_groups": "Observed and expected results, by group of the query and of the result",
    "T3_plan": "What would have been found, and how large a catalogue smaller biases need",
    "T4_relevance": "Among relevant results, others, and those that nobody judged",
    "T5_change": "Against the baseline",
}
FIGURES = {
    "F1_null": (plot_null, "What was seen, among relabellings"),
    "F2_groups": (plot_pairs, "Observed over expected results, by group of the query and of the result"),
    "F3_depths": (plot_depths, "C by the number of results, and by group"),
}


def make_table(found: Audit, name: str) -> pd.DataFrame:
    """One of ``TABLES`` as data; without rows where it was not asked for."""
    overall = found.overall
    frames = {
        "T0_reading": pd.DataFrame(
            [("read", note) for note in found.notes] + [("doubt", doubt) for doubt in found.warnings],
            columns=["kind", "sentence"],
        ),
        "T1_overall": overall[["attribute", "k", "verdict", *overall.columns.drop(["attribute", "k", "verdict"])]].drop(
            columns="equivalent"
        ),
        "T1b_parity": found.parity,
        "T2_groups": found.by_group,
        "T3_plan": found.plan,
        "T4_relevance": found.by_relevance,
        "T5_change": found.change,
    }
    frame = frames[name]
    return pd.DataFrame() if frame is None else frame


def show_table(found: Audit, name: str) -> pd.DataFrame:
    """The same as a reader sees it."""
    return view(make_table(found, name), NAMES)


def describe(found: Audit, name: str) -> str:
    """The note of a table or figure: what n, unit, interval and p are."""
    notes = {
        "T0_reading": "Doubts are reasons to look again; they change no number.",
        "T1_overall": (
            "Delta compares with the catalogue, so it also grows where one group is popular; C does not. Intervals: "
            "95 %, not adjusted; they take together all results of an item (dyadic-robust t). p: one-sided, like "
            "attracts like, from relabellings, by C over its standard deviation under these shares of groups; p (all K "
            f"and attributes): the largest over K, then Holm. {CAUSE}"
        ),
        "T1b_parity": (
            "Another question than T1: items of one group may be returned more often, whoever asks. Distance: half the "
            "summed gaps between the groups' shares among results and in the catalogue; chance alone makes it as large "
            "as over relabellings. p: from relabellings of the items; none where queries are no items; p (all K and "
            "attributes): Holm."
        ),
        "T2_groups": "Expected: from how often each group asks and is returned, if these were independent. Of more "
        "than 12 groups, only each with itself is shown.",
        "T3_plan": (
            "A bias b draws a share b of the results from the query's own group; b* would have been found four times "
            "in five, smaller ones less often. Sizes are items of a catalogue of the same kind, every item a query."
        ),
        "T4_relevance": "Intervals and p as in T1. Unjudged results are no evidence of either.",
        "T5_change": "Queries of both searches; intervals as in T1, of the difference; the same relabellings for both. "
        "Each row is judged by its own 95 % interval, not adjusted for the number of rows.",
        "F1_null": f"{_sizes(found)} At the largest K.",
        "F2_groups": f"{_sizes(found)} At the largest K.",
        "F3_depths": f"{_sizes(found)} Intervals: 95 % dyadic-robust t, not adjusted.",
    }
    return notes[name]


def plot(found: Audit, name: str) -> Figure:
    """One of the figures: F1_null, F2_groups, F3_depths."""
    return FIGURES[name][0](found, describe(found, name))


def summarise(found: Audit) -> list[str]:
    """A sentence for each attribute, at the largest K, and that dependence is not cause."""
    lines = []
    for _, row in found.overall.groupby("attribute", sort=False).tail(1).iterrows():
        plan = found.plan[(found.plan["attribute"] == row["attribute"]) & (found.plan["k"] == row["k"])].iloc[0]
        interval = format_interval(row["centred"], row["centred_low"], row["centred_high"], 4)
        name, p, adjusted = one_line(row["attribute"]), format_p_value(row["p"]), format_p_value(row["p_adjusted"])
        lines.append(
            f"{name}, K = {row['k']}: {row['verdict']}. C {interval}, p {p} from {row['draws']:,} relabellings, "
            f"adjusted {adjusted}. A bias of {format_number(plan['detectable'], 4)} would have been found four times "
            "in five, smaller ones less often."
        )
        rows = found.overall[found.overall["attribute"] == row["attribute"]]
        if len(others := rows[rows["verdict"] != row["verdict"]]):
            told = [f"K = {one['k']}: {one['verdict']}" for _, one in others.iterrows()]
            lines.append(f"{name}, {'; '.join(told)}.")
    if found.change is not None:
        for _, row in found.change.groupby("attribute", sort=False).tail(1).iterrows():
            interval = format_interval(row["change"], row["change_low"], row["change_high"], 4)
            name = one_line(row["attribute"])
            lines.append(f"{name}, K = {row['k']}, against the baseline: {row['verdict']}, C by {interval}.")
    if not found.dependent and not found.overall["equivalent"].any():
        lines.append(f"p > {ALPHA} shows no independence; --margin asks whether C is small enough for that.")
    return [*lines, CAUSE] if found.dependent else lines


def write_report(found: Audit, folder: Path, title: str, origin: Provenance) -> Path:
    """Write every table and figure and the page over them into ``folder``; returns the page.

    Raises CompanionError where the folder cannot be written.
    """
    for name, caption in TABLES.items():
        if not (frame := make_table(found, name)).empty:
            write_table(frame, folder, name, caption, describe(found, name), origin, NAMES)
    for name, (_, caption) in FIGURES.items():
        save_figure(plot(found, name), folder, name, origin, caption)
    return write_index(folder, title, f"{_judge(found)} {CAUSE}")


def _judge(found: Audit) -> str:
    """The verdict on each attribute at the largest K, in a line."""
    last = found.overall.groupby("attribute", sort=False).tail(1)
    return "; ".join(f"{row['attribute']}, K = {row['k']}: {row['verdict']}" for _, row in last.iterrows()) + "."


def _sizes(found: Audit) -> str:
    largest = found.overall.groupby("attribute", sort=False).tail(1)
    queries, results = largest["n_queries"], largest["n_results"]
    return f"n: {_range(queries)} queries, {_range(results)} results."


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
