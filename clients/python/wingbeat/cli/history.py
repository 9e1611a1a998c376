"""`wingbeat history`: how an execution stood at an instant."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from wingbeat.cli.calls import query_client
from wingbeat.cli.execution_names import DOMAIN, PROJECT, Domain, Execution, Project, execution_path, parse_execution
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_document, say_table
from wingbeat.cli.session import DataDir, Endpoint
from wingbeat.cli.times import parse_time, show_span, show_time
from wingbeatidl.query.v1 import identity_pb2, query_pb2

_PAGE = 5_000
_COLOURS = {
    "SUCCEEDED": "green",
    "RECOVERED": "green",
    "RUNNING": "cyan",
    "DYNAMIC_RUNNING": "cyan",
    "QUEUED": "yellow",
}


def history(
    execution: Execution,
    at: Annotated[
        str,
        typer.Option(metavar="TIME", help="2026-05-01T12:00:00 (local, or with a zone), or how long ago: 90s."),
    ],
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    limit: Annotated[int, typer.Option(help="Nodes to show as text; 0: all.")] = 200,
    output: Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")] = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show how an execution and its nodes stood at an instant in the past."""
    try:
        identifier = parse_execution(execution, project, domain)
        moment = parse_time(at, datetime.now(UTC))
    except (ValueError, OverflowError) as error:
        fail(str(error), status=2)
    answer = _ask(identifier, moment, endpoint, data_dir)
    if output is not Format.TEXT:
        content = as_json(answer)
        content.pop("nextPageToken")
        say_document(output, {"execution": as_json(identifier), "at": moment.astimezone(UTC).isoformat(), **content})
    else:
        _show(execution_path(identifier), moment, answer, limit)


def _ask(
    identifier: identity_pb2.ExecutionIdentifier, moment: datetime, endpoint: str | None, data_dir: str | None
) -> query_pb2.GetExecutionAtResponse:
    """All pages as one answer."""
    request = query_pb2.GetExecutionAtRequest(execution=identifier, page_size=_PAGE)
    request.at.FromDatetime(moment.astimezone(UTC))
    with query_client(endpoint, data_dir) as client:
        answer = page = client.get_execution_at(request)
        while page.next_page_token:
            request.page_token = page.next_page_token
            page = client.get_execution_at(request)
            answer.nodes.extend(page.nodes)
    return answer


def _show(name: str, moment: datetime, answer: query_pb2.GetExecutionAtResponse, limit: int) -> None:
    say(f"[bold]{escape(name)}[/] at {show_time(moment, zone=True)}")
    created = answer.created_at.ToDatetime(tzinfo=UTC)
    if not answer.existed:
        say(f"  did not exist yet: it was created at {show_time(created)}, {show_span(created - moment)} later")
        return
    since = answer.phase_since.ToDatetime(tzinfo=UTC)
    spent = f"since {show_time(since, beside=moment)}, {show_span(moment - since)} before"
    say(f"  {_phase(identity_pb2.ExecutionPhase.Name(answer.phase), 'EXECUTION_PHASE_')} {spent}")
    counts = Counter(_name(node) for node in answer.nodes)
    shares = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    say(f"  {len(answer.nodes)} nodes{': ' if shares else ''}{shares}")
    if answer.nodes:
        say_table(["node", "name", "phase", "attempt", "since"], _rows(answer, moment, limit))
    if 0 < limit < len(answer.nodes):
        say(f"[dim]{len(answer.nodes) - limit} more; --limit 0 shows all, -o json prints all[/]")


def _rows(answer: query_pb2.GetExecutionAtResponse, moment: datetime, limit: int) -> Iterator[list[str]]:
    nodes = sorted(answer.nodes, key=lambda node: node.sequence)
    for node in nodes[:limit] if limit > 0 else nodes:
        since = show_time(node.since.ToDatetime(tzinfo=UTC), beside=moment)
        phase = _phase(identity_pb2.NodePhase.Name(node.phase), "NODE_PHASE_")
        yield [escape(node.node_id), escape(node.name), phase, str(node.attempt), since]


def _name(node: query_pb2.NodeState) -> str:
    return identity_pb2.NodePhase.Name(node.phase).removeprefix("NODE_PHASE_")


def _phase(name: str, prefix: str) -> str:
    short = name.removeprefix(prefix)
    if short == "UNSPECIFIED":
        return "[yellow]waiting for an engine[/]"
    return f"[{_COLOURS.get(short, 'red')}]{short}[/]"
