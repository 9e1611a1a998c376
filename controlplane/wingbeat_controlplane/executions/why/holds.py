"""What holds an execution as a whole, beside its engine: its turn among those of its launch plan, deadlines, aborts."""

from datetime import timedelta

import asyncpg

from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.waiting.view import NAMED_MAX
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2, why_pb2

_SQL = load_queries("wingbeat_controlplane.executions.why", "why.sql")


async def overlap(pool: asyncpg.Pool, execution: int) -> why_pb2.Overlap | None:
    """The line that an execution waits in, and who is alive; None when it belongs to no launch plan."""
    line = await pool.fetchrow(_SQL["overlap"], execution)
    if line is None:
        return None
    plan = (line["project"], line["domain"], line["name"])
    alive = await pool.fetch(_SQL["alive"], *plan, NAMED_MAX)
    return why_pb2.Overlap(
        launch_plan=line["name"],
        alive_max=line["alive_max"] or 1,
        alive=[_holder(row) for row in alive],
        alive_count=alive[0]["alive"] if alive else 0,
        ahead=line["ahead"],
    )


def further_holds(head: Row) -> list[why_pb2.Reason]:
    """Of an execution that has not ended: that it is being aborted, and when it will time out."""
    reasons: list[why_pb2.Reason] = []
    if head["abort_requested_at"] is not None:
        aborting = why_pb2.Aborting(since=timestamp(head["abort_requested_at"]), cause=head["abort_cause"] or "")
        reasons.append(why_pb2.Reason(aborting=aborting))
    if head["started_at"] is None and head["begin_by"] is not None:
        deadline = why_pb2.Deadline(at=timestamp(head["begin_by"]), begin=True)
        reasons.append(why_pb2.Reason(deadline=deadline))
    if head["started_at"] is not None and head["deadline_s"] is not None:
        at = head["started_at"] + timedelta(seconds=head["deadline_s"])
        reasons.append(why_pb2.Reason(deadline=why_pb2.Deadline(at=timestamp(at))))
    return reasons


def _holder(row: Row) -> why_pb2.Holder:
    execution = identity_pb2.ExecutionIdentifier(project=row["project"], domain=row["domain"], name=row["name"])
    return why_pb2.Holder(execution=execution, since=timestamp(row["since"]))
