"""WaitExecutions of a batch: the ends of its executions, those included that it has yet to launch.

First the rows of the batch are read, page by page, and then a stream of transitions is followed from a cursor that was
taken before: what ended meanwhile is in both, and told once, since the ends that are so recent are remembered. The wait
is over when the batch is, and the stream has passed the moment at which that was seen.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta

import asyncpg

from wingbeat_controlplane.errors import absent
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.watch.cursors import Cursor
from wingbeat_controlplane.executions.watch.ends import read_ends
from wingbeat_controlplane.executions.watch.fetching import fetch
from wingbeat_controlplane.executions.watch.watching import Watching, duration_s
from wingbeat_propeller.core.phases import EXECUTION_FINAL
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import watch_pb2

CLOCKS_DIFFER = timedelta(minutes=1)
"""How far the clocks of engines and of the database may be apart."""
TIMEOUT_S_MAX = 30 * 86_400.0

_PAGE_ROWS = 1_000
_LOOK_S = 1
"""How often the batch itself is looked at while nothing happens."""
_SQL = load_queries(__package__ or "", "watch.sql")


async def wait_for_batch(
    pool: asyncpg.Pool, watching: Watching, request: watch_pb2.WaitExecutionsRequest
) -> AsyncGenerator[watch_pb2.WaitExecutionsResponse, None]:
    """Ends as they come, until the batch has ended or the request's timeout is over.

    Raises ApiError NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE, and OSError when the database does not answer.
    """
    loop = asyncio.get_running_loop()
    over_at = loop.time() + TIMEOUT_S_MAX
    if request.HasField("timeout"):
        over_at = loop.time() + duration_s("timeout", request.timeout, 0.0, TIMEOUT_S_MAX)
    head = await watching.log.head()
    batch = await _batch(pool, request)
    yield watch_pb2.WaitExecutionsResponse(pending=batch["pending"])
    recent: set[int] = set()
    since = head.read_at - CLOCKS_DIFFER
    row = 0
    while rows := await fetch(pool, _SQL["batch_ends"], batch["id"], row, _PAGE_ROWS, since):
        row = rows[-1]["row"] + 1
        recent.update(one["id"] for one in rows if one["is_recent"])
        ended = [one["id"] for one in rows if one["has_ended"]]
        async for response in read_ends(pool, ended, set(), with_outputs=request.with_outputs):
            response.pending = batch["pending"]
            yield response
    end: Cursor | None = None
    async with aclosing(watching.watch(_ends_of(request, head.now))) as portions:
        while True:
            batch = await _batch(pool, request)
            if end is None and batch["ended_at"] is not None:
                end = (await watching.log.head()).now
            try:
                async with asyncio.timeout_at(over_at):
                    portion = await anext(portions)
            except TimeoutError:
                if loop.time() < over_at:
                    raise  # of the database, which is an OSError
                yield watch_pb2.WaitExecutionsResponse(pending=batch["pending"])
                return
            ids = [one.entry.execution_id for one in portion.told if one.entry.execution_id not in recent]
            async for response in read_ends(pool, ids, set(), with_outputs=request.with_outputs):
                response.pending = batch["pending"]
                yield response
            if end is not None and not portion.cursor.whole.is_before(end.whole):
                if batch["ended_at"] is not None:
                    yield watch_pb2.WaitExecutionsResponse(pending=batch["pending"])
                    return
                end = None  # it was told to retry meanwhile


async def _batch(pool: asyncpg.Pool, request: watch_pb2.WaitExecutionsRequest) -> Row:
    rows = await fetch(pool, _SQL["batch"], request.project, request.domain, request.batch)
    if not rows:
        raise absent("batch", f"{request.project}:{request.domain}:{request.batch}")
    return rows[0]


def _ends_of(request: watch_pb2.WaitExecutionsRequest, start: Cursor) -> watch_pb2.WatchTransitionsRequest:
    asked = watch_pb2.WatchTransitionsRequest(
        filter=watch_pb2.TransitionFilter(
            project=request.project,
            domain=request.domain,
            batches=[request.batch],
            execution_phases=[identity_pb2.ExecutionPhase.Name(phase) for phase in EXECUTION_FINAL],
        ),
        cursor=start.encode(),
    )
    asked.heartbeat.FromSeconds(_LOOK_S)
    return asked
