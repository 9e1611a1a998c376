"""Engines over the real catalog: races, engines that vanish with reservations, tables that are locked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from flyteidl.core import catalog_pb2

from tests.integration.engine.harness import chain, engine, launch, make_engine, register, wait_ended
from tests.integration.engine.machine import Machine, SharedRuntime
from wingbeat_catalog.cache import PostgresCache
from wingbeat_catalog.options import create_catalog_pool
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.postgres.pool import create_pool

HIT, POPULATED = catalog_pb2.CACHE_HIT, catalog_pb2.CACHE_POPULATED
LOCK_TIMEOUT_S = 0.3


@asynccontextmanager
async def _cache(dsn: str, folder: Path) -> AsyncIterator[PostgresCache]:
    pool = await create_catalog_pool(dsn, size_max=2, application_name="test cache", lock_timeout_s=LOCK_TIMEOUT_S)
    try:
        yield PostgresCache(pool, dsn, FolderBlobs(folder))
    finally:
        pool.terminate()


async def _register(pool: asyncpg.Pool, *, serialized: bool = True, length: int = 1) -> int:
    closure = chain("cached", length)
    metadata = closure.tasks[0].template.metadata
    metadata.discoverable, metadata.discovery_version, metadata.cache_serializable = True, "1", serialized
    return await register(pool, closure)


async def _statuses(pool: asyncpg.Pool, node: str = "n0") -> Counter[int]:
    rows = await pool.fetch("SELECT cache_status FROM node_executions WHERE node_id = $1", node)
    return Counter(row["cache_status"] for row in rows)


async def _until_waiting(pool: asyncpg.Pool, count: int) -> None:
    """Until so many nodes show that another makes what they need."""
    exists = bytes((3 << 3, catalog_pb2.CatalogReservation.RESERVATION_EXISTS))
    query = "SELECT count(*) FROM node_executions WHERE position($1::bytea IN details) > 0"
    async with asyncio.timeout(60):
        while await pool.fetchval(query, exists) < count:
            await asyncio.sleep(0.02)


async def test_a_hundred_calls_on_two_engines_run_once(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """One runs, all the others, on both engines, end with what it has made as soon as it ends."""
    machine = Machine()
    async with _cache(database_url, tmp_path) as cache:
        workflow = await _register(pool)
        first = engine(pool, database_url, tmp_path, SharedRuntime(machine), name="a", cache=cache)
        second = engine(pool, database_url, tmp_path, SharedRuntime(machine), name="b", cache=cache)
        async with first, second:
            await launch(pool, workflow, [f"e{number}" for number in range(100)])
            await machine.wait_started(1)
            await _until_waiting(pool, 99)
            machine.end_all()
            assert await wait_ended(pool, 100) == {ExecutionPhase.SUCCEEDED: 100}
    assert machine.starts.total() == 1
    assert await _statuses(pool) == {POPULATED: 1, HIT: 99}
    assert len(await pool.fetch("SELECT DISTINCT outputs FROM executions")) == 1
    assert not await pool.fetchval("SELECT count(*) FROM cache_reservations")


async def test_an_engine_that_vanishes_leaves_its_reservation_to_the_next_one(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """As after kill -9: what ran goes on under the same reservation, what waited waits on, and nothing runs twice."""
    machine = Machine()
    async with _cache(database_url, tmp_path) as cache:
        workflow = await _register(pool)
        own_pool = await create_pool(database_url, size_max=4, application_name="doomed")
        doomed = make_engine(
            own_pool, database_url, tmp_path, SharedRuntime(machine), name="doomed", lease_s=1.0, cache=cache
        )
        running = asyncio.create_task(doomed.run())
        await launch(pool, workflow, [f"e{number}" for number in range(10)])
        await machine.wait_started(1)
        await _until_waiting(pool, 9)
        own_pool.terminate()  # it can write nothing any more, its lease lapses and it ends by itself
        async with engine(pool, database_url, tmp_path, SharedRuntime(machine), name="next", cache=cache) as heir:
            async with asyncio.timeout(60):
                while len(heir.live) < 10:
                    await asyncio.sleep(0.02)
            await asyncio.wait([running])
            machine.end_all()
            assert await wait_ended(pool, 10) == {ExecutionPhase.SUCCEEDED: 10}
    assert machine.starts.total() == 1
    assert await _statuses(pool) == {POPULATED: 1, HIT: 9}


async def test_locked_tables_keep_no_node(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """Nodes run without the cache while somebody holds its tables, serialized or not; later ones use it again."""
    machine = Machine()
    async with _cache(database_url, tmp_path) as cache:
        workflow = await _register(pool, serialized=False)
        async with engine(pool, database_url, tmp_path, SharedRuntime(machine), cache=cache):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("LOCK TABLE cache_tags, cache_artifacts, cache_datasets, cache_reservations")
                await launch(pool, workflow, [f"e{number}" for number in range(5)])
                await machine.wait_started(5)
                machine.end_all()
                assert await wait_ended(pool, 5) == {ExecutionPhase.SUCCEEDED: 5}
            assert await _statuses(pool) == {catalog_pb2.CACHE_LOOKUP_FAILURE: 5}
            await launch(pool, workflow, ["later"], value=8)
            await machine.wait_started(6)
            machine.end_all()
            assert await wait_ended(pool, 6) == {ExecutionPhase.SUCCEEDED: 6}
    assert (await _statuses(pool))[POPULATED] == 1


async def test_one_key_raced_for_by_two_engines(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """Both run, both put, the first stays; whoever comes later takes that."""
    machine = Machine()
    async with _cache(database_url, tmp_path) as cache:
        workflow = await _register(pool, serialized=False)
        first = engine(pool, database_url, tmp_path, SharedRuntime(machine), name="a", cache=cache)
        second = engine(pool, database_url, tmp_path, SharedRuntime(machine), name="b", cache=cache)
        async with first, second:
            await launch(pool, workflow, [f"e{number}" for number in range(8)])
            await machine.wait_started(8)
            machine.end_all()
            assert await wait_ended(pool, 8) == {ExecutionPhase.SUCCEEDED: 8}
            await launch(pool, workflow, ["later"])
            assert await wait_ended(pool, 9) == {ExecutionPhase.SUCCEEDED: 9}
    assert await _statuses(pool) == {POPULATED: 8, HIT: 1}
    assert await pool.fetchval("SELECT count(*) FROM cache_tags") == 1
