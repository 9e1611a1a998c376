"""Reads of a trace, each in batches over many executions, and the rows that a launch writes.

Graphs of executions are loaded whole, once a trace; plans are kept for the next one. All reads raise OSError for a
database that does not answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import asyncpg
from flyteidl.core import compiler_pb2
from flyteidl.event import event_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.lineage.execution_graph import ExecutionGraph, GraphRow
from wingbeat_propeller.compiler.dynamic import compiled_uri
from wingbeat_propeller.compiler.plan import MalformedClosureError, build_plan
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_catalog.lineage", "lineage.sql")

DYNAMIC_BYTES_MAX = 64 << 20
"""Largest compiled workflow of a dynamic task that is looked into."""
DYNAMICS_MAX = 100
"""Dynamic tasks of one execution that are looked into; the others count as ordinary tasks."""
PLANS_MAX = 200
"""Workflow versions whose plans are kept."""

NodeKey = tuple[int, str]
"""Row id of an execution, unique id of a node."""
Row: TypeAlias = asyncpg.Record
Database: TypeAlias = "asyncpg.Pool | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class LoadedExecution(NamedTuple):
    """An execution as a trace needs it."""

    row: Row
    graph: ExecutionGraph


class Loaded(NamedTuple):
    """Executions by row id."""

    executions: Mapping[int, LoadedExecution]
    is_cut: bool
    """Some were left out, as all together have more nodes than were asked for."""


class LineageStore:
    """Reads rows and plans."""

    def __init__(self, pool: Database, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs
        self._plans = PlanCache(self._closure, PLANS_MAX)

    async def execution_id(self, project: str, domain: str, name: str) -> int | None:
        """The row of an execution."""
        with outages_as_oserror():
            return await self._pool.fetchval(_SQL["execution_id"], project, domain, name)

    async def load(self, executions: Iterable[int], nodes_max: int | None = None) -> Loaded:
        """Those that exist and whose workflow can be read, from the lowest id on until they have `nodes_max` nodes."""
        keys = sorted(set(executions))
        if not keys:
            return Loaded({}, is_cut=False)
        with outages_as_oserror():
            found = await self._pool.fetch(_SQL["executions"], keys)
            rows = await self._pool.fetch(_SQL["nodes"], keys, None if nodes_max is None else nodes_max + 1)
        is_cut = nodes_max is not None and len(rows) > nodes_max
        if is_cut:
            found = [execution for execution in found if execution["id"] < rows[-1]["execution_id"]]
        by_execution: defaultdict[int, list[asyncpg.Record]] = defaultdict(list)
        for row in rows:
            by_execution[row["execution_id"]].append(row)
        loaded: dict[int, LoadedExecution] = {}
        for execution in found:
            try:
                plan = await self._plans.get(execution["workflow_id"])
            except (MalformedClosureError, LookupError):
                continue
            nodes = by_execution[execution["id"]]
            graph = ExecutionGraph(plan, {row["node_id"]: _graph_row(row) for row in nodes}, await self._dynamic(nodes))
            loaded[execution["id"]] = LoadedExecution(execution, graph)
        return Loaded(loaded, is_cut)

    async def _closure(self, workflow: int) -> bytes:
        with outages_as_oserror():
            closure: bytes | None = await self._pool.fetchval(_SQL["closure"], workflow)
        if closure is None:
            raise LookupError(f"no workflow with row id {workflow}")
        return closure

    async def _dynamic(self, nodes: Sequence[Row]) -> dict[str, Plan]:
        plans: dict[str, Plan] = {}
        for row in nodes:
            if row["details"] is None or len(plans) == DYNAMICS_MAX:
                continue
            metadata = event_pb2.NodeExecutionEvent.FromString(row["details"]).task_node_metadata
            uri = metadata.dynamic_workflow.dynamic_job_spec_uri
            if uri:
                try:
                    data = await self._blobs.get(compiled_uri(uri), DYNAMIC_BYTES_MAX)
                    plans[row["node_id"]] = build_plan(compiler_pb2.CompiledWorkflowClosure.FromString(data))
                except (BlobNotFoundError, BlobTooLargeError, MalformedClosureError, DecodeError):
                    continue
        return plans

    async def children(self, nodes: Iterable[NodeKey]) -> Mapping[NodeKey, list[int]]:
        """Row ids of the executions that launch plan nodes made, oldest first."""
        found: defaultdict[NodeKey, list[int]] = defaultdict(list)
        for row in await self._by_node("children", nodes):
            found[row["execution_id"], row["node_id"]].append(row["id"])
        return found

    async def launched_by_eager(self, executions: Iterable[int], limit: int) -> Sequence[Row]:
        """Executions that eager tasks of these launched."""
        return await self._by_execution("launched_by_eager", executions, limit)

    async def eager_launchers(self, executions: Iterable[int]) -> Sequence[Row]:
        """Executions whose eager tasks launched these."""
        return await self._by_execution("eager_launchers", executions)

    async def sources(self, nodes: Iterable[NodeKey], limit: int) -> Sequence[Row]:
        """Where nodes took their outputs from."""
        return await self._by_node("sources", nodes, limit)

    async def elements(self, nodes: Iterable[NodeKey], limit: int) -> Sequence[Row]:
        """Which elements of nodes took their outputs from which elements of others."""
        return await self._by_node("elements", nodes, limit)

    async def takers(self, nodes: Iterable[NodeKey], limit: int) -> Sequence[Row]:
        """Nodes that took over the outputs of these."""
        return await self._by_node("takers", nodes, limit)

    async def makers_of_inputs(self, executions: Iterable[int], limit: int) -> Sequence[Row]:
        """Who made the blobs and hashed values that executions were given."""
        return await self._by_execution("makers_of_inputs", executions, limit)

    async def artifacts_of_inputs(self, executions: Iterable[int]) -> Sequence[Row]:
        """Artifacts among inputs, and who made them."""
        return await self._by_execution("artifacts_of_inputs", executions)

    async def users_of_outputs(self, nodes: Iterable[NodeKey], limit: int) -> Sequence[Row]:
        """Executions that were given blobs or hashed values of these nodes."""
        return await self._by_node("users_of_outputs", nodes, limit)

    async def users_of_artifacts(self, nodes: Iterable[NodeKey], limit: int) -> Sequence[Row]:
        """Executions that were given artifacts of these nodes."""
        return await self._by_node("users_of_artifacts", nodes, limit)

    async def known_by(self, tokens: Sequence[str], limit: int) -> Sequence[Row]:
        """Who made, and who was given, what any of the tokens names."""
        return await self._fetch("known_by", list(tokens), limit)

    async def tokens(self, nodes: Iterable[NodeKey], limit: int) -> Sequence[Row]:
        """What outputs of nodes, and inputs of executions (node empty), are known by."""
        return await self._by_node("tokens", nodes, limit)

    async def artifact(self, project: str, domain: str, name: str, version: str) -> Row | None:
        """One version of an artifact and who made it."""
        found = await self._fetch("artifact", project, domain, name, version)
        return found[0] if found else None

    async def artifact_uses(self, artifact: int, limit: int) -> Sequence[Row]:
        """Executions that were given it."""
        return await self._fetch("artifact_uses", artifact, limit)

    async def details(self, nodes: Iterable[NodeKey]) -> Mapping[NodeKey, Row]:
        """Rows of nodes with their values."""
        rows = await self._by_node("details", nodes)
        return {(row["execution_id"], row["node_id"]): row for row in rows}

    async def execution_inputs(self, executions: Iterable[int]) -> Mapping[int, bytes | None]:
        """Serialized inputs that are small enough for a row."""
        rows = await self._by_execution("execution_inputs", executions)
        return {row["id"]: row["inputs"] for row in rows}

    async def _by_node(self, name: str, nodes: Iterable[NodeKey], *rest: object) -> Sequence[Row]:
        keys = sorted(set(nodes))
        if not keys:
            return ()
        return await self._fetch(name, [key for key, _ in keys], [node for _, node in keys], *rest)

    async def _by_execution(self, name: str, executions: Iterable[int], *rest: object) -> Sequence[Row]:
        keys = sorted(set(executions))
        return await self._fetch(name, keys, *rest) if keys else ()

    async def _fetch(self, name: str, *parameters: object) -> Sequence[Row]:
        with outages_as_oserror():
            return await self._pool.fetch(_SQL[name], *parameters)


async def record_inputs(
    connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]",
    execution: int,
    tokens: Sequence[tuple[str, str]],
    artifacts: Sequence[tuple[int, str]],
    source: int | None,
) -> None:
    """Write, in the transaction that makes an execution, what its inputs are known by, as (variable, token), and the
    artifacts among them, as (row id, variable), with those of the execution `source` that it repeats."""
    if source is not None:
        await connection.execute(_SQL["inherit_uses"], execution, source)
    if tokens:
        await connection.execute(_SQL["record_given"], execution, [var for var, _ in tokens], [t for _, t in tokens])
    if artifacts:
        await connection.execute(
            _SQL["record_uses"], execution, [key for key, _ in artifacts], [v for _, v in artifacts]
        )


def _graph_row(row: Row) -> GraphRow:
    return GraphRow(
        row["node_id"],
        row["spec_node_id"],
        row["parent_id"],
        row["parent_attempt"] or 0,
        row["node_name"],
        row["kind"],
        row["flags"],
        row["phase"],
        row["attempt"],
        row["memo"],
        row["started_at"],
        row["ended_at"],
    )
