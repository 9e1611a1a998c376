"""One event loop in a thread of its own, for all clients of programs that have none.

It is started with the first client and lives as long as the process. It does not survive a fork: the library of gRPC
keeps threads of its own that a child does not have, so clients in a child whose parent had used one are refused, with a
sentence that says what to do. (Children started by `spawn` or `forkserver` know nothing of this.)
"""

import asyncio
import collections
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from wingbeat.errors import ForkedError

T = TypeVar("T")

BUFFER_MAX = 1_000
"""Items of an iterator that are fetched before they are taken."""

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_process = 0


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop, running. Raises ForkedError in a child of a process that had one."""
    global _loop, _process
    with _lock:
        if _loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="wingbeat client", daemon=True).start()
            _loop, _process = loop, os.getpid()
        elif _process != os.getpid():
            raise ForkedError(
                "this process was forked from one that had a Wingbeat client, and gRPC does not work on in it: start"
                " children by spawn or forkserver, or make the first client after the fork"
            )
        return _loop


def run(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine of the loop; it is cancelled when the wait is interrupted (Ctrl-C)."""
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class _Buffer:
    """What an asynchronous iterator has given, for another thread: at most BUFFER_MAX items, then its end or error."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.changed = threading.Condition()
        self.items: collections.deque[Any] = collections.deque()
        self.error: BaseException | None = None
        self.is_over = False
        self.room = asyncio.Event()
        self._loop = loop

    async def fill(self, source: AsyncIterator[Any]) -> None:
        """Runs in the loop until the source ends or the task is cancelled."""
        try:
            async for item in source:
                with self.changed:
                    self.items.append(item)
                    self.changed.notify()
                    if len(self.items) >= BUFFER_MAX:
                        self.room.clear()
                    else:
                        self.room.set()
                await self.room.wait()
        except Exception as error:  # noqa: BLE001  (handed to who takes the items)
            self.error = error
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
            with self.changed:
                self.is_over = True
                self.changed.notify()

    def take(self) -> collections.deque[Any] | None:
        """All items there are, at least one; None at the end. Raises the source's error when its items are taken."""
        with self.changed:
            while not self.items and not self.is_over:
                self.changed.wait()
            found, self.items = self.items, collections.deque()
            if found:
                self._loop.call_soon_threadsafe(self.room.set)
                return found
        if self.error is not None:
            raise self.error
        return None


def iterate(loop: asyncio.AbstractEventLoop, source: AsyncIterator[T]) -> Iterator[T]:
    """The items of an asynchronous iterator of the loop. What is left alone before its end stops fetching."""
    buffer = _Buffer(loop)
    filling = asyncio.run_coroutine_threadsafe(buffer.fill(source), loop)
    try:
        while (items := buffer.take()) is not None:
            yield from items
    finally:
        filling.cancel()
