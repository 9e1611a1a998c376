"""`wingbeat artifact`: named, versioned outputs."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer
from flyteidl.core import artifact_id_pb2, literals_pb2
from google.protobuf.message import Message

from wingbeat.cli.calls import TIMEOUT_S, calls_to
from wingbeat.cli.examples import epilog
from wingbeat.cli.execution_names import DOMAIN, PROJECT, Domain, Project
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_json
from wingbeat.cli.session import DataDir, Endpoint
from wingbeat.flyte_artifacts import artifacts_pb2

if TYPE_CHECKING:
    import grpc

artifact = typer.Typer(add_completion=False, no_args_is_help=True, help="Named, versioned outputs of tasks.")

Output: TypeAlias = Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")]
Partition: TypeAlias = Annotated[
    list[str] | None, typer.Option("--partition", metavar="KEY=VALUE", help="Only with this partition.")
]
_Answer = TypeVar("_Answer", bound=Message)
_PAGE = 1_000


class ArtifactClient:
    """The rpcs of an installation's ArtifactRegistry. They raise grpc.RpcError."""

    def __init__(self, channel: "grpc.Channel") -> None:
        self._channel = channel

    def call(self, rpc: str, request: Message, answer: type[_Answer]) -> _Answer:
        """One rpc by name."""
        method = self._channel.unary_unary(
            f"/flyteidl.artifact.ArtifactRegistry/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return method(request, timeout=TIMEOUT_S)

    def get(self, query: artifact_id_pb2.ArtifactQuery) -> artifacts_pb2.Artifact:
        """The version that a query means."""
        request = artifacts_pb2.GetArtifactRequest(query=query, details=True)
        return self.call("GetArtifact", request, artifacts_pb2.GetArtifactResponse).artifact

    def search(self, request: artifacts_pb2.SearchArtifactsRequest, limit: int) -> list[artifacts_pb2.Artifact]:
        """All pages, up to `limit`."""
        found: list[artifacts_pb2.Artifact] = []
        while True:
            page = self.call("SearchArtifacts", request, artifacts_pb2.SearchArtifactsResponse)
            found += page.artifacts
            if not page.token or len(found) >= limit:
                return found[:limit]
            request.token = page.token


@contextmanager
def _client(endpoint: str | None, data_dir: str | None) -> Generator[ArtifactClient]:
    with calls_to(endpoint, data_dir) as channel:
        yield ArtifactClient(channel)


@artifact.command("list", epilog=epilog("wingbeat artifact list", "wingbeat artifact list -p vision -o json"))
def list_names(
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Names to show.")] = 100,
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show the artifacts of a project and domain, each with its newest version."""
    request = artifacts_pb2.SearchArtifactsRequest(
        artifact_key=artifact_id_pb2.ArtifactKey(project=project, domain=domain),
        options=artifacts_pb2.SearchOptions(latest_by_key=True),
        limit=min(limit, _PAGE),
    )
    with _client(endpoint, data_dir) as client:
        _show(client.search(request, limit), output)


@artifact.command(
    "search", epilog=epilog("wingbeat artifact search model", "wingbeat artifact search model --partition region=eu")
)
def search(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the artifact.")],
    partition: Partition = None,
    version: Annotated[str, typer.Option(help="Only this version.")] = "",
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Versions to show.")] = 100,
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show versions of an artifact, newest first."""
    request = artifacts_pb2.SearchArtifactsRequest(
        artifact_key=artifact_id_pb2.ArtifactKey(project=project, domain=domain, name=name),
        partitions=_partitions(partition),
        version=version,
        limit=min(limit, _PAGE),
    )
    with _client(endpoint, data_dir) as client:
        _show(client.search(request, limit), output)


@artifact.command(
    "get", epilog=epilog("wingbeat artifact get model", "wingbeat artifact get model:production --partition region=eu")
)
def get(
    what: Annotated[str, typer.Argument(metavar="NAME[@VERSION|:ALIAS]", help="The newest without a version.")],
    partition: Partition = None,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Show one artifact: its value, who made it, and who used it."""
    query = _query(what, project, domain)
    if partition:
        query.artifact_id.partitions.CopyFrom(_partitions(partition))
    with _client(endpoint, data_dir) as client:
        found = client.get(query)
        usage = client.call(
            "ListUsage", artifacts_pb2.ListUsageRequest(artifact_id=found.artifact_id), artifacts_pb2.ListUsageResponse
        )
    if output is Format.JSON:
        say_json({**as_json(found), "usage": as_json(usage)["executions"]})
        return
    say(f"[bold]{escape(found.artifact_id.artifact_key.name)}@{escape(found.artifact_id.version)}[/]")
    for label, text in (
        ("aliases", ", ".join(found.tags)),
        ("partitions", _partition_text(found.artifact_id)),
        ("made by", _source(found)),
        ("created", found.created_at.ToJsonString()),
        ("value", _value(found.spec.value)),
        ("used by", ", ".join(used.name for used in usage.executions)),
    ):
        if text:
            say(f"  {label}: {escape(text)}")


@artifact.command(
    "tag",
    epilog=epilog("wingbeat artifact tag model@v3 production", "wingbeat artifact tag model@v4 production --move"),
)
def tag(
    what: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version to name.")],
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="For example `prod`.")],
    move: Annotated[bool, typer.Option("--move", help="Take the alias away from another version.")] = False,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Give a version an alias, by which launch plans and people find it."""
    query = _query(what, project, domain)
    if not query.artifact_id.version:
        fail(f"'{what}' names no version; write NAME@VERSION", status=2)
    request = artifacts_pb2.AddTagRequest(artifact_id=query.artifact_id, value=alias, overwrite=move)
    with _client(endpoint, data_dir) as client:
        client.call("AddTag", request, artifacts_pb2.AddTagResponse)
    say(f"{escape(what)} is called {escape(alias)}")


def _query(what: str, project: str, domain: str) -> artifact_id_pb2.ArtifactQuery:
    name, at, version = what.partition("@")
    alias = ""
    if not at:
        name, _, alias = what.partition(":")
    if not name or (at and not version):
        fail(f"'{what}' names no artifact; write NAME, NAME@VERSION or NAME:ALIAS", status=2)
    key = artifact_id_pb2.ArtifactKey(project=project, domain=domain, name=name)
    return artifact_query(key, alias, version)


def artifact_query(
    key: artifact_id_pb2.ArtifactKey, alias: str = "", version: str = ""
) -> artifact_id_pb2.ArtifactQuery:
    """One version by its alias or name, or the newest."""
    if alias:
        label = artifact_id_pb2.LabelValue(static_value=alias)
        return artifact_id_pb2.ArtifactQuery(artifact_tag=artifact_id_pb2.ArtifactTag(artifact_key=key, value=label))
    return artifact_id_pb2.ArtifactQuery(artifact_id=artifact_id_pb2.ArtifactID(artifact_key=key, version=version))


def _partitions(given: list[str] | None) -> artifact_id_pb2.Partitions:
    partitions = artifact_id_pb2.Partitions()
    for text in given or ():
        key, equals, value = text.partition("=")
        if not key or not equals or not value:
            fail(f"'{text}' is no partition; write KEY=VALUE", status=2)
        partitions.value[key].static_value = value
    return partitions


def _show(found: list[artifacts_pb2.Artifact], output: Format) -> None:
    if output is Format.JSON:
        say_json([as_json(one) for one in found])
    elif not found:
        say("There are none.")
    else:
        for one in found:
            identity = one.artifact_id
            aliases = f"[{', '.join(one.tags)}]" if one.tags else ""
            made = one.created_at.ToJsonString()
            parts = (aliases, _partition_text(identity), f"by {_source(one)}" if _source(one) else "", made)
            rest = "  ".join(part for part in parts if part)
            say(f"[bold]{escape(f'{identity.artifact_key.name}@{identity.version}')}[/]  {escape(rest)}")


def _partition_text(identity: artifact_id_pb2.ArtifactID) -> str:
    parts = [f"{key}={identity.partitions.value[key].static_value}" for key in sorted(identity.partitions.value)]
    if identity.HasField("time_partition"):
        parts.append(f"time={identity.time_partition.value.time_value.ToJsonString()}")
    return ", ".join(parts)


def _source(one: artifacts_pb2.Artifact) -> str:
    source = one.source
    return f"{source.workflow_execution.name} {source.node_id}".strip() or source.principal


def _value(literal: literals_pb2.Literal) -> str:
    scalar = literal.scalar
    for uri in (scalar.blob.uri, scalar.structured_dataset.uri, scalar.schema.uri):
        if uri:
            return uri
    kind = scalar.primitive.WhichOneof("value")
    if kind is None:
        return ""
    text = str(getattr(scalar.primitive, kind)).strip()
    return text if len(text) <= 200 else f"{text[:200]}..."
