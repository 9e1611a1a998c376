"""Calls that questions about the cache are about: of a task or sub-workflow node, of an element of an array, or of
nobody.

Of a node the task is that of its first attempt, and the cache version that of its catalog key, where it has one: a node
may override what its task says. Of an array the compiled workflow tells which inputs are mapped over, and of a
sub-workflow node everything: the one that the nearest dynamic task around the node has made, if there is one.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import asyncpg
from flyteidl.admin import task_pb2
from flyteidl.core import catalog_pb2, compiler_pb2, identifier_pb2, literals_pb2, tasks_pb2, workflow_pb2
from flyteidl.event import event_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.keys import WORKFLOW_PREFIX
from wingbeat_catalog.misses.comparison import cache_version_of
from wingbeat_controlplane.errors import failed_precondition, invalid_argument, missing, not_found
from wingbeat_controlplane.executions.array_inputs import find_array, inputs_of_element
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_propeller.compiler.cached_tasks import cached_task, cached_workflow
from wingbeat_propeller.compiler.dynamic import compiled_uri
from wingbeat_propeller.compiler.references import walk_nodes
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.ports.cache import CacheAsk
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.cache.v1 import cache_pb2

_SQL = load_queries(__package__ or "", "cache_calls.sql")

INPUTS_BYTES_MAX = 64 << 20
CLOSURE_BYTES_MAX = 64 << 20
"""Largest compiled workflow of a dynamic task that is looked into."""


class Maker(NamedTuple):
    """The node, or element of an array, that has made a call."""

    project: str
    domain: str
    execution: str
    node_id: str
    element: int
    """-1: it is no element."""


class AskedCall(NamedTuple):
    """A call, and what the node that made it shows."""

    entity: identifier_pb2.Identifier
    """The task or workflow."""
    cached: CachedTask | None
    """None: it is not cached."""
    inputs: literals_pb2.LiteralMap
    status: int = 0
    maker: Maker | None = None
    at: datetime | None = None


class ArrayCalls(NamedTuple):
    """The calls of the elements of an array."""

    cached: CachedTask | None
    """None: they are not cached."""
    inputs: literals_pb2.LiteralMap
    array: workflow_pb2.ArrayNode

    def asks(self, elements: Iterable[int]) -> list[CacheAsk]:
        """Those of some elements, as the cache was asked."""
        if self.cached is None:
            return []
        return [
            CacheAsk(self.cached, inputs_of_element(self.inputs, self.array, element).SerializeToString())
            for element in elements
        ]


class GivenCall(NamedTuple):
    """A node that was given what another has made: no task is on record for it."""

    catalog: catalog_pb2.CatalogMetadata
    status: int


class CacheCalls:
    """Reads calls. Raises ApiError, and OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs
        self._keys = ExecutionKeys(pool)

    async def of_task(self, call: cache_pb2.TaskCall) -> AskedCall:
        """A call that need not have been made."""
        for field in ("project", "domain", "name"):
            if not getattr(call, field):
                raise missing(f"task {field}")
        closure = await self._pool.fetchval(_SQL["task"], call.project, call.domain, call.name, call.version)
        if closure is None:
            raise not_found("TASK", f"{call.project}/{call.domain}/{call.name} {call.version}".rstrip())
        template = _template(closure)
        return AskedCall(template.id, cached_task(template, workflow_pb2.NodeMetadata()), _literals(call.inputs))

    async def of_node(self, call: cache_pb2.NodeCall) -> AskedCall | GivenCall:
        """What a node, or an element of an array, was called with."""
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
        if row["kind"] == NodeKind.ARRAY:
            if not call.HasField("element"):
                raise invalid_argument(f"node {call.node_id} is an array: name one of its elements")
            return await self._of_element(call, row_id, row)
        if row["kind"] not in (NodeKind.TASK, NodeKind.WORKFLOW):
            raise failed_precondition(f"node {call.node_id} is not one of a task or sub-workflow")
        if call.HasField("element"):
            raise invalid_argument(f"node {call.node_id} is no array: it has no elements")
        event = event_pb2.NodeExecutionEvent.FromString(row["details"] or b"")
        catalog = event.task_node_metadata.catalog_key
        maker = Maker(name.project, name.domain, name.name, call.node_id, -1)
        if row["closure"] is None:
            if catalog.HasField("source_task_execution"):
                return GivenCall(catalog, row["cache_status"])
            if row["kind"] == NodeKind.WORKFLOW:
                return await self._of_workflow(call.node_id, row_id, row, maker, catalog)
            raise _no_task(call)
        template = _template(row["closure"])
        cached = cached_task(template, workflow_pb2.NodeMetadata())
        if catalog.dataset_id.version:
            said = workflow_pb2.NodeMetadata(cacheable=True)
            cached = cached or cached_task(template, said)
            assert cached is not None, "it is said to be cached"
            cached = replace(cached, cache_version=cache_version_of(catalog.dataset_id.version))
        inputs = await self._inputs(call.node_id, row)
        return AskedCall(template.id, cached, inputs, row["cache_status"], maker, row["created_at"])

    async def of_array(self, row_id: int, node_id: str) -> "ArrayCalls":
        """The calls that the elements of an array of an execution have made."""
        row = await self._pool.fetchrow(_SQL["node"], row_id, node_id)
        if row is None or row["closure"] is None:
            raise failed_precondition(f"the task of array {node_id} is not registered")
        template = _template(row["closure"])
        array = find_array(await self._closure(row_id, node_id), row["spec_node_id"], template.id)
        inputs = await self._inputs(node_id, row)
        for name, literal in inputs.literals.items():
            if name not in array.bound_inputs and literal.WhichOneof("value") == "offloaded_metadata":
                literal.ParseFromString(await self._read(node_id, literal.offloaded_metadata.uri))
        return ArrayCalls(_cached_element(template, array), inputs, array)

    async def _of_workflow(
        self, node_id: str, row_id: int, row: asyncpg.Record, maker: Maker, catalog: catalog_pb2.CatalogMetadata
    ) -> AskedCall:
        found = _find_sub_workflow(await self._closure(row_id, node_id), row["spec_node_id"], catalog.dataset_id.name)
        if found is None:
            raise failed_precondition(f"the workflow that node {node_id} runs is not found")
        template, metadata = found
        inputs = await self._inputs(node_id, row)
        cached = cached_workflow(template, metadata)
        return AskedCall(template.id, cached, inputs, row["cache_status"], maker, row["created_at"])

    async def _of_element(self, call: cache_pb2.NodeCall, row_id: int, row: asyncpg.Record) -> AskedCall:
        if row["closure"] is None:
            raise _no_task(call)
        template = _template(row["closure"])
        array = find_array(await self._closure(row_id, call.node_id), row["spec_node_id"], template.id)
        inputs = inputs_of_element(await self._inputs(call.node_id, row), array, call.element)
        element = await self._pool.fetchrow(_SQL["element"], row_id, call.node_id, call.element)
        return AskedCall(
            template.id,
            _cached_element(template, array),
            inputs,
            element["cache_status"] if element else 0,
            Maker(call.execution.project, call.execution.domain, call.execution.name, call.node_id, call.element),
            element["queued_at"] if element else row["created_at"],
        )

    async def _closure(self, row_id: int, node_id: str) -> compiler_pb2.CompiledWorkflowClosure:
        """The compiled workflow that a node is part of."""
        details: bytes | None = await self._pool.fetchval(_SQL["dynamic_around"], row_id, node_id)
        event = event_pb2.NodeExecutionEvent.FromString(details or b"")
        uri = event.task_node_metadata.dynamic_workflow.dynamic_job_spec_uri
        if not uri:
            return compiler_pb2.CompiledWorkflowClosure.FromString(await self._pool.fetchval(_SQL["workflow"], row_id))
        try:
            data = await self._blobs.get(compiled_uri(uri), CLOSURE_BYTES_MAX)
            return compiler_pb2.CompiledWorkflowClosure.FromString(data)
        except (BlobNotFoundError, BlobAccessError, BlobTooLargeError, DecodeError) as error:
            raise failed_precondition(f"the workflow that node {node_id} is part of cannot be read: {error}") from error

    async def _inputs(self, node_id: str, row: asyncpg.Record) -> literals_pb2.LiteralMap:
        data: bytes | None = row["inputs"]
        if data is None:
            if not row["input_uri"]:
                raise failed_precondition(f"the inputs of node {node_id} are not known yet")
            data = await self._read(node_id, row["input_uri"])
        return _literals(data)

    async def _read(self, node_id: str, uri: str) -> bytes:
        try:
            return await self._blobs.get(uri, INPUTS_BYTES_MAX)
        except (BlobNotFoundError, BlobAccessError, BlobTooLargeError) as error:
            raise failed_precondition(f"the inputs of node {node_id} cannot be read: {error}") from error


def _no_task(call: cache_pb2.NodeCall) -> Exception:
    return failed_precondition(f"node {call.node_id} has run no task, so there is no call to explain")


def _find_sub_workflow(
    closure: compiler_pb2.CompiledWorkflowClosure, spec_node_id: str, dataset: str
) -> tuple[workflow_pb2.WorkflowTemplate, workflow_pb2.NodeMetadata] | None:
    """The sub-workflow that a node of that id runs, and what the node says; the one that is kept in `dataset`, if the
    node names one, else one that is cached before one that is not."""
    templates = {_key(workflow.template.id): workflow.template for workflow in closure.sub_workflows}
    found: list[tuple[workflow_pb2.WorkflowTemplate, workflow_pb2.NodeMetadata]] = []
    for workflow in (closure.primary, *closure.sub_workflows):
        for node in walk_nodes(workflow.template):
            template = templates.get(_key(node.workflow_node.sub_workflow_ref))
            if node.id == spec_node_id and template is not None:
                found.append((template, node.metadata))
    if dataset:
        found = [(template, said) for template, said in found if WORKFLOW_PREFIX + template.id.name == dataset]
    return max(found, key=lambda one: one[1].cacheable, default=None)


def _key(identifier: identifier_pb2.Identifier) -> tuple[str, str, str, str]:
    return (identifier.project, identifier.domain, identifier.name, identifier.version)


def _cached_element(template: tasks_pb2.TaskTemplate, array: workflow_pb2.ArrayNode) -> CachedTask | None:
    return cached_task(template, array.node.metadata, maps=not array.is_original_sub_node_interface.value)


def _template(closure: bytes) -> tasks_pb2.TaskTemplate:
    return task_pb2.TaskClosure.FromString(closure).compiled_task.template


def _literals(data: bytes) -> literals_pb2.LiteralMap:
    try:
        return literals_pb2.LiteralMap.FromString(data)
    except DecodeError as error:
        raise invalid_argument("the inputs are no LiteralMap") from error
