"""The shared reader: follows the end of the log while anybody watches, and hands what it finds to all watchers.

One loop a server process. It asks for what became visible every few milliseconds while things happen, more seldom
while nothing does, and not at all while nobody watches. Engines do nothing for it: a NOTIFY in their commits would make
all commits of the installation wait for each other. What watchers of the same kind want is chosen and encoded once.

A watcher has a queue with a bound. One that is full is taken off, and its watcher goes on reading the log by itself:
nothing of it waits for anybody. When the database does not answer, every watcher is told so and calls again.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import grpc
import structlog
from prometheus_client import Counter, Gauge, Histogram

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.watch.cursors import Cursor
from wingbeat_controlplane.executions.watch.log import Page, Scope, TransitionLog
from wingbeat_controlplane.executions.watch.matching import Index, Matcher
from wingbeat_controlplane.executions.watch.portions import Batch
from wingbeat_controlplane.executions.watch.telling import Teller

QUEUE_BYTES_MAX = 256 * 1024
"""Transitions that wait for a watcher, most of them shared with others."""
QUEUE_BATCHES_MAX = 256
PAGE_ENTRIES_MAX = 2_000

_log = structlog.get_logger(__name__)
_WATCHERS = Gauge("wingbeat_watchers", "Streams and waits that follow the log of transitions")
_ENTRIES = Counter("wingbeat_watch_entries", "Entries of the log that the shared reader has read")
_FULL = Counter("wingbeat_watch_queues_full", "Queues of watchers that were full, since they read slowly")
_ROUND_SECONDS = Histogram(
    "wingbeat_watch_round_seconds",
    "From asking for new entries to having handed them to all watchers",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)


@dataclass(frozen=True, slots=True)
class TailOptions:
    """How often the log is asked."""

    poll_s: float = 0.005
    """While things happen: the pause between two looks."""
    poll_s_max: float = 0.025
    """While nothing happens."""
    retry_s: float = 1.0
    """After the database has not answered."""


class Seat:
    """A watcher's place at the tail: its queue."""

    __slots__ = ("_waiter", "batches", "fault", "is_full", "matcher", "size")

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.batches: deque[Batch] = deque()
        self.size = 0
        self.is_full = False
        """It was taken off the tail."""
        self.fault: ApiError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, batch: Batch) -> None:
        """Put a batch into the queue, or give the queue up."""
        if (self.batches and self.size + batch.size > QUEUE_BYTES_MAX) or len(self.batches) >= QUEUE_BATCHES_MAX:
            _FULL.inc()
            self.is_full = True
            self.batches.clear()
            self.size = 0
        else:
            self.batches.append(batch)
            self.size += batch.size
        self.wake()

    def fail(self, fault: ApiError) -> None:
        """Nothing more will come."""
        self.fault = fault
        self.wake()

    def wake(self) -> None:
        """Let the watcher look."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> Batch:
        """The first of the queue, which is not empty."""
        batch = self.batches.popleft()
        self.size -= batch.size
        return batch

    async def ready(self, timeout_s: float | None) -> bool:
        """Wait until there is a batch, or it is full; False when the time was over before. Raises ApiError."""
        if not (self.batches or self.is_full or self.fault):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._waiter
            except TimeoutError:
                pass  # something may have come in the same moment: look
            finally:
                self._waiter = None
        if self.fault is not None:
            raise self.fault
        return bool(self.batches) or self.is_full


@dataclass(slots=True)
class _Group:
    """Watchers with the same matcher."""

    seats: set[Seat] = field(default_factory=set[Seat])


class Tail:
    """See the module."""

    def __init__(self, log: TransitionLog, teller: Teller, options: TailOptions) -> None:
        self._log = log
        self._teller = teller
        self._options = options
        self._groups: dict[Matcher, _Group] = {}
        self._index = Index()
        self._joining: list[tuple[Seat, asyncio.Future[Cursor]]] = []
        self._wake = asyncio.Event()
        self.position: Page | None = None
        """The last page; whoever has an empty queue has had everything up to its end."""
        _WATCHERS.set_function(lambda: sum(len(group.seats) for group in self._groups.values()))

    async def attach(self, seat: Seat) -> Cursor:
        """Hand the seat everything that comes after the cursor returned. Raises ApiError UNAVAILABLE."""
        joined: asyncio.Future[Cursor] = asyncio.get_running_loop().create_future()
        self._joining.append((seat, joined))
        self._wake.set()
        try:
            return await joined
        except BaseException:
            self.detach(seat)
            raise

    def detach(self, seat: Seat) -> None:
        """Hand it nothing more."""
        self._joining = [one for one in self._joining if one[0] is not seat]
        group = self._groups.get(seat.matcher)
        if group is None or seat not in group.seats:
            return
        group.seats.remove(seat)
        if not group.seats:
            del self._groups[seat.matcher]
            self._index.remove(seat.matcher)

    def fail(self, fault: ApiError) -> None:
        """Tell every watcher that there is nothing more to come."""
        for group in self._groups.values():
            for seat in group.seats:
                seat.fail(fault)
        self._groups.clear()
        self._index = Index()
        for _, joined in self._joining:
            if not joined.done():
                joined.set_exception(fault)
        self._joining.clear()

    async def run(self) -> None:
        """Follow the log while anybody watches, until cancelled."""
        while True:
            await self._wake.wait()
            try:
                await self._follow()
            except OSError as error:
                _log.warning("the log of transitions cannot be read", error=str(error))
                self.fail(unavailable("the database does not answer; call again"))
                await asyncio.sleep(self._options.retry_s)
            except ApiError as error:
                self.fail(error)
            except Exception:  # noqa: BLE001 the last line of defence: one fault must not end all watching
                _log.exception("the shared reader of the log failed")
                self.fail(ApiError(grpc.StatusCode.INTERNAL, "internal error; the server's log has the details"))
                await asyncio.sleep(self._options.retry_s)
            finally:
                self.position = None

    async def _follow(self) -> None:
        head = await self._log.head()
        self.position = Page(head.now, (), head, head.now, is_last=True)
        pause_s = self._options.poll_s
        loop = asyncio.get_running_loop()
        while self._groups or self._joining:
            self._seat(self.position.end)
            began = loop.time()
            page = await self._log.page(self.position.end, Scope(nodes=self._index.nodes > 0), PAGE_ENTRIES_MAX)
            if page.entries:
                _ENTRIES.inc(len(page.entries))
                await self._hand_out(page)
                pause_s = self._options.poll_s
            else:
                pause_s = min(pause_s * 1.1, self._options.poll_s_max)
            self.position = page
            took_s = loop.time() - began
            _ROUND_SECONDS.observe(took_s)
            # At most half of the time: the loop serves others, too.
            await asyncio.sleep(max(pause_s, took_s) if page.is_last else 0)
        self._wake.clear()

    async def _hand_out(self, page: Page) -> None:
        told = await self._teller.tell(page.entries, self._index)
        for matcher, some in told.items():
            group = self._groups.get(matcher)
            if group is None:  # they left while the transitions were being made
                continue
            batch = Batch(some, page, with_outputs=matcher.with_outputs)
            for seat in tuple(group.seats):
                seat.offer(batch)
                if seat.is_full:
                    self.detach(seat)

    def _seat(self, position: Cursor) -> None:
        """Between two pages: those who came meanwhile."""
        for seat, joined in self._joining:
            if joined.done():
                continue
            group = self._groups.get(seat.matcher)
            if group is None:
                group = self._groups[seat.matcher] = _Group()
                self._index.add(seat.matcher)
            group.seats.add(seat)
            joined.set_result(position)
        self._joining.clear()


def unavailable(reason: str) -> ApiError:
    """UNAVAILABLE: the caller goes on with its last cursor, here or at another server."""
    return ApiError(grpc.StatusCode.UNAVAILABLE, reason)
