"""One stream of commits: a queue, a connection, and a loop that commits what gathered while the last batch was synced.

A batch is one statement and so one transaction (`commit` in journal.sql): no backend ever sits in an open transaction
while its client is stopped, and taking over from a stopped engine never waits for it. The statement first updates the
lane's own row, which goes with the term: that is the fence against a lost lease. The row holds the number of the
lane's last batch, so a batch is repeated after a lost connection without writing anything twice, even when the server
still works on the first try (the second waits for the row and then finds its number taken).

A batch that the database refuses for the values of a row is cut in halves until the row's effects are alone; these are
handed to `rejected`, the others commit.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
import structlog
from asyncpg.prepared_stmt import PreparedStatement
from prometheus_client import Counter, Histogram

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.journal import LeaseLostError
from wingbeat_propeller.postgres.journal_batch import BatchRecords, batch_records, plain_commit
from wingbeat_propeller.postgres.outages import is_refusal, outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_log = structlog.get_logger(__name__)
_SQL = load_queries(__package__ or "", "journal.sql")

_COMMIT_SECONDS = Histogram(
    "wingbeat_journal_commit_seconds",
    "Time of one commit, encoding and retries included",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30),
)
_ROWS = Counter("wingbeat_journal_rows", "Rows made durable", ["table"])
_RETRIES = Counter("wingbeat_journal_retries", "Tries of a commit that met an outage of the database or the blob store")
_REJECTED = Counter("wingbeat_journal_rejected", "Effects that the database refused for their own values")
_ROWS_BY_TABLE = {
    name: _ROWS.labels(name)
    for name in ("executions", "node_executions", "task_executions", "array_elements", "transitions", "lineage")
}

_CALLBACKS_AT_ONCE = 128
"""Callbacks after which other work of the loop (lease renewals above all) gets a turn."""

Committed = Callable[[Effects], None]
Rejected = Callable[[Effects, Exception], None]


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Limits of a journal."""

    lanes: int = 2
    """Connections that commit in turn."""
    batch_rows_max: int = 4_000
    """A batch closes when it passes this; one step's rows are never divided."""
    batch_bytes_max: int = 16 << 20
    """Likewise, for the values in the rows."""
    backlog_max: int = 20_000
    """Effects waiting; callers stop taking in work above it."""
    flush_timeout_s: float = 10.0
    """How long a cancelled journal tries to write what was submitted."""
    statement_timeout_s: float = 60.0
    backoff_s_min: float = 0.05
    backoff_s_max: float = 2.0


class _Entry(NamedTuple):
    effects: Effects
    committed: Committed


class _Session(NamedTuple):
    connection: asyncpg.Connection
    commit: PreparedStatement
    commit_plain: PreparedStatement
    batch: int
    """Number of the lane's last batch when the connection was opened."""


class JournalLane:
    """Commits effects in the order of `submit`. Made and run by PostgresJournal."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        term: int,
        lane: int,
        blobs: Blobs,
        rejected: Rejected,
        options: JournalOptions,
        left: Callable[[ExecutionKey], None],
    ) -> None:
        """`left` hears of the execution of all effects that are done with, before anybody else."""
        self._connect = connect
        self._term = term
        self._lane = lane
        self._blobs = blobs
        self._rejected = rejected
        self._options = options
        self._left = left
        self._queue: deque[_Entry] = deque()
        self._wake = asyncio.Event()
        self._submitted = 0
        self._done = 0
        self._stop_at: int | None = None
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._session: _Session | None = None
        self._batch = 0
        self._broken: BaseException | None = None

    @property
    def backlog(self) -> int:
        """Effects submitted and not yet done with."""
        return self._submitted - self._done

    def submit(self, effects: Effects, committed: Committed) -> None:
        """Queue effects for the next batch."""
        self._queue.append(_Entry(effects, committed))
        self._submitted += 1
        self._wake.set()

    def stop(self) -> None:
        """Let `run` end once everything submitted so far is done."""
        self._stop_at = self._submitted
        self._wake.set()

    async def drained(self) -> None:
        """Wait until everything submitted so far is done. Raises LeaseLostError when the lane ended before."""
        if self.backlog:
            if self._broken is not None:
                raise LeaseLostError("the journal has ended") from self._broken
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((self._submitted, waiter))
            await waiter

    async def run(self) -> None:
        """Commit until stopped or cancelled. Raises LeaseLostError."""
        try:
            await self._until_done(self._begin, "lane not opened")
            while self._stop_at is None or self._done < self._stop_at:
                if self._queue:
                    await self._commit(self._take())
                else:
                    self._wake.clear()
                    await self._wake.wait()
        except BaseException as error:
            self._broken = error
            for _, waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(LeaseLostError("the journal ended before these effects were durable"))
            raise
        finally:
            self._disconnect()

    def _take(self) -> list[_Entry]:
        batch: list[_Entry] = []
        rows = 0
        size = 0
        queue = self._queue
        while queue and rows < self._options.batch_rows_max and size < self._options.batch_bytes_max:
            entry = queue.popleft()
            batch.append(entry)
            effects = entry.effects
            rows += len(effects.nodes) + len(effects.tasks) + len(effects.elements) + len(effects.transitions)
            rows += len(effects.lineage)
            size += _value_bytes(effects)
        return batch

    async def _commit(self, entries: Sequence[_Entry]) -> None:
        refusal: Exception | None = None
        with _COMMIT_SECONDS.time():
            try:
                records = batch_records([entry.effects for entry in entries], base=self._blobs.base)
                await self._store(records)
                await self._write(records)
                _count(records)
            except (asyncpg.PostgresError, ValueError, TypeError) as error:
                if isinstance(error, asyncpg.PostgresError) and not is_refusal(error):
                    raise
                refusal = error
        if refusal is None:
            for number, entry in enumerate(entries, start=1):
                self._finish(entry)
                if number % _CALLBACKS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        elif len(entries) > 1:
            half = len(entries) // 2
            await self._commit(entries[:half])
            await self._commit(entries[half:])
        else:
            _REJECTED.inc()
            _log.error("effects refused", execution=entries[0].effects.execution, error=repr(refusal))
            self._done += 1
            self._left(entries[0].effects.execution)
            self._rejected(entries[0].effects, refusal)
            self._wake_waiters()

    def _finish(self, entry: _Entry) -> None:
        self._done += 1
        self._left(entry.effects.execution)
        try:
            entry.committed(entry.effects)
        except Exception as error:  # noqa: BLE001  (one execution's fault must not stop the others: its owner fails it)
            _log.exception("callback after commit failed", execution=entry.effects.execution)
            self._rejected(entry.effects, error)
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        while self._waiters and self._waiters[0][0] <= self._done:
            waiter = self._waiters.popleft()[1]
            if not waiter.done():
                waiter.set_result(None)

    async def _store(self, records: BatchRecords) -> None:
        """Write the blobs the rows will point to, until the store answers. Raises ValueError for a refused URI."""
        for uri, data in records.blobs.items():
            await self._until_done(lambda uri=uri, data=data: self._blobs.put(uri, data), "error blob not written")

    async def _write(self, records: BatchRecords) -> None:
        """Run the statement until the database answers. Raises LeaseLostError, or PostgresError for refused values."""
        number = self._batch + 1
        await self._until_done(lambda: self._execute(number, records), "batch not committed")
        self._batch = number

    async def _execute(self, number: int, records: BatchRecords) -> None:
        session = self._session or await self._open()
        commit = session.commit_plain if records.is_plain else session.commit
        written = await commit.fetchval(self._term, self._lane, number, *records.parameters)
        if not written and await session.connection.fetchval(_SQL["lane_batch"], self._term, self._lane) is None:
            raise LeaseLostError(f"term {self._term} has ended; {len(records.nodes)} node rows are not written")

    async def _begin(self) -> None:
        self._batch = (await self._open()).batch

    async def _open(self) -> _Session:
        connection = await self._connect()
        try:
            batch = await connection.fetchval(_SQL["open_lane"], self._term, self._lane)
            commit = await connection.prepare(_SQL["commit"])
            session = _Session(connection, commit, await connection.prepare(plain_commit(_SQL["commit"])), batch or 0)
        except BaseException:
            connection.terminate()
            raise
        self._session = session
        if batch is None:
            raise LeaseLostError(f"term {self._term} has ended")
        return session

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session.connection.terminate()
            self._session = None

    async def _until_done(self, attempt: Callable[[], Awaitable[None]], complaint: str) -> None:
        backoff_s = self._options.backoff_s_min
        while True:
            try:
                with outages_as_oserror():
                    await attempt()
                return
            except OSError as error:
                _RETRIES.inc()
                _log.warning(
                    f"{complaint}, trying again",
                    lane=self._lane,
                    retry_s=backoff_s,
                    backlog=self.backlog,
                    error=repr(error),
                )
                self._disconnect()
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, self._options.backoff_s_max)


def _count(records: BatchRecords) -> None:
    _ROWS_BY_TABLE["executions"].inc(len(records.executions))
    _ROWS_BY_TABLE["node_executions"].inc(len(records.nodes))
    _ROWS_BY_TABLE["task_executions"].inc(len(records.tasks))
    _ROWS_BY_TABLE["array_elements"].inc(len(records.elements))
    _ROWS_BY_TABLE["transitions"].inc(len(records.transitions))
    if records.lineage:
        _ROWS_BY_TABLE["lineage"].inc(len(records.lineage))


def _value_bytes(effects: Effects) -> int:
    """Bytes of the large values in the rows; the rest is small and covered by the number of rows."""
    size = 0
    for node in effects.nodes:
        size += len(node.inputs or b"") + len(node.outputs or b"")
    for task in effects.tasks:
        size += len(task.details or b"")
    for element in effects.elements:
        size += len(element.outputs or b"") + len(element.details or b"")
    return size
