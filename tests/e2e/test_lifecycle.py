"""The life of an execution seen by its owner: named, repeated, started again, archived, listed."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2
from flyteidl.core import identifier_pb2
from flytekit.models.core.identifier import ResourceType
from tests.e2e.client import DOMAIN, PROJECT, Client, create_request, execution_id, phase, succeeded


def names(client: Client, filters: str = "") -> list[str]:
    """Names of the newest executions that a list shows."""
    page = client.admin.ListExecutions(
        common_pb2.ResourceListRequest(
            id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN),
            limit=1000,
            filters=filters,
            sort_by=common_pb2.Sort(key="created_at", direction=common_pb2.Sort.DESCENDING),
        )
    )
    return [execution.id.name for execution in page.executions]


def test_same_name_twice(client: Client) -> None:
    """A name is given once: the second request gets ALREADY_EXISTS, and flytekit then returns the first execution."""
    name = f"twice-{uuid.uuid4().hex[:8]}"
    first = succeeded(client.run("shapes", "double_wf", {"number": 5}, execution_name=name))
    again = client.launch("shapes", "double_wf", {"number": 6}, execution_name=name)
    assert again.id.name == first.id.name == name
    assert client.wait(again).outputs["o0"] == 10
    with pytest.raises(grpc.RpcError) as refused:
        client.admin.CreateExecution(create_request(client.register("shapes", "double_wf"), name, number=6))
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS


def test_lost_answer_makes_no_second_execution(client: Client) -> None:
    """Four identical unnamed requests at once over one channel make one execution; another input makes another."""
    request = create_request(client.register("shapes", "double_wf"), number=uuid.uuid4().int % 10**6)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(client.admin.CreateExecution, [request] * 4))
    assert len({answer.id.name for answer in answers}) == 1
    other = create_request(client.register("shapes", "double_wf"), number=10**6 + 1)
    assert client.admin.CreateExecution(other).id.name != answers[0].id.name


def test_relaunch(client: Client) -> None:
    """A relaunch runs the same inputs again under a new name and says where it comes from."""
    source = succeeded(client.run("shapes", "double_wf", {"number": 8}))
    answer = client.admin.RelaunchExecution(execution_pb2.ExecutionRelaunchRequest(id=execution_id(source.id.name)))
    assert answer.id.name != source.id.name
    execution = succeeded(client.wait(client.remote.fetch_execution(name=answer.id.name)))
    assert execution.outputs["o0"] == 16
    metadata = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=answer.id)).spec.metadata
    assert metadata.mode == execution_pb2.ExecutionMetadata.RELAUNCH
    assert metadata.reference_execution.name == source.id.name


def test_archive(client: Client) -> None:
    """An archived execution leaves the list, can still be read, and comes back."""
    execution = succeeded(client.run("shapes", "double_wf", {"number": 9}))
    identifier = execution_id(execution.id.name)
    for state, listed in ((execution_pb2.EXECUTION_ARCHIVED, False), (execution_pb2.EXECUTION_ACTIVE, True)):
        client.admin.UpdateExecution(execution_pb2.ExecutionUpdateRequest(id=identifier, state=state))
        assert (identifier.name in names(client)) is listed
        details = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=identifier)).closure
        assert details.state_change_details.state == state
    assert identifier.name in names(client, "value_in(phase,SUCCEEDED;FAILED)")


def test_launch_plan_with_fixed_inputs(client: Client) -> None:
    """A launch plan's fixed inputs rule, and cannot be overridden."""
    plan = client.register("shapes", "fixed_plan")
    assert succeeded(client.wait(client.remote.execute(plan, inputs={}))).outputs["o0"] == 8
    with pytest.raises(grpc.RpcError) as refused:
        client.admin.CreateExecution(create_request(plan, number=5))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "fixed_inputs number cannot be overridden" in refused.value.details()


def test_activate_launch_plan(client: Client) -> None:
    """A launch plan is inactive until activated, and is then found without its version."""
    plan = client.register("shapes", "fixed_plan")
    client.remote.activate_launchplan(plan.id)
    active = client.admin.GetActiveLaunchPlan(
        launch_plan_pb2.ActiveLaunchPlanRequest(
            id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN, name=plan.id.name)
        )
    )
    assert active.id.version == plan.id.version
    client.remote.deactivate_launchplan(plan.id)
    assert client.remote.fetch_launch_plan(name=plan.id.name, version=plan.id.version).id == plan.id


def test_newest_version_is_fetched(client: Client) -> None:
    """Without a version flytekit gets what was registered last."""
    workflow = client.register("shapes", "chain_wf")
    assert client.remote.fetch_workflow(name=workflow.id.name).id.version == workflow.id.version
    assert workflow.id.resource_type == ResourceType.WORKFLOW


def test_single_task(client: Client) -> None:
    """A task runs alone; reading it back shows a task, and the generated workflow stays out of the lists."""
    task = client.register("shapes", "double")
    execution = succeeded(client.wait(client.remote.execute(task, inputs={"number": 3})))
    assert execution.outputs["o0"] == 6
    page = client.admin.ListNamedEntities(
        common_pb2.NamedEntityListRequest(
            resource_type=identifier_pb2.WORKFLOW, project=PROJECT, domain=DOMAIN, limit=1000
        )
    )
    assert not [entity.id.name for entity in page.entities if entity.id.name.startswith(".flytegen")]


def test_execution_environment_reaches_the_task(client: Client, tmp_path: Path) -> None:
    """Environment variables of the execution are set in its tasks."""
    execution = client.run("retries", "flaky_wf", {}, envs={"FLYTE_ATTEMPT_NUMBER": "9"})
    assert phase(execution) == "SUCCEEDED"
    assert len(execution.node_executions["n0"].task_executions) == 1
