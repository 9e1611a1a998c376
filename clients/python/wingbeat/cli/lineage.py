"""`wingbeat lineage`: what a value was made from, and what was made from it."""

from collections.abc import Sequence
from typing import Annotated

import typer
from flyteidl.core import artifact_id_pb2

from wingbeat.cli.artifact import ArtifactClient, artifact_query
from wingbeat.cli.calls import TIMEOUT_S, calls_to
from wingbeat.cli.execution_names import DOMAIN, PROJECT, Domain, Project, execution_path, parse_execution
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_document
from wingbeat.cli.session import DataDir, Endpoint
from wingbeatidl.lineage.v1 import lineage_pb2
from wingbeatidl.query.v1 import identity_pb2

_PAGE = 1_000
_RUNS_SHOWN = 5
_TIMEOUT_S = 4 * TIMEOUT_S
_VERBS = {
    lineage_pb2.LINK_KIND_BINDING: "from",
    lineage_pb2.LINK_KIND_CHILD: "through a child execution from",
    lineage_pb2.LINK_KIND_CACHED: "cached outputs of",
    lineage_pb2.LINK_KIND_RECOVERED: "recovered outputs of",
    lineage_pb2.LINK_KIND_BLOB: "the blob made by",
    lineage_pb2.LINK_KIND_HASH: "the hash of",
    lineage_pb2.LINK_KIND_ARTIFACT: "the artifact made by",
    lineage_pb2.LINK_KIND_DYNAMIC: "fixed by",
    lineage_pb2.LINK_KIND_EAGER: "by way of an eager task from",
}


def lineage(
    start: Annotated[
        str,
        typer.Argument(
            metavar="START",
            help="An execution (its name, or project/domain/name), the URI of a blob, or artifact:NAME@VERSION,"
            " artifact:NAME:ALIAS, or artifact:NAME for the newest version.",
        ),
    ],
    node: Annotated[
        str,
        typer.Argument(
            metavar="[NODE[.VAR]]", help="Id or name of a node, or one of its outputs; .VAR alone: of the execution."
        ),
    ] = "",
    up: Annotated[bool, typer.Option("--up", help="What it was made from (this is the default).")] = False,
    down: Annotated[bool, typer.Option("--down", help="What was made from it.")] = False,
    depth: Annotated[int, typer.Option(min=1, max=1000, help="Steps to go at most.")] = 50,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Steps to show.")] = 1_000,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")] = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show what a value was made from, or what was made from it, across executions and launch plans."""
    if up and down:
        fail("choose one of --up and --down", status=2)
    request = lineage_pb2.TraceRequest(
        direction=lineage_pb2.DIRECTION_DOWN if down else lineage_pb2.DIRECTION_UP,
        depth=depth,
        page_size=min(limit, _PAGE),
    )
    try:
        if start.startswith("artifact:"):
            request.artifact.CopyFrom(_find_artifact(start, project, domain, endpoint, data_dir))
        else:
            _set_start(request, start, node, project, domain)
    except ValueError as error:
        fail(str(error), status=2)
    steps, is_cut, is_more = _ask(request, limit, endpoint, data_dir)
    if output is not Format.TEXT:
        say_document(output, {"steps": [as_json(step) for step in steps], "isCut": is_cut or is_more})
        return
    if not steps:
        say(
            "Nothing is known to have been made from it." if down else "It was made from nothing but what it was given."
        )
    for step in steps:
        _show(step)
    if is_more:
        say("[dim]more steps; --limit shows more[/]")
    elif is_cut:
        say("[dim]it goes on from here; --depth goes further[/]")


def _set_start(request: lineage_pb2.TraceRequest, start: str, node: str, project: str, domain: str) -> None:
    """Raises ValueError for a start that means nothing."""
    if "://" in start or start.startswith("/"):
        request.uri = start
    else:
        node_id, _, variable = node.partition(".")
        request.value.CopyFrom(
            lineage_pb2.ValueIdentifier(
                execution=parse_execution(start, project, domain), node_id=node_id, variable=variable
            )
        )


def _find_artifact(
    start: str, project: str, domain: str, endpoint: str | None, data_dir: str | None
) -> lineage_pb2.ArtifactIdentifier:
    """The version that is meant: the server knows aliases, and which one is the newest. Raises ValueError."""
    text, at, version = start.removeprefix("artifact:").partition("@")
    parts = text.split(":")
    if len(parts) > 2:
        project, domain, *parts = parts
    name, *alias = parts
    if len(alias) > 1 or not all((project, domain, *parts)) or bool(at) != bool(version) or (at and alias):
        raise ValueError(
            f"'{start}' names no artifact; write artifact:NAME@VERSION, artifact:NAME:ALIAS or artifact:NAME"
        )
    if not version:
        query = artifact_query(artifact_id_pb2.ArtifactKey(project=project, domain=domain, name=name), *alias)
        with calls_to(endpoint, data_dir) as channel:
            version = ArtifactClient(channel).get(query).artifact_id.version
    return lineage_pb2.ArtifactIdentifier(project=project, domain=domain, name=name, version=version)


def _ask(
    request: lineage_pb2.TraceRequest, limit: int, endpoint: str | None, data_dir: str | None
) -> tuple[list[lineage_pb2.Step], bool, bool]:
    steps: list[lineage_pb2.Step] = []
    with calls_to(endpoint, data_dir) as channel:
        trace = channel.unary_unary(
            "/wingbeatidl.lineage.v1.LineageService/Trace",
            request_serializer=lineage_pb2.TraceRequest.SerializeToString,
            response_deserializer=lineage_pb2.TraceResponse.FromString,
        )
        while True:
            page = trace(request, timeout=_TIMEOUT_S)
            steps += page.steps
            if not page.next_page_token or len(steps) >= limit:
                return steps[:limit], page.is_cut, bool(page.next_page_token) or len(steps) > limit
            request.page_token = page.next_page_token


def _show(step: lineage_pb2.Step) -> None:
    where = execution_path(step.execution)
    if step.kind == lineage_pb2.STEP_KIND_EXECUTION:
        title = f"[bold]{escape(where)}[/] was launched"
    else:
        name = f" ({escape(step.name)})" if step.name and step.name != step.node_id else ""
        phase = identity_pb2.NodePhase.Name(step.node_phase).removeprefix("NODE_PHASE_")
        title = f"[bold]{escape(where)} {escape(step.node_id)}[/]{name} {phase}"
    say(f"{step.depth:3} {title}")
    if step.entity.name:
        kind = lineage_pb2.EntityKind.Name(step.entity.kind).removeprefix("ENTITY_KIND_").lower().replace("_", " ")
        code = f", code {escape(', '.join(step.code_versions))}" if any(step.code_versions) else ""
        say(f"      {kind} {escape(step.entity.name)} version {escape(step.entity.version)}{code}")
    for label, variables in (("input", step.inputs), ("output", step.outputs)):
        for variable in variables:
            value = ", ".join(variable.uris) or variable.text
            say(f"      {label} {escape(variable.name)}{f' = {escape(value)}' if value else ''}")
    for link in step.links:
        source = getattr(link, "from")
        place = _value(source) if source.execution.name else "a client"
        by = f" ({escape(link.by)})" if link.by else ""
        by += _elements(link.elements)
        say(f"      [dim]{escape(link.variable) or 'it'} {_VERBS.get(link.kind, 'from')} {escape(place)}{by}[/]")


def _elements(runs: Sequence[lineage_pb2.ElementRun]) -> str:
    """Which elements took over which, the first few of them."""
    words = [
        " from ".join(
            _numbers(getattr(run, field), run.count) for field in ("first", "source_first") if run.HasField(field)
        )
        for run in runs[:_RUNS_SHOWN]
    ]
    more = f" and {len(runs) - _RUNS_SHOWN} more" if len(runs) > _RUNS_SHOWN else ""
    return f" (elements {', '.join(words)}{more})" if words else ""


def _numbers(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _value(value: lineage_pb2.ValueIdentifier) -> str:
    where = f"{value.execution.name} {value.node_id}" if value.node_id else f"the inputs of {value.execution.name}"
    return f"{where}.{value.variable}" if value.variable else where
