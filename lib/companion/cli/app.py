"""The application that every command joins, and the options that several share."""

import os
from typing import Annotated

import typer

from companion.origin import get_versions
from companion.runs import tracking

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=HELP)

PROFILE = Annotated[
    str, typer.Option("--profile", "-p", help="Scale of all settings: a file of lib/companion/profiles.")
]
STUDY = Annotated[str, typer.Option("--study", "-s", help="One study; without it all that the profile has.")]
RERUN = Annotated[bool, typer.Option("--rerun", help="Work in figures/PROFILE-rerun, beside the recorded results.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def _track(name: str) -> str:
    if name:
        os.environ[tracking.VARIABLE] = name
        tracking.get_tracker()
    return name


TRACK = Annotated[
    str, typer.Option("--track", callback=_track, help="Show the runs in trackio or wandb too (COMPANION_TRACK).")
]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"companion {get_versions(['companion'])['companion']}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a mistake.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Re-run machine-learning papers: from text to tables, figures and claims with honest statistics."""
    if debug:
        os.environ["COMPANION_DEBUG"] = "1"
