"""A journal of a fresh term, running."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.journal_lane import JournalOptions
from wingbeat_propeller.postgres.leases import PostgresLeases

BASE = "file:///blobs"


@dataclass(slots=True)
class ErrorBlobs:
    """The one method of a blob store that the journal uses."""

    base: str = BASE
    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    faults: int = 0

    async def put(self, uri: str, data: bytes) -> None:
        """Store, or fail while `faults` lasts."""
        if self.faults:
            self.faults -= 1
            raise OSError("the store is away")
        self.stored[uri] = data


@dataclass(slots=True)
class JournalRun:
    """A running journal and what it reported."""

    journal: PostgresJournal
    term: int
    blobs: ErrorBlobs
    rejected: list[tuple[Effects, Exception]]
    task: "asyncio.Task[None]"
    committed: list[Effects] = field(default_factory=list[Effects])

    async def write(self, *effects: Effects) -> None:
        """Submit and wait until the journal is done with them."""
        for one in effects:
            self.journal.submit(one, self.committed.append)
        await self.journal.drained()


StartJournal = Callable[..., Awaitable[JournalRun]]


@pytest.fixture
async def start_journal(database_url: str, pool: asyncpg.Pool) -> AsyncIterator[StartJournal]:
    """Starts journals that end with the test."""
    runs: list[JournalRun] = []

    async def start(dsn: str = database_url, *, term: int | None = None, **options: float) -> JournalRun:
        term = term or await PostgresLeases(pool).join("test", 60)
        blobs = ErrorBlobs()
        rejected: list[tuple[Effects, Exception]] = []
        journal = PostgresJournal(
            dsn,
            term=term,
            blobs=blobs,  # pyright: ignore[reportArgumentType]
            rejected=lambda effects, error: rejected.append((effects, error)),
            options=JournalOptions(**{"backoff_s_min": 0.01, "backoff_s_max": 0.05, **options}),
        )
        run = JournalRun(journal, term, blobs, rejected, asyncio.create_task(journal.run()))
        runs.append(run)
        return run

    yield start
    for run in runs:
        run.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await run.task


@pytest.fixture
async def journal(start_journal: StartJournal) -> JournalRun:
    """One running journal."""
    return await start_journal()


@asynccontextmanager
async def lossy_proxy(socket_path: str, folder: str) -> AsyncIterator[Callable[[], None]]:
    """A unix socket in `folder` that forwards to Postgres; calling the value cuts every connection when the server's
    next answer to a client arrives, so that the answer is lost."""
    cutting = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while data := await reader.read(1 << 16):
                if answers and cutting.is_set():
                    cutting.clear()
                    break
                writer.write(data)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(socket_path)
        for pumping in (pump(reader, up_writer, answers=False), pump(up_reader, writer, answers=True)):
            task = asyncio.create_task(pumping)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(serve, f"{folder}/.s.PGSQL.5432")
    try:
        yield cutting.set
    finally:
        server.close()
        await server.wait_closed()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
