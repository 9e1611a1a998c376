"""`wingbeat batch`: many rows, one execution each."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wingbeat.cli.enum_names import named
from wingbeat.cli.examples import epilog
from wingbeat.cli.output import Output, Shown, as_json, escape, fail, say, show, show_one
from wingbeat.cli.phases import error_text, phase_cell, text_cell
from wingbeat.cli.session import DOMAIN, PROJECT, USAGE, DataDir, Domain, Endpoint, OutputOption, Project, session
from wingbeat.cli.sizes import show_count

if TYPE_CHECKING:
    from wingbeat import Batch, Client, RowPhase

batch = typer.Typer(add_completion=False, no_args_is_help=True, help="Batches: many rows, one execution each.")

BatchName = Annotated[str, typer.Argument(metavar="BATCH", help="Name, or project/domain/name.")]

_ROWS = ("row", "key", "phase", "attempt", "execution", "error")
_POLL_S = 1.0


@batch.command(
    "create",
    epilog=epilog(
        "wingbeat batch create rows.jsonl infer --name night-7 --rate 200 --alive 500",
        "wingbeat batch create s3://bucket/rows.parquet infer --key-column id --watch",
    ),
)
def create(
    manifest: Annotated[
        str, typer.Argument(metavar="MANIFEST", help="JSON Lines, CSV or Parquet: a file of this machine, or a URI.")
    ],
    name: Annotated[str, typer.Argument(metavar="LAUNCH_PLAN", help="What each row runs.")],
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[INPUT=VALUE]...", help="Inputs of rows that have none of that name.")
    ] = None,
    batch_name: Annotated[
        str, typer.Option("--name", help="Name of the batch; the same again is the same batch.")
    ] = "",
    version: Annotated[str | None, typer.Option(help="Version of the launch plan.")] = None,
    task: Annotated[bool, typer.Option("--task", help="LAUNCH_PLAN is a task.")] = False,
    rate: Annotated[
        float, typer.Option(min=0, help="Executions launched in a second at most; 0: as fast as it goes.")
    ] = 0,
    alive: Annotated[int, typer.Option(min=0, help="Executions alive at once at most; 0: 1000.")] = 0,
    key_column: Annotated[str, typer.Option(help="Column that has the row's key.")] = "",
    refuse_broken_rows: Annotated[
        bool, typer.Option("--refuse-broken-rows", help="A line that cannot be read fails its row, not the batch.")
    ] = False,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay until it has ended; exit 1 unless all is well.")
    ] = False,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Begin a batch from a manifest."""
    from wingbeat import Kind
    from wingbeat.cli.typed_inputs import pairs, read_inputs

    file = Path(manifest) if "://" not in manifest and Path(manifest).is_file() else None
    if file is None and "://" not in manifest and not manifest.startswith("/"):
        fail(f"there is no file {manifest}", USAGE)

    with session(endpoint, data_dir, project, domain) as client:
        entity = client.entity(name, version, kind=Kind.TASK if task else Kind.LAUNCH_PLAN)
        found = client.create_batch(
            file or manifest,
            entity,
            inputs=read_inputs(inputs or (), None, entity.inputs),
            name=batch_name,
            rate_per_s=rate,
            alive_max=alive,
            key_column=key_column,
            refuse_broken_rows=refuse_broken_rows,
            labels=pairs(label or (), "label"),
        )
        _show(output, found)
        if watch:
            _watch(client, found, output)


@batch.command("get", epilog=epilog("wingbeat batch get night-7", "wingbeat batch get night-7 --watch"))
def get(
    name: BatchName,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay until it has ended; exit 1 unless all is well.")
    ] = False,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show how a batch stands."""
    with session(endpoint, data_dir, project, domain) as client:
        found = client.batch(name)
        if watch:
            _watch(client, found, output)
        else:
            _show(output, found)


@batch.command("list", epilog=epilog("wingbeat batch list", "wingbeat batch list --state running -o name"))
def list_batches(
    state: Annotated[list[str] | None, typer.Option(help="Only batches in this state. May be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """List batches, the newest first."""
    from wingbeat.cli.kinds import BATCHES, KINDS, Search

    with session(endpoint, data_dir, project, domain) as client:
        found = KINDS["batch"].list(client, Search((), limit or None, phases=state or ()))
        show(output, BATCHES, found, none="There are no batches.")


@batch.command("pause", epilog=epilog("wingbeat batch pause night-7"))
def pause(
    name: BatchName,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Launch no further rows; executions that run go on."""
    with session(endpoint, data_dir, project, domain) as client:
        _show(output, client.pause_batch(name))


@batch.command("resume", epilog=epilog("wingbeat batch resume night-7"))
def resume(
    name: BatchName,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Go on launching rows."""
    with session(endpoint, data_dir, project, domain) as client:
        _show(output, client.resume_batch(name))


@batch.command("abort", epilog=epilog("wingbeat batch abort night-7 --cause 'wrong model'"))
def abort(
    name: BatchName,
    cause: Annotated[str, typer.Option("--cause", "-c", help="Why, for people.")] = "",
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Launch no further rows, and abort executions that are alive."""
    with session(endpoint, data_dir, project, domain) as client:
        _show(output, client.abort_batch(name, cause))


@batch.command("retry", epilog=epilog("wingbeat batch retry night-7", "wingbeat batch retry night-7 --phase refused"))
def retry(
    name: BatchName,
    phase: Annotated[
        list[str] | None, typer.Option(help="failed, timed_out, aborted or refused; all but the last by default.")
    ] = None,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Launch rows that failed again."""
    with session(endpoint, data_dir, project, domain) as client:
        count = client.retry_batch(name, _phases(phase))
        say(f"{show_count(count, 'row')} of {escape(name)} will be launched again")


@batch.command("rows", epilog=epilog("wingbeat batch rows night-7 --phase failed"))
def rows(
    name: BatchName,
    phase: Annotated[list[str] | None, typer.Option(help="Only rows in this phase. May be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 100,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """List rows that were launched or refused, by number."""
    with session(endpoint, data_dir, project, domain) as client:
        found = (
            Shown(
                str(row.execution or row.key or row.number),
                [
                    str(row.number),
                    escape(row.key),
                    phase_cell(row.phase),
                    str(row.attempt),
                    escape(str(row.execution or "-")),
                    text_cell(error_text(row.error)),
                ],
                as_json(row.message),
            )
            for row in client.batch_rows(name, phases=_phases(phase), limit=limit or None)
        )
        show(output, _ROWS, found, none="No row was launched or refused yet.")


@batch.command("results", epilog=epilog("wingbeat batch results night-7 > results.jsonl"))
def results(
    name: BatchName,
    skip: Annotated[int, typer.Option(min=0, help="Leave out so many, from the first.")] = 0,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Print the results written so far, one JSON object a line: row, key, phase, error, outputs."""
    import json

    with session(endpoint, data_dir, project, domain) as client:
        for result in client.batch_results(name, skip=skip):
            typer.echo(json.dumps(result, ensure_ascii=False))


def _phases(texts: list[str] | None) -> "list[RowPhase]":
    from wingbeat import RowPhase

    return [named(RowPhase, text) for text in texts or ()]


def _show(output: Output, found: "Batch") -> None:
    from wingbeat.cli.kinds import BATCHES, batch_shown

    show_one(output, BATCHES, batch_shown(found))


def _watch(client: "Client", found: "Batch", output: Output) -> None:
    """A bar on a terminal, a line for each change otherwise, until the batch has ended."""
    if output is not Output.TABLE:
        found = client.wait_batch(found)
        _show(output, found)
    elif sys.stdout.isatty():
        found = _bar(client, found)
        _show(output, found)
    else:
        shown = ""
        while True:
            found = client.batch(found)
            line = f"{found.state.name} {found.counts.ended} of {found.counts.total} ended"
            if line != shown:
                say(line)
                shown = line
            if found.state.ended:
                _show(output, found)
                break
            time.sleep(_POLL_S)
    if not found.succeeded:
        raise typer.Exit(1)


def _bar(client: "Client", found: "Batch") -> "Batch":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(found.name, total=None)
        while not found.state.ended:
            failed = found.counts.failed + found.counts.timed_out + found.counts.refused
            progress.update(
                task,
                description=f"{found.name} {found.state.name}, {failed} failed",
                total=found.counts.total or None,
                completed=found.counts.ended,
            )
            time.sleep(_POLL_S)
            found = client.batch(found)
    return found
