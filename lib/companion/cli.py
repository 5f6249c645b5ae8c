"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from companion import paths
from companion.errors import CompanionError
from companion.origin import versions
from companion.runs import tracking

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=HELP)

PROFILE = Annotated[
    str, typer.Option("--profile", "-p", help="Scale of all settings: a file of lib/companion/profiles.")
]
STUDY = Annotated[str, typer.Option("--study", "-s", help="Which paper's study.")]
RERUN = Annotated[bool, typer.Option("--rerun", help="Train in a folder of its own beside the recorded results.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def _track(name: str) -> str:
    if name:
        os.environ[tracking.VARIABLE] = name
        tracking.tracker()
    return name


TRACK = Annotated[
    str, typer.Option("--track", callback=_track, help="Show the runs in trackio or wandb too (COMPANION_TRACK).")
]
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
    """Re-run a machine-learning paper: from text to tables, figures and claims with honest statistics."""
    if debug:
        os.environ["COMPANION_DEBUG"] = "1"


@app.command()
def figures(
    profile: PROFILE = "quick",
    study: STUDY = "explanations",
    rerun: RERUN = False,
    quiet: QUIET = False,
    track: TRACK = "",
) -> None:
    """Make every table, figure, claims page and executed notebook; only what is missing is run."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.build(profile, rerun, quiet))


@app.command()
def run(
    profile: PROFILE = "quick",
    study: STUDY = "explanations",
    rerun: RERUN = False,
    quiet: QUIET = False,
    track: TRACK = "",
) -> None:
    """Make the records that are missing, without tables and figures."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.train(profile, rerun, quiet))


@app.command()
def tune(profile: PROFILE = "quick", study: STUDY = "explanations", quiet: QUIET = False, track: TRACK = "") -> None:
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


@gold.command("export")
def gold_export(
    profile: PROFILE = "paper",
    study: STUDY = "explanations",
    items: Annotated[int, typer.Option("--items", "-n", help="How many training items, 200 to 300.")] = 250,
) -> None:
    """Write one notebook form for each of the two raters."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.gold_export(profile, items))


@gold.command("report")
def gold_report(profile: PROFILE = "paper", study: STUDY = "explanations") -> None:
    """Say how far the raters agree, and which way of merging scores comes nearest to them."""
    _check_study(study)
    from companion.studies.explanations import build

    typer.echo(build.gold_report(profile))


@app.command()
def status(
    profile: PROFILE = "quick",
    study: STUDY = "explanations",
    rerun: RERUN = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Live, until all is done (code 1 if runs failed).")
    ] = False,
) -> None:
    """Say where the runs are: done, in hand (step, loss, speed), failed, waiting, and the time left."""
    _check_study(study)
    from companion.studies.explanations import build

    if not watch:
        typer.echo(build.status(profile, rerun))
        return
    told, failed = build.follow(profile, rerun)
    typer.echo(told)
    if failed:
        raise typer.Exit(1)


@app.command()
def verify(
    profile: PROFILE = "quick",
    study: Annotated[
        str, typer.Option("--study", "-s", help="Which study, or the name of a comparison.")
    ] = "explanations",
    rerun: RERUN = False,
) -> None:
    """Recompute every checksum of records, data, tables and figures, naming what is damaged (then exit code 1)."""
    folder = paths.results(profile, study, rerun)
    if not folder.is_dir():
        _check_study(study)
    from companion.studies.explanations import build

    problems = build.verify(profile, rerun) if study in STUDIES else build.verify_own(folder)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{folder}: every record, table and figure is whole.")


@app.command()
def compare(
    data: Annotated[str, typer.Argument(help="CSV, TSV, JSON, JSON Lines or Parquet file, or owner/name on the hub.")],
    text: Annotated[str, typer.Option(help="Column with the text.")] = "text",
    label: Annotated[str, typer.Option(help="Column with the label, 2 to 20 different ones.")] = "label",
    explanation: Annotated[str, typer.Option(help="Column with the reason for the label, if there is one.")] = "",
    group: Annotated[str, typer.Option(help="Column that tells what must not be split up, such as the question.")] = "",
    labels: Annotated[str, typer.Option(help="The labels in their order, separated by commas.")] = "",
    question: Annotated[str, typer.Option(help="Asked after each text.")] = "Which label fits?",
    name: Annotated[str, typer.Option(help="Folder of the results, figures/PROFILE/NAME; else that of the file.")] = "",
    revision: Annotated[str, typer.Option(help="Commit of a hub data set.")] = "",
    profile: PROFILE = "cpu",
    seeds: Annotated[int, typer.Option(help="Students of each arm; verdicts need four.")] = 5,
    arms: Annotated[str, typer.Option(help="Arms separated by commas; else base and the main ones.")] = "",
    sizes: Annotated[
        tuple[int, int, int],
        typer.Option(metavar="N N N", help="Most rows to train on, to choose the recipe on, to test on."),
    ] = (800, 100, 400),
    text_words: Annotated[int, typer.Option(help="Words of a text that are shown.")] = 120,
    quiet: QUIET = False,
    track: TRACK = "",
) -> None:
    """Train on your own labelled texts with and without explanations: the same tables, figures and verdicts."""
    from companion.studies.explanations import build

    columns = {"text": text, "label": label, "explanation": explanation, "group": group}
    choices = {"labels": labels, "question": question, "arms": arms, "seeds": seeds, "sizes": list(sizes)}
    place = {"table": data, "revision": revision, "name": name, "profile": profile}
    typer.echo(build.compare(quiet, **place, **columns, **choices, text_words=text_words))


@app.command()
def plan(
    profile: PROFILE = "quick",
    study: STUDY = "explanations",
    measure: Annotated[bool, typer.Option("--measure", help="Train a few steps here first (loads the model).")] = False,
) -> None:
    """Say what a profile takes: runs, tokens, and hours, memory and money on this machine and on rented cards."""
    _check_study(study)
    from companion.studies.explanations import plan_page

    typer.echo(plan_page.page(profile, measure))


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="What other machines made: figures/PROFILE/explanations.")],
    profile: PROFILE = "quick",
    study: STUDY = "explanations",
    rerun: RERUN = False,
) -> None:
    """Copy the records that other machines made; two results of one run are named (then exit code 1)."""
    _check_study(study)
    from companion.studies.explanations import build

    sentence, problems = build.merge(profile, folders, rerun)
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(sentence)
    if problems:
        raise typer.Exit(1)


@app.command()
def export(
    arm: Annotated[str, typer.Option("--arm", help="What the student was trained to write.")],
    to: Annotated[Path, typer.Option("--to", help="New folder for adapter, tokenizer and card.")],
    seed: Annotated[int, typer.Option("--seed", help="Training seed.")] = 0,
    axis: Annotated[str, typer.Option("--axis", help="One axis, or all, each in a folder of its own.")] = "all",
    merged: Annotated[bool, typer.Option("--merged", help="Also as one 16-bit model.")] = False,
    gguf: Annotated[bool, typer.Option("--gguf", help="Also as a GGUF file for llama.cpp.")] = False,
    push: Annotated[str, typer.Option("--push", help="Upload to this hub repository, owner/name.")] = "",
    public: Annotated[bool, typer.Option("--public", help="Let everyone see a repository made by --push.")] = False,
    profile: PROFILE = "quick",
    study: STUDY = "explanations",
    rerun: RERUN = False,
    quiet: QUIET = False,
) -> None:
    """Write the student of a recorded run as a PEFT adapter with a model card; it is trained again if not kept."""
    _check_study(study)
    from companion.models import hub
    from companion.studies.explanations import students

    if push:
        hub.check(push)
    typer.echo(students.export(profile, arm, seed, axis, to, students.Forms(merged, gguf), rerun, quiet))
    if push:
        typer.echo(hub.push(to, push, private=not public))


@app.command()
def rate(
    student: Annotated[Path, typer.Argument(help="Folder that 'companion export' wrote.")],
    file: Annotated[Path | None, typer.Argument(help="JSON Lines or one conversation; else standard input.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Let the student write its explanation too.")] = False,
    base: Annotated[str | None, typer.Option("--base", help="Folder of the base model, if it is a local one.")] = None,
) -> None:
    """Rate conversations: a probability for each label on each axis, as JSON Lines (exit code 1 if lines are bad)."""
    from companion.models import backend

    backend.start()  # before anything imports transformers
    from companion.studies.explanations import rate as rating

    if rating.run(student, file, explain, base):
        raise typer.Exit(1)


@app.command()
def readme() -> None:
    """Fill the README's tables from the recorded runs and the benchmark."""
    from companion.studies.explanations.readme import update

    if not (file := paths.home() / "README.md").is_file():
        raise CompanionError(f"There is no {file}; let COMPANION_HOME name a clone of the repository.")
    typer.echo(update())


@app.command()
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Of training, profile, scoring, together, grid, commands, statistics, growth; all if none is named."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often every way has its turn.")] = 5,
    to: Annotated[Path | None, typer.Option(help="Folder of bench.csv, bench.md and figure; else figures.")] = None,
) -> None:
    """Measure speed and memory beside the usual tools, side by side (figures/bench.md)."""
    from companion.bench.page import run

    typer.echo(run(parts or (), rounds, to))


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
