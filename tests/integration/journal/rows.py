"""Rows for the tests of the journal: executions to write to, and effects with as little as a test needs."""

from collections.abc import Sequence

import asyncpg

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.rows import NodeRow, TaskRow, Transition

NOW = 1_700_000_000.25


async def insert_workflow(pool: asyncpg.Pool, closure: bytes = b"closure") -> int:
    """A registered workflow; returns its row id."""
    return await pool.fetchval(
        "INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
        " VALUES ('p', 'd', 'w', gen_random_uuid()::text, '', '', $1) RETURNING id",
        closure,
    )


async def insert_executions(pool: asyncpg.Pool, count: int, *, shard: int = 0) -> list[ExecutionKey]:
    """New executions of one shard; returns their ids in order."""
    workflow = await insert_workflow(pool)
    rows = await pool.fetch(
        "INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, inputs)"
        " SELECT 'p', 'd', gen_random_uuid()::text, $2, 'launch_plan', $1, '', 'cfg', 'in'"
        " FROM generate_series(1, $3) RETURNING id",
        workflow,
        shard,
        count,
    )
    return sorted(ExecutionKey(row["id"]) for row in rows)


def node_row(
    execution: ExecutionKey,
    node_id: str,
    phase: NodePhase,
    *,
    seq: int = 0,
    node_name: str = "name",
    inputs: bytes | None = None,
    outputs: bytes | None = None,
    failure: Failure | None = None,
) -> NodeRow:
    """A node of attempt 0."""
    return NodeRow(
        execution, node_id, seq, node_id, None, None, node_name, 1, 0, phase, 0, 0, NOW, NOW + phase,
        inputs=inputs, outputs=outputs, failure=failure,
    )  # fmt: skip


def task_row(execution: ExecutionKey, node_id: str, phase: int, *, failure: Failure | None = None) -> TaskRow:
    """Attempt 0 of a task node."""
    return TaskRow(
        execution,
        node_id,
        0,
        "p",
        "d",
        "task",
        "v",
        "python-task",
        f"e-{node_id}-0",
        phase,
        0,
        NOW,
        NOW,
        failure=failure,
    )


def effects_of(*nodes: NodeRow, tasks: Sequence[TaskRow] = ()) -> Effects:
    """Effects with these rows, and a transition for each node."""
    effects = Effects(nodes[0].execution)
    effects.nodes += nodes
    effects.tasks += tasks
    effects.transitions += [Transition(node.execution, node.node_id, node.attempt, node.phase, NOW) for node in nodes]
    return effects
