"""Conditions with the real flytekit."""

from pathlib import Path
from typing import Any

import pytest
from flyteidl.admin import node_execution_pb2
from flyteidl.core import execution_pb2
from tests.e2e.client import Client, execution_id, phase, succeeded


@pytest.mark.parametrize(
    ("workflow", "inputs", "expected"),
    [
        ("ranges_wf", {"number": 3}, 12),
        ("ranges_wf", {"number": 10}, 40),
        ("ranges_wf", {"number": 42}, 336),
        ("ranges_wf", {"number": 100}, 800),
        ("ranges_wf", {"number": -6}, 12),
        ("nested_wf", {"number": 4, "wants_double": True}, 8),
        ("nested_wf", {"number": 4, "wants_double": False}, -4),
        ("nested_wf", {"number": 3, "wants_double": True}, 12),
        ("fields_wf", {"score": 0.95}, "great"),
        ("fields_wf", {"score": 0.6}, "good"),
        ("fields_wf", {"score": 0.1}, "poor"),
    ],
)
def test_chosen_arm(client: Client, workflow: str, inputs: dict[str, Any], expected: object) -> None:
    """The first case that holds decides, and the branch's output is that of its arm."""
    execution = succeeded(client.run("branches", workflow, inputs))
    assert execution.outputs["o0"] == expected


def test_else_that_fails(client: Client) -> None:
    """The message of `fail` is the execution's error; nothing behind the branch runs."""
    execution = client.run("branches", "ranges_wf", {"number": 0})
    assert phase(execution) == "FAILED"
    assert execution.error.code == "UserProvidedError"
    assert "the number is out of all ranges" in execution.error.message


def test_arms_not_taken_leave_nothing(client: Client, marks: Path) -> None:
    """One arm runs; the branch is a parent whose only child is that arm."""
    execution = succeeded(client.run("branches", "words_wf", {"path": str(marks), "word": "stop"}))
    assert marks.read_text() == "stopped\n"
    request = node_execution_pb2.NodeExecutionListRequest(
        workflow_execution_id=execution_id(execution.id.name), limit=100, unique_parent_id="n0"
    )
    children = client.admin.ListNodeExecutions(request).node_executions
    assert [(child.metadata.spec_node_id, child.closure.phase) for child in children] == [
        ("n0-n1", execution_pb2.NodeExecution.SUCCEEDED)
    ]
