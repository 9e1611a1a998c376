"""Kinds of nodes that are not supported yet say so; nothing hangs and nothing is skipped in silence."""

from typing import Any

import pytest
from tests.e2e.client import Client, phase


@pytest.mark.parametrize(
    ("workflow", "inputs", "words"),
    [
        ("map_wf", {"numbers": [1, 2]}, ("n0", "array")),
    ],
)
def test_unsupported_kinds(client: Client, workflow: str, inputs: dict[str, Any], words: tuple[str, ...]) -> None:
    """The program registers, its execution fails with a sentence that names node or task and kind, and can be read."""
    execution = client.run("later", workflow, inputs)
    assert phase(execution) == "FAILED"
    assert all(word in execution.error.message for word in words), execution.error.message
    assert "cannot run" in execution.error.message
