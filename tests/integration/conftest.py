"""A real Postgres for the tests: one server a worker, one migrated template, one cloned database a test."""

import asyncio
import shutil
import signal
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeat_propeller.postgres.migrate import migrate
from wingbeat_propeller.postgres.pool import create_pool

_TEMPLATE = "wingbeat_template"
# Tests end processes, not machines: nothing of theirs has to outlive a loss of power, and waits for the disk are more
# than half of what a test with a database of its own takes.
_SETTINGS = {"max_connections": "100", "shared_buffers": "32MB", "fsync": "off", "full_page_writes": "off"}


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A running server with a migrated template database; its folder goes with the session."""
    folder = Path(tempfile.mkdtemp(prefix="wb-pg-"))
    server = EmbeddedPostgres(folder / "data", settings=_SETTINGS)
    server.initialise()
    process = server.spawn()
    try:
        server.wait_ready(process)
        asyncio.run(_make_template(server))
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


async def _make_template(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.dsn())
    try:
        await connection.execute(f"CREATE DATABASE {_TEMPLATE}")
    finally:
        await connection.close()
    await migrate(server.dsn(_TEMPLATE))


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """DSN of a migrated database of this test's own."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    connection = await asyncpg.connect(postgres.dsn())
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY WAL_LOG")
        yield postgres.dsn(name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """A small pool on the test's database."""
    pool = await create_pool(database_url, size_max=8, application_name="tests")
    try:
        yield pool
    finally:
        pool.terminate()
