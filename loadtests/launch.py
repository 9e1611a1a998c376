"""Unary launches at a steady rate while many executions are alive, and launches in bulk.

    python -m loadtests.launch [--rate 200] [--seconds 20] [--live 2000] [--bulk 40000]

Starts `wingbeat up` on a temporary folder, launches `live` executions that wait at a gate, and then, at `rate` a second
whatever the answers take, executions of three `echo` nodes that run to their end meanwhile. The time of a launch counts
from the moment it was due until it was answered. In the end every execution must have ended exactly once.

    unary_per_s, unary_p50_ms, unary_p99_ms   launches as their caller sees them
    ended_s                                   from the last launch until all launched executions had ended

`floor_p50_ms` and `floor_p99_ms` are the machine's own in the same run, at the same rate and with the same executions
alive: a call that does nothing but insert a row (see launch_floor.py). `floor_ratio` is floor_p99_ms by unary_p99_ms.

Launches in bulk (`bulk_per_s`, `copy_per_s`, `ratio`) follow on an installation of their own: see launch_bulk.py.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import asyncpg
import grpc
from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub

from loadtests.installation import DOMAIN, PROJECT, ROOT, database, installation
from loadtests.launch_bulk import measure_bulk
from loadtests.launch_floor import METHOD
from loadtests.programs_of_launches import Admin, identifier, register
from wingbeat_propeller.core.phases import ExecutionPhase

_CALLS_AT_ONCE = 32
_END_S_MAX = 120.0
_POLL_S = 0.1


async def launch(admin: Admin, plan: str, name: str) -> None:
    """Start one execution."""
    inputs = {} if plan == "load.hold" else {"x": _answer()}
    await admin.CreateExecution(
        execution_pb2.ExecutionCreateRequest(
            project=PROJECT,
            domain=DOMAIN,
            name=name,
            spec=execution_pb2.ExecutionSpec(launch_plan=identifier(identifier_pb2.LAUNCH_PLAN, plan)),
            inputs=literals_pb2.LiteralMap(literals=inputs),
        )
    )


async def paced(call: Callable[[int], Awaitable[object]], *, rate: float, count: int) -> Sequence[float]:
    """Make `count` calls, `rate` a second, without waiting for answers; seconds from when each was due."""
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.1

    async def one(number: int) -> float:
        due = start + number / rate
        await asyncio.sleep(due - loop.time())
        await call(number)
        return loop.time() - due

    return await asyncio.gather(*(one(number) for number in range(count)))


async def measure(rate: float, seconds: float, live: int) -> dict[str, object]:
    """Launch and compare; returns what is printed. Raises RuntimeError when an execution did not end as it should."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-launch-"))
    try:
        with installation(folder / "data") as endpoint:
            dsn = database(folder / "data")
            connection = await asyncpg.connect(dsn)
            async with grpc.aio.insecure_channel(endpoint) as channel:
                admin = cast("Admin", AdminServiceStub(channel))
                await register(admin)
                await _hold(admin, connection, live)
                count = round(rate * seconds)
                latencies = await paced(
                    lambda number: launch(admin, "load.move", f"move-{number}"), rate=rate, count=count
                )
                began = time.perf_counter()
                await _until(connection, "move-%", ExecutionPhase.SUCCEEDED, count)
                ended_s = time.perf_counter() - began
            with _floor(dsn) as port:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    insert = cast("Callable[[bytes], Awaitable[bytes]]", channel.unary_unary(METHOD))
                    await insert(b"warm")
                    floor = await paced(lambda _number: insert(bytes(200)), rate=rate, count=count)
            alive = await connection.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL")
            await connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if alive != live:
        raise RuntimeError(f"{alive} executions are alive, not the {live} that wait")
    unary, bare = _percentiles(latencies), _percentiles(floor)
    return {
        "rate": rate,
        "launched": count,
        "live": live,
        "unary_per_s": round(count / (count / rate + max(latencies)), 1),
        "unary_p50_ms": unary[0],
        "unary_p99_ms": unary[1],
        "ended_s": round(ended_s, 2),
        "floor_p50_ms": bare[0],
        "floor_p99_ms": bare[1],
        "floor_ratio": round(bare[1] / unary[1], 3),
    }


async def _hold(admin: Admin, connection: asyncpg.Connection, live: int) -> None:
    """Have that many executions wait at their gates."""
    gate = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            await launch(admin, "load.hold", f"hold-{number}")

    await asyncio.gather(*(one(number) for number in range(live)))
    await _until(connection, "hold-%", ExecutionPhase.RUNNING, live)


async def _until(connection: asyncpg.Connection, names: str, phase: ExecutionPhase, count: int) -> None:
    """Wait until `count` executions, and no others of these names, are in a phase. Raises RuntimeError."""
    deadline = time.perf_counter() + _END_S_MAX
    while True:
        rows = await connection.fetch(
            "SELECT phase, count(*) AS number FROM executions WHERE name LIKE $1 GROUP BY phase", names
        )
        phases = Counter({row["phase"]: row["number"] for row in rows})
        if phases == {phase: count}:
            return
        if time.perf_counter() > deadline:
            raise RuntimeError(f"executions {names} by phase: {dict(phases)}, not {count} {phase.name}")
        await asyncio.sleep(_POLL_S)


@contextmanager
def _floor(dsn: str) -> Generator[int]:
    """The floor's server for the time of the block; its port."""
    command = [sys.executable, "-m", "loadtests.launch_floor", dsn]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _answer() -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=42)))


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return round(cuts[49] * 1000, 2), round(cuts[98] * 1000, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.launch", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--live", type=int, default=2_000)
    parser.add_argument("--bulk", type=int, default=40_000)
    given = parser.parse_args()
    unary = asyncio.run(measure(given.rate, given.seconds, given.live))
    print(json.dumps({**unary, **asyncio.run(measure_bulk(given.bulk))}))


if __name__ == "__main__":
    main()
