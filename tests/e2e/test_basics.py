"""Programs of the shapes that introductions to flytekit begin with."""

from pathlib import Path

from tests.e2e.client import Client, phase, succeeded


def test_named_outputs(client: Client) -> None:
    """Names of outputs pass through tasks, workflows and workflows within workflows; a task runs on its own."""
    outputs = succeeded(client.run("basics", "line_wf")).outputs
    assert (outputs["slope"], outputs["offset"]) == (-1.5, 2.5)
    outputs = succeeded(client.run("basics", "nested_wf", {"at": 4, "x": [0, 2], "y": [1, 2]})).outputs
    assert outputs["o0"] == 3.0
    assert succeeded(client.run("basics", "fit", {"x": [0, 1], "y": [0, 3]})).outputs["slope"] == 3.0


def test_launch_plan(client: Client) -> None:
    """Defaults may be replaced, fixed inputs not."""
    assert succeeded(client.run("basics", "half_fixed_plan")).outputs["o0"] == 20.0
    assert succeeded(client.run("basics", "half_fixed_plan", {"at": 3})).outputs["o0"] == 6.0


def test_imperative_workflow(client: Client) -> None:
    """A workflow that was put together without a function, with a list of promises as its output."""
    outputs = succeeded(client.run("basics", "imperative_wf", {"x": [0, 2], "y": [1, 2]})).outputs
    assert outputs.get("both", list[float]) == [0.5, 1.0]


def test_decorated_tasks(client: Client) -> None:
    """Decorators of a task run with it, and can make it fail."""
    assert succeeded(client.run("basics", "decorated_task_wf", {"x": 5})).outputs["o0"] == 25
    execution = client.run("basics", "decorated_task_wf", {"x": -5})
    assert phase(execution) == "FAILED"
    assert "5 is less than 10" in execution.error.message


def test_order_without_values(client: Client, marks: Path) -> None:
    """Nodes run in the order that was asked for, also around and inside a workflow under a decorator."""
    succeeded(client.run("basics", "chained_wf", {"path": str(marks)}))
    assert marks.read_text().split() == ["first", "before", "within", "after", "third"]


def test_shell_tasks(client: Client) -> None:
    """Locations of outputs may be made of inputs; folders come out as well as files."""
    outputs = succeeded(client.run("basics", "shell_wf")).outputs
    assert outputs["o0"] == "some\nmore\n"
    assert outputs.get("o1", list[str]) == ["added.txt", "kept.txt"]
