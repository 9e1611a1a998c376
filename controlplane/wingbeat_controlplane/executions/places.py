"""The place of a new execution among those of its launch plan: it begins, waits, replaces others, or is refused.

Called by the launcher in the transaction that inserts the execution, which holds the launch plan's lock: nobody else
decides anything about the launch plan before that commits. An execution begins at once only if fewer than the limit are
alive and nobody waits; the rest is done by `admit_executions`, which engines call when executions end. A server that
dies before its commit leaves nothing.
"""

from typing import TypeAlias

import asyncpg
import grpc
from asyncpg.pool import PoolConnectionProxy
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import ApiError, already_exists
from wingbeat_controlplane.executions.names import ExecutionName
from wingbeat_controlplane.registry.overlap import Overlap, OverlapPolicy
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "places.sql")

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


async def must_wait(
    connection: Connection, plan: identifier_pb2.Identifier, policy: OverlapPolicy, *, queue_max: int
) -> bool:
    """Take the launch plan's lock and decide whether a new execution waits or begins at once.

    Raises ApiError: ALREADY_EXISTS when it is to be skipped, RESOURCE_EXHAUSTED when `queue_max` wait already.
    """
    key = (plan.project, plan.domain, plan.name)
    await connection.execute(_SQL["lock_launch_plan"], *key)
    counts = await connection.fetchrow(_SQL["count_alive_and_waiting"], *key)
    assert counts is not None, "counting finds a row"
    alive, waiting = counts["alive"], counts["waiting"]
    if alive < policy.alive_max and not waiting:
        return False
    if policy.behavior is Overlap.SKIP:
        # Those that wait will be alive before a new one could.
        if alive + waiting < policy.alive_max:
            return False
        raise already_exists(
            f"concurrency limit ({policy.alive_max}) reached for launch plan {plan.name}; skipping execution"
        )
    if policy.behavior is Overlap.QUEUE and waiting >= queue_max:
        raise ApiError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"{waiting} executions of launch plan {plan.name} wait already, which is as many as may"
            f" (setting launch.queue_max); try again when some have begun",
        )
    return True


async def replace_oldest(
    connection: Connection,
    plan: identifier_pb2.Identifier,
    policy: OverlapPolicy,
    replacement: ExecutionName,
    *,
    key: int,
    principal: str,
) -> None:
    """Request the abort of the oldest executions, so that no more than the limit remain with the one just inserted,
    whose row id is `key` and which begins once they have ended.

    The last step of the transaction: it locks rows that engines write.
    """
    cause = f"replaced by execution [{replacement}] of launch plan {plan.name}"
    await connection.execute(
        _SQL["replace_oldest"], plan.project, plan.domain, plan.name, policy.alive_max, cause, principal, key
    )
