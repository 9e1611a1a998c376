"""The engine as a measurement runs it: everything real but the runtime, which ends every attempt at once."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg

from loadtests.database import TemporaryDatabase
from loadtests.probes import TimedJournal, TimedRuntime
from loadtests.shapes import NoOpPlugin
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.engine.alone import NoChildren, NoSignals
from wingbeat_propeller.engine.engine import Engine
from wingbeat_propeller.engine.options import EngineOptions
from wingbeat_propeller.ports.cache import Cache
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.runtimes.instant import InstantRuntime
from wingbeat_propeller.tasks.container import ContainerPlugin
from wingbeat_propeller.tasks.registry import TaskPlugins


@dataclass(frozen=True, slots=True)
class InstantEngine:
    """A running engine and the probes around it."""

    journal: TimedJournal
    runtime: TimedRuntime
    durable_s: Sequence[float]
    """How long effects took to become durable."""
    task: "asyncio.Task[None]"

    async def ended(self) -> None:
        """Wait until as many executions as `journal` expects have ended, durably. Raises what ended the engine."""
        await _first_of(self.task, self.journal.all_ended.wait())


@asynccontextmanager
async def instant_engine(
    pool: asyncpg.Pool,
    database: TemporaryDatabase,
    *,
    executions: int,
    live_max: int = 20_000,
    task_s: float = 0.0,
    cache: Cache | None = None,
) -> AsyncGenerator[InstantEngine]:
    """An engine on `database` that expects `executions` to end; see TimedRuntime for `task_s`."""
    runtime = TimedRuntime(InstantRuntime(), task_s=task_s)
    blobs = FolderBlobs(database.folder / "blobs")
    durable_s: list[float] = []
    journals: list[TimedJournal] = []
    started = asyncio.Event()

    def make_journal(term: int, rejected: Callable[[Effects, Exception], None]) -> TimedJournal:
        journal = PostgresJournal(database.dsn, term=term, blobs=blobs, rejected=rejected)
        journals.append(TimedJournal(journal, executions=executions))
        started.set()
        return journals[0]

    engine = Engine(
        EngineOptions(name="loadtest", live_max=live_max),
        leases=PostgresLeases(pool),
        journal=make_journal,
        store=PostgresExecutionStore(pool, database.dsn),
        blobs=blobs,
        runtime=runtime,
        plugins=TaskPlugins([NoOpPlugin()], ContainerPlugin()),
        signals=NoSignals(),
        children=NoChildren(),
        cache=cache,
        on_durable=durable_s.append,
    )
    task = asyncio.create_task(engine.run(), name="engine")
    try:
        await _first_of(task, started.wait())
        yield InstantEngine(journals[0], runtime, durable_s, task)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _first_of(engine: "asyncio.Task[None]", event: Awaitable[object]) -> None:
    """Wait for an event, or raise what ended the engine before it."""
    waiting = asyncio.ensure_future(event)
    await asyncio.wait([engine, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        engine.result()
