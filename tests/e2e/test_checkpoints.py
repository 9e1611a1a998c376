"""Checkpoints pass from attempt to attempt."""

from pathlib import Path

from flyteidl.admin import node_execution_pb2
from flyteidl.core import identifier_pb2
from tests.e2e.client import Client, execution_id, succeeded


def _attempts(execution) -> int:
    return len(execution.node_executions["n0"].task_executions)


def test_an_attempt_goes_on_where_the_last_one_stopped(client: Client, marks: Path) -> None:
    """Over four attempts each number is counted once."""
    execution = succeeded(client.run("checkpoints", "count_wf", {"to": 8, "marks": str(marks)}))
    assert execution.outputs["o0"] == 8
    assert marks.read_text().split() == [str(number) for number in range(8)]
    assert _attempts(execution) == 4
    node = identifier_pb2.NodeExecutionIdentifier(node_id="n0", execution_id=execution_id(execution.id.name))
    read = client.admin.GetNodeExecution(node_execution_pb2.NodeExecutionGetRequest(id=node))
    uri = read.closure.task_node_metadata.checkpoint_uri
    assert list(Path(uri).iterdir()), "the node says where the checkpoints of its last attempt are"


def test_attempts_without_a_checkpoint(client: Client, marks: Path) -> None:
    """Where no attempt has left a checkpoint there is none to read; one that was left before a kill is found, also by
    the attempt after the next."""
    execution = succeeded(client.run("checkpoints", "survive_wf", {"marks": str(marks)}))
    assert execution.outputs.get("o0", list[str]) == ["a", "b"]
    assert _attempts(execution) == 4
