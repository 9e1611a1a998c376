"""Workflows: compiled at registration, registered once."""

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, workflow_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc
from google.rpc import status_pb2
from tests.integration.registry.specs import identifier, outcomes, refusal, task, workflow


@pytest.fixture(autouse=True)
async def _registered_task(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """The task that workflows of these tests use."""
    await admin.CreateTask(task())


async def test_get_answers_the_whole_closure_and_lists_the_interface(
    admin: admin_pb2_grpc.AdminServiceStub,
) -> None:
    """GetWorkflow has template, connections and tasks; ListWorkflows nothing but the interface."""
    request = workflow(nodes=3)
    request.spec.description.short_description = "short"
    await admin.CreateWorkflow(request)
    found = await admin.GetWorkflow(common_pb2.ObjectGetRequest(id=request.id))
    compiled = found.closure.compiled_workflow
    assert [node.id for node in compiled.primary.template.nodes] == ["start-node", "end-node", "n0", "n1", "n2"]
    assert list(compiled.primary.connections.downstream["start-node"].ids) == ["n0"]
    assert [entry.template.id.name for entry in compiled.tasks] == ["t"]
    assert (found.id, found.short_description) == (request.id, "short")
    scope = common_pb2.NamedEntityIdentifier(project="flytesnacks", domain="development")
    listed = (await admin.ListWorkflows(common_pb2.ResourceListRequest(id=scope, limit=10))).workflows
    assert [entry.id for entry in listed] == [request.id]
    assert listed[0].closure.compiled_workflow.primary.template.interface == compiled.primary.template.interface
    assert not listed[0].closure.compiled_workflow.primary.template.nodes
    assert listed[0].closure.created_at == found.closure.created_at
    assert await admin.GetWorkflow(common_pb2.ObjectGetRequest(id=request.id)) == found


async def test_registering_again(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """The same structure is ALREADY_EXISTS, another one INVALID_ARGUMENT, both with their detail."""
    await admin.CreateWorkflow(workflow())
    for request, code, reason in (
        (workflow(), grpc.StatusCode.ALREADY_EXISTS, "exists_identical_structure"),
        (workflow(nodes=2), grpc.StatusCode.INVALID_ARGUMENT, "exists_different_structure"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await admin.CreateWorkflow(request)
        assert caught.value.code() is code
        status = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
        failure = workflow_pb2.CreateWorkflowFailureReason()
        assert status.details[0].Unpack(failure)
        assert failure.WhichOneof("reason") == reason


async def test_registering_at_once(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Of equal registrations at once exactly one wins."""
    codes = await outcomes(admin.CreateWorkflow(workflow()) for _ in range(6))
    assert codes == [grpc.StatusCode.ALREADY_EXISTS] * 5 + [grpc.StatusCode.OK]


async def test_references_must_be_registered(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """A workflow that uses an unknown task is a compile error naming the task."""
    request = workflow()
    request.spec.template.nodes[0].task_node.reference_id.name = "unknown"
    code, message = await refusal(admin.CreateWorkflow(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("failed to compile workflow for [")
    assert "with err: missing entity of type TASK with identifier " in message
    assert "unknown" in message


async def test_broken_templates_leave_nothing(admin: admin_pb2_grpc.AdminServiceStub, pool: asyncpg.Pool) -> None:
    """Cycles, unknown promises and too many nodes are refused, also over a stored version, and store nothing."""
    cycle = workflow(nodes=2)
    cycle.spec.template.nodes[0].inputs[0].binding.promise.node_id = "n1"
    cycle.spec.template.nodes[0].inputs[0].binding.promise.var = "y"
    unknown = workflow()
    unknown.spec.template.nodes[0].inputs[0].binding.promise.var = "nope"
    for request, text in ((cycle, "n1"), (unknown, "nope"), (workflow(nodes=101), "exceeds limit (101 > 100)")):
        code, message = await refusal(admin.CreateWorkflow(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert text in message
    assert await pool.fetchval("SELECT count(*) FROM workflows") == 0
    await admin.CreateWorkflow(workflow())
    code, message = await refusal(admin.CreateWorkflow(unknown))
    assert message.startswith("failed to compile workflow for [")


async def test_reads_judge_the_type_of_the_id(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """GetWorkflow wants an id of a workflow, before and after it was read once; one that says no type means one."""
    await admin.CreateWorkflow(workflow())
    wrong = common_pb2.ObjectGetRequest(id=identifier(identifier_pb2.TASK, "w"))
    for _ in range(2):
        code, message = await refusal(admin.GetWorkflow(wrong))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert message.startswith("unexpected resource type task for identifier [")
        for kind in (identifier_pb2.WORKFLOW, identifier_pb2.UNSPECIFIED):
            found = await admin.GetWorkflow(common_pb2.ObjectGetRequest(id=identifier(kind, "w")))
            assert found.id.resource_type == identifier_pb2.WORKFLOW
