"""The journal over Postgres: effects become durable by group commit, in lanes that commit in turn.

Effects gather while the previous batch is synced and then go down as one transaction. There are a few lanes, each with
a connection of its own, so that one encodes while another waits for the disk. While there is little to write all of it
goes through the first: fewer commits, each with more in it. An execution stays in its lane until all of its effects are
durable, so they commit in the order they were submitted. Nothing is written after the term has ended, and nothing is
written twice: see journal_lane.py.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import asyncpg
import structlog
from prometheus_client import Gauge

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.postgres.journal_lane import JournalLane, JournalOptions

_log = structlog.get_logger(__name__)

_BACKLOG = Gauge("wingbeat_journal_backlog", "Effects submitted and not yet durable")


LANE_SHARED_MIN = 64
"""Effects in the first lane from which on others take some, too."""


class _InLane:
    """Executions that have effects under way: in which lane, and how many."""

    def __init__(self) -> None:
        self._found: dict[ExecutionKey, tuple[int, int]] = {}

    def lane(self, execution: ExecutionKey) -> int | None:
        found = self._found.get(execution)
        return None if found is None else found[0]

    def enter(self, execution: ExecutionKey, lane: int) -> None:
        _, count = self._found.get(execution, (lane, 0))
        self._found[execution] = lane, count + 1

    def leave(self, execution: ExecutionKey) -> None:
        lane, count = self._found.pop(execution)
        if count > 1:
            self._found[execution] = lane, count - 1


class PostgresJournal:
    """Satisfies `ports.Journal`. `blobs` takes error messages that are too large for a row.

    `rejected` hears of effects that the database refuses for their own values (nothing of them is written, `committed`
    is not called) or whose `committed` raised: their execution should be failed with that reason.
    """

    def __init__(
        self,
        dsn: str,
        *,
        term: int,
        blobs: Blobs,
        rejected: Callable[[Effects, Exception], None],
        options: JournalOptions | None = None,
    ) -> None:
        self._options = options or JournalOptions()
        self.backlog_max = self._options.backlog_max
        self._in_lane = _InLane()
        connect = partial(connect_journal, dsn, self._options.statement_timeout_s)
        self._lanes = [
            JournalLane(
                connect,
                term=term,
                lane=lane,
                blobs=blobs,
                rejected=rejected,
                options=self._options,
                left=self._in_lane.leave,
            )
            for lane in range(self._options.lanes)
        ]
        _BACKLOG.set_function(lambda: self.backlog)

    def submit(self, effects: Effects, committed: Callable[[Effects], None]) -> None:
        """Queue rows for the next commit; see `ports.Journal.submit`. The rows belong to the journal from here on."""
        execution = effects.execution
        lane = self._in_lane.lane(execution)
        if lane is None:
            lane = 0
            if self._lanes[0].backlog >= LANE_SHARED_MIN:
                lane = min(range(len(self._lanes)), key=lambda number: self._lanes[number].backlog)
        self._in_lane.enter(execution, lane)
        self._lanes[lane].submit(effects, committed)

    @property
    def backlog(self) -> int:
        """Effects submitted and not yet durable (or refused)."""
        return sum(lane.backlog for lane in self._lanes)

    async def drained(self) -> None:
        """Wait until everything submitted so far is durable. Raises LeaseLostError when the journal ends before."""
        for lane in self._lanes:
            await lane.drained()

    async def run(self) -> None:
        """Commit until cancelled, then write what was submitted, for at most `flush_timeout_s`. Raises LeaseLostError,
        and asyncpg.PostgresError for faults that neither time nor leaving out a row would mend."""
        running = [
            asyncio.create_task(lane.run(), name=f"journal lane {number}") for number, lane in enumerate(self._lanes)
        ]
        try:
            await _first_fault(running)
        except asyncio.CancelledError:
            for lane in self._lanes:
                lane.stop()
            await asyncio.wait(running, timeout=self._options.flush_timeout_s)
            raise
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if self.backlog:
                _log.warning("journal ended with effects that are not durable", backlog=self.backlog)


async def _first_fault(running: list[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def connect_journal(dsn: str, statement_timeout_s: float = 60.0) -> asyncpg.Connection:
    """A connection for the statements of journal.sql."""
    # The statement is the same each time and its arrays are all the planner could look at: one generic plan for all. It
    # is made when the tables may still be empty, and kept while they grow: to read them whole is ruled out.
    return await asyncpg.connect(
        dsn,
        timeout=10,
        command_timeout=statement_timeout_s,
        server_settings={
            "application_name": "wingbeat journal",
            "timezone": "UTC",
            "jit": "off",
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
        },
    )
