"""Leases of shards in Postgres: one row a member with the end of its lease, one row a shard with its owner's term.

Time is the database's alone. A round renews the own lease, ends the terms of members whose lease is over (deleting the
member's row frees its shards and its journal lanes, which is what fences its writes), and takes free shards that fall
to this member by rendezvous hashing. Every step is a statement of its own, idempotent, and locks rows of one member
only: a round that dies half way is finished by the next.
"""

import asyncio
from collections.abc import Sequence

import asyncpg
import structlog

from wingbeat_propeller.core.shards import desired_shards
from wingbeat_propeller.ports.journal import LeaseLostError, ShardChange
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_log = structlog.get_logger(__name__)
_SQL = load_queries(__package__ or "", "leases.sql")


class PostgresLeases:
    """Satisfies `ports.Leases`; one object serves one term at a time. All methods raise OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._reported: frozenset[int] = frozenset()
        """Shards of this term that a round has reported as acquired."""
        self._releases = 0
        self._releasing = asyncio.Lock()

    async def join(self, name: str, lease_s: float) -> int:
        """Become a member; returns the term. The others are woken, so that they hand over shards."""
        with outages_as_oserror():
            term = int(await self._pool.fetchval(_SQL["join"], name, lease_s))
        self._reported = frozenset()
        self._releases = 0
        return term

    async def round(self, term: int, lease_s: float) -> ShardChange:
        """See `ports.Leases.round`. Raises LeaseLostError."""
        with outages_as_oserror():
            state = await self._renew(term, lease_s)
            if state["any_expired"]:
                for ended in await self._pool.fetch(_SQL["end_expired"], term):
                    _log.warning(
                        "ended the term of a member whose lease is over", term=ended["term"], name=ended["name"]
                    )
                state = await self._renew(term, lease_s)
            desired = desired_shards(term, state["members"])
            owned = frozenset[int](state["owned"]) | await self._take(term, desired.intersection(state["free"]))
        # What is owned is read rather than remembered: a round whose answer was lost is made good by the next.
        acquired = (owned & desired) - self._reported
        self._reported = (self._reported & owned) | acquired
        return ShardChange(acquired=acquired, to_release=owned - desired)

    async def announce(self, term: int, address: str) -> None:
        """Make known where this process answers questions. Raises LeaseLostError."""
        with outages_as_oserror():
            announced = await self._pool.fetchval(_SQL["announce"], term, address)
        if announced is None:
            raise LeaseLostError(f"term {term} has ended")

    async def release(self, term: int, shards: Sequence[int]) -> None:
        """Give up shards whose executions are at rest; the others are woken."""
        async with self._releasing:
            self._releases += 1
            with outages_as_oserror():
                await self._pool.execute(_SQL["release"], term, sorted(shards), self._releases)
        self._reported -= frozenset(shards)

    async def leave(self, term: int) -> None:
        """End the term at once; its shards become free and the others are woken."""
        with outages_as_oserror():
            await self._pool.execute(_SQL["leave"], term)
        self._reported = frozenset()

    async def _renew(self, term: int, lease_s: float) -> asyncpg.Record:
        state = await self._pool.fetchrow(_SQL["renew"], term, lease_s)
        if state is None or not state["alive"]:
            raise LeaseLostError(f"term {term} has ended")
        return state

    async def _take(self, term: int, shards: frozenset[int]) -> frozenset[int]:
        if not shards:
            return frozenset()
        try:
            taken = await self._pool.fetch(_SQL["take"], term, sorted(shards))
        except asyncpg.ForeignKeyViolationError as error:
            raise LeaseLostError(f"term {term} has ended") from error
        return frozenset(row["shard"] for row in taken)
