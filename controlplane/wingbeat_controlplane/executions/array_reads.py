"""The elements of arrays, read from their rows whenever somebody looks at the task execution of an array.

Costs a pass over the array's rows, which lie together in the primary key; an answer holds a bounded number of them.
"""

import asyncio
from functools import partial

import asyncpg
from flyteidl.admin import task_execution_pb2

from wingbeat_controlplane.executions.array_messages import add_elements, child_name, maps_launch_plan
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.postgres.queries import load_queries

ARRAY_TASK_TYPE = "container_array"
LISTED_MAX = 1_000
"""Attempts of elements that ListTaskExecutions shows of an array; it is what clients poll."""
SHOWN_MAX = 10_000
"""Likewise for GetTaskExecution."""
INLINE_MAX = 200
"""More entries than this are made beside the event loop, which serves others meanwhile."""

_SQL = load_queries("wingbeat_controlplane.executions", "array_reads.sql")


class ArrayReads:
    """Completes task executions of arrays."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def complete(self, key: int, message: task_execution_pb2.TaskExecution, *, entries_max: int) -> None:
        """Add what is known of the elements, if that is the task execution of an array. `key`: the execution's row."""
        if message.closure.task_type != ARRAY_TASK_TYPE:
            return
        node = message.id.node_execution_id
        counted = await self._pool.fetch(_SQL["count_elements"], key, node.node_id)
        rows = await self._pool.fetch(_SQL["elements"], key, node.node_id, entries_max)
        children: frozenset[str] = frozenset()
        if maps_launch_plan(message.closure):
            execution = node.execution_id
            names = [child_name(execution.name, node.node_id, row["element"], row["attempt"]) for row in rows]
            found = await self._pool.fetch(_SQL["existing"], execution.project, execution.domain, names)
            children = frozenset(row["name"] for row in found)
        counts = {row["phase"]: row["attempts"] for row in counted}
        complete = partial(add_elements, message, rows, counts, children=children, entries_max=entries_max)
        if len(rows) > INLINE_MAX:
            await asyncio.to_thread(complete)
        else:
            complete()
        if counted:
            changed_at = timestamp(max(row["changed_at"] for row in counted))
            if message.closure.updated_at.ToNanoseconds() < changed_at.ToNanoseconds():
                message.closure.updated_at.CopyFrom(changed_at)
