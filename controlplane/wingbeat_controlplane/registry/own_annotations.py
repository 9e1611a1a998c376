"""Annotations by which users say what FlyteIDL has no field for. All begin with `wingbeat.dev/`.

They travel like any annotation, so every client of Flyte can set them. Those of this prefix that nobody knows are
refused: a misspelt one would be silent.
"""

from collections.abc import Mapping
from typing import Final

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_propeller.core.cache_switch import CACHE_ANNOTATION, CACHE_OFF, CACHE_ON

PREFIX: Final = "wingbeat.dev/"

OVERLAP: Final = f"{PREFIX}overlap"
CONCURRENCY_MAX: Final = f"{PREFIX}concurrency-max"
DEADLINE: Final = f"{PREFIX}deadline"
QUEUE_DEADLINE: Final = f"{PREFIX}queue-deadline"
PRIORITY: Final = f"{PREFIX}priority"
CACHE: Final = CACHE_ANNOTATION

OF_EXECUTIONS: Final = frozenset({DEADLINE, QUEUE_DEADLINE, PRIORITY, CACHE})
OF_LAUNCH_PLANS: Final = OF_EXECUTIONS | {OVERLAP, CONCURRENCY_MAX}


def check_launch_plan_annotations(annotations: Mapping[str, str]) -> None:
    """Whether a launch plan may have these. Raises ApiError INVALID_ARGUMENT; values are judged by who reads them."""
    _check(annotations, OF_LAUNCH_PLANS, "a launch plan")


def check_execution_annotations(annotations: Mapping[str, str]) -> None:
    """Whether a request for an execution may have these. Raises ApiError INVALID_ARGUMENT."""
    for key in OF_LAUNCH_PLANS - OF_EXECUTIONS:
        if key in annotations:
            raise invalid_argument(f"invalid annotation [{key}]: it belongs to the launch plan, not to an execution")
    _check(annotations, OF_EXECUTIONS, "an execution")


def stated_cache(annotations: Mapping[str, str]) -> str | None:
    """Whether the cache is on or off, as one execution, launch plan or level of attributes says; None: nothing.

    Raises ApiError INVALID_ARGUMENT.
    """
    said = annotations.get(CACHE)
    if said not in (None, CACHE_ON, CACHE_OFF):
        raise invalid_argument(
            f"invalid annotation [{CACHE}]: {CACHE_ON} or {CACHE_OFF} is expected, not [{said[:100]}]"
        )
    return said


def without_own(annotations: Mapping[str, str]) -> dict[str, str]:
    """Those that are none of ours."""
    return {key: value for key, value in annotations.items() if not key.startswith(PREFIX)}


def _check(annotations: Mapping[str, str], known: frozenset[str], what: str) -> None:
    for key in annotations:
        if key.startswith(PREFIX) and key not in known:
            raise invalid_argument(f"unknown annotation [{key}]: {what} may have {', '.join(sorted(known))}")
    stated_cache(annotations)
