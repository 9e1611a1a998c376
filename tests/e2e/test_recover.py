"""RecoverExecution, with the real flytekit: what succeeded is taken over, at any depth, and nothing of it runs."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from flyteidl.admin import execution_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flytekit.models.core.identifier import WorkflowExecutionIdentifier
from recovering import WIDTH
from tests.e2e.client import DOMAIN, PROJECT, Client, execution_id, phase, succeeded
from tests.e2e.installation import Installation, until

Phase = core_execution_pb2.NodeExecution.Phase


def _break(folder: Path, *names: str) -> None:
    (folder / "broken").write_text("\n".join(names))


def _lines(folder: Path) -> Counter[str]:
    return Counter((folder / "lines").read_text().splitlines())


def _recover(client: Client, name: str) -> Any:
    """Recover by flytekit's own client, and wait for the end."""
    created = client.remote.client.recover_execution(WorkflowExecutionIdentifier(PROJECT, DOMAIN, name))
    return client.wait(client.remote.fetch_execution(name=created.name), sync_nodes=False)


def _nodes(client: Client, name: str, parent: str = "") -> dict[str, node_execution_pb2.NodeExecution]:
    request = node_execution_pb2.NodeExecutionListRequest(
        workflow_execution_id=execution_id(name), limit=100, unique_parent_id=parent
    )
    return {node.metadata.spec_node_id: node for node in client.admin.ListNodeExecutions(request).node_executions}


def _phases(client: Client, name: str, parent: str = "") -> dict[str, str]:
    return {key: Phase.Name(node.closure.phase) for key, node in _nodes(client, name, parent).items()}


def _fail(client: Client, folder: Path, workflow: str, inputs: dict[str, Any], broken: Sequence[str]) -> Any:
    _break(folder, *broken)
    execution = client.run("recovering", workflow, {"folder": str(folder), **inputs})
    assert phase(execution) == "FAILED"
    (folder / "broken").unlink()
    return execution


def test_what_succeeded_deep_inside_is_taken_over(client: Client, tmp_path: Path) -> None:
    """Only the step that failed runs again, two sub-workflows deep; files and decks of the old execution serve the new
    one, which says what it is."""
    failed = _fail(client, tmp_path, "nested_wf", {"number": 5}, ["deep-2"])
    recovered = _recover(client, failed.id.name)
    assert succeeded(recovered).outputs["o0"] == 5 + 8
    assert _lines(tmp_path) == Counter(["describe", "middle", "deep-1", "deep-2", "deep-2", "read"])
    found = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id(recovered.id.name)))
    assert found.spec.metadata.mode == execution_pb2.ExecutionMetadata.RECOVERED
    assert found.spec.metadata.reference_execution == execution_id(failed.id.name)
    before, after = _nodes(client, failed.id.name), _nodes(client, recovered.id.name)
    assert {key: Phase.Name(node.closure.phase) for key, node in after.items()} == {
        "start-node": "SUCCEEDED",
        "n0": "RECOVERED",
        "n1": "SUCCEEDED",
        "n2": "SUCCEEDED",
        "end-node": "SUCCEEDED",
    }
    assert after["n0"].closure.output_uri == before["n0"].closure.output_uri
    assert after["n0"].closure.deck_uri == before["n0"].closure.deck_uri != ""
    data = [
        client.admin.GetNodeExecutionData(node_execution_pb2.NodeExecutionGetDataRequest(id=nodes["n0"].id))
        for nodes in (before, after)
    ]
    assert data[0].full_outputs == data[1].full_outputs
    assert data[0].full_inputs == data[1].full_inputs
    inner = _phases(client, recovered.id.name, "n1")
    assert (inner["n0"], inner["n1"]) == ("RECOVERED", "SUCCEEDED")
    deepest = _phases(client, recovered.id.name, _nodes(client, recovered.id.name, "n1")["n1"].id.node_id)
    assert (deepest["n0"], deepest["n1"]) == ("RECOVERED", "SUCCEEDED")
    request = task_execution_pb2.TaskExecutionListRequest(node_execution_id=after["n0"].id, limit=10)
    assert not client.admin.ListTaskExecutions(request).task_executions


def test_a_recovery_that_fails_is_recovered_in_turn(client: Client, tmp_path: Path) -> None:
    """What one took over counts as done for the next."""
    failed = _fail(client, tmp_path, "nested_wf", {"number": 1}, ["deep-1"])
    _break(tmp_path, "deep-2")
    again = _recover(client, failed.id.name)
    assert phase(again) == "FAILED"
    (tmp_path / "broken").unlink()
    recovered = _recover(client, again.id.name)
    assert succeeded(recovered).outputs["o0"] == 1 + 4
    assert _lines(tmp_path) == Counter(["describe", "middle", "deep-1", "deep-1", "deep-2", "deep-2", "read"])
    assert _phases(client, recovered.id.name)["n0"] == "RECOVERED"


def test_an_arm_of_a_branch(client: Client, tmp_path: Path) -> None:
    """The branch decides again, its arm takes over what had succeeded inside of it."""
    failed = _fail(client, tmp_path, "choosing_wf", {"number": 1}, ["deep-2"])
    recovered = _recover(client, failed.id.name)
    assert succeeded(recovered).outputs["o0"] == 5
    assert _lines(tmp_path) == Counter(["before", "middle", "deep-1", "deep-2", "deep-2"])


def test_a_launch_plan_node_recovers_its_child(client: Client, tmp_path: Path) -> None:
    """The child that failed is recovered by an execution of its own; one that succeeded is kept as it is."""
    failed = _fail(client, tmp_path, "parent_wf", {"number": 1}, ["child-2"])
    _break(tmp_path, "parent-2")
    again = _recover(client, failed.id.name)
    assert phase(again) == "FAILED"
    assert _lines(tmp_path) == Counter(["parent-1", "child-1", "child-2", "child-2", "parent-2"])
    first = _nodes(client, failed.id.name)["n1"].closure.workflow_node_metadata.executionId
    second = _nodes(client, again.id.name)["n1"].closure.workflow_node_metadata.executionId
    child = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=second))
    assert child.spec.metadata.mode == execution_pb2.ExecutionMetadata.RECOVERED
    assert child.spec.metadata.reference_execution == first != second
    (tmp_path / "broken").unlink()
    recovered = _recover(client, again.id.name)
    assert succeeded(recovered).outputs["o0"] == 5
    assert _lines(tmp_path)["child-2"] == 2
    node = _nodes(client, recovered.id.name)["n1"]
    assert Phase.Name(node.closure.phase) == "RECOVERED"
    assert node.closure.workflow_node_metadata.executionId == second


def test_a_dynamic_task_does_not_run_again(client: Client, tmp_path: Path) -> None:
    """The workflow that it made goes on: what succeeded inside is taken over."""
    failed = _fail(client, tmp_path, "dynamic_wf", {"number": 3}, ["step-2"])
    recovered = _recover(client, failed.id.name)
    assert succeeded(recovered).outputs["o0"] == 6
    assert _lines(tmp_path) == Counter(["steps", "step-0", "step-1", "step-2", "step-2"])
    node = _nodes(client, recovered.id.name)["n0"]
    made = client.admin.GetDynamicNodeWorkflow(node_execution_pb2.GetDynamicNodeWorkflowRequest(id=node.id))
    assert len(made.compiled_workflow.primary.template.nodes) == 2 + 3
    again = _recover(client, recovered.id.name)
    assert succeeded(again).outputs["o0"] == 6
    assert _phases(client, again.id.name)["n0"] == "RECOVERED"
    assert sum(_lines(tmp_path).values()) == 5


def test_checkpoints_are_handed_on(client: Client, tmp_path: Path) -> None:
    """The task that failed goes on from the last checkpoint that it had written in the old execution."""
    failed = _fail(client, tmp_path, "counting_wf", {"until": 10}, ["count"])
    recovered = _recover(client, failed.id.name)
    assert succeeded(recovered).outputs["o0"] == 10
    assert _lines(tmp_path) == Counter(["from 0", "from 5"])


def test_elements_of_a_map_task(client: Client, tmp_path: Path) -> None:
    """Those that succeeded are taken over one by one, over two recoveries; then the map task counts as a whole."""
    failed = _fail(client, tmp_path, "mapped_wf", {"numbers": [0, 10, 20, 30, 40]}, ["item-20"])
    assert _lines(tmp_path) == Counter(["item-0", "item-10", "item-20"])
    _break(tmp_path, "item-30")
    again = _recover(client, failed.id.name)
    assert phase(again) == "FAILED"
    assert _lines(tmp_path) == Counter(["item-0", "item-10", "item-20", "item-20", "item-30"])
    (tmp_path / "broken").unlink()
    recovered = _recover(client, again.id.name)
    assert succeeded(recovered).outputs["o0"] == 105
    items = Counter({"item-0": 1, "item-10": 1, "item-20": 2, "item-30": 2, "item-40": 1})
    assert _lines(tmp_path) == items
    node = _nodes(client, recovered.id.name)["n0"]
    request = task_execution_pb2.TaskExecutionListRequest(node_execution_id=node.id, limit=10)
    (array,) = client.admin.ListTaskExecutions(request).task_executions
    elements = array.closure.metadata.external_resources
    assert [(each.index, each.phase) for each in elements] == [
        (index, core_execution_pb2.TaskExecution.SUCCEEDED) for index in range(5)
    ]
    done = _recover(client, recovered.id.name)
    assert succeeded(done).outputs["o0"] == 105
    assert _phases(client, done.id.name)["n0"] == "RECOVERED"
    assert _lines(tmp_path) == items


def test_executions_that_elements_launched(client: Client, tmp_path: Path) -> None:
    """The one that failed is recovered by an execution of its own; those that succeeded are not looked into."""
    inputs = {"folders": [str(tmp_path)] * 3, "numbers": [0, 10, 20]}
    _break(tmp_path, "item-11")
    failed = client.run("recovering", "mapped_plan_wf", inputs)
    assert phase(failed) == "FAILED"
    (tmp_path / "broken").unlink()
    recovered = _recover(client, failed.id.name)
    assert succeeded(recovered).outputs["o0"] == 36
    assert _lines(tmp_path) == Counter(["item-0", "item-1", "item-10", "item-11", "item-11", "item-20", "item-21"])


def test_checkpoints_of_elements(client: Client, tmp_path: Path) -> None:
    """An element goes on from the last checkpoint that it had written in the old execution."""
    failed = _fail(client, tmp_path, "counting_map_wf", {"until": [10, 4]}, ["count"])
    recovered = _recover(client, failed.id.name)
    assert list(succeeded(recovered).outputs["o0"]) == [10, 4]
    assert _lines(tmp_path) == Counter(["from 0", "from 5", "from 0"])


def test_what_succeeded_as_a_whole(client: Client, tmp_path: Path) -> None:
    """Recovering it runs nothing, and gives its outputs; by REST as well."""
    tmp_path.joinpath("lines").touch()
    done = succeeded(client.run("recovering", "deep_wf", {"folder": str(tmp_path), "number": 1}))
    before = _lines(tmp_path)
    recovered = _recover(client, done.id.name)
    assert succeeded(recovered).outputs["o0"] == 4
    assert set(_phases(client, recovered.id.name).values()) == {"SUCCEEDED", "RECOVERED"}
    assert _phases(client, recovered.id.name)["end-node"] == "RECOVERED"
    assert _lines(tmp_path) == before


@pytest.mark.timeout(300)
def test_engines_that_are_killed_while_it_recovers(tmp_path: Path) -> None:
    """`kill -9` of the engine at any moment of a recovery: what had succeeded does not run, and what runs runs once."""
    folder = Path(tempfile.mkdtemp(prefix="wb-recover-"))
    installation = Installation(folder)
    installation.up()
    client = Client(installation.endpoint)
    try:
        broken = ["step-5", "step-6", "step-7", "pair-1"]
        failed = _fail(client, tmp_path, "wide_wf", {}, broken)
        before = _lines(tmp_path)
        assert (before["step-0"], before["pair-0"], before["pair-1"]) == (1, 2, 1)
        created = client.remote.client.recover_execution(WorkflowExecutionIdentifier(PROJECT, DOMAIN, failed.id.name))
        for more in (0, 1, 4):
            _until_lines(tmp_path, sum(before.values()) + more)
            installation.kill(["propeller-0"])
        recovered = client.wait(client.remote.fetch_execution(name=created.name), sync_nodes=False)
        steps = sum(number + 1 for number in range(WIDTH))
        assert succeeded(recovered).outputs["o0"] == steps + sum(number + 3 for number in range(4))
        assert _lines(tmp_path) == before + Counter([*broken, "pair-1"])
    finally:
        client.close()
        installation.down()
        until(lambda: not installation.leftovers(), timeout_s=60, what=f"an end of {installation.leftovers()}")
        shutil.rmtree(folder)


def _until_lines(folder: Path, count: int) -> None:
    until(lambda: sum(_lines(folder).values()) >= count, what=f"{count} lines")


def test_by_rest(installation: Installation, client: Client, tmp_path: Path) -> None:
    """`POST /api/v1/executions/recover`, with a name of the caller's own."""
    failed = _fail(client, tmp_path, "deep_wf", {"number": 1}, ["deep-1"])
    body = {
        "id": {"project": PROJECT, "domain": DOMAIN, "name": failed.id.name},
        "name": f"{failed.id.name}-r",
    }
    answer = httpx.post(f"{installation.http_url}/api/v1/executions/recover", json=body, timeout=30)
    assert answer.json()["id"]["name"] == f"{failed.id.name}-r"
    recovered = client.wait(client.remote.fetch_execution(name=f"{failed.id.name}-r"), sync_nodes=False)
    assert succeeded(recovered).outputs["o0"] == 4
    assert _lines(tmp_path) == Counter(["middle", "deep-1", "deep-1", "deep-2"])


def test_what_cannot_be_recovered(client: Client) -> None:
    """An execution that does not exist is NOT_FOUND, half a name INVALID_ARGUMENT."""
    for name, code in (("no-such-execution", grpc.StatusCode.NOT_FOUND), ("", grpc.StatusCode.INVALID_ARGUMENT)):
        with pytest.raises(grpc.RpcError) as caught:
            client.admin.RecoverExecution(execution_pb2.ExecutionRecoverRequest(id=execution_id(name)))
        assert caught.value.code() is code
