"""Delivers the transitions of executions as OpenLineage events, from a durable cursor over the log.

One process at a time exports: it holds an advisory lock as long as its connection lives, and moves the cursor only
from where it found it. The cursor moves once everything before it was delivered, so a crash repeats events (they are
equal, ids included) and loses none; events of one execution go through one connection and so keep their order. A
receiver that does not answer is waited for, without end and with pauses; an event that it refuses for good is logged,
counted and left out. What the log no longer holds, after an outage longer than its retention, is lost, and said to be.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import asyncpg
import structlog
from openlineage.client.event_v2 import RunEvent
from prometheus_client import Counter, Gauge

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.openlineage.events import DATASETS_MAX, Naming, given_uris, run_event
from wingbeat_controlplane.executions.openlineage.transports import (
    EventRefusedError,
    EventTransport,
    NotDeliveredError,
)
from wingbeat_controlplane.executions.watch.log import Entry, Scope, TransitionLog
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_log = structlog.get_logger(__name__)
_SQL = load_queries(__package__ or "", "openlineage.sql")
_SENT = Counter("wingbeat_openlineage_events", "OpenLineage events delivered")
_REFUSED = Counter("wingbeat_openlineage_refused", "OpenLineage events that the receiver refused for good")
_RETRIES = Counter("wingbeat_openlineage_retries", "Deliveries that failed and are tried again")
_WAITING = Gauge("wingbeat_openlineage_waiting", "Events that are being delivered")
_SCOPE = Scope(nodes=False)


@dataclass(frozen=True, slots=True)
class ExporterOptions:
    """Times in seconds."""

    connections: int = 4
    """To the receiver, each with its share of the executions."""
    page: int = 500
    """Transitions read, and delivered, before the cursor moves."""
    poll_s: float = 1.0
    backoff_s_min: float = 0.5
    backoff_s_max: float = 30.0


class _LostRoleError(Exception):
    """Somebody else exports."""


class OpenLineageExporter:
    """`pool` has connections with LOG_SETTINGS; `connect` makes one transport."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        connect: Callable[[], EventTransport],
        naming: Naming,
        options: ExporterOptions | None = None,
    ) -> None:
        self._pool = pool
        self._log = TransitionLog(pool)
        self._connect = connect
        self._naming = naming
        self._options = options or ExporterOptions()

    async def run(self) -> None:
        """Export whenever nobody else does, until cancelled."""
        options = self._options
        transports = [self._connect() for _ in range(options.connections)]
        threads = ThreadPoolExecutor(options.connections, thread_name_prefix="openlineage")
        try:
            while True:
                try:
                    with outages_as_oserror():
                        async with self._pool.acquire() as connection:
                            await self._export(connection, transports, threads)
                except _LostRoleError:
                    pass
                except OSError as error:
                    _log.warning("OpenLineage events wait for the database", error=repr(error))
                await asyncio.sleep(options.poll_s)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for transport in transports:
                transport.close()

    async def _export(
        self,
        connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]",
        transports: Sequence[EventTransport],
        threads: ThreadPoolExecutor,
    ) -> None:
        """Export as long as the role is ours."""
        try:
            if await connection.fetchval(_SQL["become_exporter"]):
                await self._export_on(connection, transports, threads)
        except BaseException:
            connection.terminate()  # the role goes with it, if it was given
            raise

    async def _export_on(
        self,
        connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]",
        transports: Sequence[EventTransport],
        threads: ThreadPoolExecutor,
    ) -> None:
        while True:
            text: str | None = await connection.fetchval(_SQL["cursor"])
            if text is None:
                await connection.execute(_SQL["begin"], (await self._log.head()).now.encode())
                continue
            try:
                page = await self._log.page(await self._log.start(text), _SCOPE, self._options.page)
            except ApiError as error:
                head = await self._log.head()
                _log.error("OpenLineage events are lost", reason=error.message)
                await self._advance(connection, text, head.oldest.encode())
                continue
            await self._deliver(await self._events(page.entries), transports, threads)
            end = page.end.encode()
            if end != text:
                await self._advance(connection, text, end)
            if page.is_last:
                await asyncio.sleep(self._options.poll_s)

    async def _advance(
        self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]", before: str, after: str
    ) -> None:
        if not await connection.fetchval(_SQL["advance"], before, after):
            raise _LostRoleError

    async def _events(self, entries: Sequence[Entry]) -> Mapping[int, Sequence[RunEvent]]:
        """Events by execution, in their order; none of executions that are gone."""
        keys = sorted({entry.execution_id for entry in entries})
        if not keys:
            return {}
        executions = {row["id"]: row for row in await self._pool.fetch(_SQL["executions"], keys)}
        blobs: defaultdict[tuple[int, bool], list[str]] = defaultdict(list)
        for row in await self._pool.fetch(_SQL["blobs"], keys, DATASETS_MAX):
            blobs[row["execution_id"], row["is_input"]].append(row["uri"])
        events: defaultdict[int, list[RunEvent]] = defaultdict(list)
        for entry in entries:
            execution = executions.get(entry.execution_id)
            if execution is None:
                continue
            given = [*given_uris(execution["inputs"]), *blobs[entry.execution_id, True]]
            made = blobs[entry.execution_id, False]
            event = run_event(self._naming, execution, entry.phase, entry.at, given, made)
            if event is not None:
                events[entry.execution_id].append(event)
        return events

    async def _deliver(
        self,
        events: Mapping[int, Sequence[RunEvent]],
        transports: Sequence[EventTransport],
        threads: ThreadPoolExecutor,
    ) -> None:
        """Send all; those of one execution through one transport and in order."""
        shares: list[list[RunEvent]] = [[] for _ in transports]
        for execution, of_one in events.items():
            shares[execution % len(shares)].extend(of_one)
        _WAITING.set(sum(map(len, shares)))
        async with asyncio.TaskGroup() as group:
            for transport, share in zip(transports, shares, strict=True):
                if share:
                    group.create_task(self._send_all(transport, share, threads), name="send OpenLineage events")
        _WAITING.set(0)

    async def _send_all(
        self, transport: EventTransport, events: Sequence[RunEvent], threads: ThreadPoolExecutor
    ) -> None:
        loop = asyncio.get_running_loop()
        backoff_s = self._options.backoff_s_min
        for event in events:
            while True:
                try:
                    await loop.run_in_executor(threads, transport.send, event)
                    _SENT.inc()
                    break
                except EventRefusedError as error:
                    _REFUSED.inc()
                    _log.error("an OpenLineage event is refused", run=event.run.runId, error=str(error))
                    break
                except NotDeliveredError as error:
                    _RETRIES.inc()
                    _log.warning("OpenLineage events are not delivered", retry_s=backoff_s, error=str(error))
                    await asyncio.sleep(backoff_s)
                    backoff_s = min(2 * backoff_s, self._options.backoff_s_max)
            backoff_s = self._options.backoff_s_min
