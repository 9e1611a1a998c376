"""Timers of a process: one heap, one sleeping task, any number of keys.

A key has one due time; setting it again moves it. Cancelled and moved entries stay in the heap until they come up or
until they are the greater part of it. Nothing here is durable: timers are set again from rows after a restart. Due
times are wall-clock seconds since the epoch, as rows have them; sleeps are cut so that a clock that jumps is noticed.
"""

import asyncio
import heapq
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from prometheus_client import Gauge

K = TypeVar("K", bound=Hashable)

_TIMERS = Gauge("wingbeat_engine_timers", "Timers set and not yet due")

SLEEP_S_MAX = 10.0
DUE_MAX = 1_000
"""Keys handed to the sink at once; other work gets a turn in between."""
_COMPACT_MIN = 64


class TimerWheel(Generic[K]):
    """Calls `sink` on the event loop with the keys that are due by `clock`, earliest first."""

    def __init__(self, sink: Callable[[Sequence[K]], None], clock: Callable[[], float]) -> None:
        self._sink = sink
        self._clock = clock
        self._entries: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._earlier = asyncio.Event()
        _TIMERS.set_function(self.__len__)

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: K, at: float) -> None:
        """Let `key` come due at `at`, instead of any time it had."""
        self._serial += 1
        self._entries[key] = (at, self._serial)
        heapq.heappush(self._heap, (at, self._serial, key))
        if self._heap[0][1] == self._serial:
            self._earlier.set()
        self._compact()

    def cancel(self, key: K) -> bool:
        """Forget `key`; returns whether it was set."""
        known = self._entries.pop(key, None) is not None
        self._compact()
        return known

    async def run(self) -> None:
        """Live until cancelled."""
        while True:
            self._earlier.clear()
            due = self.take_due(self._clock())
            if due:
                self._sink(due)
                await asyncio.sleep(0)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._sleep_s()):
                        await self._earlier.wait()

    def take_due(self, now: float) -> list[K]:
        """Remove and return up to `DUE_MAX` keys due at `now`, earliest first."""
        due: list[K] = []
        while self._heap and self._heap[0][0] <= now and len(due) < DUE_MAX:
            at, serial, key = heapq.heappop(self._heap)
            if self._entries.get(key) == (at, serial):
                del self._entries[key]
                due.append(key)
        return due

    def _sleep_s(self) -> float:
        return min(max(self._heap[0][0] - self._clock(), 0.0), SLEEP_S_MAX) if self._heap else SLEEP_S_MAX

    def _compact(self) -> None:
        """Rebuild the heap when more than half of it is entries that nobody waits for."""
        if len(self._heap) > 2 * len(self._entries) + _COMPACT_MIN:
            self._heap = [(at, serial, key) for key, (at, serial) in self._entries.items()]
            heapq.heapify(self._heap)
