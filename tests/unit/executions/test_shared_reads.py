"""Reads shared by callers at the same time."""

import asyncio

import pytest

from wingbeat_controlplane.executions.shared_reads import SharedReads


class _Reads:
    """Reads that tell their number; each waits until it is let go."""

    def __init__(self) -> None:
        self.count = 0
        self.let_go = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.let_go.acquire()
        if self.error is not None:
            raise self.error
        return number


async def _turns() -> None:
    """Let everything go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_whoever_asks_gets_a_read_that_begins_afterwards() -> None:
    """Those who ask while a read is under way share the next one, which begins when that has ended."""
    shared: SharedReads[str, int] = SharedReads()
    read = _Reads()
    first = [asyncio.create_task(shared.get("k", read)) for _ in range(3)]
    await _turns()
    later = [asyncio.create_task(shared.get("k", read)) for _ in range(3)]
    await _turns()
    assert read.count == 1
    read.let_go.release()
    assert await asyncio.gather(*first) == [1, 1, 1]
    await _turns()
    assert read.count == 2
    last = asyncio.create_task(shared.get("k", read))
    await _turns()
    read.let_go.release()
    assert await asyncio.gather(*later) == [2, 2, 2]
    read.let_go.release()
    assert await last == 3


async def test_other_keys_do_not_wait() -> None:
    """Each key has reads of its own."""
    shared: SharedReads[str, int] = SharedReads()
    slow, quick = _Reads(), _Reads()
    waiting = asyncio.create_task(shared.get("slow", slow))
    await _turns()
    quick.let_go.release()
    assert await shared.get("quick", quick) == 1
    slow.let_go.release()
    assert await waiting == 1


async def test_failures_are_for_those_who_shared_the_read() -> None:
    """A failed read fails for all who waited for it, and for nobody after them."""
    shared: SharedReads[str, int] = SharedReads()
    read = _Reads()
    read.error = ValueError("no")
    waiting = [asyncio.create_task(shared.get("k", read)) for _ in range(2)]
    await _turns()
    after = asyncio.create_task(shared.get("k", read))
    read.let_go.release()
    for one in waiting:
        with pytest.raises(ValueError, match="no"):
            await one
    read.error = None
    read.let_go.release()
    assert await after == 2


async def test_a_caller_that_goes_away() -> None:
    """The read goes on for the others, whoever of them brought it; and is over when nobody is left."""
    shared: SharedReads[str, int] = SharedReads()
    read = _Reads()
    gone, stays = (asyncio.create_task(shared.get("k", read)) for _ in range(2))
    await _turns()
    gone.cancel()
    await _turns()
    read.let_go.release()
    assert await stays == 1
    alone = asyncio.create_task(shared.get("k", read))
    await _turns()
    alone.cancel()
    read.let_go.release()
    await _turns()
    read.let_go.release()
    assert await shared.get("k", read) == 3
