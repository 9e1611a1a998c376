"""What the server makes so that a single task can run."""

import asyncio

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, execution_pb2
from flyteidl.core import identifier_pb2, security_pb2
from tests.integration.registry.specs import identifier, task

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.registry.generated import node_id_of
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry


async def test_made_once_and_hidden(pool: asyncpg.Pool) -> None:
    """Launches at once make one workflow and one launch plan, which keeps the first identity and belongs to them."""
    registry = open_registry(pool, RegistryOptions())
    await registry.tasks.create(task("ex2.t1"))
    spec = execution_pb2.ExecutionSpec(
        security_context=security_pb2.SecurityContext(run_as=security_pb2.Identity(k8s_service_account="sa"))
    )
    asked = identifier(identifier_pb2.TASK, "ex2.t1")
    await asyncio.gather(*(registry.generated.ensure(asked, spec) for _ in range(6)))
    await registry.generated.ensure(asked, execution_pb2.ExecutionSpec())
    plan = await registry.launch_plans.get(identifier(identifier_pb2.LAUNCH_PLAN, ".flytegen.ex2.t1"))
    workflow = await registry.workflows.get(plan.launch_plan.spec.workflow_id)
    assert plan.workflow_id == workflow.id
    assert plan.launch_plan.spec.security_context == spec.security_context
    assert plan.launch_plan.closure.expected_inputs.parameters["x"].required
    template = workflow.workflow.closure.compiled_workflow.primary.template
    node = template.nodes[2]
    assert (node.id, node.metadata.name, node.metadata.retries.retries) == ("ex2t1", "ex2t1", 2)
    assert template.outputs[0].binding.promise.node_id == "ex2t1"
    for kind in (identifier_pb2.WORKFLOW, identifier_pb2.LAUNCH_PLAN):
        entity = await registry.named_entities.get(
            kind,
            common_pb2.NamedEntityIdentifier(project="flytesnacks", domain="development", name=".flytegen.ex2.t1"),
        )
        assert entity.metadata.state == common_pb2.SYSTEM_GENERATED


async def test_unknown_tasks(pool: asyncpg.Pool) -> None:
    """Nothing is made for a task that does not exist."""
    registry = open_registry(pool, RegistryOptions())
    with pytest.raises(ApiError) as caught:
        await registry.generated.ensure(identifier(identifier_pb2.TASK, "nope"), execution_pb2.ExecutionSpec())
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert await pool.fetchval("SELECT count(*) FROM workflows") == 0


@pytest.mark.parametrize(
    ("name", "node_id"),
    [("ex2.t1", "ex2t1"), ("a b_c-d", "abc-d"), ("x" * 70, "x" * 63), (f"{'x' * 9}.{'y' * 62}", "y" * 62)],
)
def test_node_ids(name: str, node_id: str) -> None:
    """The node is named by the last 63 characters of the task, without what node ids may not hold."""
    assert node_id_of(name) == node_id
