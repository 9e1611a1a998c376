"""`wingbeat why`: why an execution, or a node of it, is not running."""

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Annotated

import typer

from wingbeat.cli.calls import query_client
from wingbeat.cli.execution_names import DOMAIN, PROJECT, Domain, Execution, Project, execution_path, parse_execution
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_document
from wingbeat.cli.session import DataDir, Endpoint
from wingbeat.cli.times import show_time
from wingbeatidl.query.v1 import identity_pb2, why_pb2

_COLOURS = {
    why_pb2.STANDING_RUNNING: "cyan",
    why_pb2.STANDING_STARTING: "cyan",
    why_pb2.STANDING_ENDED: "green",
    why_pb2.STANDING_RULED_OUT: "red",
}


def why(
    execution: Execution,
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="Id or name of a node; without one, what holds the execution.")
    ] = "",
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Nodes in the answer.")] = 20,
    output: Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")] = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Say why an execution or a node is not running: what it waits for, who holds that, and its place in line."""
    try:
        identifier = parse_execution(execution, project, domain)
    except ValueError as error:
        fail(str(error), status=2)
    with query_client(endpoint, data_dir) as client:
        answer = client.why(why_pb2.WhyRequest(execution=identifier, node=node, limit=limit))
    if output is not Format.TEXT:
        say_document(output, {"execution": as_json(identifier), **as_json(answer)})
    else:
        _show(identifier, answer)


def _show(identifier: identity_pb2.ExecutionIdentifier, answer: why_pb2.WhyResponse) -> None:
    phase = identity_pb2.ExecutionPhase.Name(answer.phase).removeprefix("EXECUTION_PHASE_")
    shown = "not taken up yet" if answer.phase == identity_pb2.EXECUTION_PHASE_UNSPECIFIED else phase
    since = show_time(answer.phase_since.ToDatetime(tzinfo=UTC), beside=answer.as_of.ToDatetime(tzinfo=UTC), zone=True)
    say(f"[bold]{escape(execution_path(identifier))}[/] is {shown}, since {since}")
    for reason in answer.reasons:
        say(f"  {escape(reason.sentence)}")
    if answer.asked:
        _show_ways(answer)
    elif answer.nodes:
        _show_roots(answer)
    if answer.source == why_pb2.SOURCE_ROWS and answer.source_note:
        say(f"[dim]From the database alone: {escape(answer.source_note)}[/]")


def _show_ways(answer: why_pb2.WhyResponse) -> None:
    """The nodes asked about, each with what it waits for below it; a node that several wait for is told once."""
    nodes = {node.node_id: node for node in answer.nodes}
    roots = frozenset(answer.root_causes)
    told: set[str] = set()
    for asked in answer.nodes[: answer.asked]:
        for line in _tree(asked.node_id, nodes, roots, told):
            say(line)
    rest = [node for node in answer.nodes if node.node_id not in told]
    if rest:
        say("[dim]and further on[/]")
        for node in rest:
            say(f"  {_line(node, roots)}")
    if answer.node_count > len(answer.nodes):
        say(f"[dim]{answer.node_count - len(answer.nodes)} more nodes on the way; --limit shows more[/]")


def _tree(top: str, nodes: Mapping[str, why_pb2.NodeAnswer], roots: frozenset[str], told: set[str]) -> Iterator[str]:
    """Lines of a tree; deep ones do not recurse, and long sentences are not cut."""
    work = [(top, "", "")]
    while work:
        name, mark, indent = work.pop()
        if name in told:
            yield f"{mark}[dim]{escape(name)}, see above[/]"
            continue
        told.add(name)
        yield f"{mark}{_line(nodes[name], roots)}"
        below = [other for other in nodes[name].waits_for if other in nodes]
        for position, other in reversed(list(enumerate(below))):
            is_last = position + 1 == len(below)
            work.append((other, f"{indent}{'└── ' if is_last else '├── '}", f"{indent}{'    ' if is_last else '│   '}"))


def _show_roots(answer: why_pb2.WhyResponse) -> None:
    for node in answer.nodes:
        say(f"  {_line(node, frozenset())}")
    if answer.root_cause_count > len(answer.nodes):
        say(f"[dim]{answer.root_cause_count - len(answer.nodes)} more like these; --limit shows more[/]")
    say(f"[dim]{answer.node_count} nodes have not finished[/]")


def _line(node: why_pb2.NodeAnswer, roots: frozenset[str]) -> str:
    colour = _COLOURS.get(node.standing, "yellow")
    mark = "[bold]root cause:[/] " if node.node_id in roots else ""
    return f"{mark}[{colour}]{escape(node.sentence)}[/]"
