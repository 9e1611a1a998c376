"""Watch streams: how long from a commit to the client, and what a thousand watchers cost.

    python -m loadtests.watch [--rate 5000] [--seconds 10] [--streams 2] [--watchers 1000] [--watched-rate 500]

Starts `wingbeat up` without engines. Two writers of their own processes commit `rate` transitions a second together,
through the journal that engines use, while `streams` clients watch all of them. Then `watchers` clients watch one
execution each while `watched_rate` transitions a second are written for all of those.

    p50_ms, p99_ms      from the moment the writer knew of the commit until the client had the transition
    decided_p99_ms      the same from its submission to the journal, the commit included
    lost, doubled       transitions that a client of either part did not get, or got again; must be 0
    kib_per_watcher     memory of the server's process for each of the watchers, while they watch and are served
    watchers_p99_ms     as p99_ms, for the thousand
    server_cpu          processors that the server took while `rate` was written

`floor_p50_ms` and `floor_p99_ms` are the machine's own in the same run: a loop that asks the bare table for new rows,
at the same rate, and hands them to nobody. `ratio` is floor_p99_ms by p99_ms.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

import asyncpg
import grpc
import psutil

from loadtests.database import insert_executions, register_workflow
from loadtests.installation import DOMAIN, PROJECT, ROOT, database, installation
from loadtests.shapes import Shape, compiled_workflow
from wingbeat_propeller.postgres.transitions import TransitionPartitions
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2
from wingbeatidl.watch.v1.watch_pb2_grpc import WatchServiceStub

_WRITERS = 2
_STREAMS_A_CHANNEL = 100
_PATIENCE_S = 60.0

Key = tuple[int, int]
"""Execution and number of the node: one transition."""


class Watch(Protocol):
    """What is used of WatchService over grpc.aio; its generated stub carries no types."""

    def WatchTransitions(  # noqa: N802
        self, request: watch_pb2.WatchTransitionsRequest
    ) -> AsyncIterator[watch_pb2.WatchTransitionsResponse]: ...


@dataclass(slots=True)
class Written:
    """What the writers wrote: when each was submitted, and when it was known to be durable."""

    submitted: dict[Key, float] = field(default_factory=dict[Key, float])
    durable: dict[Key, float] = field(default_factory=dict[Key, float])


@dataclass(slots=True)
class Client:
    """One stream, and when each transition came."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[tuple[Key, float]] = field(default_factory=list[tuple[Key, float]])
    wanted: int | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self, stub: Watch, names: Mapping[str, int], only: str = "") -> None:
        """Until cancelled."""
        chosen = watch_pb2.TransitionFilter(project=PROJECT, domain=DOMAIN, executions=[only] if only else [])
        request = watch_pb2.WatchTransitionsRequest(filter=chosen, levels=[transition_pb2.LEVEL_NODE])
        async for response in stub.WatchTransitions(request):
            now = time.monotonic()
            self.ready.set()
            for one in response.transitions:
                self.seen.append(((names[one.execution.name], int(one.node.node_id[1:])), now))
            self.look()

    def expect(self, count: int) -> None:
        """So many are written; `done` once they have come."""
        self.wanted = count
        self.look()

    def look(self) -> None:
        """Has everything come?"""
        if self.wanted is not None and len(self.seen) >= self.wanted:
            self.done.set()


async def measure(
    *, rate: float, seconds: float, streams: int, watchers: int, watched_rate: float
) -> dict[str, object]:
    """Measure; returns what is printed. Raises RuntimeError when anything was lost or doubled."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-watch-"))
    environment = {"WINGBEAT_PROPELLER__COUNT": "0", "WINGBEAT_SERVER__WATCHERS_MAX": str(watchers + streams)}
    try:
        with installation(folder / "data", environment) as endpoint:
            load = await _prepare(folder, endpoint, max(watchers, 100))
            try:
                all_of_them = await load.everything(rate, seconds, streams)
                each = await load.one_each(watched_rate, seconds, watchers)
                floor = await load.floor(rate, seconds)
            finally:
                await load.pool.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lost = all_of_them.pop("lost") + each.pop("lost")
    doubled = all_of_them.pop("doubled") + each.pop("doubled")
    result: dict[str, object] = {
        "rate": rate,
        **all_of_them,
        **each,
        "lost": lost,
        "doubled": doubled,
        **floor,
        "ratio": round(floor["floor_p99_ms"] / all_of_them["p99_ms"], 3),
    }
    if lost or doubled:
        raise RuntimeError(f"the streams do not tell the truth: {result}")
    return result


@dataclass(slots=True)
class _Load:
    folder: Path
    endpoint: str
    dsn: str
    pool: asyncpg.Pool
    names: Mapping[str, int]
    server: psutil.Process

    async def everything(self, rate: float, seconds: float, streams: int) -> dict[str, float]:
        """All transitions to each of a few clients."""
        async with _clients(self.endpoint, self.names, [""] * streams) as clients:
            cpu_before, began = sum(self.server.cpu_times()[:2]), time.monotonic()
            written = await self._write(rate, seconds)
            took_s = time.monotonic() - began
            cpu_s = sum(self.server.cpu_times()[:2]) - cpu_before
            for client in clients:
                client.expect(len(written.durable))
            await _all([client.done for client in clients])
        lost, doubled = _truth(clients, [written.durable.keys()] * streams)
        latencies = [at - written.durable[key] for client in clients for key, at in client.seen]
        decided = [at - written.submitted[key] for client in clients for key, at in client.seen]
        p50, p99 = _percentiles_ms(latencies)
        return {
            "written_per_s": round(len(written.durable) / seconds, 1),
            "streams": streams,
            "p50_ms": p50,
            "p99_ms": p99,
            "decided_p99_ms": _percentiles_ms(decided)[1],
            "server_cpu": round(cpu_s / took_s, 2),
            "lost": lost,
            "doubled": doubled,
        }

    async def one_each(self, rate: float, seconds: float, watchers: int) -> dict[str, float]:
        """One execution to each of many clients."""
        watched = list(self.names)[:watchers]
        before = self.server.memory_info().rss
        async with _clients(self.endpoint, self.names, watched) as clients:
            written = await self._write(rate, seconds, executions=watchers)
            by_execution = Counter(execution for execution, _ in written.durable)
            for client, name in zip(clients, watched, strict=True):
                client.expect(by_execution[self.names[name]])
            await _all([client.done for client in clients])
            after = self.server.memory_info().rss
        wanted = [{key for key in written.durable if key[0] == self.names[name]} for name in watched]
        lost, doubled = _truth(clients, wanted)
        latencies = [at - written.durable[key] for client in clients for key, at in client.seen]
        p50, p99 = _percentiles_ms(latencies)
        return {
            "watchers": watchers,
            "kib_per_watcher": round((after - before) / 1024 / watchers, 1),
            "watchers_rate": rate,
            "watchers_p50_ms": p50,
            "watchers_p99_ms": p99,
            "lost": lost,
            "doubled": doubled,
        }

    async def floor(self, rate: float, seconds: float) -> dict[str, float]:
        """The bare table asked by a bare loop."""
        connection = await asyncpg.connect(self.dsn)
        seen: dict[Key, float] = {}
        first = await connection.fetchval("SELECT max(seq) FROM transitions")
        stop = asyncio.Event()

        async def poll(last: int) -> None:
            # In the order of numbers, looking back far enough for those that become visible late.
            while True:
                since = max(first, last - 2_000)
                rows = await connection.fetch(
                    "SELECT seq, execution_id, node_id FROM transitions_today WHERE seq > $1", since
                )
                now = time.monotonic()
                for row in rows:
                    seen.setdefault((row["execution_id"], int(row["node_id"][1:])), now)
                    last = max(last, row["seq"])
                if stop.is_set():
                    return
                await asyncio.sleep(0.005)

        await connection.execute(
            f"CREATE TEMP VIEW transitions_today AS SELECT * FROM transitions_{datetime.now(UTC):%Y%m%d}"
        )
        await self.pool.execute(f"CREATE INDEX ON transitions_{datetime.now(UTC):%Y%m%d} (seq)")
        polling = asyncio.create_task(poll(first), name="floor")
        written = await self._write(rate, seconds)
        stop.set()
        await polling
        await connection.close()
        p50, p99 = _percentiles_ms([seen[key] - at for key, at in written.durable.items() if key in seen])
        return {"floor_p50_ms": p50, "floor_p99_ms": p99}

    async def _write(self, rate: float, seconds: float, executions: int = 0) -> Written:
        """Have the writers write, each for its half of the executions."""
        ids = sorted(self.names.values())[: executions or None]
        await self.pool.execute("DELETE FROM node_executions")
        half = max(1, len(ids) // _WRITERS)
        parts = [ids[half * number : half * (number + 1)] for number in range(_WRITERS)]
        processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "loadtests.watch_writer", self.dsn, str(rate / _WRITERS), str(seconds)),
                *(str(part[0]), str(len(part)), str(self.folder / "blobs")),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 30,
            )
            for part in parts
            if part
        ]
        written = Written()
        for process in processes:
            output, _ = await process.communicate()
            if process.returncode:
                raise RuntimeError(f"a writer ended with {process.returncode}")
            for execution, number, submitted, durable in json.loads(output):
                written.submitted[execution, number] = submitted
                written.durable[execution, number] = durable
        return written


class _clients:  # noqa: N801 - used as a function
    """Streams for the time of the block, all of them ready."""

    def __init__(self, endpoint: str, names: Mapping[str, int], watched: Sequence[str]) -> None:
        self._endpoint = endpoint
        self._names = names
        self._watched = watched
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> list[Client]:
        clients = [Client() for _ in self._watched]
        options = [("grpc.use_local_subchannel_pool", 1)]
        for begin in range(0, len(clients), _STREAMS_A_CHANNEL):
            channel = grpc.aio.insecure_channel(self._endpoint, options=options)
            stub = cast("Watch", WatchServiceStub(await self._stack.enter_async_context(channel)))
            for number in range(begin, min(begin + _STREAMS_A_CHANNEL, len(clients))):
                watching = clients[number].watch(stub, self._names, self._watched[number])
                self._tasks.append(asyncio.create_task(watching, name=f"watch {number}"))
        await _all([client.ready for client in clients], self._tasks)
        return clients

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()


async def _all(events: Sequence[asyncio.Event], tasks: Sequence["asyncio.Task[None]"] = ()) -> None:
    """Wait for all events. Raises RuntimeError when they do not come, and what ended a task before."""
    waiting = asyncio.gather(*(event.wait() for event in events))
    await asyncio.wait([waiting, *tasks], timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        for task in tasks:
            if task.done():
                task.result()
        raise RuntimeError("the streams have not got all that was written")


def _truth(clients: Sequence[Client], wanted: Sequence[Collection[Key]]) -> tuple[int, int]:
    """How many transitions were lost and how many came again."""
    lost = doubled = 0
    for client, keys in zip(clients, wanted, strict=True):
        counts = Counter(key for key, _ in client.seen)
        lost += sum(key not in counts for key in keys)
        doubled += sum(count - 1 for count in counts.values())
    return lost, doubled


async def _prepare(folder: Path, endpoint: str, executions: int) -> _Load:
    dsn = database(folder / "data")
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    await TransitionPartitions(pool).keep(datetime.now(UTC).date())
    workflow = await register_workflow(pool, compiled_workflow(Shape.CHAIN, 1))
    await insert_executions(pool, workflow, [f"w{number}" for number in range(executions)])
    # Ended, so that no engine would take them up.
    rows = await pool.fetch("UPDATE executions SET phase = 4, ended_at = now() RETURNING id, name")
    names = {row["name"]: row["id"] for row in sorted(rows, key=lambda row: row["id"])}
    state = json.loads((folder / "data" / "state.json").read_text())
    return _Load(folder, endpoint, dsn, pool, names, psutil.Process(state["processes"]["server"]["pid"]))


def _percentiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return round(cuts[49] * 1000, 2), round(cuts[98] * 1000, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.watch", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rate", type=float, default=5_000.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--watched-rate", type=float, default=500.0)
    given = parser.parse_args()
    print(
        json.dumps(
            asyncio.run(
                measure(
                    rate=given.rate,
                    seconds=given.seconds,
                    streams=given.streams,
                    watchers=given.watchers,
                    watched_rate=given.watched_rate,
                )
            )
        )
    )


if __name__ == "__main__":
    main()
