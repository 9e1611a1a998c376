"""The execution store: what the engine finds when it takes shards, and how it is woken."""

import asyncio
import contextlib

import asyncpg
import pytest

from wingbeat_propeller.postgres.executions import CHANNELS, PostgresExecutionStore


@pytest.fixture
def store(pool: asyncpg.Pool, database_url: str) -> PostgresExecutionStore:
    """A store on the test's database."""
    return PostgresExecutionStore(pool, database_url)


async def test_listening_survives_a_lost_connection(store: PostgresExecutionStore, pool: asyncpg.Pool) -> None:
    """Each connect wakes everything once, each notification its own kind."""
    woken: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(store.listen(lambda reason, _payload: woken.put_nowait(reason)))

    async def take(count: int) -> set[str]:
        async with asyncio.timeout(60):
            return {await woken.get() for _ in range(count)}

    assert await take(len(CHANNELS)) == set(CHANNELS.values())
    await pool.execute("NOTIFY wingbeat_abort")
    assert await take(1) == {"abort"}
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wingbeat listener'"
    )
    assert await take(len(CHANNELS)) == set(CHANNELS.values())
    await pool.execute("NOTIFY wingbeat_new")
    assert await take(1) == {"new"}
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_outages_are_oserrors(store: PostgresExecutionStore, pool: asyncpg.Pool) -> None:
    """A read whose backend is killed while it waits raises an OSError, which callers know to repeat."""
    async with pool.acquire() as locker, locker.transaction():
        await locker.execute("LOCK TABLE workflows")
        reading = asyncio.create_task(store.workflow_closure(1))
        kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE NOT granted AND database IS NOT NULL"
        while not await locker.fetchval(kill):
            assert not reading.done()
        with pytest.raises(OSError, match="administrator command"):
            await reading
