"""Dynamic workflows with the real flytekit."""

import uuid
from pathlib import Path

import grpc
import pytest
from flyteidl.admin import node_execution_pb2
from flyteidl.core import identifier_pb2
from tests.e2e import specs
from tests.e2e.client import Client, create_request, execution_id, phase, succeeded
from tests.e2e.installation import Installation, until


def node_id(execution: str, node: str) -> identifier_pb2.NodeExecutionIdentifier:
    """Identifier of a node of an execution."""
    return identifier_pb2.NodeExecutionIdentifier(execution_id=execution_id(execution), node_id=node)


@pytest.mark.parametrize(
    ("workflow", "inputs", "expected"),
    [
        ("sum_wf", {"count": 5}, 40),
        ("sum_wf", {"count": 1}, 0),
        ("sort_wf", {"numbers": [5, 3, 9, 1, 7, 2, 8]}, [1, 2, 3, 5, 7, 8, 9]),
        ("everything_wf", {"number": 3}, 36),
        ("everything_wf", {"number": 2}, 24),
        ("empty_wf", {"number": 3}, 4),
    ],
)
def test_outputs(client: Client, workflow: str, inputs: dict[str, object], expected: object) -> None:
    """Nodes made at run time run like others, to any depth; flytekit reads the whole tree."""
    client.register("dynamics", "quadruple_plan")  # what a dynamic refers to by launch plan must be there
    execution = succeeded(client.run("dynamics", workflow, inputs))
    assert execution.outputs["o0"] == expected


def test_the_workflow_is_shown(client: Client) -> None:
    """Node, data and GetDynamicNodeWorkflow tell what the task has made."""
    execution = succeeded(client.run("dynamics", "sum_wf", {"count": 3}))
    name = execution.id.name
    node = client.admin.GetNodeExecution(node_execution_pb2.NodeExecutionGetRequest(id=node_id(name, "n0")))
    assert node.metadata.is_dynamic
    assert node.metadata.is_parent_node
    assert node.closure.dynamic_job_spec_uri.endswith("futures.pb")
    request = node_execution_pb2.GetDynamicNodeWorkflowRequest(id=node_id(name, "n0"))
    compiled = client.admin.GetDynamicNodeWorkflow(request).compiled_workflow
    made = {node.id for node in compiled.primary.template.nodes} - {"start-node", "end-node"}
    listed = client.admin.ListNodeExecutions(
        node_execution_pb2.NodeExecutionListRequest(
            workflow_execution_id=execution_id(name), unique_parent_id="n0", limit=100
        )
    ).node_executions
    assert {child.metadata.spec_node_id for child in listed} == made | {"start-node", "end-node"}
    with pytest.raises(grpc.RpcError) as raised:
        client.admin.GetDynamicNodeWorkflow(node_execution_pb2.GetDynamicNodeWorkflowRequest(id=node_id(name, "n1")))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_failure_inside(client: Client) -> None:
    """The error of the inner node is the execution's."""
    execution = client.run("dynamics", "failing_wf", {"number": 7})
    assert phase(execution) == "FAILED"
    assert "7 is not welcome" in execution.error.message


def test_bad_futures(client: Client) -> None:
    """A task that leaves something else in the place of a workflow fails for good and says so."""
    version = uuid.uuid4().hex
    script = 'mkdir -p "$0" && echo nonsense > "$0/futures.pb"'
    args = ["sh", "-c", script, "{{.outputPrefix}}"]
    task = specs.task_request("raw.futures", version, inputs={}, outputs={}, args=args)
    client.admin.CreateTask(task)
    name = client.admin.CreateExecution(create_request(task, resource_type=identifier_pb2.TASK)).id.name
    execution = client.wait(client.remote.fetch_execution(name=name), sync_nodes=False)
    assert phase(execution) == "FAILED"
    assert execution.error.code == "DynamicWorkflowBuildFailed"
    assert "futures.pb is malformed" in execution.error.message


def test_attempts_of_a_dynamic(client: Client, marks: Path) -> None:
    """What the third attempt makes runs once."""
    succeeded(client.run("dynamics", "hesitating_wf", {"path": str(marks)}))
    assert marks.read_text().splitlines() == ["attempt"] * 3 + ["task"]


def test_a_dynamic_over_a_crash(installation: Installation, client: Client, marks: Path) -> None:
    """A propeller that dies in the middle goes on with what was made: neither the dynamic nor its task runs again."""
    execution = client.launch("dynamics", "slowly_wf", {"path": str(marks)})
    until(lambda: marks.exists() and "slow" in marks.read_text(), timeout_s=60, what="the inner task")
    installation.kill(["propeller-0"])
    succeeded(client.wait(execution))
    assert marks.read_text().splitlines() == ["dynamic", "slow"]
