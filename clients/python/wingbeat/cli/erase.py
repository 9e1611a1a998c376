"""`wingbeat erase`: executions go with every row, blob and log of theirs."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import typer

from wingbeat.cli.calls import calls_to
from wingbeat.cli.execution_names import DOMAIN, PROJECT, parse_execution
from wingbeat.cli.limits import Output
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_document
from wingbeat.cli.session import DataDir, Endpoint
from wingbeat.cli.sizes import show_bytes, show_count
from wingbeatidl.retention.v1 import retention_pb2

_METHOD = "/wingbeatidl.retention.v1.RetentionService/Erase"


def erase(
    execution: Annotated[str, typer.Argument(metavar="[EXECUTION]", help="Its name, or project/domain/name.")] = "",
    label: Annotated[str, typer.Option(metavar="KEY=VALUE", help="All executions with this label.")] = "",
    project: Annotated[str, typer.Option(help="With --label: only of this project. Alone: all of it.")] = "",
    domain: Annotated[str, typer.Option(help="Only of this domain.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and touch nothing.")] = False,
    terminate: Annotated[bool, typer.Option("--terminate", help="Terminate those that are running first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Erase executions, and those that they launched, with their rows, blobs, logs, cache entries and artifacts."""
    request = _request(execution, label, project, domain)
    request.terminate = terminate
    if not dry_run and not yes:
        request.dry_run = True
        count = sum(not answer.HasField("batch") for answer in _ask(request, endpoint, data_dir))
        question = f"{show_count(count, 'execution')} cannot be brought back (--dry-run shows all). Erase?"
        typer.confirm(question, abort=True, err=True)
    request.dry_run = dry_run
    sums: Counter[str] = Counter()
    running = 0
    left: set[str] = set()
    for answer in _ask(request, endpoint, data_dir):
        sums["batches" if answer.HasField("batch") else "executions"] += 1
        sums["rows"] += sum(answer.rows.values())
        running += answer.is_running
        left.update(answer.left_alone)
        for field in ("blob_count", "blob_bytes", "log_count", "log_bytes"):
            sums[field] += getattr(answer, field)
        if output is not Format.TEXT:
            say_document(output, as_json(answer))
        elif dry_run:
            _show(answer)
    if output is Format.TEXT:
        done = "would go" if dry_run else "erased"
        batches = f" and {sums['batches']} {'batch' if sums['batches'] == 1 else 'batches'}" if sums["batches"] else ""
        say(
            f"{show_count(sums['executions'], 'execution')}{batches} {done}: {show_count(sums['rows'], 'row')},"
            f" {show_count(sums['blob_count'], 'blob')} ({show_bytes(sums['blob_bytes'])}),"
            f" logs of {show_count(sums['log_count'], 'attempt')} ({show_bytes(sums['log_bytes'])})"
        )
        if running:
            say(f"{running} of them are running: they need --terminate")
        for place in sorted(left):
            say(f"Left alone, as it is outside of the blob store or not theirs alone: {escape(place)}")


def _request(execution: str, label: str, project: str, domain: str) -> retention_pb2.EraseRequest:
    request = retention_pb2.EraseRequest()
    if execution and not label:
        try:
            found = parse_execution(execution, project or PROJECT, domain or DOMAIN)
        except ValueError as error:
            fail(str(error), status=2)
        target = request.execution
        target.project, target.domain, target.name = found.project, found.domain, found.name
    elif label and not execution:
        key, equals, value = label.partition("=")
        if not key or not equals:
            fail(f"{label!r} is no label: say --label KEY=VALUE", status=2)
        target = request.label
        target.key, target.value, target.project, target.domain = key, value, project, domain
    elif project and not execution and not label:
        request.project.project, request.project.domain = project, domain
    else:
        fail("say what to erase: an execution, --label KEY=VALUE, or --project", status=2)
    return request


def _ask(
    request: retention_pb2.EraseRequest, endpoint: str | None, data_dir: str | None
) -> Iterator[retention_pb2.EraseResponse]:
    with calls_to(endpoint, data_dir) as channel:
        call = channel.unary_stream(
            _METHOD,
            request_serializer=retention_pb2.EraseRequest.SerializeToString,
            response_deserializer=retention_pb2.EraseResponse.FromString,
        )
        yield from call(request)


def _show(answer: retention_pb2.EraseResponse) -> None:
    is_batch = answer.HasField("batch")
    name = answer.batch if is_batch else answer.execution
    path = f"{'batch ' if is_batch else ''}{escape(f'{name.project}/{name.domain}/{name.name}')}"
    rows = ", ".join(f"{count} {table}" for table, count in sorted(answer.rows.items()))
    say(f"{path}{' [yellow]running[/]' if answer.is_running else ''}")
    say(f"  rows: {rows}")
    say(
        f"  blobs: {answer.blob_count} ({show_bytes(answer.blob_bytes)}),"
        f" logs: {answer.log_count} ({show_bytes(answer.log_bytes)})"
    )
