"""What launch plans may say about overlap and deadlines, and what it means."""

import pytest
from flyteidl.admin import launch_plan_pb2
from flyteidl.core import execution_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.registry.deadlines import Deadlines, stated_deadlines
from wingbeat_controlplane.registry.overlap import Overlap, OverlapPolicy, overlap_policy
from wingbeat_controlplane.registry.own_annotations import (
    check_execution_annotations,
    check_launch_plan_annotations,
)

SKIP = launch_plan_pb2.CONCURRENCY_LIMIT_BEHAVIOR_SKIP
UNSPECIFIED = launch_plan_pb2.CONCURRENCY_LIMIT_BEHAVIOR_UNSPECIFIED


def _spec(annotations: dict[str, str], maximum: int = 0, behavior: int = UNSPECIFIED) -> launch_plan_pb2.LaunchPlanSpec:
    spec = launch_plan_pb2.LaunchPlanSpec(
        concurrency_policy=launch_plan_pb2.ConcurrencyPolicy(max=maximum, behavior=behavior)
    )
    spec.annotations.values.update({f"wingbeat.dev/{key}": value for key, value in annotations.items()})
    return spec


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        (_spec({}), None),
        (_spec({}, 3), None),
        (_spec({}, 0, SKIP), None),
        (_spec({}, 3, SKIP), OverlapPolicy(Overlap.SKIP, 3)),
        (_spec({"overlap": "queue"}), OverlapPolicy(Overlap.QUEUE, 1)),
        (_spec({"overlap": "queue"}, 4), OverlapPolicy(Overlap.QUEUE, 4)),
        (_spec({"overlap": "queue"}, 4, SKIP), OverlapPolicy(Overlap.QUEUE, 4)),
        (_spec({"overlap": "replace", "concurrency-max": "2"}), OverlapPolicy(Overlap.REPLACE, 2)),
        (_spec({"overlap": "skip", "concurrency-max": "2"}, 2), OverlapPolicy(Overlap.SKIP, 2)),
        (_spec({"concurrency-max": "7"}), OverlapPolicy(Overlap.SKIP, 7)),
    ],
)
def test_policies(spec: launch_plan_pb2.LaunchPlanSpec, policy: OverlapPolicy | None) -> None:
    """The annotation's behaviour rules; a number alone skips, a behaviour alone means one at a time."""
    assert overlap_policy(spec) == policy


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (_spec({"overlap": "wait"}), "one of skip, queue, replace is expected, not [wait]"),
        (_spec({"overlap": ""}), "one of skip, queue, replace is expected"),
        (_spec({"concurrency-max": "0"}), "a number from 1 to"),
        (_spec({"concurrency-max": "-1"}), "a number from 1 to"),
        (_spec({"concurrency-max": "1.5"}), "a number from 1 to"),
        (_spec({"concurrency-max": "9" * 5000}), "a number from 1 to"),
        (_spec({"concurrency-max": "2"}, 3, SKIP), "says 2 and concurrency_policy.max 3: set one of them"),
    ],
)
def test_policies_that_cannot_be_read(spec: launch_plan_pb2.LaunchPlanSpec, sentence: str) -> None:
    """Each mistake is named with what was expected."""
    with pytest.raises(ApiError) as caught:
        overlap_policy(spec)
    assert sentence in caught.value.message


def test_unknown_annotations_of_ours() -> None:
    """A misspelt key is refused with those that exist; foreign keys are none of our business."""
    check_launch_plan_annotations({"team": "a", "example.org/x": "y", "wingbeat.dev/overlap": "queue"})
    with pytest.raises(ApiError, match=r"unknown annotation \[wingbeat.dev/overlapp\]: .*wingbeat.dev/overlap"):
        check_launch_plan_annotations({"wingbeat.dev/overlapp": "queue"})
    check_execution_annotations({"wingbeat.dev/deadline": "1h", "wingbeat.dev/queue-deadline": "1h", "a": "b"})
    with pytest.raises(ApiError, match="belongs to the launch plan"):
        check_execution_annotations({"wingbeat.dev/overlap": "queue"})


def _quality(seconds: int, nanos: int = 0) -> execution_pb2.QualityOfService:
    quality = execution_pb2.QualityOfService()
    quality.spec.queueing_budget.seconds = seconds
    quality.spec.queueing_budget.nanos = nanos
    return quality


def test_deadlines() -> None:
    """Go durations; the field of FlyteIDL rules over the annotation for the same; who says nothing leaves it open."""
    assert stated_deadlines({}) == Deadlines(None, None)
    annotations = {"wingbeat.dev/deadline": "1h30m", "wingbeat.dev/queue-deadline": "1.5s"}
    assert stated_deadlines(annotations) == Deadlines(1.5, 5400)
    assert stated_deadlines(annotations, _quality(20, 500_000_000)) == Deadlines(20.5, 5400)
    assert stated_deadlines(annotations, _quality(0)) == Deadlines(1.5, 5400)
    tier = execution_pb2.QualityOfService(tier=execution_pb2.QualityOfService.HIGH)
    assert stated_deadlines({}, tier) == Deadlines(None, None)
    assert Deadlines(None, 3).over(Deadlines(1, 2)) == Deadlines(1, 3)


@pytest.mark.parametrize("text", ["", "90", "2 h", "0s", "-1h", "1d", "9999999h", f"{'9' * 400}h"])
def test_deadlines_that_cannot_be_read(text: str) -> None:
    """No unit, nothing, less than nothing and more than ten years are refused, and the key is named."""
    with pytest.raises(ApiError, match=r"invalid annotation \[wingbeat.dev/deadline\]"):
        stated_deadlines({"wingbeat.dev/deadline": text})


@pytest.mark.parametrize("seconds", [-1, 10**12])
def test_budgets_out_of_range(seconds: int) -> None:
    """A queueing budget below zero or beyond ten years is refused."""
    with pytest.raises(ApiError, match="queueing_budget"):
        stated_deadlines({}, _quality(seconds))
