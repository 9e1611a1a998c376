"""What matchable attributes come to at a launch."""

from collections.abc import Mapping

import pytest
from flyteidl.admin import execution_pb2, launch_plan_pb2, matchable_resource_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.launch_attributes import LaunchAttributes, matching_configs, resolve_attributes
from wingbeat_controlplane.registry.attribute_checks import resource_type_of
from wingbeat_controlplane.registry.attributes import Level, Match

WORKFLOW = Level("p", "d", "w")
DOMAIN = Level("p", "d")
PROJECT = Level("p")
PLATFORM = matchable_resource_pb2.TaskResourceAttributes(limits={"memory": "9Gi"})


def _match(level: Level, **target: object) -> Match:
    attributes = matchable_resource_pb2.MatchingAttributes(**target)  # pyright: ignore
    return Match(level, resource_type_of(attributes, ""), attributes)


def _parallelism(level: Level, number: int) -> Match:
    return _match(level, workflow_execution_config={"max_parallelism": number})


def _resolve(
    *matches: Match,
    workflow_matches: tuple[Match, ...] | None = None,
    request: Mapping[str, object] | None = None,
    launch_plan: launch_plan_pb2.LaunchPlanSpec | None = None,
    parent: execution_pb2.ExecutionSpec | None = None,
) -> LaunchAttributes:
    return resolve_attributes(
        execution_pb2.ExecutionCreateRequest(project="p", domain="d", spec=request or {}),  # pyright: ignore
        launch_plan or launch_plan_pb2.LaunchPlanSpec(),
        parent,
        matches=matches,
        workflow_matches=matches if workflow_matches is None else workflow_matches,
        platform_resources=PLATFORM,
    )


@pytest.mark.parametrize(
    ("matches", "expected"),
    [
        ([], []),
        ([_parallelism(WORKFLOW, 1), _parallelism(DOMAIN, 2), _parallelism(PROJECT, 3)], [1, 3]),
        ([_parallelism(WORKFLOW, 1), _parallelism(DOMAIN, 2)], [1]),
        ([_parallelism(DOMAIN, 2), _parallelism(PROJECT, 3)], [2, 3]),
        ([_parallelism(PROJECT, 3)], [3]),
        ([_match(WORKFLOW, execution_cluster_label={"value": "x"}), _parallelism(DOMAIN, 2)], [2]),
    ],
)
def test_levels_of_execution_settings(matches: list[Match], expected: list[int]) -> None:
    """The most specific level that says anything, then the project: what lies between them is passed over."""
    assert [config.max_parallelism for config in matching_configs(matches)] == expected


def test_nothing_said_gives_the_platform() -> None:
    """Without attributes the installation's resources hold and nothing else is set."""
    found = _resolve()
    assert found.task_resources == PLATFORM
    assert not found.plugin_overrides.overrides
    assert (found.quality_of_service, found.cluster_label, found.cluster_pool, list(found.queue_tags)) == (
        None,
        "",
        "",
        [],
    )


def test_most_specific_wins_whole() -> None:
    """Attributes of one type are not mixed: the workflow's task resources say nothing of CPU, and so nothing holds."""
    found = _resolve(
        _match(WORKFLOW, task_resource_attributes={"defaults": {"memory": "1Gi"}}),
        _match(DOMAIN, task_resource_attributes={"defaults": {"cpu": "1"}}),
        _match(DOMAIN, execution_queue_attributes={"tags": ["fast"]}),
        _match(PROJECT, plugin_overrides={"overrides": [{"task_type": "spark", "plugin_id": ["connector"]}]}),
    )
    assert found.task_resources == matchable_resource_pb2.TaskResourceAttributes(defaults={"memory": "1Gi"})
    assert list(found.queue_tags) == ["fast"]
    assert found.plugin_overrides.overrides[0].plugin_id == ["connector"]


def test_resources_are_those_of_the_workflow() -> None:
    """A workflow that another project launches keeps its own project's task resources and queues."""
    theirs = (
        _match(PROJECT, task_resource_attributes={"limits": {"cpu": "1"}}),
        _match(PROJECT, execution_queue_attributes={"tags": ["theirs"]}),
        _match(PROJECT, execution_cluster_label={"value": "theirs"}),
    )
    found = _resolve(_match(PROJECT, execution_cluster_label={"value": "ours"}), workflow_matches=theirs)
    assert found.task_resources.limits.cpu == "1"
    assert list(found.queue_tags) == ["theirs"]
    assert found.cluster_label == "ours"


def test_cluster_label_of_parent_request_and_attributes() -> None:
    """A parent's label goes on, else the request's counts, else the attributes'."""
    stored = _match(PROJECT, execution_cluster_label={"value": "stored"})
    asked = {"execution_cluster_label": {"value": "asked"}}
    parent = execution_pb2.ExecutionSpec(execution_cluster_label={"value": "inherited"})
    assert _resolve(stored).cluster_label == "stored"
    assert _resolve(stored, request=asked).cluster_label == "asked"
    assert _resolve(stored, request=asked, parent=parent).cluster_label == "inherited"
    assert _resolve(stored, request=asked, parent=execution_pb2.ExecutionSpec()).cluster_label == "asked"


def test_cluster_pools_must_not_disagree() -> None:
    """The request may repeat the assigned pool or choose one where none is assigned; another one is refused."""
    assigned = _match(DOMAIN, cluster_assignment={"cluster_pool_name": "a"})

    def wants(pool: str) -> Mapping[str, object]:
        return {"cluster_assignment": {"cluster_pool_name": pool}}

    assert _resolve(assigned).cluster_pool == "a"
    assert _resolve(assigned, request=wants("a")).cluster_pool == "a"
    assert _resolve(request=wants("b")).cluster_pool == "b"
    with pytest.raises(ApiError, match='cannot run on cluster pool "b", because its configured to run on pool "a"'):
        _resolve(assigned, request=wants("b"))


def test_quality_of_service_of_request_and_launch_plan() -> None:
    """The request's counts before the launch plan's."""
    low = core_execution_pb2.QualityOfService(tier=core_execution_pb2.QualityOfService.LOW)
    plan = launch_plan_pb2.LaunchPlanSpec(quality_of_service=low)
    assert _resolve(launch_plan=plan).quality_of_service == low
    high = {"quality_of_service": {"tier": core_execution_pb2.QualityOfService.HIGH}}
    found = _resolve(request=high, launch_plan=plan).quality_of_service
    assert found is not None
    assert found.tier == core_execution_pb2.QualityOfService.HIGH
