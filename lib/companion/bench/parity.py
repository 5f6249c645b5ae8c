"""`companion bench parity`: the relabellings of the parity study, in figures/bench_parity.csv, .md and a figure."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from companion.bench import relabelling_growth, relabellings, searches
from companion.bench.growth import write_figure
from companion.bench.page import OFFLINE, describe_part, machine, make_markdown, measured_rows, read
from companion.bench.turns import Way, take_turns
from companion.files import write_whole
from companion.paths import home
from companion.runs.engine import THREAD_VARIABLES

NAME = "bench_parity"
LIBRARIES = ("numpy", "scipy", "igraph", "esda", "networkx", "faiss-cpu")
PARTS: dict[str, tuple[str, Callable[[], list[Way]]]] = {
    "relabellings": ("Relabelling", relabellings.ways),
    "searches": ("Exact nearest neighbours", searches.ways),
    "growth": ("How time grows", relabelling_growth.ways),
}
"""Part -> heading and its ways."""
TEXTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
"""Prose of the page: `about` it, `goals`, and `introductions` of its parts, with names to be filled in."""
MIB = 1e6 / 2**20


def run(rounds: int = 5, folder: Path | None = None) -> str:
    """Measure all parts and write the files into `folder` (default: figures); gives the page's text."""
    # Libraries may read these when they are loaded, so they stand before any process starts.
    os.environ.update(OFFLINE | {f"{name}_NUM_THREADS": "1" for name in THREAD_VARIABLES})
    target, here = folder or home() / "figures", machine(LIBRARIES)
    measured = [
        measured_rows(name, take_turns(ways(), rounds, lambda line: print(line, flush=True)))
        for name, (_, ways) in PARTS.items()
    ]
    table = pd.concat(measured).assign(machine=here)
    write_whole(target / f"{NAME}.csv", table.to_csv(index=False, float_format="%.6g").encode())
    return publish(target)


def publish(folder: Path) -> str:
    """Write bench_parity.md and the figure from bench_parity.csv; gives the page's text."""
    table = read(folder / f"{NAME}.csv")
    text = page(table)
    write_whole(folder / f"{NAME}.md", text.encode())
    write_figure(relabelling_growth.growth_figure(table[table["part"] == "growth"]), folder / f"{NAME}_growth")
    return text


def page(table: pd.DataFrame) -> str:
    """The Markdown page: the machine, the goals, and a table for each part."""
    goals = ["## Goals", "", TEXTS["goals"], "", make_markdown(compare_goals(table)), ""]
    parts = [
        describe_part(heading, introduce(name), table[table["part"] == name]) for name, (heading, _) in PARTS.items()
    ]
    about = f"Machine: {table['machine'].iloc[0]}."
    return "\n".join(["# Speed of relabelling", "", about, "", TEXTS["about"], "", *goals, *parts])


def introduce(part: str) -> str:
    """What stands above the table of a part."""
    text: str = TEXTS["introductions"][part]
    return text.format(relabellings=relabellings, searches=searches, growth=relabelling_growth)


def compare_goals(table: pd.DataFrame) -> pd.DataFrame:
    """Each goal beside the worst that was measured for it; a goal of a tool that was not there is left out."""
    rows = table[table["part"] == "relabellings"]
    rows = rows.assign(items=[relabellings.read_task(task)[1] for task in rows["task"]]).set_index("way")
    ours, found = rows.loc[["companion"]], []
    for items, most in ((10**5, 1), (10**6, 15)):
        worst = ours.loc[ours["items"] == items, "median"].max()
        found.append((f"{items:,} items in {most} s", f"{worst:.3g} s", worst <= most))
    worst = ours.loc[ours["items"] == 10**6, "memory_mib"].max() / MIB
    found.append((f"{10**6:,} items in 500 MB", f"{worst:,.0f} MB", worst <= 500))
    for way, least, first, last in (
        ("numpy", 6, 1, 10**5 - 1),
        ("numpy", 10, 10**5, 10**9),
        ("igraph", 3.5, 1, 10**9),
    ):
        chosen = rows[(rows.index == way) & rows["items"].between(first, last)]
        for items in chosen["items"].unique():
            times = chosen.loc[chosen["items"] == items, "times"].min()
            found.append((f"{least} times as fast as {way}, {items:,} items", f"{times:.1f} times", times >= least))
    shown = pd.DataFrame(found, columns=["goal", "measured", "holds"])
    return shown.assign(holds=["yes" if held else "no" for held in shown["holds"]])
