"""What a launch plan must look like, judged from the request and the interface of its workflow."""

from flyteidl.admin import launch_plan_pb2
from flyteidl.core import artifact_id_pb2, identifier_pb2, interface_pb2

from wingbeat_catalog.artifacts.queries import InvalidQueryError, check_query
from wingbeat_controlplane.errors import invalid_argument, missing
from wingbeat_controlplane.registry.deadlines import stated_deadlines
from wingbeat_controlplane.registry.identifiers import check_identifier
from wingbeat_controlplane.registry.labels import check_labels
from wingbeat_controlplane.registry.notifications import check_notifications
from wingbeat_controlplane.registry.overlap import overlap_policy
from wingbeat_controlplane.registry.own_annotations import check_launch_plan_annotations
from wingbeat_controlplane.registry.priorities import stated_priority
from wingbeat_controlplane.registry.schedules import check_schedule
from wingbeat_propeller.compiler.launch_plan import InvalidLaunchPlanError, complete_launch_plan


def check_request(request: launch_plan_pb2.LaunchPlanCreateRequest) -> None:
    """Everything that can be judged without the workflow. Raises ApiError INVALID_ARGUMENT."""
    if not request.HasField("id"):
        raise missing("id")
    check_identifier(request.id, identifier_pb2.LAUNCH_PLAN)
    if not request.HasField("spec"):
        raise missing("spec")
    spec = request.spec
    if not spec.HasField("workflow_id"):
        raise missing("workflow_id")
    check_identifier(spec.workflow_id, identifier_pb2.WORKFLOW)
    if spec.entity_metadata.HasField("launch_conditions"):
        raise invalid_argument("launch conditions (triggers by artifacts) are not supported")
    check_labels(spec.labels.values)
    check_notifications(spec.entity_metadata.notifications)
    check_schedule(spec.entity_metadata.schedule)
    check_launch_plan_annotations(spec.annotations.values)
    stated_deadlines(spec.annotations.values, spec.quality_of_service)
    stated_priority(spec.annotations.values)
    overlap_policy(spec)
    if spec.max_parallelism < 0:
        raise invalid_argument("invalid value for max_parallelism: must not be negative")


def complete(
    request: launch_plan_pb2.LaunchPlanCreateRequest, interface: interface_pb2.TypedInterface
) -> launch_plan_pb2.LaunchPlan:
    """The launch plan as it is stored: every input accounted for, without state and times.

    Raises ApiError INVALID_ARGUMENT when inputs do not fit the workflow's interface or its schedule.
    """
    _check_artifacts(request.spec, interface)
    try:
        completed = complete_launch_plan(request.spec, interface)
    except InvalidLaunchPlanError as error:
        raise invalid_argument(str(error)) from error
    return launch_plan_pb2.LaunchPlan(
        id=request.id,
        spec=completed.spec,
        closure=launch_plan_pb2.LaunchPlanClosure(
            expected_inputs=completed.expected_inputs, expected_outputs=completed.expected_outputs
        ),
    )


def _check_artifacts(spec: launch_plan_pb2.LaunchPlanSpec, interface: interface_pb2.TypedInterface) -> None:
    for name in sorted(spec.default_inputs.parameters):
        parameter = spec.default_inputs.parameters[name]
        try:
            match parameter.WhichOneof("behavior"):
                case "artifact_query":
                    check_query(parameter.artifact_query, interface.inputs.variables)
                case "artifact_id":
                    query = artifact_id_pb2.ArtifactQuery(artifact_id=parameter.artifact_id)
                    check_query(query, interface.inputs.variables)
                case _:
                    pass
        except InvalidQueryError as error:
            raise invalid_argument(f"the artifact of default input {name}: {error}") from error
