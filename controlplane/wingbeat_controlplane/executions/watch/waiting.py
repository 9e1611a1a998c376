"""WaitExecutions: the ends of named executions, each as soon as it is durable.

A wait takes a seat at the shared tail for the ends of its executions, and then looks at their rows once: what had ended
is in the rows, what ends later comes to the seat, and what does both is told once. A wait whose queue was full looks
again in the same way, so it holds nothing up and misses nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import asyncpg
import grpc
from google.rpc import error_details_pb2

from wingbeat_controlplane.errors import ApiError, bad_field
from wingbeat_controlplane.executions.identifiers import check_text
from wingbeat_controlplane.executions.watch.batch_waiting import TIMEOUT_S_MAX, wait_for_batch
from wingbeat_controlplane.executions.watch.ends import read_ends
from wingbeat_controlplane.executions.watch.fetching import fetch
from wingbeat_controlplane.executions.watch.matching import ends_of
from wingbeat_controlplane.executions.watch.tail import Seat
from wingbeat_controlplane.executions.watch.watching import Watching, duration_s
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import watch_pb2

EXECUTIONS_MAX = 10_000
NAMED_MAX = 10
"""Executions that do not exist and are named in the error, as far as its trailers have room for them."""
NAME_LENGTH_MAX = 150
"""Characters of each."""

_SQL = load_queries(__package__ or "", "watch.sql")


class Waits:
    """Serves waits beside the streams of `watching`."""

    def __init__(self, pool: asyncpg.Pool, watching: Watching) -> None:
        self._pool = pool
        self._watching = watching

    async def wait(
        self, request: watch_pb2.WaitExecutionsRequest
    ) -> AsyncGenerator[watch_pb2.WaitExecutionsResponse, None]:
        """Ends as they come, the first message at once; it ends with the last of them, or the request's timeout.

        Raises ApiError INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNAVAILABLE.
        """
        if request.batch:
            _check_batch(request)
            async with aclosing(wait_for_batch(self._pool, self._watching, request)) as responses:
                async for response in responses:
                    yield response
            return
        names = _checked(request)
        loop = asyncio.get_running_loop()
        over_at = None
        if request.HasField("timeout"):
            over_at = loop.time() + duration_s("timeout", request.timeout, 0.0, TIMEOUT_S_MAX)
        self._watching.enter()
        seat: Seat | None = None
        try:
            pending = await self._ids(names)
            is_first = True
            while pending:
                seat = Seat(ends_of(pending))
                await self._watching.tail.attach(seat)
                async for response in read_ends(self._pool, pending, pending, with_outputs=request.with_outputs):
                    is_first = False
                    yield response
                if is_first:
                    is_first = False
                    yield watch_pb2.WaitExecutionsResponse(pending=len(pending))
                while pending:
                    left_s = None if over_at is None else max(0.0, over_at - loop.time())
                    if not await seat.ready(left_s):
                        yield watch_pb2.WaitExecutionsResponse(pending=len(pending))
                        return
                    if seat.is_full:
                        break
                    told = {one.entry.execution_id for one in seat.take().told}
                    async for response in read_ends(
                        self._pool, told & pending, pending, with_outputs=request.with_outputs
                    ):
                        yield response
                self._watching.tail.detach(seat)
        finally:
            self._watching.leave()
            if seat is not None:
                self._watching.tail.detach(seat)

    async def _ids(self, names: Sequence[identity_pb2.ExecutionIdentifier]) -> set[int]:
        rows = await fetch(
            self._pool,
            _SQL["ids_by_name"],
            [name.project for name in names],
            [name.domain for name in names],
            [name.name for name in names],
        )
        unknown = [name for name, row in zip(names, rows, strict=True) if row["id"] is None]
        if unknown:
            raise _not_found(unknown)
        return {row["id"] for row in rows}


def _checked(request: watch_pb2.WaitExecutionsRequest) -> Sequence[identity_pb2.ExecutionIdentifier]:
    if not request.executions:
        raise bad_field("executions", "nothing to wait for: name executions or a batch")
    if len(request.executions) > EXECUTIONS_MAX:
        text = f"{len(request.executions)} executions; at most {EXECUTIONS_MAX} are waited for in a call"
        raise bad_field("executions", text)
    for number, execution in enumerate(request.executions):
        for field in ("project", "domain", "name"):
            check_text(f"executions[{number}].{field}", getattr(execution, field))
    return request.executions


def _check_batch(request: watch_pb2.WaitExecutionsRequest) -> None:
    if request.executions:
        raise bad_field("batch", "executions and a batch are waited for in calls of their own")
    for field in ("batch", "project", "domain"):
        check_text(field, getattr(request, field))


def _not_found(unknown: Sequence[identity_pb2.ExecutionIdentifier]) -> ApiError:
    labels = [f"{one.project}:{one.domain}:{one.name}"[:NAME_LENGTH_MAX] for one in unknown[:NAMED_MAX]]
    paths = [f"{one.project}/{one.domain}/{one.name}"[:NAME_LENGTH_MAX] for one in unknown[:3]]
    shown = ", ".join(paths) + (f" and {len(unknown) - 3} more" if len(unknown) > 3 else "")
    return ApiError(
        grpc.StatusCode.NOT_FOUND,
        f"there {'are no executions' if len(unknown) > 1 else 'is no execution'} {shown}",
        [error_details_pb2.ResourceInfo(resource_type="execution", resource_name=label) for label in labels],
    )
