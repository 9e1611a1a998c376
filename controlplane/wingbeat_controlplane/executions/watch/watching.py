"""Streams of transitions: each reads the log from its cursor by itself, then takes a seat at the shared tail.

A stream is an asynchronous generator; whoever serves it asks for the next portion when the transport has taken the last
one. So a caller that does not read holds its own stream up and nothing else: its queue at the tail fills, it is taken
off the tail, and when the caller goes on the stream reads the log from where it was. The cursor that was sent last is
all it needs for that, and all that a caller needs who has lost the server.

From the log to the tail nothing is lost or doubled: the stream takes its seat first, then reads the log once more, and
drops from its queue what that last page has shown it.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

import asyncpg
import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from prometheus_client import Counter

from wingbeat_controlplane.errors import ApiError, bad_field
from wingbeat_controlplane.executions.watch.cursors import Cursor
from wingbeat_controlplane.executions.watch.log import Page, Scope, TransitionLog
from wingbeat_controlplane.executions.watch.matching import Index, Matcher, matcher_of
from wingbeat_controlplane.executions.watch.portions import Portion, cut
from wingbeat_controlplane.executions.watch.tail import Seat, Tail, TailOptions, unavailable
from wingbeat_controlplane.executions.watch.telling import Teller
from wingbeatidl.watch.v1 import watch_pb2

HEARTBEAT_S = 15.0
HEARTBEAT_S_MIN = 1.0
HEARTBEAT_S_MAX = 600.0
PAGE_ENTRIES_MAX = 2_000
"""Of one look of a stream that reads the log by itself."""

PAGE_ENTRIES_MAX_NAMED = 10_000
"""The same, where executions are named: each look goes through all entries of these."""

_SENT = Counter("wingbeat_watch_transitions_sent", "Transitions handed to watchers")


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Limits of watching."""

    watchers_max: int = 5_000
    """Streams and waits at once; more are refused."""
    readers_max: int = 2
    """Streams that read the log by themselves at the same moment; others wait for their turn."""
    tail: TailOptions = field(default_factory=TailOptions)


@dataclass(slots=True)
class _Stream:
    """How far one stream has come."""

    matcher: Matcher
    heartbeat_s: float
    cursor: Cursor
    """Of the last portion."""
    sent_at: float = 0.0


class Watching:
    """Serves streams. `run` must be running."""

    def __init__(self, log_pool: asyncpg.Pool, options: WatchOptions) -> None:
        self._options = options
        self.log = TransitionLog(log_pool)
        self._teller = Teller(log_pool)
        self.tail = Tail(self.log, self._teller, options.tail)
        self._readers = asyncio.Semaphore(options.readers_max)
        self.count = 0
        """Streams and waits at present."""
        self._stopping: ApiError | None = None

    async def run(self) -> None:
        """Follow the log while anybody watches, until cancelled."""
        await self.tail.run()

    def stop(self) -> None:
        """End all streams with UNAVAILABLE, and take no more."""
        self._stopping = unavailable("the server is stopping; call again with the last cursor")
        self.tail.fail(self._stopping)

    async def cursors(self) -> watch_pb2.GetCursorResponse:
        """The cursors of this moment."""
        head = await self.log.head()
        return watch_pb2.GetCursorResponse(now=head.now.encode(), oldest=head.oldest.encode())

    def enter(self) -> None:
        """Count a watcher in; `leave` counts it out. Raises ApiError RESOURCE_EXHAUSTED, UNAVAILABLE."""
        self.check_running()
        if self.count >= self._options.watchers_max:
            _refuse_more(self._options.watchers_max)
        self.count += 1

    def leave(self) -> None:
        """Count a watcher out."""
        self.count -= 1

    def check_running(self) -> None:
        """Raises ApiError UNAVAILABLE when the server is stopping."""
        if self._stopping is not None:
            raise self._stopping

    async def watch(self, request: watch_pb2.WatchTransitionsRequest) -> AsyncGenerator[Portion, None]:
        """Portions from the request's cursor on, for as long as they are asked for; the first one comes at once.

        Raises ApiError INVALID_ARGUMENT, OUT_OF_RANGE, RESOURCE_EXHAUSTED, UNAVAILABLE.
        """
        matcher = matcher_of(request)
        heartbeat_s = _heartbeat_s(request)
        if request.start not in watch_pb2.Start.values():
            raise bad_field("start", f"start: there is no value {request.start}")
        self.enter()
        seat: Seat | None = None
        try:
            if request.cursor:
                stream = _Stream(matcher, heartbeat_s, await self.log.start(request.cursor))
            elif request.start == watch_pb2.START_OLDEST:
                stream = _Stream(matcher, heartbeat_s, (await self.log.head()).oldest)
            else:
                seat = Seat(matcher)
                stream = _Stream(matcher, heartbeat_s, await self.tail.attach(seat))
                head = self.tail.position.head if self.tail.position else await self.log.head()
                yield self._sent(stream, Portion(stream.cursor, head.read_at))
                async for portion in self._live(stream, seat, None):
                    yield portion
            while True:
                self.check_running()
                if seat is not None:
                    self.tail.detach(seat)
                async for portion in self._read(stream):
                    yield portion
                seat = Seat(matcher)
                await self.tail.attach(seat)
                # The page that joins both: read after the seat was taken, so the queue has whatever it does not show.
                page = await self._page(stream)
                for portion in await self._portions(stream, page):
                    yield self._sent(stream, portion)
                if page.is_last:
                    if stream.sent_at == 0.0:
                        yield self._sent(stream, Portion(stream.cursor, page.head.read_at))
                    async for portion in self._live(stream, seat, page.end):
                        yield portion
        finally:
            self.leave()
            if seat is not None:
                self.tail.detach(seat)

    async def _read(self, stream: _Stream) -> AsyncGenerator[Portion, None]:
        """Read the log up to a page that is not full."""
        loop = asyncio.get_running_loop()
        while True:
            self.check_running()
            page = await self._page(stream)
            for portion in await self._portions(stream, page):
                yield self._sent(stream, portion)
            if page.is_last:
                return
            if loop.time() - stream.sent_at > stream.heartbeat_s:
                yield self._sent(stream, Portion(stream.cursor, page.head.read_at, is_behind=True))

    async def _page(self, stream: _Stream) -> Page:
        matcher = stream.matcher
        scope = Scope(matcher.wants_nodes, matcher.project, matcher.domain, matcher.executions)
        limit = PAGE_ENTRIES_MAX_NAMED if matcher.executions else PAGE_ENTRIES_MAX
        async with self._readers:
            return await self.log.page(stream.cursor, scope, limit)

    async def _portions(self, stream: _Stream, page: Page) -> list[Portion]:
        told = await self._teller.tell(page.entries, Index([stream.matcher]))
        some = told.get(stream.matcher, [])
        start = stream.cursor
        if start.txid:
            some = [one for one in some if one.entry.seq > start.seq or one.place >= start.parts]
        portions = cut(
            some,
            page,
            page.start,
            page.end,
            with_outputs=stream.matcher.with_outputs,
            is_behind=not page.is_last,
        )
        if not portions:
            stream.cursor = page.end
        return portions

    async def _live(self, stream: _Stream, seat: Seat, since: Cursor | None) -> AsyncGenerator[Portion, None]:
        """Take from the queue until it was full. `since`: how far the stream has read by itself."""
        loop = asyncio.get_running_loop()
        while True:
            left_s = max(0.0, stream.sent_at + stream.heartbeat_s - loop.time())
            if not await seat.ready(left_s):
                position = self.tail.position
                if position is not None:
                    if since is None or (position.is_last and since.whole.is_before(position.head.snapshot)):
                        stream.cursor, since = position.end, None
                    yield self._sent(stream, Portion(stream.cursor, position.head.read_at))
                else:
                    stream.sent_at = loop.time()
                continue
            if seat.is_full:
                return
            batch = seat.take()
            if since is None:
                portions = batch.portions
            else:
                portions = batch.portions_since(since)
                if batch.page.is_last and since.whole.is_before(batch.page.head.snapshot):
                    since = None
                elif portions:
                    since = portions[-1].cursor
            for portion in portions:
                yield self._sent(stream, portion)

    def _sent(self, stream: _Stream, portion: Portion) -> Portion:
        stream.cursor = portion.cursor
        stream.sent_at = asyncio.get_running_loop().time()
        _SENT.inc(len(portion.told))
        return portion


def _heartbeat_s(request: watch_pb2.WatchTransitionsRequest) -> float:
    if not request.HasField("heartbeat"):
        return HEARTBEAT_S
    return duration_s("heartbeat", request.heartbeat, HEARTBEAT_S_MIN, HEARTBEAT_S_MAX)


def duration_s(field_name: str, duration: Duration, at_least: float, at_most: float) -> float:
    """In seconds. Raises ApiError INVALID_ARGUMENT for one out of range."""
    seconds = duration.seconds + duration.nanos / 1e9
    if not at_least <= seconds <= at_most:
        raise bad_field(field_name, f"{field_name}: {seconds:.15g} s; it is {at_least:g} to {at_most:.0f} s")
    return seconds


def _refuse_more(watchers_max: int) -> NoReturn:
    delay = error_details_pb2.RetryInfo()
    delay.retry_delay.FromTimedelta(timedelta(seconds=1))
    raise ApiError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"this server has {watchers_max} watchers, as many as it takes (server.watchers_max); watch many executions in"
        " one stream, or try again",
        [delay],
    )
