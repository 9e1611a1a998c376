"""`wingbeat recover`: go on from what an execution has done, with the same or with mended code."""

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from wingbeat.cli.calls import TIMEOUT_S, calls_to
from wingbeat.cli.execution_names import DOMAIN, PROJECT, Domain, Execution, Project, execution_path, parse_execution
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_json
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.recovery.v1 import recovery_pb2

if TYPE_CHECKING:
    import grpc

_RECOVER = "/wingbeatidl.recovery.v1.RecoveryService/RecoverExecution"
_GET = "/flyteidl.service.AdminService/GetExecution"
_POLL_S = 1.0
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
    output: Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")] = Format.TEXT,
    endpoint: Annotated[str | None, typer.Option(help="host:port of the server.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Folder of the installation to ask.")] = None,
) -> None:
    """Run an execution again, taking over what succeeded in it. With another version, what has changed runs, and all
    that follows it."""
    try:
        identifier = parse_execution(execution, project, domain)
    except ValueError as error:
        fail(str(error), status=2)
    request = recovery_pb2.RecoverExecutionRequest(
        execution=identifier,
        name=name,
        version=version,
        rerun=rerun or (),
        assume_unchanged=assume_unchanged or (),
        dry_run=dry_run,
        nodes_max=_NODES,
    )
    with calls_to(endpoint, data_dir) as channel:
        answer = _ask(channel, request)
        if output is Format.JSON:
            say_json(as_json(answer))
        else:
            _show(identifier, answer, limit)
        if watch and not dry_run and not _follow(channel, answer.execution, quiet=output is Format.JSON):
            raise typer.Exit(1)


def _ask(
    channel: "grpc.Channel", request: recovery_pb2.RecoverExecutionRequest
) -> recovery_pb2.RecoverExecutionResponse:
    call = channel.unary_unary(
        _RECOVER,
        request_serializer=recovery_pb2.RecoverExecutionRequest.SerializeToString,
        response_deserializer=recovery_pb2.RecoverExecutionResponse.FromString,
    )
    return call(request, timeout=TIMEOUT_S)


def _show(
    identifier: identity_pb2.ExecutionIdentifier, answer: recovery_pb2.RecoverExecutionResponse, limit: int
) -> None:
    if answer.nodes:
        say(_table(answer, limit))
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
        source = escape(execution_path(identifier))
        say(f"[bold]{escape(execution_path(answer.execution))}[/] goes on from {source}: {counts}")
    else:
        say(f"Nothing was started. {counts}")


def _table(answer: recovery_pb2.RecoverExecutionResponse, limit: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("node", "runs", "fate", "why"):
        table.add_column(heading)
    for node in answer.nodes[:limit] if limit else answer.nodes:
        line = " ".join(node.explanation.split())
        shown = line if len(line) <= _LINE else f"{line[:_LINE]}..."
        table.add_row(escape(node.node_id), escape(node.entity), _FATES.get(node.fate, ""), escape(shown))
    return table


def _follow(channel: "grpc.Channel", execution: identity_pb2.ExecutionIdentifier, *, quiet: bool) -> bool:
    """Look again until the execution has ended; whether it succeeded."""
    from flyteidl.admin import execution_pb2
    from flyteidl.core import execution_pb2 as core_execution_pb2
    from flyteidl.core import identifier_pb2

    phases = core_execution_pb2.WorkflowExecution
    call = channel.unary_unary(
        _GET,
        request_serializer=execution_pb2.WorkflowExecutionGetRequest.SerializeToString,
        response_deserializer=execution_pb2.Execution.FromString,
    )
    identifier = identifier_pb2.WorkflowExecutionIdentifier(
        project=execution.project, domain=execution.domain, name=execution.name
    )
    shown = None
    while True:
        closure = call(execution_pb2.WorkflowExecutionGetRequest(id=identifier), timeout=TIMEOUT_S).closure
        if closure.phase != shown and not quiet:
            say(f"  {phases.Phase.Name(closure.phase)}")
        shown = closure.phase
        if closure.phase in (phases.SUCCEEDED, phases.FAILED, phases.ABORTED, phases.TIMED_OUT):
            if closure.error.message and not quiet:
                say(f"  {escape(closure.error.message)}")
            return closure.phase == phases.SUCCEEDED
        time.sleep(_POLL_S)
