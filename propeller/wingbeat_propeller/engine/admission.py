"""Lets executions begin that wait for others of their launch plan, and ends the wait of those whose time is over.

When an execution of this process ends and others wait in the line of its launch plan, the database is asked to let the
next ones begin (`Lines.admit`, which alone decides); nothing polls for that. Which lines there are is looked up when a
notification says that an execution waits. A slow poll makes good what was lost: a notification, or a process that died
between the end of an execution and asking. The poll also finds versions of a launch plan registered meanwhile.

Waiting executions are in no engine's memory. When the time to begin of one comes, intake is woken and finds it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from prometheus_client import Counter, Gauge

from wingbeat_propeller.ports.lines import Line, Lines

_log = structlog.get_logger(__name__)
_WAITING = Gauge("wingbeat_waiting_executions", "Executions that wait for others of their launch plan to end")
_ADMITTED = Counter("wingbeat_admitted_executions", "Executions that waited and were let go by this process")

RETRY_S = 0.5
LOOK_S_MIN = 0.2
"""Between two looks, however many notifications come: a look costs in proportion to what waits."""


class Admission:
    """Life: `run` while the engine runs. `wake_intake` is called when executions that have not begun are overdue."""

    def __init__(self, lines: Lines, *, poll_s: float, wake_intake: Callable[[], None]) -> None:
        self._lines = lines
        self._poll_s = poll_s
        self._wake_intake = wake_intake
        self._line_of: dict[int, Line] = {}
        """By row id of each version of the launch plan."""
        self._freed: set[Line] = set()
        """Lines in which there may be room."""
        self._ended: set[int] | None = None
        """While lines are looked up: launch plans of which an execution ends meanwhile, which the look may not see."""
        self._looked_at = -LOOK_S_MIN
        self._look_at = 0.0
        self._overdue_at: float | None = None
        """When the next execution that has not begun must have. All three are times of the loop."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Lines may have changed."""
        self._look_soon()
        self._woken.set()

    def ended(self, launch_plan_id: int | None) -> None:
        """An execution of this launch plan has ended, durably."""
        if launch_plan_id is None:
            return
        if self._ended is not None:
            self._ended.add(launch_plan_id)
        line = self._line_of.get(launch_plan_id)
        if line is not None:
            self._freed.add(line)
            self._woken.set()

    async def run(self) -> None:
        """Until cancelled. An outage of the database only delays."""
        while True:
            try:
                await self._round()
            except OSError as error:
                _log.warning("lines of launch plans not served, trying again", error=str(error))
                self._look_soon()
                await asyncio.sleep(RETRY_S)
            else:
                if not self._freed:
                    await self._wait()

    async def _round(self) -> None:
        if self._look_at <= _now():
            await self._look()
        failure: OSError | None = None
        freed, self._freed = self._freed, set()
        for line in freed:
            try:
                _ADMITTED.inc(await self._lines.admit(line))
            except OSError as error:  # the lock of one launch plan that is not to be had must not hold up the others
                failure = error
                self._freed.add(line)
        if failure is not None:
            raise failure

    async def _look(self) -> None:
        self._looked_at = _now()
        self._look_at = self._looked_at + self._poll_s
        self._ended = set()
        try:
            waiting = await self._lines.look()
        finally:
            ended, self._ended = self._ended, None
        _WAITING.set(waiting.count)
        self._line_of = {key: line for line in waiting.lines for key in line.launch_plan_ids}
        self._freed.update(line for line in waiting.lines if line.has_room)
        self._freed.update(self._line_of[key] for key in ended if key in self._line_of)
        self._overdue_at = None if waiting.next_begin_s is None else _now() + waiting.next_begin_s

    async def _wait(self) -> None:
        until = self._look_at if self._overdue_at is None else min(self._look_at, self._overdue_at)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._woken.wait()
        self._woken.clear()
        if self._overdue_at is not None and self._overdue_at <= _now():
            self._wake_intake()
            self._overdue_at = None
            self._look_soon()

    def _look_soon(self) -> None:
        self._look_at = min(self._look_at, self._looked_at + LOOK_S_MIN)


def _now() -> float:
    return asyncio.get_running_loop().time()
