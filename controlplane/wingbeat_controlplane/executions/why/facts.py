"""What the database adds to an answer: ends of nodes and attempts, executions of nodes, who fills limits of tenants."""

from typing import TypeAlias

import asyncpg

from wingbeat_controlplane.executions.failures import stored_error
from wingbeat_controlplane.registry.tenant_shares import TenantShareStore
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.waiting.view import NAMED_MAX
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2, why_pb2

_SQL = load_queries("wingbeat_controlplane.executions.why", "why.sql")
_Retried: TypeAlias = why_pb2.Running | why_pb2.BackOff


async def add_facts(pool: asyncpg.Pool, shares: TenantShareStore, execution: int, answer: why_pb2.WhyResponse) -> None:
    """Complete the nodes of the answer; `execution` is the row id."""
    await _add_ends(pool, execution, answer)
    await _add_errors(pool, execution, answer)
    await _add_children(pool, answer)
    await _add_slots(shares, answer)


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


async def _add_slots(shares: TenantShareStore, answer: why_pb2.WhyResponse) -> None:
    """Who counts against the limits that nodes wait for; of several limits of a node those that are full are kept."""
    found: dict[tuple[str, str], why_pb2.TenantLimit] = {}
    for node in answer.nodes:
        for reason in node.reasons:
            if reason.HasField("tenant_limit"):
                limit = reason.tenant_limit
                scope = (limit.project, limit.domain)
                if scope not in found:
                    found[scope] = await _slots(shares, *scope)
                limit.MergeFrom(found[scope])
        _keep_full_limits(node)


async def _slots(shares: TenantShareStore, project: str, domain: str) -> why_pb2.TenantLimit:
    holders, count = await shares.holders(project, domain, limit=NAMED_MAX)
    return why_pb2.TenantLimit(
        holders=[
            why_pb2.Holder(
                execution=identity_pb2.ExecutionIdentifier(
                    project=holder.project, domain=holder.domain, name=holder.execution
                ),
                node_id=holder.node_id,
                attempt=holder.attempt,
                since=timestamp(holder.admitted_at),
            )
            for holder in holders
        ],
        holder_count=count,
    )


def _keep_full_limits(node: why_pb2.NodeAnswer) -> None:
    limits = [reason.tenant_limit for reason in node.reasons if reason.HasField("tenant_limit")]
    if len(limits) < 2 or not any(limit.holder_count >= limit.limit for limit in limits):
        return
    kept = [
        reason
        for reason in node.reasons
        if not reason.HasField("tenant_limit") or reason.tenant_limit.holder_count >= reason.tenant_limit.limit
    ]
    del node.reasons[:]
    node.reasons.extend(kept)
