"""One call for identical requests: those that arrive at once share it, those that follow soon get its answer.

A client that loses an answer repeats its call at once; without a name in the request that would make one more
execution each time. The call runs in a task of its own, so a caller that goes away (the usual reason for a repetition)
does not undo it for the next one. A call that failed is not remembered: repeating it is then meant.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

import grpc
import structlog

from wingbeat_controlplane.errors import ApiError

T = TypeVar("T")

ANSWERS_MAX = 10_000
"""Answers remembered; the oldest go first."""
RUNNING_MAX = 1_000
"""Calls under way; more are refused."""

_log = structlog.get_logger(__name__)


class Repeats(Generic[T]):
    """Calls by key. Belongs to one event loop; `clock` is that loop's unless a test says otherwise."""

    def __init__(self, window_s: float, *, clock: Callable[[], float] | None = None) -> None:
        self._window_s = window_s
        self._clock = clock
        self._running: dict[bytes, asyncio.Task[T]] = {}
        self._answers: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    async def once(self, key: bytes, call: Callable[[], Coroutine[object, object, T]]) -> T:
        """The answer of `call`, or of the call with the same key that is under way or ended at most `window_s` ago.

        Raises what the call raises, and ApiError RESOURCE_EXHAUSTED when too many are under way.
        """
        if self._window_s <= 0:
            return await call()
        now = self._now()
        self._expire(now)
        known = self._answers.get(key)
        if known is not None:
            return known[1]
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= RUNNING_MAX:
                raise ApiError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, "too many executions are being created; try again shortly"
                )
            task = asyncio.create_task(call(), name="create execution")
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    async def drained(self) -> None:
        """Wait for calls under way; what a server does before it closes what they use."""
        while self._running:
            await asyncio.wait(self._running.values())

    def _ended(self, key: bytes, task: asyncio.Task[T]) -> None:
        del self._running[key]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            if not isinstance(error, ApiError):
                _log.debug("shared call failed", error=repr(error))  # its callers report it
            return
        self._answers[key] = (self._now() + self._window_s, task.result())
        while len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)

    def _expire(self, now: float) -> None:
        while self._answers:
            key, (expires_at, _) = next(iter(self._answers.items()))
            if expires_at > now:
                return
            del self._answers[key]

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._clock is None else self._clock()
