"""ArtifactRegistry of Flyte (`flyteidl.artifact`): artifacts as clients make, find and name them.

Triggers (launch plans that an artifact starts) are not supported; their rpcs say so.
"""

from collections.abc import Awaitable, Callable
from typing import NoReturn

import grpc
from flyteidl.core import artifact_id_pb2, identifier_pb2
from google.protobuf.message import Message

from wingbeat.flyte_artifacts import artifacts_pb2
from wingbeat_catalog.artifacts.partitions import PartitionError, PartitionValues, asked_partitions, check_values
from wingbeat_catalog.artifacts.queries import ArtifactQueries, InvalidQueryError, NoArtifactError
from wingbeat_catalog.artifacts.store import (
    ANY_ID,
    ArtifactKey,
    ArtifactStore,
    Made,
    NewArtifact,
    Row,
    artifact_message,
)
from wingbeat_controlplane.errors import ApiError, already_exists, invalid_argument, missing, unimplemented
from wingbeat_controlplane.executions.identifiers import check_execution_id
from wingbeat_controlplane.registry.identifiers import check_identifier
from wingbeat_controlplane.services.rpcs import CallContext

LIMIT = 100
LIMIT_MAX = 1_000
_OF_EXECUTION_MAX = 10_000


class ArtifactServicer:
    """The rpcs; `check_project_domain` raises ApiError for a project or domain that is not there."""

    def __init__(
        self,
        store: ArtifactStore,
        queries: ArtifactQueries,
        check_project_domain: Callable[[str, str], Awaitable[object]],
        principal: Callable[[CallContext], str],
    ) -> None:
        self._store = store
        self._queries = queries
        self._check_project_domain = check_project_domain
        self._principal = principal

    async def CreateArtifact(
        self, request: artifacts_pb2.CreateArtifactRequest, context: CallContext
    ) -> artifacts_pb2.CreateArtifactResponse:
        """Make one of a value that no execution has made, or that its maker describes in `source`."""
        key = await self._key(request.artifact_key)
        _check_text("version", request.version)
        if request.spec.value.WhichOneof("value") is None:
            raise missing("spec.value")
        if request.spec.type.WhichOneof("type") is None:
            raise missing("spec.type")
        if request.tag:
            _check_text("tag", request.tag)
        values = dict(request.partitions)
        try:
            check_values(values)
        except PartitionError as error:
            raise invalid_argument(str(error)) from error
        source = request.source
        made = Made(
            source.workflow_execution,
            source.node_id,
            source.retry_attempt,
            "",
            source.task_id if source.HasField("task_id") else identifier_pb2.Identifier(),
            source.principal or self._principal(context),
        )
        artifact = NewArtifact(key, request.version, PartitionValues(values), request.spec, made)
        row = await self._store.create(artifact, request.tag)
        if row is None:
            raise already_exists(f"artifact [{key}@{request.version}] already exists")
        return artifacts_pb2.CreateArtifactResponse(artifact=artifact_message(row))

    async def GetArtifact(
        self, request: artifacts_pb2.GetArtifactRequest, context: CallContext
    ) -> artifacts_pb2.GetArtifactResponse:
        """The one that a query means, with its value."""
        row = await self._find(request.query)
        message = artifact_message(row)
        value = await self._store.value(row)
        if value is not None:
            message.spec.value.CopyFrom(value)
        return artifacts_pb2.GetArtifactResponse(artifact=message)

    async def SearchArtifacts(
        self, request: artifacts_pb2.SearchArtifactsRequest, context: CallContext
    ) -> artifacts_pb2.SearchArtifactsResponse:
        """One page, newest first."""
        key = request.artifact_key
        _check_text("artifact_key.project", key.project)
        if not 0 <= request.limit <= LIMIT_MAX:
            raise invalid_argument(f"limit is {request.limit}: it is 0 (for {LIMIT}) to {LIMIT_MAX}")
        limit = request.limit or LIMIT
        try:
            asked = asked_partitions(artifact_id_pb2.ArtifactID(partitions=request.partitions), {})
        except PartitionError as error:
            raise invalid_argument(str(error)) from error
        rows = await self._store.search(
            project=key.project,
            domain=key.domain,
            name=key.name,
            version=request.version,
            principal=request.principal,
            partitions=asked.values,
            strict=request.options.strict_partitions,
            latest=request.options.latest_by_key,
            before=_before(request.token),
            limit=limit + 1,
        )
        token = str(rows[limit - 1]["id"]) if len(rows) > limit else ""
        return artifacts_pb2.SearchArtifactsResponse(
            artifacts=[artifact_message(row) for row in rows[:limit]], token=token
        )

    async def FindByWorkflowExec(
        self, request: artifacts_pb2.FindByWorkflowExecRequest, context: CallContext
    ) -> artifacts_pb2.SearchArtifactsResponse:
        """What an execution has made, or has among its inputs."""
        check_execution_id(request.exec_id, present=request.HasField("exec_id"))
        made = request.direction == artifacts_pb2.FindByWorkflowExecRequest.OUTPUTS
        rows = await self._store.of_execution(request.exec_id, made=made, limit=_OF_EXECUTION_MAX)
        return artifacts_pb2.SearchArtifactsResponse(artifacts=[artifact_message(row) for row in rows])

    async def AddTag(self, request: artifacts_pb2.AddTagRequest, context: CallContext) -> artifacts_pb2.AddTagResponse:
        """Give a version an alias; with `overwrite` it moves here from another version."""
        _check_text("value", request.value)
        if not request.artifact_id.version:
            raise missing("artifact_id.version")
        row = await self._find(artifact_id_pb2.ArtifactQuery(artifact_id=request.artifact_id))
        if not await self._store.tag(row["id"], request.value, move=request.overwrite):
            raise already_exists(
                f"another version of artifact [{row['project']}:{row['domain']}:{row['name']}] is called "
                f"'{request.value}'; with overwrite the alias moves"
            )
        return artifacts_pb2.AddTagResponse()

    async def ListUsage(
        self, request: artifacts_pb2.ListUsageRequest, context: CallContext
    ) -> artifacts_pb2.ListUsageResponse:
        """Executions that have a version among their inputs, newest first."""
        row = await self._find(artifact_id_pb2.ArtifactQuery(artifact_id=request.artifact_id))
        return artifacts_pb2.ListUsageResponse(
            executions=[
                identifier_pb2.WorkflowExecutionIdentifier(
                    project=used["project"], domain=used["domain"], name=used["name"]
                )
                for used in await self._store.usage(row["id"], LIMIT_MAX)
            ]
        )

    async def SetExecutionInputs(
        self, request: artifacts_pb2.ExecutionInputsRequest, context: CallContext
    ) -> artifacts_pb2.ExecutionInputsResponse:
        """Note that an execution has these artifacts among its inputs."""
        check_execution_id(request.execution_id, present=request.HasField("execution_id"))
        rows = [await self._find(artifact_id_pb2.ArtifactQuery(artifact_id=artifact)) for artifact in request.inputs]
        if not await self._store.use(request.execution_id, [row["id"] for row in rows]):
            identifier = request.execution_id
            label = f"{identifier.project}:{identifier.domain}:{identifier.name}"
            raise ApiError(grpc.StatusCode.NOT_FOUND, f"execution [{label}] does not exist")
        return artifacts_pb2.ExecutionInputsResponse()

    async def RegisterProducer(
        self, request: artifacts_pb2.RegisterProducerRequest, context: CallContext
    ) -> artifacts_pb2.RegisterResponse:
        """Note which outputs of tasks and workflows become artifacts."""
        for producer in request.producers:
            check_identifier(producer.entity_id, producer.entity_id.resource_type)
            for var in sorted(producer.outputs.variables):
                declared = producer.outputs.variables[var].artifact_partial_id
                if declared.artifact_key.name:
                    await self._store.register_entity(
                        *(producer.entity_id, var, declared.artifact_key.name, declared.SerializeToString()),
                        is_consumer=False,
                    )
        return artifacts_pb2.RegisterResponse()

    async def RegisterConsumer(
        self, request: artifacts_pb2.RegisterConsumerRequest, context: CallContext
    ) -> artifacts_pb2.RegisterResponse:
        """Note which inputs of launch plans ask for artifacts."""
        for consumer in request.consumers:
            check_identifier(consumer.entity_id, identifier_pb2.LAUNCH_PLAN)
            for var in sorted(consumer.inputs.parameters):
                query = consumer.inputs.parameters[var].artifact_query
                name = query.artifact_id.artifact_key.name or query.artifact_tag.artifact_key.name
                if name:
                    await self._store.register_entity(
                        consumer.entity_id, var, name, query.SerializeToString(), is_consumer=True
                    )
        return artifacts_pb2.RegisterResponse()

    async def CreateTrigger(self, request: Message, context: CallContext) -> NoReturn:
        """Not supported."""
        raise unimplemented("/flyteidl.artifact.ArtifactRegistry/CreateTrigger")

    async def DeactivateTrigger(self, request: Message, context: CallContext) -> NoReturn:
        """Not supported."""
        raise unimplemented("/flyteidl.artifact.ArtifactRegistry/DeactivateTrigger")

    async def _find(self, query: artifact_id_pb2.ArtifactQuery) -> Row:
        try:
            return await self._queries.find(query, "", "")
        except InvalidQueryError as error:
            raise invalid_argument(str(error)) from error
        except NoArtifactError as error:
            raise ApiError(grpc.StatusCode.NOT_FOUND, str(error)) from error

    async def _key(self, key: artifact_id_pb2.ArtifactKey) -> ArtifactKey:
        for field in ("project", "domain", "name"):
            _check_text(f"artifact_key.{field}", getattr(key, field))
        await self._check_project_domain(key.project, key.domain)
        return ArtifactKey(key.project, key.domain, key.name)


def _check_text(field: str, text: str) -> None:
    if not text:
        raise missing(field)
    if len(text) > 1_000 or "\0" in text:
        raise invalid_argument(f"invalid value for {field}")


def _before(token: str) -> int:
    if not token:
        return ANY_ID
    if not (token.isascii() and token.isdecimal() and int(token) <= ANY_ID):
        raise invalid_argument(f"invalid page token {token[:100]} for SearchArtifacts")
    return int(token)
