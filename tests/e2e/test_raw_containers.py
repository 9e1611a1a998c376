"""flytekit's ContainerTask: any program, with files for inputs and outputs."""

from datetime import UTC, datetime, timedelta

from flyteidl.admin import execution_pb2
from tests.e2e.client import Client, execution_id, phase, succeeded


def test_simple_values(client: Client) -> None:
    """Numbers, text, booleans, datetimes and durations pass as files and as arguments."""
    begin = datetime(2024, 2, 29, 12, 30, 1, 500_000, tzinfo=UTC)
    execution = succeeded(client.run("raw_containers", "rectangle_wf", {"a": 6, "b": 7, "begin": begin}))
    assert [execution.outputs[f"o{index}"] for index in range(5)] == [
        42,
        "sides 6 and 7",
        False,
        begin,
        timedelta(hours=1, minutes=30),
    ]


def test_files_folders_lists_and_maps(client: Client) -> None:
    """Files of a Python task come to the container, and what it writes comes to the next Python task."""
    inputs = {"words": ["quince", "banana"], "limits": {"top": 3, "low": 1}}
    execution = succeeded(client.run("raw_containers", "sort_wf", inputs))
    assert execution.outputs.get("o0", list[str]) == [
        "apple\nbanana\npear\nquince\n",
        "below/one: ['one', 'a', 'one', 'b']",
        "below/two: ['two', 'a', 'two', 'b']",
    ]
    assert execution.outputs["o1"] == "31"  # the limit, and the line of inputs.yaml that begins the words


def test_errors(client: Client) -> None:
    """The container's own words are the error; a wrong value is named with its output and type."""
    execution = client.run("raw_containers", "complain_wf", {"text": "the tank is empty"})
    assert phase(execution) == "FAILED"
    request = execution_pb2.WorkflowExecutionGetRequest(id=execution_id(execution.id.name))
    error = client.admin.GetExecution(request).closure.error
    assert error.code == "RetriesExhausted|UserError"
    assert "the tank is empty" in error.message
    execution = client.run("raw_containers", "mistype_wf")
    assert phase(execution) == "FAILED"
    assert "output 'number': 'seven' is no value of type integer" in execution.error.message
