"""Whether lists, launches and watches keep their figures when the database already holds many executions.

    python -m loadtests.million [--executions 1000000] [--seconds 10]

Starts `wingbeat up` on a fresh folder and measures with 20,000 executions in it, so that pages of lists are full; fills
it by SQL; measures again. The last line is one JSON object with `before` and `after`, and `ratios` of the second to the
first (times: how much longer; rates: how much lower), which are to stay below 1.2:

    list_p50_ms, list_p99_ms          the 25 newest executions of one of ten projects, and of those that failed
    unary_p50_ms, unary_p99_ms        a launch alone, one after the other at 50 a second
    end_p50_ms, end_p99_ms            from the call until a watch has told of the end (an echo task)
    bulk_per_s                        launches in calls of 500, with keys, until the last one is durable
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from loadtests.filling import fill_executions
from loadtests.installation import database, installation
from loadtests.load.__main__ import register
from wingbeat import AsyncClient, Launch, Phase

_FIRST = 20_000
_UNARY_PER_S = 50
_BULK = 500
_BULKS = 20
_PLAN = "load.single"


async def _lists(client: AsyncClient, rounds: int) -> list[float]:
    times: list[float] = []
    for number in range(rounds):
        for phases in ((), (Phase.FAILED,)):
            began = time.perf_counter()
            found = [one async for one in client.executions(project=f"project-{number % 10}", phases=phases, limit=25)]
            times.append((time.perf_counter() - began) * 1000)
            assert found or phases, "the list is empty"
    return times


async def _launches(client: AsyncClient, seconds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each call, and from it until the watch told of the end."""
    run = uuid.uuid4().hex[:8]
    sent: dict[str, float] = {}
    ends: dict[str, float] = {}
    count = seconds * _UNARY_PER_S
    cursor = await client.cursor()

    async def watch() -> None:
        async for transition in client.watch(cursor=cursor):
            if transition.phase is Phase.SUCCEEDED and transition.execution.name.startswith(f"m{run}"):
                ends[transition.execution.name] = time.perf_counter()
                if len(ends) == count:
                    return

    watching = asyncio.create_task(watch())
    calls: list[float] = []
    start = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / _UNARY_PER_S - time.perf_counter()))
        name = f"m{run}-{number}"
        sent[name] = time.perf_counter()
        await client.launch(_PLAN, {"n": number}, name=name)
        calls.append((time.perf_counter() - sent[name]) * 1000)
    await asyncio.wait_for(watching, 60)
    return calls, [(ends[name] - sent[name]) * 1000 for name in sent]


async def _bulk_per_s(client: AsyncClient) -> float:
    run = uuid.uuid4().hex[:8]
    launches = [Launch(_PLAN, {"n": n}, key=f"{run}-{n}") for n in range(_BULK * _BULKS)]
    began = time.perf_counter()
    made = [one async for one in client.launch_many(launches, items_max=_BULK)]
    took = time.perf_counter() - began
    assert all(one.created for one in made), "some were not launched"
    async for _ in client.wait_many([one.require() for one in made], timeout_s=300):
        pass
    return len(made) / took


async def _measure(endpoint: str, seconds: int) -> dict[str, float]:
    async with AsyncClient(endpoint) as client:
        await client.launch(_PLAN, {"n": 0})  # learns the interface
        await _lists(client, 5)
        lists = await _lists(client, 100)
        calls, ends = await _launches(client, seconds)
        bulk = await _bulk_per_s(client)
    return {
        **_percentiles("list", lists),
        **_percentiles("unary", calls),
        **_percentiles("end", ends),
        "bulk_per_s": round(bulk),
    }


def _percentiles(name: str, milliseconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(milliseconds, n=100)
    return {f"{name}_p50_ms": round(cuts[49], 2), f"{name}_p99_ms": round(cuts[98], 2)}


def _ratios(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {
        key: round(before[key] / after[key] if key.endswith("_per_s") else after[key] / before[key], 2)
        for key in before
    }


async def _fill(dsn: str, count: int, first: int) -> None:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2, command_timeout=None) as pool:
        await fill_executions(pool, count, first=first)
        await pool.execute("CHECKPOINT")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=10, help="of single launches")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wingbeat-load-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with installation(folder) as endpoint:
            register(endpoint)
            dsn = database(folder)
            asyncio.run(_fill(dsn, _FIRST, 0))
            before = asyncio.run(_measure(endpoint, arguments.seconds))
            print(f"with {_FIRST} executions: {before}", file=sys.stderr)
            began = time.perf_counter()
            asyncio.run(_fill(dsn, arguments.executions, _FIRST))
            fill_s = time.perf_counter() - began
            after = asyncio.run(_measure(endpoint, arguments.seconds))
    answer = {"executions": arguments.executions, "fill_s": round(fill_s, 1), "before": before, "after": after}
    print(json.dumps({**answer, "ratios": _ratios(before, after)}))


if __name__ == "__main__":
    main()
