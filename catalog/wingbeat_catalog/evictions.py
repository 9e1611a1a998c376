"""Entries that users want gone: those that an execution has put, those that its nodes name, and those of calls.

In batches, each a transaction of its own: whoever dies in between has taken some out, and repeating it takes the rest.
"""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
from flyteidl.core import catalog_pb2

from wingbeat_catalog.bounds import bounded
from wingbeat_catalog.keys import dataset_of
from wingbeat_catalog.large_outputs import remove_objects
from wingbeat_catalog.task_keys import Call, TaskKeys
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.cache import CacheAsk
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "evictions.sql")

BATCH_MAX = 1_000


class Maker(NamedTuple):
    """A node, or an element of an array, that has put an entry."""

    node_id: str
    element: int
    """-1: it is no element."""


class Evictions:
    """Takes entries out. All methods raise OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs
        self._keys = TaskKeys()

    async def of_execution(self, project: str, domain: str, execution: str, node_id: str = "") -> list[Maker]:
        """Take out what an execution, or one node of it, has put; returns who had put each entry that went.

        Not more than BATCH_MAX: call again until there is none.
        """
        async with bounded():
            rows = await self._pool.fetch(_SQL["of_source"], execution, project, domain, node_id, BATCH_MAX)
        await self._remove_objects(rows)
        return [Maker(row["node_id"], row["element"]) for row in rows]

    async def named(self, catalogs: Sequence[catalog_pb2.CatalogMetadata]) -> int:
        """Take out the entries that these metadata name, as far as they are there; returns how many went."""
        async with bounded():
            rows = await self._pool.fetch(
                _SQL["named"],
                [dataset_of(catalog.dataset_id).digest() for catalog in catalogs],
                [catalog.artifact_tag.artifact_id for catalog in catalogs],
            )
        await self._remove_objects(rows)
        return len(rows)

    async def of_calls(self, asks: Sequence[CacheAsk]) -> int:
        """Take out the entries that these calls would be given, whoever has put them; returns how many went. Calls
        without a key have none."""
        calls = [self._keys.call(ask) for ask in asks]
        tags = {tag for call in calls if isinstance(call, Call) for tag in (call.exact, call.canonical)}
        async with bounded():
            rows = await self._pool.fetch(_SQL["tagged"], list(tags))
        await self._remove_objects(rows)
        return len(rows)

    async def _remove_objects(self, rows: Sequence[asyncpg.Record]) -> None:
        await remove_objects(self._blobs, [row["data_uri"] for row in rows if row["data_uri"] is not None])
