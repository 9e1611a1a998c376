"""What matchable attributes mean for one launch. Pure; the result is stored with the execution.

Of each resource type the most specific level that says anything counts, as a whole; execution settings are the one
exception (see `effective_settings`). Task resources and queues are those of the workflow's own project and domain, the
rest are those of the execution's: Flyte v1 has it so, and the two differ only where one project launches what another
one owns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flyteidl.admin import execution_pb2, launch_plan_pb2, matchable_resource_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_controlplane.registry.attributes import Match

RESOURCE_TYPES = (
    matchable_resource_pb2.TASK_RESOURCE,
    matchable_resource_pb2.EXECUTION_QUEUE,
    matchable_resource_pb2.EXECUTION_CLUSTER_LABEL,
    matchable_resource_pb2.PLUGIN_OVERRIDE,
    matchable_resource_pb2.WORKFLOW_EXECUTION_CONFIG,
    matchable_resource_pb2.CLUSTER_ASSIGNMENT,
)
"""What a launch looks up; templates of namespaces are no part of one."""


@dataclass(frozen=True, slots=True)
class LaunchAttributes:
    """Everything an execution runs with beside its effective settings. The messages are shared: read only."""

    task_resources: matchable_resource_pb2.TaskResourceAttributes
    """Defaults and limits for its containers; empty: none."""
    plugin_overrides: matchable_resource_pb2.PluginOverrides
    quality_of_service: core_execution_pb2.QualityOfService | None
    """What request or launch plan ask for; None leaves it to the workflow."""
    cluster_label: str
    cluster_pool: str
    queue_tags: Sequence[str]


def matching_configs(matches: Sequence[Match]) -> Sequence[matchable_resource_pb2.WorkflowExecutionConfig]:
    """Execution settings that bear on a launch: of the most specific level, then those of the project."""
    kind = matchable_resource_pb2.WORKFLOW_EXECUTION_CONFIG
    found = [match for match in matches if match.resource_type == kind]
    return [
        match.attributes.workflow_execution_config
        for place, match in enumerate(found)
        if place == 0 or not match.level.domain
    ]


def resolve_attributes(
    request: execution_pb2.ExecutionCreateRequest,
    launch_plan: launch_plan_pb2.LaunchPlanSpec,
    parent: execution_pb2.ExecutionSpec | None,
    *,
    matches: Sequence[Match],
    workflow_matches: Sequence[Match],
    platform_resources: matchable_resource_pb2.TaskResourceAttributes,
) -> LaunchAttributes:
    """What `matches` (those of the execution's project and domain) and `workflow_matches` (of the workflow's) come to.

    `parent` is the spec of the execution whose launch plan node asks; its cluster label goes on. Raises ApiError
    INVALID_ARGUMENT when the request wants another cluster pool than the one that is assigned.
    """
    resources = _best(workflow_matches, matchable_resource_pb2.TASK_RESOURCE)
    return LaunchAttributes(
        task_resources=platform_resources if resources is None else resources.task_resource_attributes,
        plugin_overrides=_said(matches, matchable_resource_pb2.PLUGIN_OVERRIDE).plugin_overrides,
        quality_of_service=_quality_of_service(request.spec, launch_plan),
        cluster_label=_cluster_label(request.spec, parent, matches),
        cluster_pool=_cluster_pool(request, matches),
        queue_tags=_said(workflow_matches, matchable_resource_pb2.EXECUTION_QUEUE).execution_queue_attributes.tags,
    )


def _best(matches: Sequence[Match], resource_type: int) -> matchable_resource_pb2.MatchingAttributes | None:
    return next((match.attributes for match in matches if match.resource_type == resource_type), None)


def _said(matches: Sequence[Match], resource_type: int) -> matchable_resource_pb2.MatchingAttributes:
    return _best(matches, resource_type) or matchable_resource_pb2.MatchingAttributes()


def _quality_of_service(
    request: execution_pb2.ExecutionSpec, launch_plan: launch_plan_pb2.LaunchPlanSpec
) -> core_execution_pb2.QualityOfService | None:
    for layer in (request, launch_plan):
        if layer.HasField("quality_of_service"):
            return layer.quality_of_service
    return None


def _cluster_label(
    request: execution_pb2.ExecutionSpec, parent: execution_pb2.ExecutionSpec | None, matches: Sequence[Match]
) -> str:
    inherits = parent is not None and parent.HasField("execution_cluster_label")
    asked = parent.execution_cluster_label if inherits and parent is not None else request.execution_cluster_label
    return asked.value or _said(matches, matchable_resource_pb2.EXECUTION_CLUSTER_LABEL).execution_cluster_label.value


def _cluster_pool(request: execution_pb2.ExecutionCreateRequest, matches: Sequence[Match]) -> str:
    asked = request.spec.cluster_assignment.cluster_pool_name
    assigned = _said(matches, matchable_resource_pb2.CLUSTER_ASSIGNMENT).cluster_assignment.cluster_pool_name
    if asked and assigned and asked != assigned:
        raise invalid_argument(
            f'execution with project "{request.project}" and domain "{request.domain}" cannot run on cluster pool'
            f' "{asked}", because its configured to run on pool "{assigned}"'
        )
    return assigned or asked
