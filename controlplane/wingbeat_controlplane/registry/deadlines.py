"""How long an execution may wait before it begins, and how long it may run.

FlyteIDL has a field for the first only, `quality_of_service.spec.queueing_budget`; annotations serve both. Execution,
launch plan, matchable attributes and installation may say them; each of the two is taken from the first that says it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flyteidl.core import execution_pb2

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_controlplane.listing.durations import go_duration_s
from wingbeat_controlplane.registry.own_annotations import DEADLINE, QUEUE_DEADLINE

DEADLINE_S_MAX = 10 * 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds from launch to begin, and from begin to end; None: as long as it takes."""

    queue_s: float | None = None
    run_s: float | None = None

    def over(self, other: "Deadlines") -> "Deadlines":
        """These, and those of `other` where these say nothing."""
        return Deadlines(
            other.queue_s if self.queue_s is None else self.queue_s, other.run_s if self.run_s is None else self.run_s
        )


def stated_deadlines(
    annotations: Mapping[str, str], quality_of_service: execution_pb2.QualityOfService | None = None
) -> Deadlines:
    """What one execution, launch plan or level of attributes says. The field rules over the annotation for the same
    thing; a tier names no budget. Raises ApiError INVALID_ARGUMENT."""
    queue_s = _annotated_s(annotations, QUEUE_DEADLINE)
    if quality_of_service is not None and quality_of_service.spec.HasField("queueing_budget"):
        budget = quality_of_service.spec.queueing_budget
        budget_s = budget.seconds + budget.nanos / 1e9
        if not 0 <= budget_s <= DEADLINE_S_MAX:
            raise invalid_argument("invalid value for quality_of_service.spec.queueing_budget: " + _RANGE)
        queue_s = budget_s or queue_s
    return Deadlines(queue_s, _annotated_s(annotations, DEADLINE))


_RANGE = f"more than 0 and at most {DEADLINE_S_MAX / 3600:g}h is expected"


def _annotated_s(annotations: Mapping[str, str], key: str) -> float | None:
    if key not in annotations:
        return None
    text = annotations[key]
    seconds = go_duration_s(text)
    if seconds is None:
        raise invalid_argument(
            f"invalid annotation [{key}]: a duration such as 90s or 1h30m is expected, not [{text[:100]}]"
        )
    if not 0 < seconds <= DEADLINE_S_MAX:
        raise invalid_argument(f"invalid annotation [{key}]: {_RANGE}, not [{text[:100]}]")
    return seconds
