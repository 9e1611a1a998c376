"""Launch plan nodes with the real flytekit."""

from pathlib import Path

from flyteidl.admin import common_pb2, execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flytekit.models.core.execution import NodeExecutionPhase
from tests.e2e.client import Client, execution_id, phase, succeeded
from tests.e2e.installation import Installation, until

Phase = core_execution_pb2.WorkflowExecution.Phase


def children(client: Client, parent: str) -> list[execution_pb2.Execution]:
    """Executions that nodes of an execution have made, oldest first."""
    execution = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id(parent)))
    request = common_pb2.ResourceListRequest(
        id=common_pb2.NamedEntityIdentifier(project=execution.id.project, domain=execution.id.domain),
        limit=100,
        sort_by=common_pb2.Sort(key="created_at", direction=common_pb2.Sort.DESCENDING),
    )
    return [
        each
        for each in reversed(client.admin.ListExecutions(request).executions)
        if each.spec.metadata.parent_node_execution.execution_id.name == parent
    ]


def test_children_in_sequence(client: Client) -> None:
    """Outputs flow from child to child; defaults of the launch plan hold; flytekit reads the whole tree."""
    execution = succeeded(client.run("launch_plans", "parent_wf", {"number": 4}))
    assert execution.outputs["o0"] == 84
    first, second = children(client, execution.id.name)
    assert first.spec.metadata.mode == execution_pb2.ExecutionMetadata.CHILD_WORKFLOW
    assert first.spec.metadata.nesting == 1
    assert {first.id.name, second.id.name} == {
        node.workflow_executions[0].id.name for node in execution.node_executions.values() if node.workflow_executions
    }


def test_three_generations(client: Client) -> None:
    """A child may have a child."""
    execution = succeeded(client.run("launch_plans", "grandparent_wf", {"number": 4}))
    assert execution.outputs["o0"] == 8


def test_large_values(client: Client) -> None:
    """Three megabytes pass into a child and out of one."""
    execution = succeeded(client.run("launch_plans", "large_wf", {"word": "abc"}))
    assert execution.outputs["o0"] == 3_000_000


def test_failure_of_a_child(client: Client) -> None:
    """The child's error is the node's and the execution's, unchanged."""
    execution = client.run("launch_plans", "failing_wf", {"number": 7})
    assert phase(execution) == "FAILED"
    (child,) = children(client, execution.id.name)
    assert "7 is not welcome" in execution.error.message
    assert execution.error.code == child.closure.error.code


def test_settings_are_inherited(client: Client) -> None:
    """Environment and labels of the parent are those of the child."""
    from flytekit import Options
    from flytekit.models.common import Labels

    execution = succeeded(
        client.run(
            "launch_plans",
            "inheriting_wf",
            {"name": "COLOUR"},
            envs={"COLOUR": "green"},
            options=Options(labels=Labels({"team": "birds"})),
        )
    )
    assert execution.outputs["o0"] == "green"
    (child,) = children(client, execution.id.name)
    assert child.spec.labels.values["team"] == "birds"


def test_abort_of_the_parent(client: Client, marks: Path) -> None:
    """The child is aborted too, and says why."""
    execution = client.launch("launch_plans", "lingering_wf", {"path": str(marks), "seconds": 60})
    until(marks.exists, timeout_s=60, what="a child's task")
    client.remote.terminate(execution, "enough")
    execution = client.wait(execution)
    assert phase(execution) == "ABORTED"

    def child() -> execution_pb2.Execution:
        return children(client, execution.id.name)[0]

    until(lambda: child().closure.phase == Phase.Value("ABORTED"), timeout_s=60, what="the child's abort")
    assert execution.id.name in child().closure.abort_metadata.cause


def test_abort_of_the_child(client: Client, marks: Path) -> None:
    """The parent's node fails."""
    execution = client.launch("launch_plans", "lingering_wf", {"path": str(marks), "seconds": 60})
    until(marks.exists, timeout_s=60, what="a child's task")
    (child,) = children(client, execution.id.name)
    client.admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=child.id, cause="not this one"))
    execution = client.wait(execution)
    assert phase(execution) == "FAILED"
    assert execution.error.code == "RemoteChildWorkflowExecutionFailed"
    node = next(node for node in execution.node_executions.values() if node.metadata.spec_node_id == "n0")
    assert node.closure.phase == NodeExecutionPhase.FAILED


def test_children_over_a_crash(installation: Installation, client: Client, marks: Path) -> None:
    """A propeller that dies while a child runs finds it again: nothing is launched twice."""
    execution = client.launch("launch_plans", "lingering_wf", {"path": str(marks), "seconds": 3})
    until(marks.exists, timeout_s=60, what="a child's task")
    installation.kill(["propeller-0"])
    execution = succeeded(client.wait(execution))
    assert marks.read_text() == "run\n"
    assert len(children(client, execution.id.name)) == 1
