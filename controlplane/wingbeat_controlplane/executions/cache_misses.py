"""Why a call of a task was not found in the cache: the nearest entries, and what differs.

Of a node the task is that of its first attempt, and the cache version that of its catalog key, where it has one: a node
may override what its task says. Entries that the node itself has put since are left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import asyncpg
from flyteidl.admin import task_pb2
from flyteidl.core import catalog_pb2, identifier_pb2, literals_pb2, tasks_pb2
from flyteidl.event import event_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.keys import CallKey, TaskKey, call_key, task_key
from wingbeat_catalog.misses.comparison import Difference, cache_version_of
from wingbeat_catalog.misses.nearest import Found, Near, NearestEntries
from wingbeat_controlplane.errors import failed_precondition, invalid_argument, missing, not_found
from wingbeat_controlplane.executions.cache_miss_words import entry_sentence, headline, hit_sentence
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.cache.v1 import cache_pb2

_SQL = load_queries(__package__ or "", "cache_misses.sql")

LIMIT = 5
LIMIT_MAX = 50
INPUTS_BYTES_MAX = 64 << 20


class _Asked(NamedTuple):
    """A call, and what a node that made it shows."""

    template: tasks_pb2.TaskTemplate
    inputs: literals_pb2.LiteralMap
    cache_version: str | None
    """None: what the task says."""
    status: int
    made_by: tuple[str, str, str, str] | None
    """Project, domain and name of the execution, and the node."""
    at: datetime | None


class CacheMisses:
    """Answers ExplainMiss. Raises ApiError, and OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, nearest: NearestEntries) -> None:
        self._pool = pool
        self._blobs = blobs
        self._nearest = nearest
        self._keys = ExecutionKeys(pool)

    async def explain(self, request: cache_pb2.ExplainMissRequest) -> cache_pb2.ExplainMissResponse:
        """Compare a call with the nearest entries."""
        if not 0 <= request.limit <= LIMIT_MAX:
            raise invalid_argument(f"limit is {request.limit}: it is between 0 and {LIMIT_MAX}")
        match request.WhichOneof("call"):
            case "node":
                found = await self._of_node(request.node)
                if isinstance(found, cache_pb2.ExplainMissResponse):
                    return found
                asked = found
            case "task":
                asked = await self._of_task(request.task)
            case _:
                raise missing("call")
        metadata = asked.template.metadata
        if asked.cache_version is None and not metadata.discoverable:
            name = asked.template.id.name
            return cache_pb2.ExplainMissResponse(
                sentence=f"Task {name} is not cached: it has no cache=True", cache_status=asked.status
            )
        try:
            task = task_key(_cached_task(asked))
            key = call_key(task, asked.inputs)
            version = metadata.discovery_version if asked.cache_version is None else asked.cache_version
            nearest = await self._nearest.of(task, version.strip(" "), key, asked.inputs)
        except ValueError as error:
            raise failed_precondition(f"the call has no key: {error}") from error
        return _response(asked, task, key, nearest, request.limit or LIMIT)

    async def _of_node(self, call: cache_pb2.NodeCall) -> _Asked | cache_pb2.ExplainMissResponse:
        name = call.execution
        execution = identifier_pb2.WorkflowExecutionIdentifier(project=name.project, domain=name.domain, name=name.name)
        if not call.node_id:
            raise missing("node id")
        row_id = await self._keys.find(execution)
        if row_id is None:
            raise not_found("execution", execution)
        row = await self._pool.fetchrow(_SQL["node"], row_id, call.node_id)
        if row is None:
            raise not_found("node execution", call.node_id)
        if row["kind"] != NodeKind.TASK:
            raise failed_precondition(f"node {call.node_id} is not one of a single task")
        event = event_pb2.NodeExecutionEvent.FromString(row["details"] or b"")
        catalog = event.task_node_metadata.catalog_key
        if row["closure"] is None:
            if not catalog.HasField("source_task_execution"):
                raise failed_precondition(f"node {call.node_id} has run no task, so there is no call to explain")
            return cache_pb2.ExplainMissResponse(sentence=hit_sentence(catalog), cache_status=row["cache_status"])
        return _Asked(
            template=_template(row["closure"]),
            inputs=await self._inputs(call.node_id, row),
            cache_version=_cache_version(catalog),
            status=row["cache_status"],
            made_by=(name.project, name.domain, name.name, call.node_id),
            at=row["created_at"],
        )

    async def _inputs(self, node_id: str, row: asyncpg.Record) -> literals_pb2.LiteralMap:
        data: bytes | None = row["inputs"]
        if data is None:
            if not row["input_uri"]:
                raise failed_precondition(f"the inputs of node {node_id} are not known yet")
            try:
                data = await self._blobs.get(row["input_uri"], INPUTS_BYTES_MAX)
            except (BlobNotFoundError, BlobAccessError, BlobTooLargeError) as error:
                raise failed_precondition(f"the inputs of node {node_id} cannot be read: {error}") from error
        return _literals(data)

    async def _of_task(self, call: cache_pb2.TaskCall) -> _Asked:
        for field in ("project", "domain", "name"):
            if not getattr(call, field):
                raise missing(f"task {field}")
        closure = await self._pool.fetchval(_SQL["task"], call.project, call.domain, call.name, call.version)
        if closure is None:
            raise not_found("TASK", f"{call.project}/{call.domain}/{call.name} {call.version}".rstrip())
        return _Asked(_template(closure), _literals(call.inputs), None, 0, None, None)


def _template(closure: bytes) -> tasks_pb2.TaskTemplate:
    return task_pb2.TaskClosure.FromString(closure).compiled_task.template


def _literals(data: bytes) -> literals_pb2.LiteralMap:
    try:
        return literals_pb2.LiteralMap.FromString(data)
    except DecodeError as error:
        raise invalid_argument("the inputs are no LiteralMap") from error


def _cache_version(catalog: catalog_pb2.CatalogMetadata) -> str | None:
    return cache_version_of(catalog.dataset_id.version) if catalog.dataset_id.version else None


def _cached_task(asked: _Asked) -> CachedTask:
    template = asked.template
    task = CachedTask(
        project=template.id.project,
        domain=template.id.domain,
        name=template.id.name,
        version=template.id.version,
        cache_version=template.metadata.discovery_version,
        interface=template.interface.SerializeToString(),
        ignored_inputs=tuple(template.metadata.cache_ignore_input_vars),
    )
    return task if asked.cache_version is None else replace(task, cache_version=asked.cache_version)


def _response(asked: _Asked, task: TaskKey, key: CallKey, found: Found, limit: int) -> cache_pb2.ExplainMissResponse:
    others = [near for near in found.entries if not _is_own(asked, near)]
    name = task.dataset
    return cache_pb2.ExplainMissResponse(
        sentence=headline(asked.template.id, asked.status, asked.at, others),
        key=cache_pb2.EntryKey(
            project=name.project,
            domain=name.domain,
            dataset=name.name,
            dataset_version=name.version,
            tag=key.exact,
            canonical_tag=key.canonical,
        ),
        cache_status=asked.status,
        neighbours=[_neighbour(near) for near in others[:limit]],
        compared=found.compared,
        truncated=found.truncated,
    )


def _is_own(asked: _Asked, near: Near) -> bool:
    source = near.source
    return (source.project, source.domain, source.execution, source.node_id) == asked.made_by


def _neighbour(near: Near) -> cache_pb2.Neighbour:
    name, source = near.dataset, near.source
    message = cache_pb2.Neighbour(
        key=cache_pb2.EntryKey(
            project=name.project, domain=name.domain, dataset=name.name, dataset_version=name.version, tag=near.tag
        ),
        artifact_id=near.artifact_id,
        created_at=timestamp(near.created_at),
        updated_at=timestamp(near.updated_at),
        node_id=source.node_id,
        attempt=source.attempt,
        element=source.element if source.element >= 0 else None,
        task_version=source.task_version,
        cache_version=near.cache_version,
        differences=_differences(near.differences),
        sentence=entry_sentence(near),
    )
    if source.execution:
        message.execution.CopyFrom(
            cache_pb2.ExecutionName(project=source.project, domain=source.domain, name=source.execution)
        )
    return message


def _differences(differences: Sequence[Difference]) -> list[cache_pb2.Difference]:
    return [
        cache_pb2.Difference(
            kind=cache_pb2.DifferenceKind.Name(difference.kind.value),
            variable=difference.variable,
            path=difference.path,
            asked=difference.asked,
            kept=difference.kept,
            sentence=difference.sentence,
        )
        for difference in differences
    ]
