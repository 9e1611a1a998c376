"""One read for all who ask for the same while the read before it is under way.

What is asked for may change at any moment and is remembered nowhere: whoever asks gets what a read finds that begins
after the question. So nobody can tell it from a read of their own, but many callers at once cost two reads, not one
each. A read runs in a task of its own, so that a caller that goes away does not undo it for the others.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedReads(Generic[K, V]):
    """Reads by key, at most one of each under way and one to follow. Belongs to one event loop."""

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Task[V]] = {}
        self._following: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, read: Callable[[], Coroutine[object, object, V]]) -> V:
        """What `read` returns or raises, whoever of those who wait for it has brought it along."""
        task = self._following.get(key)
        if task is None:
            task = asyncio.create_task(self._follow(key, self._running.get(key), read), name="shared read")
            self._following[key] = task
            task.add_done_callback(_look_at)
        return await asyncio.shield(task)

    async def _follow(
        self, key: K, before: asyncio.Task[V] | None, read: Callable[[], Coroutine[object, object, V]]
    ) -> V:
        if before is not None:
            await asyncio.wait([before])
        task = self._running[key] = self._following.pop(key)
        try:
            return await read()
        finally:
            if self._running.get(key) is task:
                del self._running[key]


def _look_at(task: "asyncio.Task[V]") -> None:
    if not task.cancelled():
        task.exception()  # those who wait raise it; without them nobody asks
