"""What a request to create an execution must look like before anything is looked up. Wording is Flyte v1's."""

from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from wingbeat_controlplane.errors import invalid_argument, invalid_value, missing
from wingbeat_controlplane.executions.identifiers import check_text
from wingbeat_controlplane.executions.names import check_name
from wingbeat_controlplane.registry.deadlines import stated_deadlines
from wingbeat_controlplane.registry.labels import check_labels
from wingbeat_controlplane.registry.notifications import check_notifications
from wingbeat_controlplane.registry.own_annotations import check_execution_annotations
from wingbeat_controlplane.registry.priorities import stated_priority

LAUNCHABLE = (identifier_pb2.LAUNCH_PLAN, identifier_pb2.TASK)

TAGS_MAX = 64
TAG_LENGTH_MAX = 256

_Mode = execution_pb2.ExecutionMetadata.ExecutionMode


def check_create(request: execution_pb2.ExecutionCreateRequest) -> None:
    """Everything that can be judged from the request alone but for inputs. Raises ApiError INVALID_ARGUMENT."""
    check_text("project", request.project)
    check_text("domain", request.domain)
    if request.name:
        check_name(request.name)
    if not request.HasField("spec"):
        raise missing("spec")
    spec = request.spec
    _check_launch_plan(spec)
    check_labels(spec.labels.values)
    check_execution_annotations(spec.annotations.values)
    stated_deadlines(spec.annotations.values, spec.quality_of_service)
    stated_priority(spec.annotations.values)
    check_notifications(spec.notifications.notifications)
    _check_stored("cluster_assignment.cluster_pool_name", spec.cluster_assignment.cluster_pool_name)
    _check_stored("execution_cluster_label.value", spec.execution_cluster_label.value)
    _check_tags(spec)
    if spec.max_parallelism < 0:
        raise invalid_value("max_parallelism")
    if spec.metadata.mode not in _Mode.values():
        raise invalid_value("mode")


def _check_stored(field: str, value: str) -> None:
    """An optional text that gets a column of its own."""
    if value:
        check_text(field, value)


def given_inputs(request: execution_pb2.ExecutionCreateRequest) -> literals_pb2.LiteralMap:
    """What the caller gives; older clients say it inside the spec."""
    return request.inputs if request.HasField("inputs") else request.spec.inputs


def _check_launch_plan(spec: execution_pb2.ExecutionSpec) -> None:
    if not spec.HasField("launch_plan"):
        raise missing("launch_plan")
    identifier = spec.launch_plan
    if identifier.resource_type not in LAUNCHABLE:
        number = identifier.resource_type
        name = identifier_pb2.ResourceType.Name(number) if number in identifier_pb2.ResourceType.values() else number
        raise invalid_argument(
            f"Invalid reference entity resource type [{name}], only [LAUNCH_PLAN] and [TASK] are allowed"
        )
    check_text("project", identifier.project)
    check_text("domain", identifier.domain)
    check_text("name", identifier.name)
    check_text("version", identifier.version)


def _check_tags(spec: execution_pb2.ExecutionSpec) -> None:
    if len(spec.tags) > TAGS_MAX:
        raise invalid_argument(f"invalid tags: {len(spec.tags)} entries, at most {TAGS_MAX} are allowed")
    for tag in spec.tags:
        if not tag or len(tag) > TAG_LENGTH_MAX or "\0" in tag:
            raise invalid_argument(f"invalid tag: 1 to {TAG_LENGTH_MAX} characters are expected")
