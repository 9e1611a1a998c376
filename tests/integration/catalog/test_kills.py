"""Holders of reservations are killed with -9 at seeded moments; whoever waits goes on, and nothing is half done."""

import asyncio
import random
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from tests.integration.catalog.conftest import ask, entry, integer, task
from tests.integration.catalog.holder_process import HEARTBEAT_S, STEPS

from wingbeat_catalog.cache import PostgresCache
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.ports.cache import CacheClaim, CacheHit, CacheMiss, CacheReservation

_ROOT = Path(__file__).parents[3]


async def _kill_after(dsn: str, folder: Path, steps: int, *, in_step: bool) -> None:
    """Let a holder do so many steps, and kill it there or at the beginning of the next one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.catalog.holder_process",
        dsn,
        str(folder),
        "dead",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert (await process.stdout.readline()).strip() == b"ready"
        for step in STEPS[:steps]:
            process.stdin.write(b"\n")
            assert (await process.stdout.readline()).strip() == f"begins {step}".encode()
            assert (await process.stdout.readline()).strip() == step.encode()
        if in_step and steps < len(STEPS):
            process.stdin.write(b"\n")
            await process.stdout.readline()
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("seed", range(6))
async def test_a_killed_holder_is_replaced(
    database_url: str,
    open_cache: Callable[..., PostgresCache],
    blobs: FolderBlobs,
    catalog_pool: asyncpg.Pool,
    seed: int,
) -> None:
    """Wherever it dies: the next one gets the reservation once it has lapsed, finds the entry or makes it, and there is
    one entry, whole, that everybody is given."""
    chance = random.Random(seed)
    await _kill_after(database_url, Path(blobs.base), chance.randrange(len(STEPS)), in_step=chance.random() < 0.5)
    cache = open_cache(inline_bytes_max=100)
    call = ask(task(), a=integer(3))
    # Its backend may still be at the statement that it had sent.
    while await catalog_pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dead' AND datname = current_database()"
    ):
        await asyncio.sleep(0.01)
    (answer,) = await cache.look_up([call])
    if isinstance(answer, CacheMiss):
        claim = CacheClaim(answer.catalog, "next")
        while True:
            (reservation,) = await cache.reserve([claim], HEARTBEAT_S)
            assert isinstance(reservation, CacheReservation)
            if reservation.owner == "next":
                break
            assert reservation.owner == "dead"
            await asyncio.sleep(reservation.left_s)
        await cache.put([entry(call, "next " * 100)])
        await cache.release([claim])
    (hit,) = await cache.look_up([call])
    assert isinstance(hit, CacheHit)
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_artifacts") == 1
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_tags") == 1
    (named,) = await catalog_pool.fetch("SELECT data_uri FROM cache_artifacts")
    assert named["data_uri"] in await blobs.list(f"{blobs.base}/cache/")
