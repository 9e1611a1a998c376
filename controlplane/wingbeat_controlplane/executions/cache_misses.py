"""Why a call of a task was not found in the cache: the nearest entries, and what differs.

Entries that the node itself has put since are left out.
"""

from collections.abc import Sequence

from wingbeat_catalog.keys import CallKey, TaskKey, call_key, task_key
from wingbeat_catalog.misses.comparison import Difference
from wingbeat_catalog.misses.nearest import Found, Near, NearestEntries
from wingbeat_controlplane.errors import failed_precondition, invalid_argument, missing
from wingbeat_controlplane.executions.cache_calls import AskedCall, CacheCalls, GivenCall
from wingbeat_controlplane.executions.cache_miss_words import entry_sentence, headline, hit_sentence, not_cached
from wingbeat_controlplane.registry.times import timestamp
from wingbeatidl.cache.v1 import cache_pb2

LIMIT = 5
LIMIT_MAX = 50


class CacheMisses:
    """Answers ExplainMiss. Raises ApiError, and OSError for an outage."""

    def __init__(self, calls: CacheCalls, nearest: NearestEntries) -> None:
        self._calls = calls
        self._nearest = nearest

    async def explain(self, request: cache_pb2.ExplainMissRequest) -> cache_pb2.ExplainMissResponse:
        """Compare a call with the nearest entries."""
        if not 0 <= request.limit <= LIMIT_MAX:
            raise invalid_argument(f"limit is {request.limit}: it is between 0 and {LIMIT_MAX}")
        match request.WhichOneof("call"):
            case "node":
                asked = await self._calls.of_node(request.node)
            case "task":
                asked = await self._calls.of_task(request.task)
            case _:
                raise missing("call")
        if isinstance(asked, GivenCall):
            return cache_pb2.ExplainMissResponse(sentence=hit_sentence(asked.catalog), cache_status=asked.status)
        if asked.cached is None:
            return cache_pb2.ExplainMissResponse(sentence=not_cached(asked.entity), cache_status=asked.status)
        try:
            task = task_key(asked.cached)
            key = call_key(task, asked.inputs)
            nearest = await self._nearest.of(task, asked.cached.cache_version.strip(" "), key, asked.inputs)
        except ValueError as error:
            raise failed_precondition(f"the call has no key: {error}") from error
        return _response(asked, task, key, nearest, request.limit or LIMIT)


def _response(asked: AskedCall, task: TaskKey, key: CallKey, found: Found, limit: int) -> cache_pb2.ExplainMissResponse:
    others = [near for near in found.entries if not _is_own(asked, near)]
    name = task.dataset
    return cache_pb2.ExplainMissResponse(
        sentence=headline(asked.entity, asked.status, asked.at, others),
        key=cache_pb2.EntryKey(
            project=name.project,
            domain=name.domain,
            dataset=name.name,
            dataset_version=name.version,
            tag=key.exact,
            canonical_tag=key.canonical,
        ),
        cache_status=asked.status,
        neighbours=[_neighbour(near) for near in others[:limit]],
        compared=found.compared,
        truncated=found.truncated,
    )


def _is_own(asked: AskedCall, near: Near) -> bool:
    source = near.source
    return (source.project, source.domain, source.execution, source.node_id, source.element) == asked.maker


def _neighbour(near: Near) -> cache_pb2.Neighbour:
    name, source = near.dataset, near.source
    message = cache_pb2.Neighbour(
        key=cache_pb2.EntryKey(
            project=name.project, domain=name.domain, dataset=name.name, dataset_version=name.version, tag=near.tag
        ),
        artifact_id=near.artifact_id,
        created_at=timestamp(near.created_at),
        updated_at=timestamp(near.updated_at),
        node_id=source.node_id,
        attempt=source.attempt,
        element=source.element if source.element >= 0 else None,
        task_version=source.task_version,
        cache_version=near.cache_version,
        differences=_differences(near.differences),
        sentence=entry_sentence(near),
    )
    if source.execution:
        message.execution.CopyFrom(
            cache_pb2.ExecutionName(project=source.project, domain=source.domain, name=source.execution)
        )
    return message


def _differences(differences: Sequence[Difference]) -> list[cache_pb2.Difference]:
    return [
        cache_pb2.Difference(
            kind=cache_pb2.DifferenceKind.Name(difference.kind.value),
            variable=difference.variable,
            path=difference.path,
            asked=difference.asked,
            kept=difference.kept,
            sentence=difference.sentence,
        )
        for difference in differences
    ]
