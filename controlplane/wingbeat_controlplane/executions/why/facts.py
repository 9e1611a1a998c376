"""What the database adds to an answer: how nodes and attempts ended, and how executions of nodes do."""

from typing import TypeAlias

import asyncpg

from wingbeat_controlplane.executions.failures import stored_error
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2, why_pb2

_SQL = load_queries("wingbeat_controlplane.executions.why", "why.sql")
_Retried: TypeAlias = why_pb2.Running | why_pb2.BackOff


async def add_facts(pool: asyncpg.Pool, execution: int, answer: why_pb2.WhyResponse) -> None:
    """Complete the nodes of the answer; `execution` is the row id."""
    await _add_ends(pool, execution, answer)
    await _add_errors(pool, execution, answer)
    await _add_children(pool, answer)


async def _add_ends(pool: asyncpg.Pool, execution: int, answer: why_pb2.WhyResponse) -> None:
    ended = {
        node.node_id: node for node in answer.nodes if node.standing == why_pb2.STANDING_ENDED and not node.reasons
    }
    if not ended:
        return
    for row in await pool.fetch(_SQL["node_ends"], execution, list(ended)):
        error = stored_error(row["error"])
        end = why_pb2.Ended(at=timestamp(row["ended_at"]), error=error.message if error is not None else "")
        ended[row["node_id"]].reasons.add(ended=end)


async def _add_errors(pool: asyncpg.Pool, execution: int, answer: why_pb2.WhyResponse) -> None:
    """How the attempt before ended, for nodes that are at a later one."""
    wanted: dict[tuple[str, int], _Retried] = {}
    for node in answer.nodes:
        for reason in node.reasons:
            if reason.HasField("running") and reason.running.attempt:
                wanted[node.node_id, reason.running.attempt - 1] = reason.running
            elif reason.HasField("back_off") and reason.back_off.next_attempt:
                wanted[node.node_id, reason.back_off.next_attempt - 1] = reason.back_off
    if not wanted:
        return
    nodes, attempts = zip(*wanted, strict=True)
    for row in await pool.fetch(_SQL["attempt_errors"], execution, list(nodes), list(attempts)):
        error = stored_error(row["error"])
        if error is not None:
            wanted[row["node_id"], row["attempt"]].last_error = error.message


async def _add_children(pool: asyncpg.Pool, answer: why_pb2.WhyResponse) -> None:
    children = {
        (child.project, child.domain, child.name): reason.child_execution
        for node in answer.nodes
        for reason in node.reasons
        if reason.HasField("child_execution")
        for child in (reason.child_execution.execution,)
    }
    if not children:
        return
    projects, domains, names = zip(*children, strict=True)
    for row in await pool.fetch(_SQL["children"], list(projects), list(domains), list(names)):
        child = children[row["project"], row["domain"], row["name"]]
        child.MergeFrom(why_pb2.ChildExecution(exists=True, phase=identity_pb2.ExecutionPhase.Name(row["phase"])))
