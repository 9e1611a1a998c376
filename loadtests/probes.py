"""What the measurement puts between the engine and the world: a runtime and a journal that keep times."""

import asyncio
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.ports.journal import Journal
from wingbeat_propeller.ports.runtime import Ended, Runtime, RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, RuntimeRequest


class TimedRuntime:
    """Notes, for each execution, how long it takes from the end of an attempt to the next launch. Implements Runtime.

    With `task_s` above zero an attempt's end is passed on only after about that time (half to one and a half times, by
    its name), so that all executions are alive at once and the load is paced instead of as much as possible.
    """

    def __init__(self, runtime: Runtime, *, task_s: float) -> None:
        self._runtime = runtime
        self._task_s = task_s
        self._ended_at: dict[str, float] = {}
        self.transition_s: list[float] = []
        """Times from event in to next launch out."""

    @property
    def capacity(self) -> int:
        """The runtime's."""
        return self._runtime.capacity

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Pass events on, in their time."""

        def deliver(events: Sequence[RuntimeEvent]) -> None:
            now = time.perf_counter()
            for event in events:
                self._ended_at[_execution_of(event.name)] = now
            sink(events)

        def delay(events: Sequence[RuntimeEvent]) -> None:
            loop = asyncio.get_running_loop()
            for event in events:
                spread = 0.5 + zlib.crc32(event.name.encode()) / 2**32
                at = time.time() + self._task_s * spread
                loop.call_later(self._task_s * spread, deliver, [_ended_later(event, at)])

        self._runtime.subscribe(delay if self._task_s else deliver)

    async def run(self) -> None:
        """Live until cancelled."""
        await self._runtime.run()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Pass launches on."""
        now = time.perf_counter()
        for request in requests:
            ended_at = self._ended_at.pop(_execution_of(request.name), None)
            if ended_at is not None:
                self.transition_s.append(now - ended_at)
        await self._runtime.launch(requests)

    async def abort(self, names: Sequence[str]) -> None:
        """Pass aborts on."""
        await self._runtime.abort(names)

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Pass the question on."""
        return await self._runtime.adopt(names)

    async def forget(self, names: Sequence[str]) -> None:
        """Pass it on."""
        await self._runtime.forget(names)

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """Pass the question on."""
        return await self._runtime.recorded()


def _execution_of(attempt: str) -> str:
    return attempt.partition("-")[0]


def _ended_later(event: RuntimeEvent, at: float) -> RuntimeEvent:
    if isinstance(event, Ended):
        return Ended(event.name, at, event.failure, event.outputs, event.logs)
    return event


class TimedJournal:
    """Notes when the work began and ended, and keeps a row of each kind as a pattern. Implements Journal."""

    def __init__(self, journal: Journal, *, executions: int) -> None:
        self._journal = journal
        self._left = executions
        self.began = 0.0
        """`time.perf_counter` of the first submission."""
        self.took_s = 0.0
        self.all_ended = asyncio.Event()
        self.patterns = Effects(ExecutionKey(0))
        """The last rows of each kind that were submitted."""

    def expect(self, executions: int) -> None:
        """All expected so far have ended; so many more will, and the clock starts again."""
        self._left = executions
        self.began = 0.0
        self.took_s = 0.0
        self.all_ended.clear()

    def submit(self, effects: Effects, committed: Callable[[Effects], None]) -> None:
        """Note what is of interest, then submit."""
        if not self.began:
            self.began = time.perf_counter()
        if effects.nodes:
            self.patterns.nodes = effects.nodes
        if effects.tasks:
            self.patterns.tasks = effects.tasks
        if effects.elements:
            self.patterns.elements = effects.elements
        row = effects.execution_row
        if row is not None and row.ended_at is not None:
            self.patterns.execution_row = row
            self._journal.submit(effects, lambda done: self._ended(done, committed))
        else:
            self._journal.submit(effects, committed)

    @property
    def backlog(self) -> int:
        """The journal's."""
        return self._journal.backlog

    async def drained(self) -> None:
        """Wait for the journal."""
        await self._journal.drained()

    async def run(self) -> None:
        """Run the journal."""
        await self._journal.run()

    def _ended(self, effects: Effects, committed: Callable[[Effects], None]) -> None:
        committed(effects)
        self._left -= 1
        if not self._left:
            self.took_s = time.perf_counter() - self.began
            self.all_ended.set()
