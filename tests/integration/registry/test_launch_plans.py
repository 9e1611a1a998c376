"""Launch plans: completed at registration, at most one active version of a name."""

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, launch_plan_pb2, schedule_pb2
from flyteidl.core import execution_pb2, identifier_pb2, interface_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.registry.specs import (
    INTEGER,
    identifier,
    integer,
    launch_plan,
    outcomes,
    refusal,
    task,
    workflow,
)

_ACTIVE = launch_plan_pb2.ACTIVE
_INACTIVE = launch_plan_pb2.INACTIVE
_W = common_pb2.NamedEntityIdentifier(project="flytesnacks", domain="development", name="w")


@pytest.fixture(autouse=True)
async def _registered_workflow(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """The workflow that launch plans of these tests start."""
    await admin.CreateTask(task())
    await admin.CreateWorkflow(workflow())


def _get(name: str = "w", version: str = "v1") -> common_pb2.ObjectGetRequest:
    return common_pb2.ObjectGetRequest(id=identifier(identifier_pb2.LAUNCH_PLAN, name, version))


async def _set(admin: admin_pb2_grpc.AdminServiceStub, version: str, state: int) -> None:
    await admin.UpdateLaunchPlan(
        launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(identifier_pb2.LAUNCH_PLAN, "w", version), state=state)
    )


async def test_completion(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Inputs that are neither fixed nor defaulted become required, in the spec and in the expected inputs."""
    await admin.CreateLaunchPlan(launch_plan())
    found = await admin.GetLaunchPlan(_get())
    required = interface_pb2.Parameter(var=interface_pb2.Variable(type=INTEGER), required=True)
    assert dict(found.spec.default_inputs.parameters) == {"x": required}
    assert found.closure.expected_inputs == found.spec.default_inputs
    assert list(found.closure.expected_outputs.variables) == ["y"]
    assert (found.closure.state, found.closure.created_at) == (_INACTIVE, found.closure.updated_at)
    fixed = launch_plan("fixed")
    fixed.spec.fixed_inputs.literals["x"].CopyFrom(integer(3))
    await admin.CreateLaunchPlan(fixed)
    found = await admin.GetLaunchPlan(_get("fixed"))
    assert not found.closure.expected_inputs.parameters
    assert found.spec.fixed_inputs == fixed.spec.fixed_inputs


async def test_registering_again(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """The same structure is ALREADY_EXISTS, another one INVALID_ARGUMENT; at once exactly one wins."""
    codes = await outcomes(admin.CreateLaunchPlan(launch_plan()) for _ in range(5))
    assert codes == [grpc.StatusCode.ALREADY_EXISTS] * 4 + [grpc.StatusCode.OK]
    other = launch_plan()
    other.spec.fixed_inputs.literals["x"].CopyFrom(integer(3))
    code, message = await refusal(admin.CreateLaunchPlan(other))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("w launch plan with different structure already exists.")


async def test_activation(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Activating a version deactivates the one before and moves updated_at; repeating either is fine."""
    for version in ("v1", "v2"):
        await admin.CreateLaunchPlan(launch_plan(version=version))
    asked = launch_plan_pb2.ActiveLaunchPlanRequest(id=_W)
    assert await refusal(admin.GetActiveLaunchPlan(asked)) == (
        grpc.StatusCode.NOT_FOUND,
        "No active launch plan could be found: flytesnacks:development:w",
    )
    for version in ("v1", "v2", "v2"):
        await _set(admin, version, _ACTIVE)
        active = await admin.GetActiveLaunchPlan(asked)
        assert (active.id.version, active.closure.state) == (version, _ACTIVE)
        assert active.closure.updated_at.ToNanoseconds() > active.closure.created_at.ToNanoseconds()
    assert (await admin.GetLaunchPlan(_get())).closure.state == _INACTIVE
    listed = await admin.ListActiveLaunchPlans(
        launch_plan_pb2.ActiveLaunchPlanListRequest(project="flytesnacks", domain="development", limit=5)
    )
    assert [entry.id.version for entry in listed.launch_plans] == ["v2"]
    for _ in range(2):
        await _set(admin, "v2", _INACTIVE)
    assert (await refusal(admin.GetActiveLaunchPlan(asked)))[0] is grpc.StatusCode.NOT_FOUND
    absent = launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(3, "w", "v9"), state=_ACTIVE)
    assert (await refusal(admin.UpdateLaunchPlan(absent)))[0] is grpc.StatusCode.NOT_FOUND


async def test_a_refused_activation_leaves_the_active_version(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Activating a version that does not exist does not deactivate the one that is active."""
    await admin.CreateLaunchPlan(launch_plan())
    await _set(admin, "v1", _ACTIVE)
    absent = launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(3, "w", "v9"), state=_ACTIVE)
    await refusal(admin.UpdateLaunchPlan(absent))
    active = await admin.GetActiveLaunchPlan(launch_plan_pb2.ActiveLaunchPlanRequest(id=_W))
    assert active.id.version == "v1"


async def test_activations_at_once(admin: admin_pb2_grpc.AdminServiceStub, pool: asyncpg.Pool) -> None:
    """Activations of different versions at once all succeed, and one version is active in the end."""
    versions = [f"v{index}" for index in range(8)]
    for version in versions:
        await admin.CreateLaunchPlan(launch_plan(version=version))
    requests = [
        launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(3, "w", version), state=_ACTIVE)
        for version in versions * 3
    ]
    assert await outcomes(map(admin.UpdateLaunchPlan, requests)) == [grpc.StatusCode.OK] * len(requests)
    assert await pool.fetchval("SELECT count(*) FROM launch_plans WHERE state = 1") == 1


def _bad(**spec: object) -> launch_plan_pb2.LaunchPlanCreateRequest:
    request = launch_plan()
    request.spec.MergeFrom(launch_plan_pb2.LaunchPlanSpec(**spec))
    return request


def _notified(**notification: object) -> launch_plan_pb2.LaunchPlanCreateRequest:
    entry = common_pb2.Notification(
        **{
            "phases": [execution_pb2.WorkflowExecution.FAILED],
            "email": common_pb2.EmailNotification(recipients_email=["a@b"]),
            **notification,
        }
    )
    return _bad(entity_metadata=launch_plan_pb2.LaunchPlanMetadata(notifications=[entry]))


def _scheduled(cron: str = "* * * * *", **schedule: object) -> launch_plan_pb2.LaunchPlanCreateRequest:
    entry = schedule_pb2.Schedule(**{"cron_schedule": schedule_pb2.CronSchedule(schedule=cron), **schedule})
    return _bad(entity_metadata=launch_plan_pb2.LaunchPlanMetadata(schedule=entry))


_parameter = interface_pb2.Parameter(var=interface_pb2.Variable(type=INTEGER))


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (launch_plan_pb2.LaunchPlanCreateRequest(), "missing id"),
        (launch_plan_pb2.LaunchPlanCreateRequest(id=identifier(3, "w")), "missing spec"),
        (
            launch_plan_pb2.LaunchPlanCreateRequest(id=identifier(3, "w"), spec=launch_plan_pb2.LaunchPlanSpec()),
            "missing workflow_id",
        ),
        (_bad(fixed_inputs={"literals": {"nope": integer(1)}}), "nope"),
        (_bad(default_inputs={"parameters": {"x": _parameter}}), "x"),
        (_bad(labels=common_pb2.Labels(values={"a b": "c"})), "a b"),
        (_notified(phases=[execution_pb2.WorkflowExecution.RUNNING]), "phases must be final"),
        (_notified(email=common_pb2.EmailNotification()), "missing recipients"),
        (_notified(phases=[]), "missing phases"),
        (_scheduled("* * * *"), "expected exactly 5 fields"),
        (_scheduled("* * * * 7"), "day of week: 7 is not between 0 and 6"),
        (_scheduled(), "x"),
        (_bad(max_parallelism=-1), "max_parallelism"),
    ],
)
async def test_bad_launch_plans_leave_nothing(
    admin: admin_pb2_grpc.AdminServiceStub,
    pool: asyncpg.Pool,
    request_: launch_plan_pb2.LaunchPlanCreateRequest,
    text: str,
) -> None:
    """A launch plan that breaks a rule is INVALID_ARGUMENT with a sentence about it, and is not stored."""
    code, message = await refusal(admin.CreateLaunchPlan(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in message
    assert await pool.fetchval("SELECT count(*) FROM launch_plans") == 0


async def test_fixed_and_defaulted_is_refused(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """An input both fixed and defaulted could never be launched."""
    request = launch_plan()
    request.spec.fixed_inputs.literals["x"].CopyFrom(integer(3))
    request.spec.default_inputs.parameters["x"].CopyFrom(_parameter)
    request.spec.default_inputs.parameters["x"].default.CopyFrom(integer(4))
    code, message = await refusal(admin.CreateLaunchPlan(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "x" in message


async def test_absent_workflow(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """A launch plan of an unknown workflow is NOT_FOUND."""
    request = launch_plan()
    request.spec.workflow_id.name = "nope"
    code, message = await refusal(admin.CreateLaunchPlan(request))
    assert code is grpc.StatusCode.NOT_FOUND
    assert message.startswith("missing entity of type WORKFLOW with identifier ")


async def test_lists_filter_by_schedule_state_and_workflow(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Launch plans are found by kind of schedule, by state and by their workflow."""
    scheduled = _scheduled()
    scheduled.id.version = "v2"
    scheduled.spec.fixed_inputs.literals["x"].CopyFrom(integer(3))
    for request in (launch_plan(), scheduled):
        await admin.CreateLaunchPlan(request)
    await _set(admin, "v2", _ACTIVE)

    async def versions(filters: str) -> list[str]:
        request = common_pb2.ResourceListRequest(id=_W, limit=5, filters=filters)
        return [entry.id.version for entry in (await admin.ListLaunchPlans(request)).launch_plans]

    assert await versions("eq(schedule_type,CRON)") == ["v2"]
    assert await versions("eq(state,0)") == ["v1"]
    assert await versions("eq(state,ACTIVE)") == ["v2"]
    assert await versions("eq(workflow.name,w)+eq(workflow.version,v1)") == ["v1", "v2"]
    assert await versions("eq(workflow.name,other)") == []
