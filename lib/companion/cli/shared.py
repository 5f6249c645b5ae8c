"""The commands that every study has."""

from pathlib import Path
from typing import Annotated

import typer

from companion import paths
from companion.cli.app import PROFILE, QUIET, RERUN, STUDY, TRACK, app
from companion.errors import CompanionError


@app.command()
def figures(
    profile: PROFILE = "quick", study: STUDY = "", rerun: RERUN = False, quiet: QUIET = False, track: TRACK = ""
) -> None:
    """Make every table, figure, claims page and executed notebook; only what is missing is run."""
    from companion.studies import commands

    typer.echo(commands.make_figures(profile, study, rerun, quiet))


@app.command()
def run(
    profile: PROFILE = "quick", study: STUDY = "", rerun: RERUN = False, quiet: QUIET = False, track: TRACK = ""
) -> None:
    """Make the records that are missing, without tables and figures."""
    from companion.studies import commands

    typer.echo(commands.make_records(profile, study, rerun, quiet))


@app.command()
def status(
    profile: PROFILE = "quick",
    study: STUDY = "",
    rerun: RERUN = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Live, until all is done (code 1 if runs failed).")
    ] = False,
) -> None:
    """Show the state of all runs: done, running (step, loss, speed), failed, waiting, and the time left."""
    from companion.studies import commands

    if not watch:
        typer.echo(commands.show_status(profile, study, rerun))
        return
    text, failed = commands.follow_status(profile, study, rerun)
    typer.echo(text)
    if failed:
        raise typer.Exit(1)


@app.command()
def verify(
    profile: PROFILE = "quick",
    study: Annotated[
        str,
        typer.Option("--study", "-s", help="One study or one comparison; without it all studies."),
    ] = "",
    rerun: RERUN = False,
) -> None:
    """Recompute every checksum of records, data, tables and figures, naming what is damaged (then exit code 1)."""
    from companion.studies import commands

    folders, problems = commands.verify(profile, study, rerun)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    for folder in folders:
        typer.echo(f"{folder}: every record, table and figure is whole.")


@app.command()
def plan(
    profile: PROFILE = "quick",
    study: STUDY = "",
    measure: Annotated[bool, typer.Option("--measure", help="Train a few steps here first (loads the model).")] = False,
) -> None:
    """Say what a profile takes: runs, tokens, and hours, memory and money on this machine and on rented cards."""
    from companion.studies import commands

    typer.echo(commands.show_plan(profile, study, measure))


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="What other machines made: figures/PROFILE/STUDY.")],
    profile: PROFILE = "quick",
    study: STUDY = "",
    rerun: RERUN = False,
) -> None:
    """Copy the records that other machines made; two results of one run are named (then exit code 1)."""
    from companion.studies import commands

    sentence, problems = commands.merge(profile, folders, study, rerun)
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(sentence)
    if problems:
        raise typer.Exit(1)


@app.command()
def readme() -> None:
    """Fill the tables of the Markdown pages from the recorded runs and the benchmark."""
    from companion.studies.readme import update

    if not (file := paths.home() / "README.md").is_file():
        raise CompanionError(f"There is no {file}; let COMPANION_HOME name a clone of the repository.")
    typer.echo(update())


@app.command()
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Of training, profile, scoring, grid, commands, statistics, growth; all if none is named. Or parity "
            "alone: the relabellings of that study, on a page of their own."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often every way has its turn.")] = 5,
    to: Annotated[Path | None, typer.Option(help="Folder of bench.csv, bench.md and figure; else figures.")] = None,
) -> None:
    """Measure speed and memory beside the usual tools, side by side (figures/bench.md)."""
    if parts == ["parity"]:
        from companion.bench import parity

        typer.echo(parity.run(rounds, to))
        return
    from companion.bench.page import run

    typer.echo(run(parts or (), rounds, to))
