"""Real workers whose tasks are so quick that they line up in their children."""

import asyncio
import os
import random
from collections.abc import Set as AbstractSet
from functools import partial

import pytest
from tests.integration.workers.conftest import Engine, Installation, integer, result

from wingbeat.worker.pace import LINES_PER_PROCESSOR
from wingbeat_propeller.core.outcome import ErrorKind

LINES = LINES_PER_PROCESSOR * len(os.sched_getaffinity(0))
SLOTS = 2 * LINES


async def run_all(engine: Engine, tasks: dict[str, tuple[str, bytes]], aborted: frozenset[str] = frozenset()) -> None:
    """Hand all over as fast as the worker takes them, again if it gives one back, and wait for their ends; some are
    aborted as soon as they are handed over."""
    left = list(tasks)
    seen = len(engine.returned)
    expected = tasks.keys() - aborted
    while left:
        await engine.until(partial(_has_room, engine, left[0]))
        batch = [left.pop(0)]
        while left and engine.pool.take(engine.lane, left[0]):
            batch.append(left.pop(0))
        await engine.pool.launch([engine.request(tasks[name][0], name, tasks[name][1]) for name in batch])
        await engine.pool.abort([name for name in batch if name in aborted])
        if not left:
            await engine.until(partial(_is_over, engine, expected, seen))
        left += [name for name in engine.returned[seen:] if name not in aborted]
        seen = len(engine.returned)


def _has_room(engine: Engine, name: str) -> bool:
    return bool(engine.lane) and engine.pool.take(engine.lane, name)


def _is_over(engine: Engine, names: AbstractSet[str], returned: int) -> bool:
    return len(engine.returned) > returned or names <= {event.name for event in engine.ends()}


def _has_written(engine: Engine, name: str, stdout: str, stderr: str) -> bool:
    return (engine.log(name, "stdout"), engine.log(name, "stderr")) == (stdout, stderr)


async def warmed_up(installation: Installation, *flags: str) -> Engine:
    """An engine with a worker that has learnt how quick tasks are."""
    engine = await installation.engine()
    await installation.worker("--slots", str(SLOTS), *flags)
    await run_all(engine, {f"warm-{number}": ("increment", integer(value=number)) for number in range(100)})
    return engine


async def test_they_run_in_a_few_processes(installation: Installation) -> None:
    """Though there are more slots. When others use the machine too lines break, so there are several tries."""
    engine = await warmed_up(installation)
    for attempt in range(50):
        names = [f"process-{attempt}-{number}" for number in range(60)]
        await run_all(engine, dict.fromkeys(names, ("process", b"")))
        if len({result(await engine.ended(name)) for name in names[-30:]}) <= LINES:
            return
    pytest.fail("quick tasks have never lined up")


async def test_nothing_waits_behind_a_long_one(installation: Installation) -> None:
    """What stood in line behind it runs elsewhere."""
    engine = await warmed_up(installation)
    await engine.run("linger", "long")
    quick = {f"quick-{number}": ("increment", integer(value=number)) for number in range(100)}
    await run_all(engine, quick)
    for number, name in enumerate(quick):
        assert result(await engine.ended(name)) == number + 1
    await engine.pool.abort(["long"])


async def test_a_worker_that_drains_gives_its_lines_back(installation: Installation) -> None:
    """Each task ends once, in one worker or the other."""
    engine = await installation.engine()
    worker = await installation.worker("--slots", str(SLOTS))
    await run_all(engine, {f"warm-{number}": ("increment", integer(value=number)) for number in range(100)})
    tasks = {f"quick-{number}": ("increment", integer(value=number)) for number in range(600)}
    async with asyncio.TaskGroup() as group:
        group.create_task(run_all(engine, tasks))
        await engine.until(lambda: len(engine.ends()) > 150)
        worker.terminate()
        await installation.worker("--slots", str(SLOTS))
    assert await worker.wait() == 0
    ends = [event for event in engine.ends() if event.name in tasks]
    assert sorted(event.name for event in ends) == sorted(tasks)
    for end in ends:
        assert result(end) == int(end.name.rpartition("-")[2]) + 1


@pytest.mark.parametrize("seed", range(3))
async def test_each_has_its_own_end_and_its_own_output(installation: Installation, seed: int) -> None:
    """Among tasks that write, end their process, or are aborted, and in children that are replaced now and then."""
    engine = await warmed_up(installation, "--recycle-tasks", "40")
    draw = random.Random(seed)
    kinds = ("increment", "increment", "speak", "speak", "crash_quickly")
    weights = (30, 30, 20, 20, 3)
    tasks: dict[str, tuple[str, bytes]] = {}
    for number in range(400):
        [kind] = draw.choices(kinds, weights)
        value = integer(value=number) if kind == "increment" else integer(number=number)
        tasks[f"{kind}-{number}"] = (kind, value)
    aborted = frozenset(draw.sample(sorted(tasks), 20))
    await run_all(engine, tasks, aborted)
    ends = [event for event in engine.ends() if event.name in tasks]
    assert len({event.name for event in ends}) == len(ends)
    for end in ends:
        kind, _, number = end.name.partition("-")
        match kind:
            case "increment":
                assert result(end) == int(number) + 1
                assert _has_written(engine, end.name, "", "")
            case "speak":
                assert result(end) == int(number)
                line = f"{number}\n"
                streams = ("", line) if int(number) % 2 else (line, "")
                await engine.until(partial(_has_written, engine, end.name, *streams))
            case _:
                assert end.failure is not None
                assert (end.failure.kind, end.failure.retryable) == (ErrorKind.USER, True)
                assert f"crash {number}" in end.failure.message
                await engine.until(partial(_has_written, engine, end.name, "", f"crash {number}\n"))
