"""Attempts that outlived their reason are ended; what somebody waits for is left alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.integration.engine.harness import chain, engine, launch, register
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.engine.sweeper import Sweeper
from wingbeat_propeller.ports.runtime import Started
from wingbeat_propeller.ports.tasks import AttemptOrigin, ContainerRequest
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.runtimes.local import LocalRuntime, LocalRuntimeOptions, stop_hosts
from wingbeat_propeller.runtimes.local.paths import task_folder
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import read_claim

PATIENCE_S = 60.0


@pytest.fixture
async def options(tmp_path: Path) -> AsyncIterator[LocalRuntimeOptions]:
    """A local runtime's options; its tasks end with the test."""
    state = tmp_path / "state"
    yield LocalRuntimeOptions(
        state_dir=state, path="/usr/bin:/bin", logs_url_base="http://h/logs", kill_grace_s=0.5, capacity=50
    )
    await stop_hosts(state)


@asynccontextmanager
async def _running(runtime: LocalRuntime) -> AsyncIterator[LocalRuntime]:
    task = asyncio.create_task(runtime.run())
    try:
        yield runtime
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _start(options: LocalRuntimeOptions, origins: dict[str, AttemptOrigin]) -> dict[str, psutil.Process]:
    """Start a sleeping attempt for each origin, by an engine that is gone afterwards; returns their processes."""
    started = asyncio.Queue[str]()
    runtime = LocalRuntime(options)
    runtime.subscribe(lambda events: [started.put_nowait(event.name) for event in events if isinstance(event, Started)])
    processes: dict[str, psutil.Process] = {}
    async with _running(runtime), asyncio.timeout(PATIENCE_S):
        sleep = ["sleep", "600"]
        await runtime.launch([ContainerRequest(name, "any", sleep, {}, origin=origins[name]) for name in origins])
        for _ in origins:
            await started.get()
        for name in origins:
            while (claim := read_claim(str(task_folder(options.state_dir, name)))) is None:
                await asyncio.sleep(0.01)
            processes[name] = psutil.Process(claim.pid)
    return processes


async def _gone(process: psutil.Process) -> None:
    await asyncio.to_thread(process.wait, PATIENCE_S)


async def _executions(pool: asyncpg.Pool) -> None:
    """Three executions: `live` at attempt 1 of node n0, with node n1 ended; `ended`; `aborting`, not ended yet."""
    await launch(pool, await register(pool, chain("chain", 1)), ["live", "ended", "aborting"])
    await pool.execute("UPDATE executions SET phase = $1", ExecutionPhase.RUNNING)
    await pool.execute("UPDATE executions SET phase = $1 WHERE name = 'aborting'", ExecutionPhase.ABORTING)
    await pool.execute(
        "UPDATE executions SET phase = $1, ended_at = now() WHERE name = 'ended'", ExecutionPhase.ABORTED
    )
    await pool.execute(
        "INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, kind, phase, attempt, created_at,"
        " updated_at, ended_at)"
        " SELECT e.id, n.id, 1, n.id, 0, $1, 1, now(), now(), CASE WHEN n.id = 'n1' THEN now() END"
        " FROM executions AS e, (VALUES ('n0'), ('n1')) AS n (id)",
        NodePhase.RUNNING,
    )


def _origin(execution: str, node_id: str = "n0", attempt: int = 1, domain: str = "development") -> AttemptOrigin:
    return AttemptOrigin("flytesnacks", domain, execution, node_id, attempt)


async def test_who_is_unwanted(pool: asyncpg.Pool, database_url: str) -> None:
    """Unwanted are attempts of ended or unknown executions, of ended or unknown nodes, and superseded ones."""
    await _executions(pool)
    store = PostgresExecutionStore(pool, database_url)
    wanted = {"live": _origin("live"), "aborting": _origin("aborting"), "early": _origin("live", attempt=2)}
    unwanted = {
        "ended": _origin("ended"),
        "unknown": _origin("unknown"),
        "other domain": _origin("live", domain="staging"),
        "superseded": _origin("live", attempt=0),
        "node ended": _origin("live", "n1"),
        "unknown node": _origin("live", "n2"),
    }
    assert sorted(await store.unwanted(wanted | unwanted)) == sorted(unwanted)
    assert await store.unwanted({}) == ()


async def test_any_engine_ends_what_nobody_waits_for(
    pool: asyncpg.Pool, database_url: str, options: LocalRuntimeOptions
) -> None:
    """A sweep of another engine kills strays and lets wanted attempts run; later ones forget the strays."""
    await _executions(pool)
    origins = {"stray": _origin("ended"), "superseded": _origin("live", attempt=0), "wanted": _origin("live")}
    processes = await _start(options, origins)
    runtime = LocalRuntime(options)
    runtime.subscribe(lambda _: None)
    sweeper = Sweeper(runtime=runtime, store=PostgresExecutionStore(pool, database_url), interval_s=600)
    async with _running(runtime), asyncio.timeout(PATIENCE_S):
        await sweeper.sweep()
        await _gone(processes["stray"])
        await _gone(processes["superseded"])
        while set(await runtime.recorded()) != {"wanted"}:
            await sweeper.sweep()
    assert processes["wanted"].is_running()


async def test_an_engine_sweeps_when_it_starts(
    pool: asyncpg.Pool, database_url: str, options: LocalRuntimeOptions, tmp_path: Path
) -> None:
    """The engine that follows one that was killed ends the attempts which that one had not aborted yet."""
    processes = await _start(options, {"stray": _origin("ended")})
    async with engine(pool, database_url, tmp_path / "blobs", LocalRuntime(options)):
        await _gone(processes["stray"])
