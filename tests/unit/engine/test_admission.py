"""When lines are looked up and whom is let go, with simulated time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wingbeat_propeller.engine.admission import LOOK_S_MIN, RETRY_S, Admission
from wingbeat_propeller.ports.lines import Line, Waiting

pytestmark = pytest.mark.looptime

POLL_S = 5.0


class _Lines:
    """Counts what is asked."""

    def __init__(self) -> None:
        self.has_room = False
        self.next_begin_s: float | None = None
        self.looks: list[float] = []
        self.admitted: list[float] = []
        self.others: list[float] = []
        """When the line of the other launch plan was asked for."""
        self.stuck = False
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def line(self) -> Line:
        return Line("p", "d", "plan", frozenset({1, 2}), self.has_room)

    async def look(self) -> Waiting:
        other = Line("p", "d", "other", frozenset({7}), has_room=False)
        seen = Waiting(2, self.next_begin_s, [self.line, other])
        await self.gate.wait()
        self.looks.append(asyncio.get_running_loop().time())
        if self.failures:
            self.failures -= 1
            raise OSError("the database is away")
        return seen

    async def admit(self, line: Line) -> int:
        now = asyncio.get_running_loop().time()
        if line != self.line:
            self.others.append(now)
        elif self.stuck:
            raise OSError("the lock is not to be had")
        else:
            self.admitted.append(now)
        return 1


@asynccontextmanager
async def _running(lines: _Lines) -> AsyncIterator[tuple[Admission, list[float]]]:
    woken: list[float] = []
    admission = Admission(lines, poll_s=POLL_S, wake_intake=lambda: woken.append(asyncio.get_running_loop().time()))
    task = asyncio.create_task(admission.run())
    try:
        yield admission, woken
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_an_end_lets_the_next_go_at_once() -> None:
    """Any version of a launch plan with a line will do; others are nobody's concern, and nothing is looked up."""
    lines = _Lines()
    async with _running(lines) as (admission, _):
        await asyncio.sleep(1)
        admission.ended(2)
        admission.ended(3)
        admission.ended(None)
        await asyncio.sleep(1)
    assert lines.looks == [0.0]
    assert lines.admitted == [1.0]


async def test_an_end_while_lines_are_looked_up() -> None:
    """What the look was too early to see is asked for after it."""
    lines = _Lines()
    lines.gate.clear()
    async with _running(lines) as (admission, _):
        await asyncio.sleep(1)
        admission.ended(1)
        lines.gate.set()
        await asyncio.sleep(1)
    assert lines.admitted == [1.0]


async def test_room_that_nobody_told_of_is_found_by_the_poll() -> None:
    """However often executions end meanwhile, lines are looked up in time."""
    lines = _Lines()
    async with _running(lines) as (admission, _):
        await asyncio.sleep(0.5)
        lines.has_room = True
        for _ in range(100):
            await asyncio.sleep(0.1)
            admission.ended(99)
    assert lines.looks == pytest.approx([0.0, 5.0, 10.0])
    assert lines.admitted == pytest.approx([5.0, 10.0])


async def test_a_notification_is_followed_at_once() -> None:
    """The line is looked up, and its room used."""
    lines = _Lines()
    async with _running(lines) as (admission, _):
        await asyncio.sleep(2)
        lines.has_room = True
        admission.wake()
        await asyncio.sleep(1)
    assert lines.looks == [0.0, 2.0]
    assert lines.admitted == [2.0]


async def test_many_notifications_are_followed_by_few_looks() -> None:
    """A look now and then, and one after the last notification."""
    lines = _Lines()
    async with _running(lines) as (admission, _):
        await asyncio.sleep(1)
        for _ in range(100):
            admission.wake()
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
    assert len(lines.looks) <= 2 + 1 / LOOK_S_MIN
    assert lines.looks[-1] >= 1.99


async def test_one_launch_plan_does_not_hold_up_others() -> None:
    """A line whose lock is not to be had is tried again; meanwhile the others move."""
    lines = _Lines()
    lines.stuck = True
    async with _running(lines) as (admission, _):
        await asyncio.sleep(1)
        admission.ended(1)
        admission.ended(7)
        await asyncio.sleep(1)
        assert lines.others == [1.0]
        assert lines.admitted == []
        lines.stuck = False
        await asyncio.sleep(1)
    assert len(lines.admitted) == 1


async def test_intake_hears_of_overdue_executions() -> None:
    """At the moment itself, once, and the next moment is asked for."""
    lines = _Lines()
    lines.next_begin_s = 3.0
    async with _running(lines) as (_, woken):
        await asyncio.sleep(1)
        lines.next_begin_s = None
        await asyncio.sleep(3)
    assert woken == [3.0]
    assert lines.looks == [0.0, 3.0]


async def test_an_outage_delays() -> None:
    """It is tried again until it works."""
    lines = _Lines()
    lines.failures = 3
    lines.has_room = True
    async with _running(lines):
        await asyncio.sleep(4)
    assert lines.admitted == [pytest.approx(3 * RETRY_S)]
