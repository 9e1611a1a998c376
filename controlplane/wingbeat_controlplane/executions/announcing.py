"""Telling the engines of new executions, after the commit that made them durable.

Not within it: Postgres lets transactions that notify commit one after another, each with its own wait for the disk,
while plain ones share that wait. What was inserted while a notification is under way goes with the next one. A
notification that is lost, with a server that was killed or a connection, is made up for by the engines' own polling.
"""

import asyncio
from collections.abc import Iterable

import asyncpg
import structlog

from wingbeat_propeller.postgres.outages import DATABASE_ERRORS

_log = structlog.get_logger(__name__)

NAMED_MAX = 100
"""Executions that one notification names; of more it says nothing, and engines look for all there are."""
_NOTIFY = "SELECT pg_notify('wingbeat_new', $1)"


class Announcer:
    """Wakes the engines for executions by shard and row id. Belongs to one event loop."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[int, int]] = []
        self._telling: asyncio.Task[None] | None = None

    def announce(self, created: Iterable[tuple[int, int]]) -> None:
        """Tell of executions, as (shard, row id), that are committed; does not wait."""
        self._waiting += created
        if self._waiting and self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="announce executions")

    async def drained(self) -> None:
        """Wait until all that was announced is told."""
        while self._telling is not None:
            await asyncio.wait([self._telling])

    async def _tell(self) -> None:
        try:
            while self._waiting:
                told, self._waiting = self._waiting, []
                names = " ".join(f"{shard}:{key}" for shard, key in told) if len(told) <= NAMED_MAX else ""
                await self._pool.execute(_NOTIFY, names)
        except DATABASE_ERRORS as error:
            _log.warning("engines were not told of new executions and find them when they look", error=repr(error))
            self._waiting.clear()
        finally:
            self._telling = None
