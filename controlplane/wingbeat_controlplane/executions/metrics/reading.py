"""GetExecutionMetrics: reads what the spans are made of, in one snapshot of the database.

The rows come by generations: the execution, those of its launch plan nodes, those of theirs. Each generation is four
statements, however many nodes it has, and an answer takes a bounded number of rows: for an execution with more of them
the caller is told to ask for fewer levels. What is below the levels asked for is not read.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import asyncpg
import grpc
import structlog
from flyteidl.admin import execution_pb2
from flyteidl.core import compiler_pb2, identifier_pb2
from flyteidl.event import event_pb2
from google.protobuf.message import DecodeError

from wingbeat_controlplane.errors import ApiError, not_found
from wingbeat_controlplane.executions.identifiers import check_execution_id
from wingbeat_controlplane.executions.metrics.flow import NO_FLOW, Flow, flow_of
from wingbeat_controlplane.executions.metrics.spans import Attempt, Execution, ExecutionName, Node, execution_span
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.task_messages import task_of
from wingbeat_controlplane.registry.recent import Recent
from wingbeat_propeller.compiler.dynamic import compiled_uri
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import FLAG_DYNAMIC
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.queries import load_queries

ROWS_MAX = 20_000
"""Nodes, attempts and child executions in one answer, which is then below the 20 MiB that clients take."""
DEPTH_MAX = 80
"""Levels in one answer: protobuf refuses messages that are nested more than 100 deep."""
DYNAMICS_MAX = 500
"""Dynamic nodes of an answer whose workflows are read; inside the others there are no transitions."""
DYNAMIC_BYTES_MAX = 16 << 20
"""Largest workflow of a dynamic node that is read."""
FLOW_NODES_MAX = 500_000
"""Nodes of all flows that are kept, some 200 bytes each."""
INLINE_ROWS_MAX = 200
INLINE_BYTES_MAX = 64 << 10
"""Larger answers are made, and larger workflows parsed, beside the event loop, which serves others meanwhile."""

_DYNAMICS_AT_ONCE = 4
_CLOSURES_AT_ONCE = 8
_SQL = load_queries("wingbeat_controlplane.executions.metrics", "metrics.sql")
_Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Rows:
    """Rows of one execution."""

    head: Row
    nodes: dict[str | None, list[Node]] = field(default_factory=dict[str | None, list[Node]])
    attempts: dict[str, list[Attempt]] = field(default_factory=dict[str, list[Attempt]])
    futures: dict[str, str] = field(default_factory=dict[str, str])
    """Where dynamic nodes have left what they made, by the unique id of the node."""
    children: dict[str, ExecutionName] = field(default_factory=dict[str, ExecutionName])


@dataclass(slots=True)
class _Snapshot:
    """Everything that an answer is made of, as it is read."""

    executions: dict[ExecutionName, _Rows] = field(default_factory=dict[ExecutionName, _Rows])
    rows: int = 0

    def take(self, rows: Sequence[Row]) -> None:
        """Raises ApiError OUT_OF_RANGE for more rows than an answer may take."""
        self.rows += len(rows)
        if self.rows > ROWS_MAX:
            raise ApiError(
                grpc.StatusCode.OUT_OF_RANGE,
                f"the execution has more than {ROWS_MAX} nodes, attempts and executions of nodes on the levels asked "
                "for; ask for fewer with 'depth'",
            )

    @property
    def room(self) -> int:
        """How many more rows to ask for: one more than may come."""
        return ROWS_MAX - self.rows + 1


class ExecutionMetrics:
    """Answers GetExecutionMetrics."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs
        self._flows: Recent[int, Flow] = Recent(FLOW_NODES_MAX)

    async def get(self, request: execution_pb2.WorkflowExecutionGetMetricsRequest) -> bytes:
        """The spans of an execution, as the serialized answer; a negative depth means all levels, 0 none but its own.

        Raises ApiError INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE.
        """
        check_execution_id(request.id, present=request.HasField("id"))
        depth = min(request.depth, DEPTH_MAX) if request.depth >= 0 else DEPTH_MAX
        snapshot = _Snapshot()
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            head = await connection.fetchrow(_SQL["head"], *_name(request.id))
            if head is None:
                raise not_found("execution", request.id)
            await connection.execute(_SQL["hash_frames"])
            flows = await self._read_generations(connection, snapshot, head, depth)
        dynamic = await self._read_dynamic(snapshot)
        make = partial(_answer, request.id, snapshot, flows, dynamic, depth)
        return await asyncio.to_thread(make) if snapshot.rows > INLINE_ROWS_MAX else make()

    async def _read_generations(
        self, connection: _Connection, snapshot: _Snapshot, head: Row, depth: int
    ) -> Mapping[int, Flow]:
        """Fill `snapshot`; returns the flows of the workflows in it, by row id."""
        flows: dict[int, Flow] = {}
        generation: dict[ExecutionName, tuple[Row, int]] = {_name(head): (head, depth)}
        while generation:
            for name, (row, _) in generation.items():
                snapshot.executions[name] = _Rows(row)
            asked = {row["id"]: (name, levels) for name, (row, levels) in generation.items() if levels}
            if not asked:
                break
            await self._read_flows(
                connection, flows, {row["workflow_id"] for row, levels in generation.values() if levels}
            )
            keys, levels = list(asked), [levels for _, levels in asked.values()]
            rows = await connection.fetch(_SQL["nodes"], keys, levels, snapshot.room)
            snapshot.take(rows)
            wanted: dict[ExecutionName, int] = {}
            attempted: list[tuple[int, str]] = []
            for row in rows:
                of = snapshot.executions[asked[row["execution_id"]][0]]
                node = _node(row)
                of.nodes.setdefault(node.parent_id, []).append(node)
                if row["levels"] and node.has_attempts:
                    attempted.append((row["execution_id"], node.node_id))
                if row["levels"] and row["details"] is not None:
                    _add_details(of, node, row["details"])
                    if node.node_id in of.children:
                        wanted[of.children[node.node_id]] = row["levels"] - 1
            await _read_attempts(connection, snapshot, asked, attempted)
            generation = await _read_children(connection, snapshot, wanted)
        return flows

    async def _read_flows(self, connection: _Connection, flows: dict[int, Flow], workflows: Iterable[int]) -> None:
        missing: list[int] = []
        for workflow in workflows:
            known = flows.get(workflow) or self._flows.get(workflow)
            if known is None:
                missing.append(workflow)
            else:
                flows[workflow] = known
        if not missing:
            return
        async for row in connection.cursor(_SQL["closures"], missing, prefetch=_CLOSURES_AT_ONCE):
            flow = flows[row["id"]] = await _parsed(row["closure"])
            self._flows.put(row["id"], flow, flow.size)

    async def _read_dynamic(self, snapshot: _Snapshot) -> Mapping[ExecutionName, Mapping[str, Flow]]:
        """The flows of dynamic nodes that have begun what they made, a few at a time."""
        places = [
            (name, node_id, uri)
            for name, rows in snapshot.executions.items()
            for node_id, uri in rows.futures.items()
            if rows.nodes.get(node_id)
        ]
        found: defaultdict[ExecutionName, dict[str, Flow]] = defaultdict(dict)
        for first in range(0, min(len(places), DYNAMICS_MAX), _DYNAMICS_AT_ONCE):
            portion = places[first : min(first + _DYNAMICS_AT_ONCE, DYNAMICS_MAX)]
            flows = await asyncio.gather(*(self._dynamic_flow(uri) for _, _, uri in portion))
            for (name, node_id, _), flow in zip(portion, flows, strict=True):
                found[name][node_id] = flow
        return found

    async def _dynamic_flow(self, uri: str) -> Flow:
        try:
            return await _parsed(await self._blobs.get(compiled_uri(uri), DYNAMIC_BYTES_MAX))
        except (BlobAccessError, BlobNotFoundError, BlobTooLargeError, DecodeError) as error:
            _log.info("the workflow of a dynamic node cannot be read", uri=uri, error=str(error))
            return NO_FLOW


async def _read_attempts(
    connection: _Connection,
    snapshot: _Snapshot,
    asked: Mapping[int, tuple[ExecutionName, int]],
    nodes: Sequence[tuple[int, str]],
) -> None:
    if not nodes:
        return
    keys, node_ids = [key for key, _ in nodes], [node_id for _, node_id in nodes]
    rows = await connection.fetch(_SQL["attempts"], keys, node_ids, snapshot.room)
    snapshot.take(rows)
    for row in rows:
        of = snapshot.executions[asked[row["execution_id"]][0]]
        of.attempts.setdefault(row["node_id"], []).append(_attempt(row))


async def _read_children(
    connection: _Connection, snapshot: _Snapshot, wanted: Mapping[ExecutionName, int]
) -> dict[ExecutionName, tuple[Row, int]]:
    """The next generation, with the levels that it is to be shown on."""
    if not wanted:
        return {}
    names = [name for name in wanted if name not in snapshot.executions]
    projects, domains, bare = ([name[part] for name in names] for part in range(3))
    rows = await connection.fetch(_SQL["children"], projects, domains, bare)
    snapshot.take(rows)
    return {_name(row): (row, wanted[_name(row)]) for row in rows}


async def _parsed(closure: bytes) -> Flow:
    """Raises DecodeError."""
    return await asyncio.to_thread(_parse, closure) if len(closure) > INLINE_BYTES_MAX else _parse(closure)


def _parse(closure: bytes) -> Flow:
    return flow_of(compiler_pb2.CompiledWorkflowClosure.FromString(closure))


def _answer(
    identifier: identifier_pb2.WorkflowExecutionIdentifier,
    snapshot: _Snapshot,
    flows: Mapping[int, Flow],
    dynamic: Mapping[ExecutionName, Mapping[str, Flow]],
    depth: int,
) -> bytes:
    executions = {
        name: Execution(
            identifier=identifier_pb2.WorkflowExecutionIdentifier(project=name[0], domain=name[1], name=name[2]),
            created_at=rows.head["created_at"],
            ended_at=rows.head["ended_at"],
            updated_at=rows.head["updated_at"],
            flow=flows.get(rows.head["workflow_id"], NO_FLOW),
            nodes=rows.nodes,
            attempts=rows.attempts,
            dynamic=dynamic.get(name, {}),
            children=rows.children,
        )
        for name, rows in snapshot.executions.items()
    }
    span = execution_span(executions[_name(identifier)], executions, depth)
    return execution_pb2.WorkflowExecutionGetMetricsResponse(span=span).SerializeToString()


def _name(of: Row | identifier_pb2.WorkflowExecutionIdentifier) -> ExecutionName:
    if isinstance(of, identifier_pb2.WorkflowExecutionIdentifier):
        return of.project, of.domain, of.name
    return of["project"], of["domain"], of["name"]


def _node(row: Row) -> Node:
    return Node(
        row["node_id"],
        row["spec_node_id"],
        row["parent_id"],
        row["parent_attempt"],
        row["seq"],
        row["kind"],
        row["flags"],
        row["phase"],
        row["created_at"],
        row["started_at"],
        row["ended_at"],
        row["updated_at"],
    )


def _attempt(row: Row) -> Attempt:
    return Attempt(
        row["node_id"],
        row["attempt"],
        task_of(row),
        row["created_at"],
        row["started_at"],
        row["ended_at"],
        row["updated_at"],
    )


def _add_details(rows: _Rows, node: Node, details: bytes) -> None:
    """What the metadata of a node's target names; that of a recovered one belongs to another execution."""
    if node.phase == NodePhase.RECOVERED:
        return
    event = event_pb2.NodeExecutionEvent.FromString(details)
    if node.kind == NodeKind.LAUNCH_PLAN and event.HasField("workflow_node_metadata"):
        rows.children[node.node_id] = _name(event.workflow_node_metadata.execution_id)
    elif node.flags & FLAG_DYNAMIC:
        rows.futures[node.node_id] = event.task_node_metadata.dynamic_workflow.dynamic_job_spec_uri
