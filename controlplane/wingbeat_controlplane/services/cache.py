"""CacheService of our own: why calls were not found, and evictions."""

from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import missing
from wingbeat_controlplane.executions.cache_eviction import CacheEviction
from wingbeat_controlplane.executions.cache_misses import CacheMisses
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.cache.v1 import cache_pb2


class OwnCacheServicer:
    """ExplainMiss, EvictExecution, EvictNode."""

    def __init__(self, misses: CacheMisses, eviction: CacheEviction) -> None:
        self._misses = misses
        self._eviction = eviction

    async def ExplainMiss(
        self, request: cache_pb2.ExplainMissRequest, context: CallContext
    ) -> cache_pb2.ExplainMissResponse:
        """Why a call was not found."""
        return await self._misses.explain(request)

    async def EvictExecution(
        self, request: cache_pb2.EvictExecutionRequest, context: CallContext
    ) -> cache_pb2.EvictExecutionResponse:
        """Take out what an execution has put or was given."""
        evicted = await self._eviction.evict(_execution(request.execution))
        return cache_pb2.EvictExecutionResponse(entries=evicted.entries, marked=evicted.marked)

    async def EvictNode(self, request: cache_pb2.EvictNodeRequest, context: CallContext) -> cache_pb2.EvictNodeResponse:
        """Take out what a node has put or was given."""
        if not request.node_id:
            raise missing("node id")
        evicted = await self._eviction.evict(_execution(request.execution), request.node_id)
        return cache_pb2.EvictNodeResponse(entries=evicted.entries, marked=evicted.marked)


def _execution(name: cache_pb2.ExecutionName) -> identifier_pb2.WorkflowExecutionIdentifier:
    for field in ("project", "domain", "name"):
        if not getattr(name, field):
            raise missing(f"execution {field}")
    return identifier_pb2.WorkflowExecutionIdentifier(project=name.project, domain=name.domain, name=name.name)
