"""Take the entries of an execution out of the cache, and say so in the rows of its nodes.

Entries go first: whoever dies in between leaves nodes that show what is not there any more, and repeating the call
marks them. Only rows of nodes that have ended are marked, which the engine writes no more.

Elements of arrays do not name the entries that they were given: those are found by the keys of their calls. Where a
call cannot be made out any more (its inputs are gone, a dynamic task brought its task along) the entry stays, and the
element is not marked.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import asyncpg
import structlog
from flyteidl.core import catalog_pb2, identifier_pb2
from flyteidl.event import event_pb2

from wingbeat_catalog.evictions import Evictions, Maker
from wingbeat_controlplane.errors import ApiError, not_found
from wingbeat_controlplane.executions.cache_calls import ArrayCalls, CacheCalls
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_propeller.postgres.queries import load_queries

_log = structlog.get_logger(__name__)
_SQL = load_queries(__package__ or "", "cache_eviction.sql")

PAGE_SIZE = 1_000


@dataclass(slots=True)
class Evicted:
    """What a call came to."""

    entries: int = 0
    marked: int = 0


class CacheEviction:
    """Evicts by execution or node. Raises OSError for an outage."""

    def __init__(self, pool: asyncpg.Pool, evictions: Evictions, calls: CacheCalls) -> None:
        self._pool = pool
        self._evictions = evictions
        self._calls = calls
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
        await self._given_elements(row_id, node_id, evicted)
        return evicted

    async def _given_elements(self, row_id: int, node_id: str, evicted: Evicted) -> None:
        """Entries that elements of arrays were given."""
        after = ("", -1)
        known: tuple[str, ArrayCalls | None] = ("", None)
        while rows := await self._pool.fetch(_SQL["given_elements"], row_id, *after, node_id, PAGE_SIZE):
            after = (rows[-1]["node_id"], rows[-1]["element"])
            for array_id, group in groupby(rows, key=itemgetter("node_id")):
                if known[0] != array_id:
                    known = (array_id, await self._array(row_id, array_id))
                if (calls := known[1]) is None:
                    continue
                elements = [row["element"] for row in group]
                try:
                    asks = await asyncio.to_thread(calls.asks, elements)
                except ApiError as error:
                    _log.warning("entries of elements stay in the cache", node=array_id, reason=error.message)
                    continue
                evicted.entries += await self._evictions.of_calls(asks)
                evicted.marked += await self._mark_elements(row_id, [Maker(array_id, each) for each in elements])

    async def _array(self, row_id: int, node_id: str) -> ArrayCalls | None:
        try:
            return await self._calls.of_array(row_id, node_id)
        except ApiError as error:
            _log.warning("entries of elements stay in the cache", node=node_id, reason=error.message)
            return None

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
