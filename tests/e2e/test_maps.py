"""Map tasks with the real flytekit."""

from typing import Any

import pytest
from tests.e2e.client import Client, succeeded


@pytest.mark.parametrize(
    ("workflow", "inputs", "expected"),
    [
        ("map_wf", {"numbers": [3, 1, 2]}, [6, 2, 4]),
        ("map_wf", {"numbers": [7]}, [14]),
        ("map_wf", {"numbers": []}, []),
        ("partial_wf", {"numbers": [1, 2], "factor": 3}, ["product: 3", "product: 6"]),
        ("some_wf", {"numbers": [1, -2, 3, -4]}, [2, None, 6, None]),
        ("sum_wf", {"numbers": [1, -2, 3, -4]}, 8),
        ("legacy_wf", {"numbers": [1, 2, 5], "factor": 2}, ["older: 2", "older: 4", "older: 10"]),
    ],
)
def test_results(client: Client, workflow: str, inputs: dict[str, Any], expected: object) -> None:
    """Results stand in the order of the items, with None for elements that failed where that is allowed."""
    execution = succeeded(client.run("maps", workflow, inputs))
    assert execution.outputs["o0"] == expected
