"""Daily partitions of the log of transitions: made ahead, dropped when they are older than the retention.

A row whose day has no partition (a day nobody made ahead, a clock far off) goes to the default partition and moves when
its day is made, so nothing depends on this running in time. Any number of processes may run it.

Of a day that is dropped, the last transition of each node of executions still alive at the end of it is carried over
into the default partition. So the state of every execution at any instant since `transitions_retention.kept_since` can
be told from the log, however long ago its nodes last changed.
"""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import asyncpg
import structlog

from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_log = structlog.get_logger(__name__)
_SQL = load_queries(__package__ or "", "transitions.sql")
_NAME = re.compile(r"^transitions_(\d{8})$")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TransitionsOptions:
    """How long the log is kept, and how it is looked after."""

    retention_days: int = 30
    days_ahead: int = 3
    interval_s: float = 3600.0


class TransitionPartitions:
    """Looks after the partitions; see the module."""

    def __init__(self, pool: asyncpg.Pool, options: TransitionsOptions | None = None) -> None:
        self._pool = pool
        self._options = options or TransitionsOptions()

    async def run(self) -> None:
        """Look after them at once and then every `interval_s`, until cancelled."""
        while True:
            try:
                await self.keep(datetime.now(UTC).date())
            except OSError as error:
                _log.warning("partitions of transitions left as they are for now", error=str(error))
            await asyncio.sleep(self._options.interval_s)

    async def keep(self, today: date) -> None:
        """Make the partitions of `today` (UTC) and the days ahead, drop what is older than the retention.

        Raises OSError for a database that does not answer or is too busy to be altered now.
        """
        wanted = [today + _DAY * number for number in range(self._options.days_ahead + 1)]
        oldest = today - _DAY * self._options.retention_days
        with outages_as_oserror():
            for day in wanted:
                await self._make(day)
            await self._drop_before(oldest)

    async def _make(self, day: date) -> None:
        name = f"transitions_{day:%Y%m%d}"
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_SQL["lock"])
            if any(row["name"] == name for row in await connection.fetch(_SQL["partitions"])):
                return
            first, last = _midnight(day), _midnight(day + _DAY)
            await connection.execute(_SQL["lock_default"])
            await connection.execute(_SQL["create"].format(name=name))
            await connection.execute(_SQL["fill"].format(name=name), first, last)
            await connection.execute(_SQL["attach"].format(name=name, first=first, last=last))

    async def _drop_before(self, oldest: date) -> None:
        since = _midnight(oldest)
        dropped: list[int | None] = []
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_SQL["lock"])
            for row in await connection.fetch(_SQL["partitions"]):
                match = _NAME.match(row["name"])
                if match and datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).date() < oldest:
                    await connection.execute(_SQL["detach"].format(name=row["name"]))
                    await connection.execute(_SQL["carry"].format(name=row["name"]), since)
                    dropped.append(await connection.fetchval(_SQL["last_txid"].format(name=row["name"])))
                    await connection.execute(_SQL["drop"].format(name=row["name"]))
                    _log.info("partition of transitions dropped", name=row["name"])
            dropped.append(await connection.fetchval(_SQL["prune_default"], since))
            if known := [txid for txid in dropped if txid is not None]:
                await connection.execute(_SQL["keep_dropped"], max(known))
            await connection.execute(_SQL["keep_since"], since)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
