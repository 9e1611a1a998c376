"""Calls of cacheable tasks on their way to the cache and back: look-ups before they are made, puts of what came of
them.

What the steps of one turn of the event loop ask for goes out as one batch, and while some batches are on their way the
next ones gather. A cache that fails or does not answer in time never keeps a node: after a second try it is told as a
failure, and the node runs, or ends, without it. Nothing here survives a crash: a call that was looked up has no row yet
and is looked up again, and what was put is put again, which changes nothing.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

import structlog
from prometheus_client import Gauge

from wingbeat_propeller.core.caching import CacheStatus
from wingbeat_propeller.core.effects import CacheRead, Keep, LookUp, LookUpElements
from wingbeat_propeller.core.events import ElementsLookedUp, Event, Kept, LookedUp
from wingbeat_propeller.engine.cache_values import UnreadableError, ask_of, is_at_hand, looked_up, outputs_of
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.loop_metrics import LoopCounter
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.cache import Cache, CacheAnswer, CacheFailure, CachePut, CachePutDone, CacheSource

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")
_Asked: TypeAlias = "tuple[LiveExecution, LookUp]"
_ANSWERED = LoopCounter("wingbeat_cache_answers", "Answers of the cache", "status", [one.name for one in CacheStatus])
_WAITING = Gauge("wingbeat_cache_waiting", "Look-ups and puts that have not been answered")

BATCH = 500
"""Calls in one batch; a page of elements is one as it is."""
BATCHES_MAX = 4
"""Batches at once."""
LARGE_MAX = 4
"""Calls at once whose values are read from the blob store; each may hold `cache_values.BYTES_MAX` twice."""
CALL_S = 15.0
"""How long one call of the cache may take, whatever it promises itself."""
TURN = 128
"""Answers passed on before other work gets its turn."""
_RETRY_S = 0.2


class CacheKeeper:
    """See the module. `is_live` tells whether an execution is still driven here."""

    def __init__(
        self,
        cache: Cache,
        blobs: Blobs,
        *,
        apply: Callable[[LiveExecution, Event], None],
        is_live: Callable[[LiveExecution], bool],
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._blobs = blobs
        self._apply = apply
        self._is_live = is_live
        self._clock = clock
        self._calls: deque[tuple[LiveExecution, LookUp]] = deque()
        self._pages: deque[tuple[LiveExecution, LookUpElements]] = deque()
        self._keeps: deque[tuple[LiveExecution, Keep]] = deque()
        self._work = asyncio.Event()
        self._batches = asyncio.Semaphore(BATCHES_MAX)
        self._large = asyncio.Semaphore(LARGE_MAX)
        _WAITING.set_function(lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """Questions that have not gone out."""
        return len(self._calls) + len(self._pages) + len(self._keeps)

    def ask(self, live: LiveExecution, request: CacheRead) -> None:
        """Answered by LookedUp, ElementsLookedUp or Kept, within a bounded time."""
        if isinstance(request, Keep):
            self._keeps.append((live, request))
        elif isinstance(request, LookUp):
            self._calls.append((live, request))
        else:
            self._pages.append((live, request))
        self._work.set()

    async def run(self) -> None:
        """Live until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._calls or self._pages or self._keeps:
                    await self._batches.acquire()
                    tasks.create_task(self._one_batch(tasks), name="cache batch")
                    await asyncio.sleep(0)

    async def _one_batch(self, tasks: asyncio.TaskGroup) -> None:
        """Whatever waits longest of each sort."""
        try:
            if self._pages:
                await self._look_up_page(*self._pages.popleft())
            if self._calls:
                await self._look_up(tasks, _page(self._calls))
            if self._keeps:
                await self._put(tasks, _page(self._keeps))
        finally:
            self._batches.release()

    # ---- look-ups ----

    async def _look_up(self, tasks: asyncio.TaskGroup, batch: Sequence[_Asked]) -> None:
        small: list[_Asked] = []
        for live, call in batch:
            if is_at_hand(call):
                small.append((live, call))
            else:
                tasks.create_task(self._look_up_large(live, call), name="look up a large call")
        if small:
            answers = await self._answers([call for _, call in small])
            for number, ((live, call), answer) in enumerate(zip(small, answers, strict=True)):
                self._tell(live, await looked_up(self._blobs, call, answer, self._clock()))
                if number % TURN == TURN - 1:
                    await asyncio.sleep(0)

    async def _look_up_large(self, live: LiveExecution, call: LookUp) -> None:
        async with self._large:
            (answer,) = await self._answers([call])
            self._tell(live, await looked_up(self._blobs, call, answer, self._clock()))

    async def _look_up_page(self, live: LiveExecution, page: LookUpElements) -> None:
        answers = await self._answers(page.calls)
        now = self._clock()
        found = [
            await looked_up(self._blobs, call, answer, now) for call, answer in zip(page.calls, answers, strict=True)
        ]
        for answer in found:
            _ANSWERED.inc(CacheStatus(answer.status).name)
        if self._is_live(live):
            self._apply(live, ElementsLookedUp(now, page.ref, found))

    async def _answers(self, calls: Sequence[LookUp]) -> Sequence[CacheAnswer]:
        try:
            asks = [await ask_of(self._blobs, call) for call in calls]
        except UnreadableError as error:
            return [_failure("looked up", str(error)) for _ in calls]
        answers = await _twice(lambda: self._cache.look_up(asks), "look-up")
        return answers or [CacheFailure(b"", "the cache does not answer") for _ in calls]

    def _tell(self, live: LiveExecution, event: LookedUp) -> None:
        _ANSWERED.inc(CacheStatus(event.status).name)
        if self._is_live(live):
            self._apply(live, event)

    # ---- puts ----

    async def _put(self, tasks: asyncio.TaskGroup, batch: Sequence[tuple[LiveExecution, Keep]]) -> None:
        small: list[tuple[LiveExecution, Keep]] = []
        for live, keep in batch:
            if is_at_hand(keep):
                small.append((live, keep))
            else:
                tasks.create_task(self._put_large(live, keep), name="put a large call")
        if small:
            await self._put_all(small)

    async def _put_large(self, live: LiveExecution, keep: Keep) -> None:
        async with self._large:
            await self._put_all([(live, keep)])

    async def _put_all(self, batch: Sequence[tuple[LiveExecution, Keep]]) -> None:
        try:
            entries = [await self._entry(live, keep) for live, keep in batch]
        except UnreadableError as error:
            outcomes = [_failure("put", str(error)) for _ in batch]
        else:
            outcomes = await _twice(lambda: self._cache.put(entries), "put")
            outcomes = outcomes or [CacheFailure(b"", "the cache does not answer") for _ in batch]
        for number, ((live, keep), outcome) in enumerate(zip(batch, outcomes, strict=True)):
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)
            status = CacheStatus.POPULATED if isinstance(outcome, CachePutDone) else CacheStatus.PUT_FAILURE
            _ANSWERED.inc(status.name)
            if self._is_live(live):
                self._apply(live, Kept(self._clock(), keep.call.ref, status, outcome.catalog))

    async def _entry(self, live: LiveExecution, keep: Keep) -> CachePut:
        ask = await ask_of(self._blobs, keep.call)
        state, ref = live.state, keep.call.ref
        source = CacheSource(
            state.project, state.domain, state.name, keep.node_id, ref.attempt, ref.element, ask.task.version
        )
        return CachePut(ask, await outputs_of(self._blobs, keep), source, keep.overwrite)


async def _twice(call: Callable[[], Awaitable[Sequence[_T]]], what: str) -> Sequence[_T] | None:
    """The answers of the cache; None when it has failed for a second time."""
    for attempt in range(2):
        try:
            async with asyncio.timeout(CALL_S):
                return await call()
        except OSError as error:  # TimeoutError is one
            _log.warning("the cache does not answer", what=what, error=str(error) or type(error).__name__)
        except Exception:  # noqa: BLE001 - an error of the cache's own must not keep nodes from running
            _log.exception("the cache has failed", what=what)
            return None
        if not attempt:
            await asyncio.sleep(_RETRY_S)
    return None


def _failure(what: str, reason: str) -> CacheFailure:
    _log.warning(f"a call is not {what}", reason=reason)
    return CacheFailure(b"", reason)


def _page(waiting: "deque[tuple[LiveExecution, _T]]") -> list[tuple[LiveExecution, _T]]:
    return [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
