"""PURE: sentences about calls that were not found in the cache."""

from collections.abc import Sequence
from datetime import datetime

from flyteidl.core import catalog_pb2, identifier_pb2

from wingbeat_catalog.keys import WORKFLOW_PREFIX
from wingbeat_catalog.misses.nearest import Near

_NOT_ASKED: dict[int, str] = {
    catalog_pb2.CACHE_DISABLED: "The cache was not asked: it is off for this node.",
    catalog_pb2.CACHE_SKIPPED: "The cache was not asked: the execution overwrites it (overwrite_cache).",
    catalog_pb2.CACHE_LOOKUP_FAILURE: "The cache could not be asked; the engine's log says why.",
}
_DIFFERENCES_MAX = 3
"""In a headline; the entry's own sentence has them all."""


def headline(entity: identifier_pb2.Identifier, status: int, asked_at: datetime | None, entries: Sequence[Near]) -> str:
    """What the answer comes to; `status` and `asked_at` are those of a node, 0 and None for a call of nobody."""
    beginning = ""
    if asked_at is not None and status in _NOT_ASKED:
        beginning = _NOT_ASKED[status] + " "
    elif status == catalog_pb2.CACHE_HIT:
        beginning = "It was a hit. "
    elif status == catalog_pb2.CACHE_EVICTED:
        beginning = "Its entry has been evicted. "
    if not entries:
        return (
            f"{beginning}There is no other entry of {_kind(entity)} {entity.name} in project {entity.project}: none was"
            " put, or all have been evicted or removed."
        )
    nearest = entries[0]
    if not nearest.differences:
        return f"{beginning}{_equal(nearest, asked_at)}"
    told = "; ".join(difference.sentence for difference in nearest.differences[:_DIFFERENCES_MAX])
    more = len(nearest.differences) - _DIFFERENCES_MAX
    rest = f"; and {more} more" if more > 0 else ""
    return f"{beginning}There is no entry with this key. The nearest one, {_maker(nearest)}: {told}{rest}."


def not_cached(entity: identifier_pb2.Identifier) -> str:
    """Of a call that the cache has nothing to do with."""
    if entity.resource_type == identifier_pb2.WORKFLOW:
        return f"Workflow {entity.name} is not cached as a whole: its node has no with_overrides(cache=...)"
    return f"Task {entity.name} is not cached: it has no cache=True"


def hit_sentence(catalog: catalog_pb2.CatalogMetadata) -> str:
    """Of a node that was given what another has made."""
    source = catalog.source_task_execution.node_execution_id
    return f"It was a hit: its outputs were made by {source.execution_id.name} {source.node_id}."


def entry_sentence(near: Near) -> str:
    """An entry and everything in which it differs."""
    told = "; ".join(difference.sentence for difference in near.differences) or "it has the same key"
    return f"The entry {_maker(near)}: {told}."


def _kind(entity: identifier_pb2.Identifier) -> str:
    return "workflow" if entity.resource_type == identifier_pb2.WORKFLOW else "task"


def _equal(near: Near, asked_at: datetime | None) -> str:
    if asked_at is None:
        return f"It would be a hit: the entry {_maker(near)} has this key."
    if near.created_at > asked_at:
        return f"There is an entry with this key now, {_maker(near)}, after the node had asked."
    return f"There is an entry with this key now, {_maker(near)}."


def _maker(near: Near) -> str:
    source = near.source
    when = near.updated_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    if not source.execution:
        return f"put by somebody unnamed at {when}"
    element = f"[{source.element}]" if source.element >= 0 else ""
    kind = "workflow" if near.dataset.name.startswith(WORKFLOW_PREFIX) else "task"
    version = f", version {source.task_version} of the {kind}" if source.task_version else ""
    return f"put by {source.execution} {source.node_id}{element} at {when}{version}"
