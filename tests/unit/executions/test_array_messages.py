"""Elements of arrays as clients see them."""

from typing import Any

from flyteidl.admin import task_execution_pb2
from flyteidl.core import execution_pb2, identifier_pb2

from wingbeat_controlplane.executions.array_messages import add_elements, child_name
from wingbeat_propeller.core.phases import TaskPhase

TaskExecution = execution_pb2.TaskExecution


def _message(size: int, phase: int = TaskExecution.RUNNING, **custom: Any) -> task_execution_pb2.TaskExecution:
    execution = identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name="e")
    message = task_execution_pb2.TaskExecution(
        id=identifier_pb2.TaskExecutionIdentifier(
            node_execution_id=identifier_pb2.NodeExecutionIdentifier(node_id="n0", execution_id=execution)
        )
    )
    message.closure.phase = phase
    message.closure.metadata.generated_name = "e-n0-0"
    message.closure.custom_info.update({"size": size, **custom})
    return message


def _row(element: int, phase: TaskPhase, attempt: int = 0, **columns: Any) -> dict[str, Any]:
    return {
        "element": element,
        "attempt": attempt,
        "phase": int(phase),
        "cache_status": 0,
        "error": None,
        "deck_uri": None,
        "details": None,
        **columns,
    }


def _seen(message: task_execution_pb2.TaskExecution) -> list[tuple[int, int, int]]:
    return [(each.index, each.retry_attempt, each.phase) for each in message.closure.metadata.external_resources]


def test_an_entry_for_each_attempt_and_each_waiting_element() -> None:
    """In order of index and attempt; what has not begun waits, and what was tried again has failed."""
    message = _message(4)
    rows = [
        _row(2, TaskPhase.FAILED),
        _row(0, TaskPhase.RETRYABLE_FAILED),
        _row(0, TaskPhase.RUNNING, attempt=1),
    ]
    add_elements(message, rows, {5: 1, 8: 1, 2: 1}, entries_max=100)
    assert _seen(message) == [
        (0, 0, TaskExecution.FAILED),
        (0, 1, TaskExecution.RUNNING),
        (1, 0, TaskExecution.QUEUED),
        (2, 0, TaskExecution.FAILED),
        (3, 0, TaskExecution.QUEUED),
    ]
    assert [each.external_id for each in message.closure.metadata.external_resources][:2] == [
        "e-n0-0-n0-0",
        "e-n0-0-n0-1",
    ]
    assert dict(message.closure.custom_info) == {
        "size": 4,
        "succeeded": 0,
        "failed": 1,
        "running": 1,
        "not_ended": 3,
        "shown": 5,
    }


def test_decks_are_named_by_the_id_of_their_element() -> None:
    """Where there is one."""
    message = _message(3)
    rows = [
        _row(0, TaskPhase.RUNNING, deck_uri="file:///deck.html"),
        _row(1, TaskPhase.FAILED, deck_uri=""),
        _row(2, TaskPhase.RUNNING),
    ]
    add_elements(message, rows, {2: 2, 5: 1}, entries_max=100)
    decks = [dict(each.custom_info).get("deck") for each in message.closure.metadata.external_resources]
    assert decks == ["flyte://v1/p/d/e/n0-0-n0/d", None, None]


def test_what_never_began_waits_no_more_when_the_array_is_over() -> None:
    """It is listed without a phase."""
    message = _message(2, TaskExecution.FAILED)
    add_elements(message, [_row(0, TaskPhase.FAILED)], {5: 1}, entries_max=100)
    assert _seen(message) == [(0, 0, TaskExecution.FAILED), (1, 0, TaskExecution.UNDEFINED)]


def test_of_a_large_array_only_so_many_are_shown() -> None:
    """The numbers tell of the rest."""
    message = _message(100_000)
    rows = [_row(70_000, TaskPhase.FAILED), _row(3, TaskPhase.RUNNING)]
    add_elements(message, rows, {5: 1, 2: 1, 3: 69_000}, entries_max=2)
    assert _seen(message) == [(3, 0, TaskExecution.RUNNING), (70_000, 0, TaskExecution.FAILED)]
    assert message.closure.custom_info["succeeded"] == 69_000
    assert message.closure.custom_info["not_ended"] == 30_999
    assert message.closure.custom_info["shown"] == 2


def test_logs_and_errors_are_those_of_the_element() -> None:
    """Names of logs end in the index; of a long error beginning and end are shown."""
    details = task_execution_pb2.TaskExecutionClosure(logs=[execution_pb2.TaskLog(name="stdout", uri="http://l")])
    error = execution_pb2.ExecutionError(code="C", message="a" * 1000 + "z" * 1000)
    row = _row(7, TaskPhase.FAILED, details=details.SerializeToString(), error=error.SerializeToString())
    message = _message(8, TaskExecution.FAILED)
    add_elements(message, [row], {5: 1, 3: 7}, entries_max=1)
    (entry,) = message.closure.metadata.external_resources
    assert [(log.name, log.uri) for log in entry.logs] == [("stdout-7", "http://l")]
    assert dict(entry.custom_info) == {"error_code": "C", "error": f"{'a' * 100} [...] {'z' * 300}"}


def test_children_of_a_mapped_launch_plan_are_named_once_they_exist() -> None:
    """Their names follow from those of the elements."""
    message = _message(2, launch_plan="lp")
    rows = [_row(0, TaskPhase.RUNNING), _row(1, TaskPhase.RUNNING)]
    known = frozenset({child_name("e", "n0", 1, 0)})
    add_elements(message, rows, {2: 2}, children=known, entries_max=10)
    first, second = message.closure.metadata.external_resources
    assert not first.HasField("workflow_node_metadata")
    assert second.workflow_node_metadata.execution_id.name == "e-n0-0-n1-0-n0-0"
    assert second.workflow_node_metadata.execution_id.project == "p"
