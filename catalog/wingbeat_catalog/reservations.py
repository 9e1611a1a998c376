"""Reservations: of several who want to make the same thing, who may do so now.

Taken, extended and answered for in one statement, so of two that ask at once exactly one gets it. A reservation lapses
three heartbeats after its owner last asked for it, by the database's clock; then the next who asks takes it over. That
is all that is needed after a `kill -9` of its holder. Rules: contract CP §13.4.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg
from prometheus_client import Counter

from wingbeat_catalog.bounds import bounded
from wingbeat_catalog.options import CatalogOptions
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "reservations.sql")
_ASKED = Counter(
    "wingbeat_cache_reservations", "Asks for reservations by whether the asker is the owner now", ["outcome"]
)
_MINE = _ASKED.labels("acquired")
_OTHERS = _ASKED.labels("exists")

SWEEP_S = 600.0
"""Seconds between sweeps of a process for reservations that nobody asked for again."""

CHANNEL = "wingbeat_cache"
"""Releases are told here, by the key in hex."""


class Claim(NamedTuple):
    """Somebody who wants to be the owner."""

    key: bytes
    owner: str


class Held(NamedTuple):
    """A reservation as it stands after the ask."""

    owner: str
    heartbeat: timedelta
    expires_at: datetime
    left_s: float


class Reservations:
    """Reservations by key. All methods raise OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool, options: CatalogOptions) -> None:
        self._pool = pool
        self._options = options
        self._swept_at = time.monotonic()

    async def reserve(self, claims: Sequence[Claim], heartbeat_s: float) -> list[Held]:
        """Take, extend or only look, in the order of `claims`; heartbeats longer than allowed are cut."""
        held: list[Held] = []
        heartbeat = timedelta(seconds=min(heartbeat_s, self._options.heartbeat_s_max))
        for start in range(0, len(claims), self._options.batch_max):
            batch = claims[start : start + self._options.batch_max]
            async with bounded():
                rows = await self._pool.fetch(
                    _SQL["reserve"], [claim.key for claim in batch], [claim.owner for claim in batch], heartbeat
                )
            by_key = {row["key"]: row for row in rows}
            for claim in batch:
                row = by_key[claim.key]
                held.append(Held(row["owner"], row["heartbeat"], row["expires_at"], row["left_s"]))
                (_MINE if row["owner"] == claim.owner else _OTHERS).inc()
        await self._sweep_now_and_then()
        return held

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give up what is the owner's and tell those who listen; anything else is left alone."""
        for start in range(0, len(claims), self._options.batch_max):
            batch = claims[start : start + self._options.batch_max]
            async with bounded():
                await self._pool.fetch(
                    _SQL["release"], [claim.key for claim in batch], [claim.owner for claim in batch]
                )

    async def _sweep_now_and_then(self) -> None:
        if time.monotonic() - self._swept_at < SWEEP_S:
            return
        self._swept_at = time.monotonic()
        async with bounded():
            await self._pool.fetchval(_SQL["sweep"])
