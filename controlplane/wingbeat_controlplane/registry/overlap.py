"""What a launch plan says about executions of its name that overlap.

FlyteIDL's `concurrency_policy` holds a number and can only skip. The annotation `wingbeat.dev/overlap` adds the other
two behaviours and rules over the policy's; `wingbeat.dev/concurrency-max` is the number for clients that cannot set the
policy. Read at registration, where mistakes are refused, and at launch.
"""

from dataclasses import dataclass
from enum import StrEnum

from flyteidl.admin import launch_plan_pb2

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_controlplane.registry.own_annotations import CONCURRENCY_MAX, OVERLAP

ALIVE_MAX_MAX = 2**32 - 1
"""What FlyteIDL's field can hold."""


class Overlap(StrEnum):
    """What happens to a launch when as many executions are alive as may be."""

    SKIP = "skip"
    """It is refused."""
    QUEUE = "queue"
    """It waits its turn."""
    REPLACE = "replace"
    """The oldest are aborted, and it begins once they have ended."""


@dataclass(frozen=True, slots=True)
class OverlapPolicy:
    """At most `alive_max` executions of the launch plan's name, over all its versions, are alive at once."""

    behavior: Overlap
    alive_max: int


def overlap_policy(spec: launch_plan_pb2.LaunchPlanSpec) -> OverlapPolicy | None:
    """The policy of a launch plan; None: any number may be alive.

    A number alone skips, as FlyteIDL's only behaviour does; a behaviour alone means one at a time. A number in the
    policy whose behaviour is not specified limits nothing, as in Flyte v1, unless an annotation says what to do.
    Raises ApiError INVALID_ARGUMENT.
    """
    annotations = spec.annotations.values
    policy = spec.concurrency_policy
    behavior = _behavior(annotations[OVERLAP]) if OVERLAP in annotations else None
    alive_max = _alive_max(annotations[CONCURRENCY_MAX]) if CONCURRENCY_MAX in annotations else 0
    if policy.behavior not in launch_plan_pb2.ConcurrencyLimitBehavior.values():
        raise invalid_argument("invalid value for concurrency_policy.behavior")
    if policy.max and alive_max and policy.max != alive_max:
        raise invalid_argument(
            f"annotation [{CONCURRENCY_MAX}] says {alive_max} and concurrency_policy.max {policy.max}: set one of them"
        )
    if behavior is None:
        if policy.behavior != launch_plan_pb2.CONCURRENCY_LIMIT_BEHAVIOR_SKIP and not alive_max:
            return None
        alive_max = alive_max or policy.max
        return OverlapPolicy(Overlap.SKIP, alive_max) if alive_max else None
    return OverlapPolicy(behavior, alive_max or policy.max or 1)


def _behavior(text: str) -> Overlap:
    try:
        return Overlap(text)
    except ValueError:
        raise invalid_argument(
            f"invalid annotation [{OVERLAP}]: one of {', '.join(Overlap)} is expected, not [{text[:100]}]"
        ) from None


def _alive_max(text: str) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(ALIVE_MAX_MAX))
    if not digits or not 0 < int(text) <= ALIVE_MAX_MAX:
        raise invalid_argument(
            f"invalid annotation [{CONCURRENCY_MAX}]: a number from 1 to {ALIVE_MAX_MAX} is expected,"
            f" not [{text[:100]}]"
        )
    return int(text)
