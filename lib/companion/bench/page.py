"""`companion bench`: measure the parts, and write figures/bench.csv, bench.md and the figure of how cost grows."""

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from companion.bench import bootstraps, commands, grid, growth, profile, scoring, training, turns, workload
from companion.bench.turns import Measured, Way, take_turns
from companion.errors import CompanionError
from companion.files import write_whole
from companion.origin import get_commit, get_processor, get_versions
from companion.paths import cache, home

OFFLINE = {"HF_HUB_OFFLINE": "1", "UNSLOTH_DISABLE_STATISTICS": "1", "CUDA_VISIBLE_DEVICES": ""}
LIBRARIES = ("torch", "transformers", "peft", "trl", "unsloth", "lm_eval")
PARTS: dict[str, tuple[str, Callable[[int], list[Way]]]] = {
    "training": ("Training", training.ways),
    "profile": ("Where a training step's time goes", lambda _: profile.ways()),
    "scoring": ("Scoring", scoring.ways),
    "grid": ("A grid of runs", grid.ways),
    "commands": ("Waiting at the keyboard", lambda _: commands.ways()),
    "statistics": ("Statistics", lambda _: bootstraps.ways()),
    "growth": ("How cost grows", lambda _: growth.ways()),
}
"""Name on the command line -> heading, and its ways for a number of cores."""


def run(parts: Sequence[str] = (), rounds: int = 5, folder: Path | None = None) -> str:
    """Measure these parts (default: all) and write the files into `folder` (default: figures); gives the page's text.

    Parts that are not measured now keep what was measured before.

    Raises:
        CompanionError: an unknown part; or some are measured beside others of another machine or other libraries.
    """
    for name in parts:
        if name not in PARTS:
            raise CompanionError(
                f"There is no part {name!r} of the benchmark; choose from {', '.join(PARTS)}; or parity alone."
            )
    os.environ.update(OFFLINE)
    os.environ.setdefault("COMPANION_CACHE", str(cache()))
    target = folder or home() / "figures"
    if parts:
        _refuse_unlike(target / "bench.csv")
    for name in parts or PARTS:
        found = take_turns(PARTS[name][1](os.cpu_count() or 1), rounds, lambda line: print(line, flush=True))
        _keep(target / "bench.csv", name, measured_rows(name, found))
    return publish(target)


def _refuse_unlike(file: Path) -> None:
    if file.exists() and (there := set(read(file).get("machine", []))) - {machine()}:
        raise CompanionError(
            f"{file} shows what was measured on another machine or with other libraries ({'; '.join(sorted(there))}; "
            f"here: {machine()}), and a page shows one; measure all parts, or name another folder with --to."
        )


def measured_rows(part: str, found: list[Measured]) -> pd.DataFrame:
    """The table of one part and the machine; training also as a share of the rate of the matrix products."""
    extra = training.compute_shares(found) if part == "training" else []
    return pd.DataFrame(turns.make_rows(part, [*found, *extra])).assign(commit=get_commit(), machine=machine())


def _keep(file: Path, part: str, table: pd.DataFrame) -> None:
    """Put the rows of one part in place of the old ones; rows of another machine go."""
    if file.exists() and {"machine", "part"} <= set(before := read(file)):
        table = pd.concat([before[(before["machine"] == machine()) & (before["part"] != part)], table])
    order = {name: place for place, name in enumerate(PARTS)}
    table = table.sort_values("part", key=lambda column: column.map(order), kind="stable")
    write_whole(file, table.to_csv(index=False, float_format="%.6g").encode())


def read(file: Path) -> pd.DataFrame:
    """bench.csv, with empty notes as empty text."""
    return pd.read_csv(file, keep_default_na=False)


def publish(folder: Path) -> str:
    """Write bench.md and the figure from bench.csv; gives the page's text."""
    table = read(folder / "bench.csv")
    text = page(table)
    write_whole(folder / "bench.md", text.encode())
    if (table["part"] == "growth").any():
        growth.draw(table[table["part"] == "growth"], folder)
    return text


def machine(packages: Sequence[str] = LIBRARIES) -> str:
    """Processor, cores, memory, and versions of the libraries whose speed is measured."""
    found = get_versions(packages)
    libraries = ", ".join(f"{package} {version}" for package, version in found.items())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{get_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()}, {libraries}"
    )


def page(table: pd.DataFrame) -> str:
    """The Markdown page: the machine, and a table for each part that was measured."""
    parts = [
        describe_part(heading, introduce(name), table[table["part"] == name])
        for name, (heading, _) in PARTS.items()
        if (table["part"] == name).any()
    ]
    about = f"Machine: {table['machine'].iloc[0]}."
    return "\n".join(["# Speed beside the usual tools", "", about, "", TEXTS["about"], "", *parts])


def introduce(part: str) -> str:
    """What stands above the table of a part."""
    text: str = TEXTS["introductions"][part]
    return text.format(workload=workload, grid=grid, growth=growth, examples=grid.Run.train * workload.VERSIONS)


def describe_part(heading: str, introduction: str, table: pd.DataFrame) -> str:
    """Heading, introduction and table of a part."""
    made_by, _, changed = table["commit"].iloc[0].partition("-")
    commit = f"*Commit {made_by[:8]}{' with changes' if changed else ''}.*"
    return f"## {heading}\n\n{introduction} {commit}\n\n{_format_ways(table)}\n"


def ratios(file: Path) -> str:
    """For bench_summary.md, a table for each part: how many times as fast the first way is as the others.

    Raises:
        CompanionError: the benchmark was not run.
    """
    if not file.exists():
        raise CompanionError(f"{file} is missing; run make bench first.")
    table = read(file)
    parts = [table[table["part"] == part] for part in COMPARED]
    shown = [_compare_ways(list(part.itertuples())) for part in parts if len(part)]
    return "\n\n".join([*shown, f"Machine: {table['machine'].iloc[0]}."])


def _compare_ways(rows: list[Any]) -> str:
    """A column for each task of the first way: its own figures, then how many times it is as fast as each other."""
    first = [row for row in rows if row.way == rows[0].way and row.unit not in NO_SPEED]
    lines = {(first[0].way, _describe_way(first[0])): {row.task: _measured(row) for row in first}}
    for row in rows:
        if row not in first and _times(row):
            lines.setdefault((row.way, _describe_way(row)), {})[row.task] = _times(row)
    named = [{"times as fast as": way, **figures, "how": how} for (way, how), figures in lines.items()]
    named[0]["times as fast as"] = f"**{first[0].way}** itself"
    return make_markdown(pd.DataFrame(named).fillna(""))


def make_markdown(table: pd.DataFrame) -> str:
    """A table as it stands, numbers included."""
    return str(table.to_markdown(index=False, disable_numparse=True))


def _describe_way(row: Any) -> str:
    return ", ".join(filter(None, [_layout(row), row.note]))


COMPARED = ("training", "scoring", "grid", "statistics")
"""Parts that bench_summary.md shows."""
TEXTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
"""Prose of the page: `about` it, and `introductions` of its parts, with names to be filled in."""
NO_SPEED = ("of 1", "nats")
NO_MEMORY = ("profile", "grid", "commands", "growth")
"""Parts whose memory says nothing: the profiler's own, or work done by processes that the measuring one starts."""


def _format_ways(table: pd.DataFrame) -> str:
    rows = list(table.itertuples())
    shown = {
        "task": table["task"],
        "way": table["way"],
        "processes x threads": [_layout(row) for row in rows],
        "median [lowest, highest]": [_measured(row) for row in rows],
        "the first way is faster": [_times(row) for row in rows],
        "MiB": [_memory(row) for row in rows],
        "how": table["note"],
    }
    return make_markdown(pd.DataFrame(shown))


def _layout(row: Any) -> str:
    return "" if row.part in NO_MEMORY or not row.memory_mib else f"{row.processes} x {row.threads}"


def _memory(row: Any) -> str:
    """The most of one process, times their number; nothing where it says nothing."""
    return "" if row.part in NO_MEMORY or not row.memory_mib else f"{row.processes} x {row.memory_mib}"


def _times(row: Any) -> str:
    """The ratio with its spread; nothing for the first way of a task and where ways are not compared."""
    if row.part == "growth" or row.unit in NO_SPEED or row.times_lowest == row.times_highest == 1:
        return ""
    return f"{row.times:.1f} [{row.times_lowest:.1f}, {row.times_highest:.1f}]"


def _measured(row: Any) -> str:
    return f"{_number(row.median)} [{_number(row.lowest)}, {_number(row.highest)}] {row.unit}"


def _number(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
