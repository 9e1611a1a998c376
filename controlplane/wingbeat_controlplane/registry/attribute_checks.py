"""What matchable attributes may say, and how an update meets what is stored. Pure; the wording is Flyte v1's.

Flyte v1 stores whatever it is given and ignores at launch what it cannot read. Here a mistake is told to whoever makes
it, since nobody looks for it later.
"""

from flyteidl.admin import matchable_resource_pb2

from wingbeat_controlplane.errors import invalid_argument, invalid_value, missing
from wingbeat_controlplane.registry.deadlines import stated_deadlines
from wingbeat_controlplane.registry.labels import check_labels
from wingbeat_controlplane.registry.own_annotations import check_execution_annotations
from wingbeat_controlplane.registry.priorities import stated_priority
from wingbeat_propeller.compiler.resources import InvalidResourcesError, PlatformResources

ATTRIBUTES_BYTES_MAX = 64 << 10
"""Largest attributes of one type and level: every launch reads them."""

_Resource = matchable_resource_pb2.MatchableResource

_TYPES: dict[str, _Resource] = {
    "task_resource_attributes": matchable_resource_pb2.TASK_RESOURCE,
    "cluster_resource_attributes": matchable_resource_pb2.CLUSTER_RESOURCE,
    "execution_queue_attributes": matchable_resource_pb2.EXECUTION_QUEUE,
    "execution_cluster_label": matchable_resource_pb2.EXECUTION_CLUSTER_LABEL,
    "plugin_overrides": matchable_resource_pb2.PLUGIN_OVERRIDE,
    "workflow_execution_config": matchable_resource_pb2.WORKFLOW_EXECUTION_CONFIG,
    "cluster_assignment": matchable_resource_pb2.CLUSTER_ASSIGNMENT,
}
"""What can be stored. Quality of service is not among them: Flyte v1 reads it and refuses to write it."""


def check_resource_type(number: int) -> None:
    """Raises ApiError INVALID_ARGUMENT for a number that stands for no type."""
    if number not in _Resource.values():
        raise invalid_value("resource_type")


def resource_type_of(attributes: matchable_resource_pb2.MatchingAttributes, where: str) -> _Resource:
    """The type that attributes are stored under. Raises ApiError INVALID_ARGUMENT; `where` is the level, for people."""
    resource_type = _TYPES.get(attributes.WhichOneof("target") or "")
    if resource_type is None:
        raise invalid_argument(f"Unrecognized matching attributes type for request {where}")
    return resource_type


def check_attributes(attributes: matchable_resource_pb2.MatchingAttributes) -> None:
    """Whether a launch could use what is said. Raises ApiError INVALID_ARGUMENT."""
    if attributes.ByteSize() > ATTRIBUTES_BYTES_MAX:
        raise invalid_argument(
            f"invalid matching attributes: {attributes.ByteSize()} bytes, at most {ATTRIBUTES_BYTES_MAX} are allowed"
        )
    match attributes.WhichOneof("target"):
        case "task_resource_attributes":
            try:
                PlatformResources.parse(attributes.task_resource_attributes)
            except InvalidResourcesError as error:
                raise invalid_argument(f"invalid task resource attributes: {error}") from error
        case "plugin_overrides":
            for override in attributes.plugin_overrides.overrides:
                if not override.task_type:
                    raise missing("task_type")
        case "workflow_execution_config":
            config = attributes.workflow_execution_config
            if config.max_parallelism < 0:
                raise invalid_value("max_parallelism")
            check_labels(config.labels.values)
            check_execution_annotations(config.annotations.values)
            stated_deadlines(config.annotations.values)
            stated_priority(config.annotations.values)
        case _:
            pass


def merged(
    stored: matchable_resource_pb2.MatchingAttributes, given: matchable_resource_pb2.MatchingAttributes
) -> matchable_resource_pb2.MatchingAttributes:
    """Plugin overrides of both, those of `given` for a task type that both name; of one type twice the last counts."""
    by_type = {
        override.task_type: override
        for attributes in (stored, given)
        for override in attributes.plugin_overrides.overrides
    }
    return matchable_resource_pb2.MatchingAttributes(
        plugin_overrides=matchable_resource_pb2.PluginOverrides(overrides=by_type.values())
    )
