"""Connections that Postgres closes at the worst of moments."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.integration.postgres.last_words import HeldLine, held_line

from wingbeat_controlplane.batches.driver import Driving
from wingbeat_controlplane.batches.keeper import BatchKeeper
from wingbeat_controlplane.batches.options import BatchOptions
from wingbeat_controlplane.executions.announcing import Announcer
from wingbeat_controlplane.executions.openlineage.events import Naming
from wingbeat_controlplane.executions.openlineage.exporter import OpenLineageExporter
from wingbeat_controlplane.executions.openlineage.transports import TransportOptions, open_transport
from wingbeat_controlplane.launching.launch_keys import KeyPruner
from wingbeat_propeller.postgres.outages import is_outage, outages_as_oserror
from wingbeat_propeller.postgres.pool import create_pool

NAME = "held"


@pytest.fixture
async def line(database_url: str, pool: asyncpg.Pool) -> AsyncIterator[HeldLine]:
    """A way to the test's database."""
    async with held_line(database_url, pool) as found:
        yield found


@pytest.fixture
async def held(line: HeldLine) -> AsyncIterator[asyncpg.Pool]:
    """A pool whose only connection goes that way."""
    pool = await create_pool(line.dsn, size_max=1, application_name=NAME)
    yield pool
    pool.terminate()


async def test_the_moment_before_the_end(held: asyncpg.Pool, line: HeldLine) -> None:
    """A statement that is sent after Postgres' last words fails as an outage, and nobody gets that connection again."""
    async with held.acquire() as connection:
        await line.throw_out(NAME)
        with pytest.raises(asyncpg.InternalClientError, match="cannot switch to state") as caught:
            await connection.execute("SELECT 1")
    assert is_outage(caught.value)
    assert await held.fetchval("SELECT 1") == 1


async def test_a_cancelled_transaction(database_url: str, pool: asyncpg.Pool) -> None:
    """Whoever is told to end ends, although the transaction cannot be rolled back."""
    lost = asyncio.Event()
    small = await create_pool(database_url, size_max=1, application_name=NAME)

    async def work() -> None:
        with outages_as_oserror():
            async with small.acquire() as connection, connection.transaction():
                connection.add_termination_listener(lambda _: lost.set())
                pid = await connection.fetchval("SELECT pg_backend_pid()")
                await pool.execute("SELECT pg_terminate_backend($1)", pid)
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await lost.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    small.terminate()


def _exporter(pool: asyncpg.Pool, folder: Path) -> Awaitable[None]:
    options = TransportOptions(file=str(folder / "events"))
    return OpenLineageExporter(pool, lambda: open_transport(options), Naming("test", "1")).run()


def _batches(pool: asyncpg.Pool, _folder: Path) -> Awaitable[None]:
    unused: Any = None  # there is no batch to drive
    return BatchKeeper(Driving(pool, unused, unused, unused, unused, BatchOptions())).run()


def _keys(pool: asyncpg.Pool, _folder: Path) -> Awaitable[None]:
    return KeyPruner(pool, keep_s=1.0).run()


@pytest.mark.parametrize("loop", [_exporter, _batches, _keys])
async def test_loops_go_on(
    loop: Callable[[asyncpg.Pool, Path], Awaitable[None]], held: asyncpg.Pool, line: HeldLine, tmp_path: Path
) -> None:
    """What runs until it is cancelled says that the database is away, and tries again later."""
    await line.throw_out(NAME)
    with capture_logs() as logs:
        task = asyncio.ensure_future(loop(held, tmp_path))
        while not logs:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.001)
    assert [one["log_level"] for one in logs] == ["warning"]
    assert "cannot switch to state" in logs[0]["error"]
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_announcements_go_on(held: asyncpg.Pool, line: HeldLine) -> None:
    """An announcement that is lost is said to be, and does not keep those after it back."""
    announcer = Announcer(held)
    await line.throw_out(NAME)
    with capture_logs() as logs:
        for key in range(2):
            announcer.announce([(1, key)])
            await announcer.drained()
    assert ["cannot switch to state" in one["error"] for one in logs] == [True]
