"""Sharing of identical calls."""

import asyncio

import pytest

from wingbeat_controlplane.errors import ApiError, invalid_argument
from wingbeat_controlplane.executions import repeats
from wingbeat_controlplane.executions.repeats import Repeats


class _Calls:
    """Counts calls; each waits until it is let go."""

    def __init__(self) -> None:
        self.count = 0
        self.let_go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.let_go.wait()
        if self.error is not None:
            raise self.error
        return number


async def test_calls_at_once_share_one() -> None:
    """Four identical calls make one; all get its answer."""
    shared: Repeats[int] = Repeats(3.0)
    call = _Calls()
    waiting = [asyncio.create_task(shared.once(b"k", call)) for _ in range(4)]
    await asyncio.sleep(0)
    call.let_go.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1, 1]
    assert call.count == 1


async def test_window() -> None:
    """The answer is remembered for the window and no longer; another key never gets it."""
    now = 100.0
    shared: Repeats[int] = Repeats(3.0, clock=lambda: now)
    call = _Calls()
    call.let_go.set()
    assert await shared.once(b"k", call) == 1
    now = 102.9
    assert await shared.once(b"k", call) == 1
    assert await shared.once(b"other", call) == 2
    now = 103.0
    assert await shared.once(b"k", call) == 3


async def test_failures_are_not_remembered() -> None:
    """Those who share a failed call all see it; the next one is made."""
    shared: Repeats[int] = Repeats(3.0)
    call = _Calls()
    call.error = invalid_argument("no")
    waiting = [asyncio.create_task(shared.once(b"k", call)) for _ in range(2)]
    await asyncio.sleep(0)
    call.let_go.set()
    for each in waiting:
        with pytest.raises(ApiError, match="no"):
            await each
    call.error = None
    assert await shared.once(b"k", call) == 2


async def test_a_caller_that_goes_away_undoes_nothing() -> None:
    """The call goes on; who repeats it gets its answer, and `drained` waits for it."""
    shared: Repeats[int] = Repeats(3.0)
    call = _Calls()
    first = asyncio.create_task(shared.once(b"k", call))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    drained = asyncio.create_task(shared.drained())
    await asyncio.sleep(0)
    assert not drained.done()
    call.let_go.set()
    await drained
    assert await shared.once(b"k", call) == 1


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old answers go first, and too many calls under way are refused."""
    monkeypatch.setattr(repeats, "ANSWERS_MAX", 2)
    monkeypatch.setattr(repeats, "RUNNING_MAX", 1)
    shared: Repeats[int] = Repeats(3.0)
    call = _Calls()
    call.let_go.set()
    for key in (b"a", b"b", b"c"):
        await shared.once(key, call)
    assert await shared.once(b"c", call) == 3
    assert await shared.once(b"a", call) == 4
    call.let_go.clear()
    waiting = asyncio.create_task(shared.once(b"x", call))
    await asyncio.sleep(0)
    with pytest.raises(ApiError, match="too many"):
        await shared.once(b"y", call)
    call.let_go.set()
    await waiting


async def test_no_window_shares_nothing() -> None:
    """A window of 0 turns it off."""
    shared: Repeats[int] = Repeats(0.0)
    call = _Calls()
    call.let_go.set()
    assert [await shared.once(b"k", call) for _ in range(2)] == [1, 2]
