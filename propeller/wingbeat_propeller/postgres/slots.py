"""Slots of tenants' limits: a row for each attempt that counts, written before it may run.

How many are taken is counted from the rows each time, under a lock on the share's row (`admit_attempts` in migration
0005), and the commit that records the end of an attempt deletes its row (`commit` in journal.sql). So there is no
counter that could be wrong: whoever is killed, a row is there exactly as long as its attempt is under way by the other
rows. Calls of an engine that has lost its lease change nothing: a row that goes with its term fences them.
"""

from collections.abc import Sequence

import asyncpg

from wingbeat_propeller.ports.journal import LeaseLostError
from wingbeat_propeller.ports.slots import ShareBook, SlotAsk, TenantShare
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "slots.sql")


class PostgresSlots:
    """Satisfies `ports.Slots`; one object serves one term at a time. All methods raise OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._term = 0
        self._number = 0

    async def open(self, term: int) -> None:
        """Serve this term from now on. Raises LeaseLostError."""
        with outages_as_oserror():
            number = await self._pool.fetchval(_SQL["open_slots"], term)
            if number is None:
                raise LeaseLostError(f"term {term} has ended")
            self._term, self._number = term, int(number)
            await self._pool.fetchval(_SQL["remove_orphans"])

    async def shares(self) -> ShareBook:
        """All shares as of one moment."""
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["shares"])
        return ShareBook(
            revision=rows[0]["revision"],
            shares=tuple(
                TenantShare(row["project"], row["domain"], row["weight"], row["running_max"])
                for row in rows
                if row["project"] is not None
            ),
        )

    async def admit(self, asks: Sequence[SlotAsk], *, seen: int) -> frozenset[str]:
        """See `ports.Slots.admit`. Raises LeaseLostError."""
        self._number += 1  # also for a repetition: what an earlier try may still do is void as soon as this one is done
        with outages_as_oserror():
            places: list[int] | None = await self._pool.fetchval(
                _SQL["admit_attempts"], self._term, self._number, seen, asks
            )
        if places is None:
            raise LeaseLostError(f"term {self._term} has ended")
        return frozenset(asks[place - 1].name for place in places)

    async def of_executions(self, executions: Sequence[int]) -> frozenset[str]:
        """Names of the attempts of these executions that have a slot."""
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["of_executions"], executions)
        return frozenset(row["name"] for row in rows)
