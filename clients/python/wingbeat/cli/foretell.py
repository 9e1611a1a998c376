"""`wingbeat foretell`: which nodes of a launch would hit the cache, which would run, and why."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wingbeat.cli.calls import calls_to
from wingbeat.cli.connection import DataDir, Endpoint, ca_certificate
from wingbeat.cli.execution_names import DOMAIN, PROJECT, Domain, Project
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_document
from wingbeat.endpoint import EndpointError
from wingbeat.errors import ConversionError, ServerError
from wingbeatidl.cache.v1 import foretell_pb2

if TYPE_CHECKING:
    from flyteidl.admin import execution_pb2

_TIMEOUT_S = 120.0
_SHOWN = {
    foretell_pb2.FORECAST_HIT: "[green]hit[/]",
    foretell_pb2.FORECAST_RUN: "[yellow]run[/]",
    foretell_pb2.FORECAST_OPEN: "[dim]open[/]",
    foretell_pb2.FORECAST_INNER: "[dim]inner[/]",
    foretell_pb2.FORECAST_SKIPPED: "[dim]skipped[/]",
}


def foretell(
    launch_plan: Annotated[str, typer.Argument(metavar="LAUNCH_PLAN", help="What would be launched.")],
    inputs: Annotated[str, typer.Option("--inputs", help="Inputs as a JSON object.")] = "{}",
    version: Annotated[str, typer.Option(help="Of the launch plan; the newest by default.")] = "",
    overwrite_cache: Annotated[bool, typer.Option("--overwrite-cache", help="As the launch would say.")] = False,
    cache: Annotated[str, typer.Option(help="on or off, as the launch would say by annotation.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Nodes to show.")] = 1_000,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")] = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Say which nodes would hit the cache, which would run, and why. Nothing is launched."""
    try:
        given: Any = json.loads(inputs)
    except json.JSONDecodeError as error:
        fail(f"--inputs is no JSON: {error}", status=2)
    if not isinstance(given, dict):
        fail("--inputs is no JSON object", status=2)
    try:
        create = asyncio.run(_create_request(launch_plan, version, given, project, domain, endpoint, data_dir))  # pyright: ignore[reportUnknownArgumentType]
    except (EndpointError, ConversionError, ServerError) as error:
        fail(str(error))
    create.spec.overwrite_cache = overwrite_cache
    if cache:
        create.spec.annotations.values["wingbeat.dev/cache"] = cache
    request = foretell_pb2.ForetellRequest(create_request=create.SerializeToString(), nodes_max=limit)
    with calls_to(endpoint, data_dir) as channel:
        ask = channel.unary_unary(
            "/wingbeatidl.cache.v1.ForetellService/Foretell",
            request_serializer=foretell_pb2.ForetellRequest.SerializeToString,
            response_deserializer=foretell_pb2.ForetellResponse.FromString,
        )
        answer: foretell_pb2.ForetellResponse = ask(request, timeout=_TIMEOUT_S)
    if output is not Format.TEXT:
        say_document(output, as_json(answer))
        return
    for node in answer.nodes:
        entity = f" ({escape(node.entity)})" if node.entity else ""
        place = " > ".join((*reversed(node.launched_by), node.node_id))
        say(f"{_SHOWN.get(node.forecast, '')} {escape(place)}{entity}: {escape(node.explanation)}")
    if answer.omitted_count:
        say(f"[dim]{answer.omitted_count} more nodes; --limit shows more[/]")
    say(f"{answer.hit_count} would hit, {answer.run_count} would run, {answer.open_count} cannot be told yet.")


async def _create_request(
    name: str,
    version: str,
    inputs: dict[str, Any],
    project: str,
    domain: str,
    endpoint: str | None,
    data_dir: str | None,
) -> "execution_pb2.ExecutionCreateRequest":
    from flyteidl.admin import execution_pb2
    from flyteidl.core import identifier_pb2

    from wingbeat.async_client import AsyncClient

    ca = ca_certificate()
    async with AsyncClient(endpoint, ca_certificate=ca, data_dir=data_dir, project=project, domain=domain) as client:
        entity = await client.entity(name, version or None)
        literals = await client.encode(inputs, entity)
    launch_plan = identifier_pb2.Identifier(
        resource_type=identifier_pb2.LAUNCH_PLAN,
        project=entity.id.project,
        domain=entity.id.domain,
        name=entity.id.name,
        version=entity.id.version,
    )
    spec = execution_pb2.ExecutionSpec(launch_plan=launch_plan, metadata=execution_pb2.ExecutionMetadata())
    return execution_pb2.ExecutionCreateRequest(project=project, domain=domain, spec=spec, inputs=literals)
