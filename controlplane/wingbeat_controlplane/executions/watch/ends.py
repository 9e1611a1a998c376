"""Rows of executions that have ended, as waits tell of them."""

from collections.abc import AsyncGenerator, Iterable

import asyncpg

from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.watch.fetching import fetch
from wingbeat_controlplane.executions.watch.portions import PORTION_BYTES_MAX, PORTION_TRANSITIONS_MAX
from wingbeat_controlplane.executions.watch.telling import error_message, outputs_of
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import watch_pb2

_SQL = load_queries(__package__ or "", "watch.sql")
_ENDS_AT_ONCE = 200
"""With outputs, which may be 64 KiB each."""


async def read_ends(
    pool: asyncpg.Pool, some: Iterable[int], pending: set[int], *, with_outputs: bool
) -> AsyncGenerator[watch_pb2.WaitExecutionsResponse, None]:
    """Those of `some` that have ended, in messages of a bounded size; taken out of `pending`, of which the rest counts.

    Raises OSError when the database does not answer.
    """
    ids = list(some)
    step = _ENDS_AT_ONCE if with_outputs else PORTION_TRANSITIONS_MAX
    for begin in range(0, len(ids), step):
        response = watch_pb2.WaitExecutionsResponse()
        size = 0
        for row in await fetch(pool, _SQL["wanted_ends"], ids[begin : begin + step], with_outputs):
            end = _end(row)
            pending.discard(row["id"])
            response.ends.append(end)
            size += end.ByteSize()
            if size >= PORTION_BYTES_MAX:
                response.pending = len(pending)
                yield response
                response, size = watch_pb2.WaitExecutionsResponse(), 0
        if response.ends:
            response.pending = len(pending)
            yield response


def _end(row: Row) -> watch_pb2.ExecutionEnd:
    return watch_pb2.ExecutionEnd(
        execution=identity_pb2.ExecutionIdentifier(project=row["project"], domain=row["domain"], name=row["name"]),
        phase=identity_pb2.ExecutionPhase.Name(row["phase"]),
        ended_at=timestamp(row["ended_at"]),
        error=None if row["error"] is None else error_message(row["error"]),
        outputs=outputs_of(row["outputs"], row["outputs_uri"]),
    )
