"""What the settings of an execution say of the cache: an annotation does without it, and is kept with the execution so
that executions of its launch plan nodes inherit it. Tasks do not see it."""

from typing import Final

from flyteidl.admin import matchable_resource_pb2

from wingbeat_propeller.core.caching import CacheMode

CACHE_ANNOTATION: Final = "wingbeat.dev/cache"
CACHE_ON: Final = "on"
CACHE_OFF: Final = "off"


def cache_mode(config: matchable_resource_pb2.WorkflowExecutionConfig) -> CacheMode:
    """What an execution with these effective settings does with the cache."""
    if config.annotations.values.get(CACHE_ANNOTATION) == CACHE_OFF:
        return CacheMode.OFF
    return CacheMode.OVERWRITE if config.overwrite_cache else CacheMode.USE
