"""The engine over real Postgres with the instant runtime."""

import asyncio
from pathlib import Path

import asyncpg

from tests.integration.engine.harness import chain, engine, launch, make_engine, register, wait_ended
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.runtimes.instant import InstantRuntime


async def test_executions_run_to_their_outputs(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """Launched executions end SUCCEEDED with outputs, and every node, attempt and transition is written."""
    workflow = await register(pool, chain("chain", 5))
    async with engine(pool, database_url, tmp_path, InstantRuntime()):
        await launch(pool, workflow, [f"e{i}" for i in range(40)])
        assert await wait_ended(pool, 40) == {ExecutionPhase.SUCCEEDED: 40}
    nodes = await pool.fetch("SELECT phase, count(*) AS n FROM node_executions GROUP BY phase")
    assert {row["phase"]: row["n"] for row in nodes} == {NodePhase.SUCCEEDED: 40 * 7}
    tasks = await pool.fetch("SELECT phase, count(*) AS n FROM task_executions GROUP BY phase")
    assert {row["phase"]: row["n"] for row in tasks} == {TaskPhase.SUCCEEDED: 40 * 5}
    row = await pool.fetchrow("SELECT outputs, inputs FROM executions LIMIT 1")
    assert row is not None
    assert row["outputs"].replace(b"o0", b"x") != row["inputs"]
    assert b"\x08\x07" in row["outputs"]


async def test_what_was_launched_before_the_engine_started_runs(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """Executions wait in the database for an engine; no notification is needed."""
    workflow = await register(pool, chain("chain", 2))
    await launch(pool, workflow, ["early1", "early2"])
    async with engine(pool, database_url, tmp_path, InstantRuntime()):
        assert await wait_ended(pool, 2) == {ExecutionPhase.SUCCEEDED: 2}


async def test_a_stop_without_a_database(
    pool: asyncpg.Pool, postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    """An engine with nothing left to write ends as ever when the database is away; its leases lapse."""
    running = asyncio.create_task(make_engine(pool, database_url, tmp_path, InstantRuntime()).run())
    while not await pool.fetchval("SELECT count(*) FROM shards WHERE term IS NOT NULL"):
        assert not running.done()
        await asyncio.sleep(0.02)
    name = await pool.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(postgres.dsn())
    try:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        running.cancel()
        await asyncio.wait([running])
    finally:
        await admin.close()
    assert running.cancelled()
