"""Echo tasks: values come out as they went in, and no process starts for them."""

import pytest
from tests.e2e.client import Client, succeeded
from tests.e2e.installation import Installation


@pytest.mark.parametrize("times", [1, 200_000], ids=["small", "large"])
def test_echo(client: Client, installation: Installation, times: int) -> None:
    """All outputs equal their inputs, whatever their number, types and size."""
    inputs = {"number": 3, "flags": [True, False], "text": "ü", "times": times}
    execution = succeeded(client.run("echoes", "echo_wf", inputs))
    outputs = execution.outputs
    assert (outputs["o0"], outputs.get("o1", list[bool]), outputs["o2"]) == (3, [True, False], "ü")
    assert outputs["o3"] == "ü" * times
    started = {path.name for path in (installation.data_dir / "local/tasks").glob(f"{execution.id.name}-*")}
    assert len(started) == 1, "one attempt of the Python task"
    assert {task.closure.phase for node in execution.node_executions.values() for task in node.task_executions} == {3}
