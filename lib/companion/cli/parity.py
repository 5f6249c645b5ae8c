"""The commands of the parity study alone."""

from typing import Annotated

import typer

from companion.cli.app import PROFILE, QUIET, app
from companion.errors import CompanionError

FAILED = 3
"""The exit code where --fail-on names what was found."""


@app.command()
def audit(
    results: Annotated[
        str, typer.Argument(help="Results: TREC, table, JSON, .npy of row numbers, or embeddings.")
    ] = "",
    attributes: Annotated[str, typer.Argument(help="Table with an id and attributes of each item.")] = "",
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="Column, or 'gender x age'; default: all that can be used."),
    ] = None,
    k: Annotated[str, typer.Option(metavar="N ...", help="Numbers of results, after the files: 5 10 20.")] = "",
    query_attributes: Annotated[str, typer.Option(help="Attributes of queries or users that are not items.")] = "",
    qrels: Annotated[str, typer.Option(help="Relevance of items for queries: results are looked at by it.")] = "",
    baseline: Annotated[str, typer.Option(help="Results of another search for the same queries.")] = "",
    stratum: Annotated[str, typer.Option(help="Column inside whose values labels are exchanged.")] = "",
    block: Annotated[str, typer.Option(help="Column whose values keep one label, such as the person shown.")] = "",
    exclude_same: Annotated[str, typer.Option(help="Column; results that share the query's value are left out.")] = "",
    weights: Annotated[str, typer.Option(help="none, or log2 to discount ranks.")] = "none",
    columns: Annotated[
        str, typer.Option(help="role=column,...: query, item, rank, score, distance, item_id, query_id.")
    ] = "",
    order: Annotated[str, typer.Option(help="rank, score, distance or file, where two of them disagree.")] = "",
    bins: Annotated[int, typer.Option(help="Groups that numbers are cut into.")] = 5,
    margin: Annotated[float | None, typer.Option(help="Largest C, either way, that counts as equivalent.")] = None,
    draws: Annotated[int, typer.Option(help="Largest number of relabellings.")] = 9_999,
    seed: Annotated[int, typer.Option(help="Seed of the relabellings.")] = 0,
    fail_on: Annotated[str, typer.Option(help="dependence or no-equivalence: exit code 3 if there is any.")] = "",
    plan: Annotated[int, typer.Option(metavar="ITEMS", help="Only say what a catalogue of this size reveals.")] = 0,
    shares: Annotated[str, typer.Option(help="Shares of the groups for --plan.")] = "0.5,0.5",
    wanted: Annotated[
        str, typer.Option(help="Biases for which the size of the catalogue is said.")
    ] = "0.1,0.05,0.02,0.01",
    name: Annotated[str, typer.Option(help="Folder of the results, figures/PROFILE/NAME; else that of the file.")] = "",
    profile: PROFILE = "quick",
    quiet: QUIET = False,
) -> None:
    """Test whether what your search returns depends on an attribute of the query, such as gender or skin tone."""
    from companion.studies.parity.own import asking

    biases = asking.read_numbers(wanted, "--wanted")
    if plan:
        from companion.studies.parity.own.commands import describe_plan

        # Numbers after the first of --k are taken for files.
        further = [text for text in (results, attributes, *(more or [])) if text]
        if further and not k:
            raise CompanionError(f"--plan reads no files; leave out {further[0]!r}.")
        typer.echo(describe_plan(plan, shares, asking.read_whole([k, *further], "--k"), biases))
        return
    depths = asking.read_whole([k, *(more or [])], "--k")
    if not results or not attributes:
        raise CompanionError("An audit needs the files RESULTS and ATTRIBUTES, or --plan ITEMS.")
    from companion.studies.parity.own.commands import Files, run_audit

    outcome = run_audit(
        Files(results, attributes, query_attributes, qrels, baseline),
        name,
        profile,
        fail_on,
        quiet,
        sensitive_features=tuple(attribute or ()),
        k=depths,
        columns=asking.read_pairs(columns),
        wanted=biases,
        **{"stratum": stratum, "block": block, "exclude_same": exclude_same, "weights": weights, "order": order},
        **{"bins": bins, "margin": margin, "draws": draws, "seed": seed},
    )
    typer.echo(outcome.text)
    if outcome.failed:
        raise typer.Exit(FAILED)
