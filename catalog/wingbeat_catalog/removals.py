"""Entries that may not be used: said in the log, counted, and removed, so that the next run can put new ones."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
import structlog
from prometheus_client import Counter

from wingbeat_catalog.large_outputs import remove_objects
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.postgres.outages import DATABASE_ERRORS, outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "removals.sql")
_REMOVED = Counter("wingbeat_cache_removed", "Entries removed because they could not be used", ["reason"])
_log = structlog.get_logger(__name__)


class BadEntry(NamedTuple):
    """An entry that may not be used; `row` has id, artifact_id, data_digest, source_execution and source_node."""

    row: asyncpg.Record
    reason: str
    """One of `poisoned`, `gone`, `mismatch` and `old`."""
    text: str


class Removals:
    """Removes bad entries. Harmless to repeat; an entry that was replaced meanwhile stays."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs

    async def remove(self, bad: Sequence[BadEntry]) -> None:
        """Remove them as far as the database lets; the next one who finds what stays tries again."""
        for row, reason, text in bad:
            _REMOVED.labels(reason).inc()
            _log.warning(
                "cache entry removed",
                reason=reason,
                artifact=row["artifact_id"],
                execution=row["source_execution"],
                node=row["source_node"],
                text=text,
            )
        try:
            with outages_as_oserror():
                gone = await self._pool.fetch(
                    _SQL["remove"], [one.row["id"] for one in bad], [one.row["data_digest"] for one in bad]
                )
        except DATABASE_ERRORS as error:
            _log.warning("cache entries that may not be used stay", entries=len(bad), error=repr(error))
            return
        await remove_objects(self._blobs, [row["data_uri"] for row in gone if row["data_uri"] is not None])
