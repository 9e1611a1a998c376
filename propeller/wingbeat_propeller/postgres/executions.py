"""Where executions come from: the rows that the API inserts, read by shard, and the notifications that announce them.

Notifications only wake: they may be lost with a connection, and every reader looks at the rows again.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import asyncpg
from flyteidl.admin import launch_plan_pb2, task_pb2
from flyteidl.core import execution_pb2, identifier_pb2

from wingbeat_propeller.compiler.references import EntityKey, KnownReferences, LaunchPlanInterface
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import TaskPhase
from wingbeat_propeller.core.rows import ElementRow, ExecutionRecord, NodeRow
from wingbeat_propeller.ports.executions import NO_TENANT, NewExecutions, Room
from wingbeat_propeller.ports.tasks import AttemptOrigin
from wingbeat_propeller.postgres.listening import listen
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "executions.sql")

CHANNELS = {
    "wingbeat_new": "new",
    "wingbeat_abort": "abort",
    "wingbeat_queue": "queue",
    "wingbeat_shards": "shards",
    "wingbeat_child": "child",
    "wingbeat_signal": "signal",
    "wingbeat_shares": "shares",
    "wingbeat_slots": "slots",
}
"""Postgres channels and what `listen` calls them."""
TENANTS_MAX = 50
"""Tenants whose new executions are looked at in one query."""
EACH_MIN = 8
"""Executions looked at of each tenant and shard, at least."""


class PostgresExecutionStore:
    """Satisfies `ports.ExecutionStore`. `dsn` is for the listening connection; reads raise OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool, dsn: str) -> None:
        self._pool = pool
        self._dsn = dsn

    async def new_executions(
        self,
        shards: Sequence[int],
        *,
        known: Sequence[int],
        limit: int,
        room: Room,
        after: tuple[str, str] = NO_TENANT,
    ) -> NewExecutions:
        """See `ports.ExecutionStore.new_executions`.

        One that was aborted before it began is among them, with phase ABORTING and `abort_cause` set, and one that
        waits for its turn although its time to begin is over, with `waiting` set.
        """
        each = max(EACH_MIN, 2 * limit // max(len(shards), 1))
        live = [(*tenant, count) for tenant, count in room.live.items()]
        columns = [list(column) for column in zip(*live, strict=True)] or [[], [], []]
        with outages_as_oserror():
            rows = await self._pool.fetch(
                _SQL["new_executions"],
                *(shards, known, limit, *after, room.free, room.tenant_min, *columns, TENANTS_MAX, each, room.awaited),
            )
        last = rows[0]["last_project"], rows[0]["last_domain"]
        return NewExecutions(
            records=[_record(row, (), ()) for row in rows if row["id"] is not None],
            after=None if last[0] is None else last,
            any_left=rows[0]["any_left"],
        )

    async def told_executions(self, shards: Sequence[int], keys: Sequence[int]) -> Sequence[ExecutionRecord]:
        """See `ports.ExecutionStore.told_executions`."""
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["told_executions"], keys, shards)
        return [_record(row, (), ()) for row in rows]

    async def live_executions(self, shards: Sequence[int], *, after: int, limit: int) -> Sequence[ExecutionRecord]:
        """Executions of `shards` begun and not ended, with nodes and elements of arrays, by id above `after`."""
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["live_executions"], shards, after, limit)
            keys = [row["id"] for row in rows]
            nodes = await self._pool.fetch(_SQL["nodes"], keys) if rows else []
            elements = await self._pool.fetch(_SQL["elements"], keys) if rows else []
        by_execution: defaultdict[int, list[NodeRow]] = defaultdict(list)
        for node in nodes:
            by_execution[node["execution_id"]].append(node_row(node))
        elements_of: defaultdict[int, list[ElementRow]] = defaultdict(list)
        for element in elements:
            elements_of[element["execution_id"]].append(_element(element))
        return [_record(row, by_execution[row["id"]], elements_of[row["id"]]) for row in rows]

    async def abort_requests(self, shards: Sequence[int]) -> Sequence[tuple[int, str]]:
        """(execution, cause) of executions of `shards` that somebody wants terminated and that have not ended."""
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["abort_requests"], shards)
        return [(row["id"], row["cause"]) for row in rows]

    async def unwanted(self, attempts: Mapping[str, AttemptOrigin]) -> Sequence[str]:
        """Names of those attempts that nobody waits for; see `ports.ExecutionStore.unwanted`.

        Attempts are launched after their node is written, so a node that is not there will not come.
        """
        if not attempts:
            return ()
        columns = zip(*((name, *origin) for name, origin in attempts.items()), strict=True)
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["unwanted"], *(list(column) for column in columns))
        return [row["name"] for row in rows]

    async def workflow_closure(self, workflow_id: int) -> bytes:
        """Serialized CompiledWorkflowClosure. Raises LookupError for an unknown workflow."""
        with outages_as_oserror():
            closure: bytes | None = await self._pool.fetchval(_SQL["workflow_closure"], workflow_id)
        if closure is None:
            raise LookupError(f"no workflow with row id {workflow_id}")
        return closure

    async def references(
        self,
        tasks: Sequence[identifier_pb2.Identifier],
        launch_plans: Sequence[identifier_pb2.Identifier],
    ) -> KnownReferences:
        """Registered tasks and launch plans, as far as they exist."""
        with outages_as_oserror():
            found_tasks = await self._pool.fetch(_SQL["task_closures"], *_columns(tasks)) if tasks else ()
            found_plans = await self._pool.fetch(_SQL["launch_plans"], *_columns(launch_plans)) if launch_plans else ()
        return KnownReferences(
            {_key(row): task_pb2.TaskClosure.FromString(row["closure"]).compiled_task.template for row in found_tasks},
            {_key(row): _launch_plan(row) for row in found_plans},
        )

    async def listen(self, wake: Callable[[str, str], None]) -> None:
        """Live until cancelled; see `ports.ExecutionStore.listen`."""
        await listen(
            self._dsn,
            CHANNELS,
            lambda channel, payload: wake(CHANNELS[channel], payload),
            application_name="wingbeat listener",
        )


def _columns(identifiers: Sequence[identifier_pb2.Identifier]) -> tuple[list[str], list[str], list[str], list[str]]:
    return (
        [identifier.project for identifier in identifiers],
        [identifier.domain for identifier in identifiers],
        [identifier.name for identifier in identifiers],
        [identifier.version for identifier in identifiers],
    )


def _key(row: asyncpg.Record) -> EntityKey:
    return (row["project"], row["domain"], row["name"], row["version"])


def _launch_plan(row: asyncpg.Record) -> LaunchPlanInterface:
    spec = launch_plan_pb2.LaunchPlanSpec.FromString(row["spec"])
    closure = launch_plan_pb2.LaunchPlanClosure.FromString(row["closure"])
    return LaunchPlanInterface(spec.workflow_id, closure.expected_inputs, closure.expected_outputs)


def _record(row: asyncpg.Record, nodes: Sequence[NodeRow], elements: Sequence[ElementRow]) -> ExecutionRecord:
    return ExecutionRecord(
        execution=ExecutionKey(row["id"]),
        project=row["project"],
        domain=row["domain"],
        name=row["name"],
        shard=row["shard"],
        workflow_id=row["workflow_id"],
        config=row["config"],
        inputs=row["inputs"],
        inputs_uri=row["inputs_uri"],
        phase=row["phase"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        abort_cause=row["abort_cause"],
        task_resources=row["task_resources"],
        recovery=row["recovery"],
        nodes=tuple(nodes),
        launch_plan_id=row["launch_plan_id"],
        waiting=row["waiting"],
        begin_by=row["begin_by"],
        deadline_s=row["deadline_s"],
        priority=row["priority"],
        elements=tuple(elements),
    )


def node_row(row: asyncpg.Record) -> NodeRow:
    """A node as read by columns in the order of NodeRow's fields, with the serialized error as the last."""
    *fields, error = row.values()
    return NodeRow(*fields, failure=None if error is None else _failure(error))


def _element(row: asyncpg.Record) -> ElementRow:
    # Likewise with the block `elements` and ElementRow, whose details nobody reads here.
    *fields, cache_status, error = row.values()
    element = ElementRow(*fields, cache_status=cache_status, failure=None if error is None else _failure(error))
    if element.phase == TaskPhase.RUNNING and element.futures_uri is None:
        return element._replace(futures_uri=element.output_uri)  # where releases before had it while the workflow ran
    return element


def _failure(data: bytes) -> Failure:
    """The failure as far as the row keeps it: the message may be cut, and whether it is retryable is past deciding."""
    error = execution_pb2.ExecutionError.FromString(data)
    return Failure(kind=ErrorKind(error.kind), code=error.code, message=error.message)
