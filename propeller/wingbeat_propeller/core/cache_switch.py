"""How the settings of an execution say that it does without the cache: an annotation, kept with the execution so that
executions of its launch plan nodes inherit it. Tasks do not see it."""

from typing import Final

CACHE_ANNOTATION: Final = "wingbeat.dev/cache"
CACHE_ON: Final = "on"
CACHE_OFF: Final = "off"
