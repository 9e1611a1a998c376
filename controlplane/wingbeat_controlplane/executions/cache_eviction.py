"""Take the entries of an execution out of the cache, and say so in the rows of its nodes.

Entries go first: whoever dies in between leaves nodes that show what is not there any more, and repeating the call
marks them. Only rows of nodes that have ended are marked, which the engine writes no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from flyteidl.core import catalog_pb2, identifier_pb2
from flyteidl.event import event_pb2

from wingbeat_catalog.evictions import Evictions, Maker
from wingbeat_controlplane.errors import not_found
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "cache_eviction.sql")

PAGE_SIZE = 1_000


@dataclass(slots=True)
class Evicted:
    """What a call came to."""

    entries: int = 0
    marked: int = 0


class CacheEviction:
    """Evicts by execution or node. Raises OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool, evictions: Evictions) -> None:
        self._pool = pool
        self._evictions = evictions
        self._keys = ExecutionKeys(pool)

    async def evict(self, execution: identifier_pb2.WorkflowExecutionIdentifier, node_id: str = "") -> Evicted:
        """Take out what the execution, or one node of it, has put or was given. Raises ApiError NOT_FOUND."""
        row_id = await self._keys.find(execution)
        if row_id is None:
            raise not_found("execution", execution)
        if node_id and await self._pool.fetchval(_SQL["find_node"], row_id, node_id) is None:
            raise not_found("node execution", node_id)
        evicted = Evicted()
        while makers := await self._evictions.of_execution(
            execution.project, execution.domain, execution.name, node_id
        ):
            evicted.entries += len(makers)
            evicted.marked += await self._mark_elements(row_id, makers)
        after = ""
        while rows := await self._pool.fetch(_SQL["cached_nodes"], row_id, after, node_id, PAGE_SIZE):
            after = rows[-1]["node_id"]
            named = [catalog for row in rows if (catalog := _catalog(row["details"])) is not None]
            evicted.entries += await self._evictions.named(named)
            marked = await self._pool.fetch(_SQL["mark_nodes"], row_id, [row["node_id"] for row in rows])
            evicted.marked += len(marked)
        return evicted

    async def _mark_elements(self, row_id: int, makers: Sequence[Maker]) -> int:
        elements = [maker for maker in makers if maker.element >= 0]
        if not elements:
            return 0
        marked = await self._pool.fetch(
            _SQL["mark_elements"],
            row_id,
            [maker.node_id for maker in elements],
            [maker.element for maker in elements],
        )
        return len(marked)


def _catalog(details: bytes | None) -> catalog_pb2.CatalogMetadata | None:
    """The entry that a node names."""
    event = event_pb2.NodeExecutionEvent.FromString(details or b"")
    if not event.task_node_metadata.catalog_key.artifact_tag.artifact_id:
        return None
    return event.task_node_metadata.catalog_key
