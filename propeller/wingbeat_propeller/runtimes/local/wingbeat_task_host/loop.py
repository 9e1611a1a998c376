"""A selector with callbacks and timers: what a task host needs of an event loop, without threads or asyncio.

asyncio would be imported, and its state forked, into every task; this has none to speak of.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import signal
import time
from collections.abc import Callable

PATIENCE_S_MAX = 60.0


class Loop:
    """Callbacks for readable and writable descriptors, for signals of ended children, and for points in time."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_count = 0

    def watch(self, fd: int, on_ready: Callable[[], None], *, writable: bool = False) -> None:
        """Call back whenever `fd` is readable (or writable as well); replaces what was set before."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, on_ready)
        else:
            self._selector.register(fd, events, on_ready)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`, before it is closed."""
        self._selector.unregister(fd)

    def watch_children(self, on_ended: Callable[[], None]) -> None:
        """Call back when children may have ended."""
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        os.set_blocking(write_end, False)

        def drain() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(read_end, 4096)
            on_ended()

        self.watch(read_end, drain)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back once after a delay. There is no cancelling: a callback looks whether it still applies."""
        self._timer_count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._timer_count, callback))

    def turn(self, *, wait: bool) -> None:
        """Wait for the next event or timer (unless told not to) and serve all that are due."""
        now = time.monotonic()
        due_in = max(0.0, self._timers[0][0] - now) if self._timers else PATIENCE_S_MAX
        for key, _ in self._selector.select(due_in if wait else 0):
            current = self._selector.get_map().get(key.fd)
            if current is not None and current.data is key.data:  # an earlier callback may have closed it
                key.data()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()


def _ignore(_number: int, _frame: object) -> None:
    """SIGCHLD needs a handler for its byte to reach the pipe."""
