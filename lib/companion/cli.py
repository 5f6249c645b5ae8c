"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

import os
import sys
import warnings
from typing import Annotated

import typer

from companion import paths
from companion.errors import CompanionError
from companion.origin import versions

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=HELP)

PROFILE = Annotated[
    str, typer.Option("--profile", "-p", help="Scale of all settings: a file of lib/companion/profiles.")
]
STUDY = Annotated[str, typer.Option("--study", "-s", help="Which paper's study.")]
RERUN = Annotated[bool, typer.Option("--rerun", help="Train in a folder of its own beside the recorded results.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
STUDIES = ("explanations",)
INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"companion {versions(['companion'])['companion']}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a mistake.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Re-run the studies of papers on trustworthy language models and retrieval."""
    if debug:
        os.environ["COMPANION_DEBUG"] = "1"


@app.command()
def figures(
    profile: PROFILE = "quick", study: STUDY = "explanations", rerun: RERUN = False, quiet: QUIET = False
) -> None:
    """Make every table, figure, claims page and executed notebook; only what is missing is run."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.build(profile, rerun, quiet))


@app.command()
def run(profile: PROFILE = "quick", study: STUDY = "explanations", rerun: RERUN = False, quiet: QUIET = False) -> None:
    """Make the records that are missing, without tables and figures."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.train(profile, rerun, quiet))


@app.command()
def tune(profile: PROFILE = "quick", study: STUDY = "explanations", quiet: QUIET = False) -> None:
    """Compare recipes on validation items, the same for all arms, and print the table."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.tune(profile, quiet))


@app.command()
def annotate(profile: PROFILE = "paper", study: STUDY = "explanations", quiet: QUIET = False) -> None:
    """Let the profile's language models rate its conversations; the highest cost is told before the first."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.annotate(profile, quiet))


gold = typer.Typer(no_args_is_help=True, context_settings=HELP, help="A set of items that two people rate.")
app.add_typer(gold, name="gold")


@gold.command()
def export(
    profile: PROFILE = "paper",
    study: STUDY = "explanations",
    items: Annotated[int, typer.Option("--items", "-n", help="How many training items, 200 to 300.")] = 250,
) -> None:
    """Write one notebook form for each of the two raters."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.gold_export(profile, items))


@gold.command()
def report(profile: PROFILE = "paper", study: STUDY = "explanations") -> None:
    """Say how far the raters agree, and which way of merging scores comes nearest to them."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.gold_report(profile))


@app.command()
def status(profile: PROFILE = "quick", study: STUDY = "explanations", rerun: RERUN = False) -> None:
    """Say how many runs are recorded, missing or failed."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.status(profile, rerun))


@app.command()
def verify(profile: PROFILE = "quick", study: STUDY = "explanations", rerun: RERUN = False) -> None:
    """Recompute every checksum of records, data, tables and figures, naming what is damaged (then exit code 1)."""
    _check_study(study)
    from companion.studies.explanations import build

    problems = build.verify(profile, rerun)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{paths.results(profile, study, rerun)}: every record, table and figure is whole.")


@app.command()
def readme() -> None:
    """Fill the README's claims and arms with the tables of the recorded cpu run."""
    from companion.studies.explanations.readme import update

    if not (file := paths.home() / "README.md").is_file():
        raise CompanionError(f"There is no {file}; let COMPANION_HOME name a clone of the repository.")
    typer.echo(update())


@app.command()
def bench() -> None:
    """Measure training against TRL's SFTTrainer and scoring against generate, side by side in one run."""
    from companion.bench import run as measure

    typer.echo(measure())


def _check_study(study: str) -> None:
    if study not in STUDIES:
        raise CompanionError(f"There is no study {study!r}; choose one of {', '.join(STUDIES)}.")


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2, an interrupt is exit code 130."""
    warnings.formatwarning = lambda message, *_: f"Warning: {message}\n"
    try:
        app()
    except CompanionError as error:
        if os.environ.get("COMPANION_DEBUG"):
            raise
        print(f"companion: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("companion: interrupted; run the same command again to go on.", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
