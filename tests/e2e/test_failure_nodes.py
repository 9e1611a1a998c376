"""Failure nodes with the real flytekit."""

from pathlib import Path

from tests.e2e.client import Client, phase


def test_the_handler_is_told_the_error(client: Client, marks: Path) -> None:
    """It gets the error with the node that failed; the execution keeps the original error."""
    execution = client.run("failure_nodes", "told_wf", {"path": str(marks)})
    assert phase(execution) == "FAILED"
    assert "no such cluster" in execution.error.message
    assert marks.read_text() == f"n0: ValueError: no such cluster in {marks}\n"


def test_a_handler_that_does_not_ask(client: Client, marks: Path) -> None:
    """It runs all the same."""
    execution = client.run("failure_nodes", "untold_wf", {"path": str(marks)})
    assert phase(execution) == "FAILED"
    assert marks.read_text() == "quiet\n"


def test_a_handler_that_fails(client: Client, marks: Path) -> None:
    """Its error takes the place of the first one."""
    execution = client.run("failure_nodes", "broken_wf", {"path": str(marks)})
    assert phase(execution) == "FAILED"
    assert "the broom is broken" in execution.error.message


def test_handlers_of_nested_workflows(client: Client, marks: Path) -> None:
    """The inner workflow cleans up before the outer one, and both before the execution ends."""
    execution = client.run("failure_nodes", "nested_wf", {"path": str(marks)})
    assert phase(execution) == "FAILED"
    quiet, told = marks.read_text().splitlines()
    assert quiet == "quiet"
    assert told.startswith("n0: ")
