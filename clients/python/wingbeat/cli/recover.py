"""`wingbeat recover`: go on from what an execution has done, with the same or with mended code."""

from collections.abc import Iterator
from typing import Annotated

import typer

from wingbeat.cli.execution_names import Execution
from wingbeat.cli.output import Output, as_json, escape, say, say_document, say_table
from wingbeat.cli.progress import follow
from wingbeat.cli.session import DOMAIN, PROJECT, DataDir, Domain, Endpoint, OutputOption, Project, session
from wingbeat.identifiers import ExecutionId
from wingbeatidl.recovery.v1 import recovery_pb2

_NODES = 10_000
_FATES = {
    recovery_pb2.FATE_REUSED: "[green]reused[/]",
    recovery_pb2.FATE_PARTLY_REUSED: "[cyan]partly reused[/]",
    recovery_pb2.FATE_RUNS: "[yellow]runs[/]",
}
_LINE = 160


def recover(
    execution: Execution,
    version: Annotated[str, typer.Option(metavar="V", help="Version to run instead of the one that it ran.")] = "",
    rerun: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK",
            help="A task (`*` stands for any characters) or node that runs again; with --version these alone have"
            " changed code. May be repeated.",
        ),
    ] = None,
    assume_unchanged: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK", help="A task or node whose code has not changed. May be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and start nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until it has ended; fail if it does.")] = False,
    name: Annotated[str, typer.Option(help="Name of the new execution.")] = "",
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    limit: Annotated[int, typer.Option(min=0, help="Nodes to show as text; 0: all.")] = 100,
    output: OutputOption = Output.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Run an execution again, taking over what succeeded in it. With another version, what has changed runs, and all
    that follows it."""
    with session(endpoint, data_dir, project, domain) as client:
        identifier = client.execution_id(execution)
        answer = client.plan_recovery(
            identifier,
            version=version,
            rerun=rerun or (),
            assume_unchanged=assume_unchanged or (),
            name=name,
            dry_run=dry_run,
            nodes_max=_NODES,
        )
        if output is Output.TABLE:
            _show(identifier, answer, limit)
        elif output is Output.NAME:
            typer.echo(str(ExecutionId.of(answer.execution)) if answer.HasField("execution") else "")
        else:
            say_document(output, as_json(answer))
        if watch and not dry_run:
            new = ExecutionId.of(answer.execution)
            if not follow(client, new, quiet=output is not Output.TABLE).succeeded:
                raise typer.Exit(1)


def _show(identifier: ExecutionId, answer: recovery_pb2.RecoverExecutionResponse, limit: int) -> None:
    if answer.nodes:
        say_table(["node", "runs", "fate", "why"], _rows(answer, limit))
    hidden = answer.omitted_count + (max(0, len(answer.nodes) - limit) if limit else 0)
    if hidden:
        say(f"[dim]{hidden} more; --limit 0 shows up to {_NODES}, -o json prints them[/]")
    if any(node.reason == recovery_pb2.REASON_CODE for node in answer.nodes):
        say(
            "[dim]Code is compared as a whole: a change of any file changes it for every task. If you know which tasks"
            " have changed, name them with --rerun, and all others count as unchanged.[/]"
        )
    counts = f"{answer.reused_count} nodes reused, {answer.run_count} run"
    if answer.HasField("execution"):
        source = escape(str(identifier))
        say(f"[bold]{escape(str(ExecutionId.of(answer.execution)))}[/] goes on from {source}: {counts}")
    else:
        say(f"Nothing was started. {counts}")


def _rows(answer: recovery_pb2.RecoverExecutionResponse, limit: int) -> Iterator[list[str]]:
    for node in answer.nodes[:limit] if limit else answer.nodes:
        line = " ".join(node.explanation.split())
        shown = line if len(line) <= _LINE else f"{line[:_LINE]}..."
        yield [escape(node.node_id), escape(node.entity), _FATES.get(node.fate, ""), escape(shown)]
