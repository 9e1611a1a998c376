"""Eight engines write while ten watchers watch, and servers and engines are killed at moments drawn from a seed.

The log itself is the witness: each watcher must have had every entry of it once, and those of an execution in their
order. pytest prints the seed; WINGBEAT_TEST_SEED replays it.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import grpc
import psutil
import pytest
from tests.integration.engine.harness import chain, launch, register, wait_ended
from tests.integration.watch.conftest import request

from wingbeat_controlplane.supervisor.ports import hold_port
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2_grpc

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
ENGINES = 8
WATCHERS = 10
EXECUTIONS = 300
NODES = 4
LEASE_S = 3.0
SERVER_KILLS = 4
ENGINE_KILLS = 6
PATIENCE_S = 120

ENTRY = "INSERT INTO transitions (execution_id, phase, at) SELECT min(id), 0, now() FROM executions RETURNING seq"
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
CHANNEL = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]


class Processes:
    """Engines and a server, which tests kill."""

    def __init__(self, spawner: "subprocess.Popen[str]") -> None:
        self._spawner = spawner
        self.pids: list[int] = []
        self.port = hold_port("127.0.0.1", 0, "")
        """Of the server, however often it is killed."""

    def start(self, role: str, argument: object) -> int:
        """A new process; returns its pid."""
        assert self._spawner.stdin is not None
        assert self._spawner.stdout is not None
        self._spawner.stdin.write(f"{role} {argument}\n")
        self.pids.append(int(self._spawner.stdout.readline()))
        return self.pids[-1]

    def start_engine(self) -> int:
        """A new engine; returns its pid."""
        return self.start("engine", f"engine-{len(self.pids)}")

    def revive(self, engines: list[int]) -> None:
        """Put others in the places of engines that ended by themselves: a busy machine can take the lease of any."""
        engines[:] = [pid if psutil.pid_exists(pid) else self.start_engine() for pid in engines]

    def kill(self, pid: int) -> None:
        """Without warning; it may have ended by itself, for want of its lease."""
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def processes(database_url: str, tmp_path: Path) -> Iterator[Processes]:
    """Nothing runs yet; whatever is started ends with the test."""
    command = [sys.executable, "-m", "tests.integration.watch.spawner", database_url, str(tmp_path), str(LEASE_S)]
    spawner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert spawner.stdin is not None
    assert spawner.stdout is not None
    running = Processes(spawner)
    try:
        yield running
    finally:
        for pid in running.pids:
            running.kill(pid)
        running.port.close()
        spawner.stdin.close()
        spawner.wait(PATIENCE_S)
        spawner.stdout.close()


async def _watch(port: int, levels: tuple[int, ...], started: asyncio.Event, last: asyncio.Future[int]) -> list:
    """Entries in the order they came, up to the last one, over as many streams as it takes."""
    seen: list[tuple[int, str]] = []
    cursor = ""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL) as channel:
        stub = watch_pb2_grpc.WatchServiceStub(channel)
        while True:
            call = stub.WatchTransitions(request(cursor=cursor, levels=levels, oldest=True), wait_for_ready=True)
            try:
                async for response in call:
                    seen += [(one.entry, one.execution.name) for one in response.transitions]
                    cursor = response.cursor
                    started.set()
                    if last.done() and any(entry == last.result() for entry, _ in seen[-2000:]):
                        return seen
            except grpc.aio.AioRpcError as error:
                if error.code() not in AGAIN:
                    raise


@pytest.mark.long
async def test_every_transition_once(pool: asyncpg.Pool, processes: Processes, tmp_path: Path) -> None:
    """Whatever is killed: each of ten watchers, some of executions and some of nodes as well, gets every entry once."""
    print(f"WINGBEAT_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    server = processes.start("server", processes.port.number)
    engines = [processes.start_engine() for _ in range(ENGINES)]
    workflow = await register(pool, chain("chain", NODES))
    last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    levels = [(transition_pb2.LEVEL_EXECUTION,), (transition_pb2.LEVEL_EXECUTION, transition_pb2.LEVEL_NODE)]
    started = [asyncio.Event() for _ in range(WATCHERS)]
    watching = [
        asyncio.create_task(_watch(processes.port.number, levels[number % 2], started[number], last))
        for number in range(WATCHERS)
    ]
    await asyncio.gather(*(event.wait() for event in started))
    kills = sorted(
        [(dice.randrange(EXECUTIONS), "server") for _ in range(SERVER_KILLS)]
        + [(dice.randrange(EXECUTIONS), "engine") for _ in range(ENGINE_KILLS)]
    )
    names = [f"e{number}" for number in range(EXECUTIONS)]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_current_xact_id()")  # who began first writes last
        await launch(pool, workflow, names[:1])
        await wait_ended(pool, 1, PATIENCE_S, meanwhile=lambda: processes.revive(engines))
        late = await connection.fetchval(ENTRY)
    begin = 1
    for ended, role in [*kills, (EXECUTIONS, "")]:
        upto = max(begin, ended + 1)
        await launch(pool, workflow, names[begin:upto])
        begin = upto
        await wait_ended(pool, min(ended, EXECUTIONS), PATIENCE_S, meanwhile=lambda: processes.revive(engines))
        if role == "server":
            processes.kill(server)
            server = processes.start("server", processes.port.number)
        elif role == "engine":
            place = dice.randrange(ENGINES)
            processes.kill(engines[place])
            engines[place] = processes.start_engine()
    # A last entry, after which nothing comes.
    last.set_result(await pool.fetchval(ENTRY))
    seen = await asyncio.wait_for(asyncio.gather(*watching), PATIENCE_S)
    rows = await pool.fetch("SELECT seq, txid, node_id FROM transitions ORDER BY seq")
    txids = [row["txid"] for row in rows]
    assert txids != sorted(txids), "nothing was out of order"
    everything = [row["seq"] for row in rows]
    of_executions = [row["seq"] for row in rows if row["node_id"] is None]
    for number, entries in enumerate(seen):
        assert sorted(seq for seq, _ in entries) == (everything if number % 2 else of_executions), f"seed {SEED}"
        order: dict[str, list[int]] = defaultdict(list)
        for seq, name in entries:
            order[name].append(seq)
        for name, some in order.items():
            of_engines = [seq for seq in some if seq not in (late, last.result())]
            assert of_engines == sorted(of_engines), f"seed {SEED}: {name}"
    said = (tmp_path / "processes.log").read_text()
    assert "Traceback" not in said, said[-3000:]
