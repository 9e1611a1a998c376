"""The simulated event loop: virtual time, processes that are killed and paused, and what it refuses."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.simulation.loop import BusyLoopError, DeadlockError, Process, SimulatedLoop


def _run(main: Callable[[SimulatedLoop], Awaitable[None]], seed: int = 0) -> None:
    loop = SimulatedLoop(random.Random(seed))

    async def body() -> None:
        await main(loop)

    loop.run(body())


def test_time_is_virtual() -> None:
    """An hour of sleep ends at once, an hour later."""

    async def main(loop: SimulatedLoop) -> None:
        await asyncio.sleep(3600)
        assert loop.time() == 3600

    _run(main)


def test_a_killed_process_does_nothing_more() -> None:
    """Neither its code after the wait nor what it scheduled runs; its `finally` blocks reach nobody."""
    seen: list[str] = []

    async def victim(process: Process) -> None:
        process.call_later(5, seen.append, "timer")
        try:
            await asyncio.sleep(1)
            seen.append("after")
        finally:
            process.call_later(0, seen.append, "finally")
            await asyncio.sleep(1)
            seen.append("cleaned up")

    async def main(loop: SimulatedLoop) -> None:
        process = loop.add_process("victim")
        process.spawn(victim(process), "victim")
        await asyncio.sleep(0.5)
        loop.kill(process)
        await asyncio.sleep(10)

    _run(main)
    assert seen == []


def test_a_fuse_kills_between_two_callbacks() -> None:
    """After so many callbacks of the process, wherever it is."""
    seen: list[int] = []

    async def victim() -> None:
        for number in range(100):
            seen.append(number)
            await asyncio.sleep(0)

    async def main(loop: SimulatedLoop) -> None:
        process = loop.add_process("victim")
        process.doom = lambda: loop.kill(process)
        process.fuse = 10
        process.spawn(victim(), "victim")
        await asyncio.sleep(1)

    _run(main)
    assert seen == list(range(10))


def test_a_paused_process_meets_its_timers_late() -> None:
    """It does nothing while paused, then everything that was due, in order."""
    seen: list[tuple[int, float]] = []

    async def sleeper(loop: SimulatedLoop) -> None:
        for number in range(2):
            await asyncio.sleep(1)
            seen.append((number, loop.time()))

    async def main(loop: SimulatedLoop) -> None:
        process = loop.add_process("sleeper")
        process.spawn(sleeper(loop), "sleeper")
        await asyncio.sleep(0.5)
        loop.pause(process)
        await asyncio.sleep(10)
        loop.resume(process)
        await asyncio.sleep(10)

    _run(main)
    assert seen == [(0, 10.5), (1, 11.5)]


def test_the_seed_orders_processes() -> None:
    """Callbacks of one process keep their order; how those of two interleave depends on the seed alone."""

    def interleaving(seed: int) -> list[str]:
        seen: list[str] = []

        async def main(loop: SimulatedLoop) -> None:
            for name in "ab":
                process = loop.add_process(name)
                for number in range(5):
                    process.call_later(0, seen.append, f"{name}{number}")
            await asyncio.sleep(1)

        _run(main, seed)
        assert [entry for entry in seen if entry[0] == "a"] == [f"a{number}" for number in range(5)]
        return seen

    assert interleaving(1) == interleaving(1)
    assert len({tuple(interleaving(seed)) for seed in range(10)}) > 5


def test_a_busy_loop_is_found() -> None:
    """Callbacks without end while no time passes are an error, not a hang."""

    async def main(_loop: SimulatedLoop) -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(BusyLoopError):
        _run(main)


def test_a_deadlock_is_found() -> None:
    """Waiting for what nobody will do is an error, not a hang."""

    async def main(loop: SimulatedLoop) -> None:
        await loop.create_future()

    with pytest.raises(DeadlockError):
        _run(main)


def test_threads_work_at_one_instant() -> None:
    """What is left to a thread is done later, as a whole, and its error reaches whoever waits."""

    async def main(loop: SimulatedLoop) -> None:
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        assert loop.time() > 0
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)

    _run(main)


def test_there_is_no_way_out() -> None:
    """Sockets are refused."""

    async def main(_loop: SimulatedLoop) -> None:
        with pytest.raises(NotImplementedError):
            await asyncio.open_connection("localhost", 80)

    _run(main)
