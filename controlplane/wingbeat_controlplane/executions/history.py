"""GetExecutionAt: how an execution and its nodes stood at an instant, from the log of transitions.

The log is in commit order, and each transition carries the instant of the decision by the clock of the engine that took
it. What counts for a node is its last transition in commit order among those not later than the instant: so a node
never goes back when an execution moves to an engine whose clock is behind. Transitions of one execution are numbered in
commit order (its owner writes through one lane, one batch after the other, and another owner begins when the first can
write no more), so the number alone decides.

The first page remembers its snapshot of the database, and later pages look at nothing newer: all pages show one state,
however long a caller takes. A page walks the index by node and reads what it tells, so page one of a hundred costs as
much as page ninety. An execution that had ended by the instant is told from its rows, which outlive the log.
"""

from datetime import UTC, datetime, timedelta
from typing import NoReturn

import asyncpg
import grpc
from google.rpc import error_details_pb2

from wingbeat_controlplane.errors import ApiError, invalid_argument, missing, not_found
from wingbeat_controlplane.executions.history_token import HistoryToken, decode_token
from wingbeat_controlplane.executions.identifiers import check_text
from wingbeat_controlplane.executions.log_snapshots import snapshot_of
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.phases import EXECUTION_FINAL, ExecutionPhase
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2, query_pb2

PAGE_SIZE = 1_000
"""Nodes in a page when the caller names no number."""
PAGE_SIZE_MAX = 10_000
"""About 2 MB, below what clients accept by default."""
CLOCKS_DIFFER = timedelta(minutes=1)
"""How far an instant may lie in the future of the database's clock; no transition is later than its engine's clock."""

_LOG_EARLIER = timedelta(days=1)
"""How much earlier than its creation an execution's transitions may be dated, by clocks that differ."""
_SQL = load_queries("wingbeat_controlplane.executions", "history.sql")
_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)


class History:
    """Reads the past; each page is one short transaction."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def at(self, request: query_pb2.GetExecutionAtRequest) -> query_pb2.GetExecutionAtResponse:
        """One page. Raises ApiError INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE."""
        label = _checked_label(request)
        at = _checked_instant(request)
        limit = _checked_page_size(request.page_size)
        token = None
        if request.page_token:
            token = decode_token(request.page_token, execution=label, at_us=_microseconds(at))
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(_SQL["hold_log"])
            await connection.execute(_SQL["walk_indexes"])
            execution = request.execution
            head = await connection.fetchrow(_SQL["head"], execution.project, execution.domain, execution.name)
            if head is None:
                raise not_found("execution", execution)
            _check_reach(head, at)
            if at < head["created_at"]:
                return query_pb2.GetExecutionAtResponse(
                    existed=False, created_at=timestamp(head["created_at"]), read_at=timestamp(head["read_at"])
                )
            if token is None:
                token = HistoryToken(
                    execution=label,
                    at_us=_microseconds(at),
                    read_at_us=_microseconds(head["read_at"]),
                    snapshot=snapshot_of(tuple(head["snapshot"])),
                    ended=_ended(head, at),
                )
            return await _page(connection, head, at, token, limit)


async def _page(
    connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]",
    head: Row,
    at: datetime,
    token: HistoryToken,
    limit: int,
) -> query_pb2.GetExecutionAtResponse:
    key: int = head["id"]
    seen = (key, at, head["created_at"] - _LOG_EARLIER, token.snapshot.record)
    phase: int
    if token.ended:
        phase, since = head["phase"], head["ended_at"]
        rows = await connection.fetch(_SQL["nodes_ended"], key, token.after, limit + 1)
    else:
        last = await connection.fetchrow(_SQL["phase_at"], *seen)
        phase, since = (last["phase"], last["at"]) if last else (ExecutionPhase.UNDEFINED, head["created_at"])
        abort_at = head["abort_requested_at"]
        if abort_at is not None and abort_at <= at and phase not in EXECUTION_FINAL:
            phase, since = ExecutionPhase.ABORTING, abort_at  # the API's doing, of which the log knows nothing
        rows = await connection.fetch(_SQL["nodes_at"], *seen, token.after, limit + 1)
    answer = query_pb2.GetExecutionAtResponse(
        existed=True,
        created_at=timestamp(head["created_at"]),
        phase=identity_pb2.ExecutionPhase.Name(phase),
        phase_since=timestamp(since),
        nodes=[_node(row) for row in rows[:limit]],
        read_at=timestamp(_EPOCH + token.read_at_us * _MICROSECOND),
    )
    if len(rows) > limit:
        answer.next_page_token = token.after_node(rows[limit - 1]["node_id"]).encode()
    return answer


def _node(row: Row) -> query_pb2.NodeState:
    return query_pb2.NodeState(
        node_id=row["node_id"],
        spec_node_id=row["spec_node_id"],
        name=row["node_name"],
        parent_node_id=row["parent_id"] or "",
        parent_attempt=row["parent_attempt"] or 0,
        phase=row["phase"],
        attempt=row["attempt"],
        since=timestamp(row["since"]),
        sequence=row["seq"],
    )


def _ended(head: Row, at: datetime) -> bool:
    return head["ended_at"] is not None and head["ended_at"] <= at


def _check_reach(head: Row, at: datetime) -> None:
    """Refuse what the log cannot tell any more, and what nobody can tell yet."""
    kept_since = head["kept_since"]
    if kept_since is not None and head["created_at"] <= at < kept_since and not _ended(head, at):
        _refuse_past(kept_since)
    if at > head["read_at"] + CLOCKS_DIFFER:
        raise invalid_argument(f"the time {at.isoformat()} lies in the future; it is {head['read_at'].isoformat()} now")


def _refuse_past(kept_since: datetime) -> NoReturn:
    oldest = kept_since.isoformat()
    raise ApiError(
        grpc.StatusCode.OUT_OF_RANGE,
        f"the log of transitions does not reach back to that time: the oldest instant it can tell of is {oldest}",
        [error_details_pb2.ErrorInfo(reason="BEFORE_RETENTION", domain="wingbeat", metadata={"oldest": oldest})],
    )


def _checked_label(request: query_pb2.GetExecutionAtRequest) -> str:
    if not request.HasField("execution"):
        raise missing("execution")
    for field in ("project", "domain", "name"):
        check_text(f"execution.{field}", getattr(request.execution, field))
    return f"{request.execution.project}:{request.execution.domain}:{request.execution.name}"


def _checked_instant(request: query_pb2.GetExecutionAtRequest) -> datetime:
    if not request.HasField("at"):
        raise missing("at")
    try:
        return request.at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise invalid_argument(f"'at' is no time: {error}") from error


def _checked_page_size(size: int) -> int:
    if size < 0:
        raise invalid_argument(f"a page has no {size} nodes; page_size is 0 (for {PAGE_SIZE}) to {PAGE_SIZE_MAX}")
    return min(size or PAGE_SIZE, PAGE_SIZE_MAX)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
