"""The timer wheel, with hours of timers in simulated time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from wingbeat_propeller.engine.timer_wheel import DUE_MAX, TimerWheel

pytestmark = pytest.mark.looptime


class _Fired:
    """Remembers (key, time) of what came due; time is the loop's, moved to an epoch of its own."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, float]] = []
        self.batches: list[int] = []

    def clock(self) -> float:
        return asyncio.get_running_loop().time() + 1_000_000

    def __call__(self, due: Sequence[str]) -> None:
        self.batches.append(len(due))
        self.keys += [(key, self.clock() - 1_000_000) for key in due]


@asynccontextmanager
async def _running(fired: _Fired) -> AsyncIterator[TimerWheel[str]]:
    wheel: TimerWheel[str] = TimerWheel(fired, fired.clock)
    task = asyncio.create_task(wheel.run())
    try:
        yield wheel
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_keys_come_due_in_order_of_time() -> None:
    """Each key fires once, at its time, also when a later one was set before."""
    fired = _Fired()
    async with _running(fired) as wheel:
        now = fired.clock()
        wheel.set("hour", now + 3600)
        wheel.set("minute", now + 60)
        await asyncio.sleep(1)
        wheel.set("second", fired.clock() + 1)
        wheel.set("past", fired.clock() - 5)
        await asyncio.sleep(4000)
    assert [key for key, _ in fired.keys] == ["past", "second", "minute", "hour"]
    assert [round(at) for _, at in fired.keys] == [1, 2, 60, 3600]
    assert len(wheel) == 0


async def test_setting_again_moves_and_cancelling_forgets() -> None:
    """A key has one due time, the last; a cancelled one never fires."""
    fired = _Fired()
    async with _running(fired) as wheel:
        now = fired.clock()
        wheel.set("moved", now + 10)
        wheel.set("moved", now + 100)
        wheel.set("gone", now + 20)
        assert wheel.cancel("gone")
        assert not wheel.cancel("gone")
        await asyncio.sleep(1000)
    assert [(key, round(at)) for key, at in fired.keys] == [("moved", 100)]


async def test_many_due_at_once_come_in_batches() -> None:
    """The sink is never handed more than the limit, and nothing is left out."""
    fired = _Fired()
    async with _running(fired) as wheel:
        at = fired.clock() + 5
        for number in range(2 * DUE_MAX + 1):
            wheel.set(str(number), at)
        await asyncio.sleep(10)
    assert fired.batches == [DUE_MAX, DUE_MAX, 1]
    assert len({key for key, _ in fired.keys}) == 2 * DUE_MAX + 1


def test_forgotten_entries_do_not_pile_up() -> None:
    """Moving one timer for ever keeps the heap small."""
    wheel: TimerWheel[str] = TimerWheel(lambda _: None, lambda: 0.0)
    for number in range(10_000):
        wheel.set("only", float(number))
    assert len(wheel._heap) < 200
    assert wheel.take_due(9_998.0) == []
    assert wheel.take_due(9_999.0) == ["only"]
