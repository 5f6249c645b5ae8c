"""The commands of the explanations study alone."""

from pathlib import Path
from typing import Annotated

import typer

from companion.cli.app import HELP, PROFILE, QUIET, RERUN, TRACK, app


@app.command()
def tune(profile: PROFILE = "quick", quiet: QUIET = False, track: TRACK = "") -> None:
    """Compare recipes on validation items, the same for all arms, and print the table."""
    from companion.studies.explanations import commands

    typer.echo(commands.tune(profile, quiet))


@app.command()
def annotate(profile: PROFILE = "paper", quiet: QUIET = False) -> None:
    """Let the profile's language models rate its conversations; the highest possible cost is printed first."""
    from companion.studies.explanations import commands

    typer.echo(commands.annotate(profile, quiet))


gold = typer.Typer(no_args_is_help=True, context_settings=HELP, help="A set of items that two people rate.")


app.add_typer(gold, name="gold")


@gold.command("export")
def gold_export(
    profile: PROFILE = "paper",
    items: Annotated[int, typer.Option("--items", "-n", help="How many training items, 200 to 300.")] = 250,
) -> None:
    """Write one notebook form for each of the two raters."""
    from companion.studies.explanations import commands

    typer.echo(commands.gold_export(profile, items))


@gold.command("report")
def gold_report(profile: PROFILE = "paper") -> None:
    """Say how far the raters agree, and which way of merging scores comes nearest to them."""
    from companion.studies.explanations import commands

    typer.echo(commands.gold_report(profile))


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
    from companion.studies.explanations import commands

    columns = {"text": text, "label": label, "explanation": explanation, "group": group}
    choices = {"labels": labels, "question": question, "arms": arms, "seeds": seeds, "sizes": list(sizes)}
    place = {"table": data, "revision": revision, "name": name, "profile": profile}
    typer.echo(commands.compare(quiet, **place, **columns, **choices, text_words=text_words))


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
    rerun: RERUN = False,
    quiet: QUIET = False,
) -> None:
    """Write the student of a recorded run as a PEFT adapter with a model card; it is trained again if not kept."""
    from companion.models import hub
    from companion.studies.explanations.students import export as students

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

    backend.start_backend()  # before anything imports transformers
    from companion.studies.explanations.students import rate as rating

    if rating.run(student, file, explain, base):
        raise typer.Exit(1)
