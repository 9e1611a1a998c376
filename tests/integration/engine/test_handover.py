"""Shards that move between engines: nothing is lost, nothing is started twice."""

import asyncio
from pathlib import Path

import asyncpg

from tests.integration.engine.harness import chain, engine, launch, register, wait_ended
from tests.integration.engine.machine import Machine, SharedRuntime
from wingbeat_propeller.core.phases import ExecutionPhase


async def _owners(pool: asyncpg.Pool) -> list[int]:
    rows = await pool.fetch("SELECT count(*) AS n FROM shards WHERE term IS NOT NULL GROUP BY term ORDER BY n")
    return [row["n"] for row in rows]


async def _wait_owners(pool: asyncpg.Pool, count: int) -> None:
    async with asyncio.timeout(60):
        while len(owners := await _owners(pool)) != count or sum(owners) != 256:
            await asyncio.sleep(0.02)


async def test_work_moves_when_an_engine_joins_and_leaves(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """A second engine takes over about half of the shards with the attempts under way in them, and gives them back
    when it leaves; every attempt is started once and every execution succeeds."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 3))
    names = [f"e{i}" for i in range(60)]
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine), name="a"):
        await _wait_owners(pool, 1)
        await launch(pool, workflow, names)
        await machine.wait_started(60)
        async with engine(pool, database_url, tmp_path, SharedRuntime(machine), name="b") as second:
            await _wait_owners(pool, 2)
            assert min(await _owners(pool)) > 64
            async with asyncio.timeout(60):
                while len(second.live) < 10:
                    await asyncio.sleep(0.02)
            machine.end_all()
            await machine.wait_started(120)
        await _wait_owners(pool, 1)
        async with asyncio.timeout(60):
            while await pool.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL"):
                machine.end_all()
                await asyncio.sleep(0.05)
        assert await wait_ended(pool, 60) == {ExecutionPhase.SUCCEEDED: 60}
    assert set(machine.starts.values()) == {1}
    assert len(machine.starts) == 180


async def test_one_name_in_two_domains(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """Executions of two domains that share a name run side by side, each attempt for its own execution."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 1))
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine)):
        await launch(pool, workflow, ["nightly"], domain="development")
        await launch(pool, workflow, ["nightly"], domain="staging")
        await machine.wait_started(2)
        machine.end_all()
        assert await wait_ended(pool, 2) == {ExecutionPhase.SUCCEEDED: 2}
