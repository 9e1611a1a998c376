"""Idempotency keys: which launches have been asked for before, in the transactions that launch.

A key's row is inserted before its execution and in the same transaction. Whoever comes with the same key meanwhile
waits for that transaction and then finds the key, or has it if nothing came of the other: so of any number of callers
one launches, whichever of them are killed. Keys are inserted in their order, hence callers cannot lock each other out.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.launching", "launch_keys.sql")
_log = structlog.get_logger(__name__)

KEY_BYTES_MAX = 256
PRUNED_EACH = 10_000
"""Keys deleted by one statement."""
PRUNE_PERIOD_S = 600.0
_UUID_DIGITS = 32

Connection: TypeAlias = "asyncpg.Pool | PoolConnectionProxy[asyncpg.Record]"


class LaunchKey(NamedTuple):
    """A key as it is stored, what was to be launched with it, and the name of that execution.

    Key and content are UUIDs, written as their 32 hexadecimal digits, which cost a tenth of the objects.
    """

    key: str
    content: str
    name: str


def key_of(project: str, domain: str, key: str) -> str:
    """A caller's key within its project and domain."""
    return hashlib.sha256(f"{project}\0{domain}\0{key}".encode()).hexdigest()[:_UUID_DIGITS]


def content_of(*parts: bytes) -> str:
    """A digest of what is to be launched."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()[:_UUID_DIGITS]


async def take_keys(connection: Connection, keys: Sequence[LaunchKey]) -> frozenset[str]:
    """Insert those that are not there; which ones were not. Each is given once."""
    if not keys:
        return frozenset()
    rows = await connection.fetch(_SQL["take_keys"], *zip(*keys, strict=True))
    return frozenset(row["key"].hex for row in rows)


async def give_back(connection: Connection, keys: Iterable[str]) -> None:
    """Take back, in the same transaction, what `take_keys` has inserted."""
    await connection.execute(_SQL["give_back"], list(keys))


async def find_keys(connection: Connection, keys: Iterable[str]) -> Mapping[str, LaunchKey]:
    """Those of `keys` that are there."""
    rows = await connection.fetch(_SQL["find_keys"], list(keys))
    return {row["key"].hex: LaunchKey(row["key"].hex, row["content"].hex, row["name"]) for row in rows}


class KeyPruner:
    """Deletes keys that are older than they are kept for; each server runs one, and they do not disturb each other."""

    def __init__(self, pool: asyncpg.Pool, *, keep_s: float) -> None:
        self._pool = pool
        self._keep_s = keep_s

    async def run(self) -> None:
        """Prune until cancelled."""
        while True:
            try:
                with outages_as_oserror():
                    await self.prune()
            except OSError as error:
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
