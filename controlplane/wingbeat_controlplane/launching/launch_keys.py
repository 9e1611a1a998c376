"""Idempotency keys: which launches have been asked for before, in the transactions that launch.

A key's row is inserted before its execution and in the same transaction. Whoever comes with the same key meanwhile
waits for that transaction and then finds the key, or has it if nothing came of the other: so of any number of callers
one launches, whichever of them are killed. Keys are inserted in their order, hence callers cannot lock each other out.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from wingbeat_propeller.postgres.outages import is_outage
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.launching", "launch_keys.sql")
_log = structlog.get_logger(__name__)

KEY_BYTES_MAX = 256
PRUNED_EACH = 10_000
"""Keys deleted by one statement."""
PRUNE_PERIOD_S = 600.0

Connection: TypeAlias = "asyncpg.Pool | PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class LaunchKey:
    """A key as it is stored, what was to be launched with it, and the name of that execution."""

    key: UUID
    content: UUID
    name: str


def key_of(project: str, domain: str, key: str) -> UUID:
    """A caller's key within its project and domain."""
    return UUID(bytes=hashlib.sha256(f"{project}\0{domain}\0{key}".encode()).digest()[:16])


def content_of(*parts: bytes) -> UUID:
    """A digest of what is to be launched."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return UUID(bytes=digest.digest()[:16])


async def take_keys(connection: Connection, keys: Sequence[LaunchKey]) -> frozenset[UUID]:
    """Insert those that are not there; which ones were not. Each is given once."""
    if not keys:
        return frozenset()
    columns = ([each.key for each in keys], [each.content for each in keys], [each.name for each in keys])
    return frozenset(row["key"] for row in await connection.fetch(_SQL["take_keys"], *columns))


async def give_back(connection: Connection, keys: Iterable[UUID]) -> None:
    """Take back, in the same transaction, what `take_keys` has inserted."""
    await connection.execute(_SQL["give_back"], list(keys))


async def find_keys(connection: Connection, keys: Iterable[UUID]) -> Mapping[UUID, LaunchKey]:
    """Those of `keys` that are there."""
    rows = await connection.fetch(_SQL["find_keys"], list(keys))
    return {row["key"]: LaunchKey(row["key"], row["content"], row["name"]) for row in rows}


class KeyPruner:
    """Deletes keys that are older than they are kept for; each server runs one, and they do not disturb each other."""

    def __init__(self, pool: asyncpg.Pool, *, keep_s: float) -> None:
        self._pool = pool
        self._keep_s = keep_s

    async def run(self) -> None:
        """Prune until cancelled."""
        while True:
            try:
                await self.prune()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                if not is_outage(error):
                    raise
                _log.warning("keys of launches are pruned later", error=repr(error))
            await asyncio.sleep(PRUNE_PERIOD_S)

    async def prune(self) -> int:
        """Delete what is too old; how many keys went."""
        total = 0
        while True:
            pruned = int(await self._pool.fetchval(_SQL["prune"], self._keep_s, PRUNED_EACH))
            total += pruned
            if pruned < PRUNED_EACH:
                return total
