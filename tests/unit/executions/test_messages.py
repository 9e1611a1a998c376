"""Rows as messages: what each phase shows, and what stays out."""

from datetime import UTC, datetime, timedelta

import pytest
from flyteidl.admin import common_pb2, execution_pb2, task_execution_pb2
from flyteidl.core import catalog_pb2, identifier_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.event import event_pb2

from wingbeat_controlplane.executions.execution_messages import execution_message
from wingbeat_controlplane.executions.failures import LISTED_MESSAGE_BYTES_MAX, listed_error, stored_error
from wingbeat_controlplane.executions.node_messages import node_message
from wingbeat_controlplane.executions.task_messages import task_message
from wingbeat_propeller.core.folders import checkpoint_folder
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import FLAG_ARRAY, FLAG_DYNAMIC, FLAG_PARENT

CREATED = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
EXECUTION = identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name="e")
NODE = identifier_pb2.NodeExecutionIdentifier(node_id="n0", execution_id=EXECUTION)
ERROR = core_execution_pb2.ExecutionError(code="USER:X", message="boom", kind=core_execution_pb2.ExecutionError.USER)


def _execution(**changes: object) -> dict[str, object]:
    rule = common_pb2.Notification(phases=[4])
    return {
        "project": "p",
        "domain": "d",
        "name": "e",
        "spec": execution_pb2.ExecutionSpec(tags=["t"]).SerializeToString(),
        "notifications": execution_pb2.NotificationList(notifications=[rule]).SerializeToString(),
        "principal": "me",
        "state": 0,
        "state_changed_at": None,
        "state_principal": "",
        "abort_cause": None,
        "abort_principal": None,
        "phase": int(ExecutionPhase.UNDEFINED),
        "created_at": CREATED,
        "started_at": None,
        "ended_at": None,
        "updated_at": CREATED,
        "outputs_uri": None,
        "workflow_project": "p",
        "workflow_domain": "d",
        "workflow_name": "w",
        "workflow_version": "v",
        **changes,
    }


def _node(**changes: object) -> dict[str, object]:
    return {
        "node_id": "n0",
        "spec_node_id": "n0",
        "parent_id": None,
        "parent_attempt": None,
        "kind": int(NodeKind.TASK),
        "flags": 0,
        "phase": int(NodePhase.RUNNING),
        "cache_status": 0,
        "created_at": CREATED,
        "started_at": None,
        "ended_at": None,
        "updated_at": CREATED,
        "has_inputs": False,
        "input_uri": None,
        "has_outputs": False,
        "output_uri": None,
        "deck_uri": None,
        "details": None,
        **changes,
    }


def _task(**changes: object) -> dict[str, object]:
    return {
        "attempt": 1,
        "task_project": "p",
        "task_domain": "d",
        "task_name": "t",
        "task_version": "v",
        "task_type": "python-task",
        "name": "e-n0-1",
        "phase": int(TaskPhase.RUNNING),
        "created_at": CREATED,
        "started_at": None,
        "ended_at": None,
        "updated_at": CREATED,
        "input_uri": "file:///inputs.pb",
        "output_uri": None,
        "details": None,
        **changes,
    }


def test_new_execution() -> None:
    """A row nobody has begun shows its spec, workflow, rules and when it became active, and no result."""
    message = execution_message(_execution(), None)
    assert message.id == EXECUTION
    assert message.spec.tags == ["t"]
    closure = message.closure
    assert closure.phase == core_execution_pb2.WorkflowExecution.UNDEFINED
    assert closure.created_at.ToDatetime(UTC) == CREATED
    assert not closure.HasField("started_at")
    assert not closure.HasField("duration")
    assert closure.WhichOneof("output_result") is None
    assert (closure.workflow_id.name, closure.workflow_id.resource_type) == ("w", identifier_pb2.WORKFLOW)
    assert len(closure.notifications) == 1
    assert closure.state_change_details.principal == "me"
    assert closure.state_change_details.occurred_at == closure.created_at


def test_duration_only_at_the_end() -> None:
    """A duration is known once something that started has ended; a clock that stepped back gives none below 0."""
    ended = {"phase": int(ExecutionPhase.SUCCEEDED), "ended_at": CREATED + timedelta(seconds=3)}
    assert not execution_message(_execution(**ended), None).closure.HasField("duration")
    started = {**ended, "started_at": CREATED + timedelta(seconds=1)}
    assert execution_message(_execution(**started), None).closure.duration.seconds == 2
    backwards = {**ended, "started_at": CREATED + timedelta(seconds=9)}
    assert execution_message(_execution(**backwards), None).closure.duration.ToTimedelta() == timedelta()


def test_results_by_phase() -> None:
    """Success names outputs, failure the error, abort who wanted it and why; leftovers of a lost abort stay out."""
    succeeded = _execution(phase=int(ExecutionPhase.SUCCEEDED), abort_cause="late")
    assert execution_message(succeeded, None).closure.outputs.uri == "flyte://v1/p/d/e/end-node/o"
    with_blob = _execution(phase=int(ExecutionPhase.SUCCEEDED), outputs_uri="s3://b/o.pb")
    assert execution_message(with_blob, None).closure.outputs.uri == "s3://b/o.pb"
    assert execution_message(_execution(phase=int(ExecutionPhase.FAILED)), ERROR).closure.error == ERROR
    assert execution_message(_execution(phase=int(ExecutionPhase.FAILING)), ERROR).closure.error == ERROR
    for phase in (ExecutionPhase.ABORTING, ExecutionPhase.ABORTED):
        aborted = _execution(phase=int(phase), abort_cause="enough", abort_principal="you")
        closure = execution_message(aborted, ERROR).closure
        assert (closure.abort_metadata.cause, closure.abort_metadata.principal) == ("enough", "you")


def test_archived() -> None:
    """Who archived, and when."""
    at = CREATED + timedelta(hours=1)
    details = execution_message(
        _execution(state=1, state_changed_at=at, state_principal="you"), None
    ).closure.state_change_details
    assert details.state == execution_pb2.EXECUTION_ARCHIVED
    assert details.occurred_at.ToDatetime(UTC) == at
    assert details.principal == "you"


def test_listed_errors_are_cut_between_characters() -> None:
    """Lists show a hundred bytes of a message and never half a character; the code stays."""
    error = core_execution_pb2.ExecutionError(code="C", message="x" * 99 + "é" * 1000)
    cut = listed_error(error.SerializeToString())
    assert cut is not None
    assert cut.message == "x" * 99
    assert cut.code == "C"
    exact = core_execution_pb2.ExecutionError(message="y" * LISTED_MESSAGE_BYTES_MAX)
    assert listed_error(exact.SerializeToString()) == exact
    assert listed_error(None) is None
    assert stored_error(error.SerializeToString()) == error


def test_top_level_node() -> None:
    """A task node always shows its cache status; at top level it has no retry group."""
    message = node_message(_node(cache_status=int(catalog_pb2.CACHE_DISABLED)), EXECUTION, None, "raw")
    assert message.id == NODE
    assert message.metadata.retry_group == ""
    assert message.metadata.spec_node_id == "n0"
    assert message.closure.HasField("task_node_metadata")
    assert message.closure.WhichOneof("output_result") is None
    assert message.input_uri == ""


def test_nested_node_and_flags() -> None:
    """The retry group is the parent's attempt; flags say what a node may have below it."""
    row = _node(
        node_id="n0-1-n3",
        spec_node_id="n3",
        parent_id="n0",
        parent_attempt=1,
        kind=int(NodeKind.WORKFLOW),
        flags=FLAG_PARENT | FLAG_DYNAMIC | FLAG_ARRAY,
    )
    message = node_message(row, EXECUTION, None, "raw")
    assert message.metadata.retry_group == "1"
    assert message.metadata.is_parent_node
    assert message.metadata.is_dynamic
    assert message.metadata.is_array
    assert message.closure.WhichOneof("target_metadata") is None


def test_values_in_the_row_have_an_address() -> None:
    """Small inputs and outputs lie in the row; readers see by a reference that there are some. A blob's URI wins."""
    row = _node(phase=int(NodePhase.SUCCEEDED), has_inputs=True, has_outputs=True)
    message = node_message(row, EXECUTION, None, "raw")
    assert message.input_uri == "flyte://v1/p/d/e/n0/i"
    assert message.closure.output_uri == "flyte://v1/p/d/e/n0/o"
    row = _node(phase=int(NodePhase.SUCCEEDED), input_uri="i.pb", has_outputs=True, output_uri="o.pb", deck_uri="d")
    message = node_message(row, EXECUTION, None, "raw")
    assert (message.input_uri, message.closure.output_uri, message.closure.deck_uri) == ("i.pb", "o.pb", "d")
    running = node_message(_node(output_uri="o.pb"), EXECUTION, None, "raw")
    assert running.closure.output_uri == ""
    again = node_message(_node(), EXECUTION, ERROR, "raw")
    assert again.closure.WhichOneof("output_result") is None
    failed = node_message(_node(phase=int(NodePhase.FAILED), output_uri="o.pb"), EXECUTION, ERROR, "raw")
    assert failed.closure.error == ERROR


def test_target_metadata_of_nodes() -> None:
    """Cache facts and child execution come out of the row's details; the last attempt says where checkpoints are."""
    event = event_pb2.NodeExecutionEvent()
    event.task_node_metadata.catalog_key.artifact_tag.name = "tag"
    row = _node(cache_status=int(catalog_pb2.CACHE_HIT), details=event.SerializeToString())
    metadata = node_message(row, EXECUTION, None, "raw").closure.task_node_metadata
    assert metadata.cache_status == catalog_pb2.CACHE_HIT
    assert metadata.checkpoint_uri == "", "it has not begun"
    assert metadata.catalog_key.artifact_tag.name == "tag"
    began = node_message(_node(started_at=CREATED, attempt=2), EXECUTION, None, "raw").closure.task_node_metadata
    assert began.checkpoint_uri == checkpoint_folder("raw", "e-n0-2")
    event = event_pb2.NodeExecutionEvent()
    event.workflow_node_metadata.execution_id.name = "child"
    row = _node(kind=int(NodeKind.LAUNCH_PLAN), details=event.SerializeToString())
    assert node_message(row, EXECUTION, None, "raw").closure.workflow_node_metadata.executionId.name == "child"


def test_attempt() -> None:
    """Columns decide what they know; logs, reasons and the like come out of the details."""
    details = task_execution_pb2.TaskExecutionClosure(
        reason="latest",
        reasons=[task_execution_pb2.Reason(message="first"), task_execution_pb2.Reason(message="latest")],
        logs=[core_execution_pb2.TaskLog(name="stdout", uri="file:///log")],
        event_version=1,
    )
    message = task_message(_task(details=details.SerializeToString(), started_at=CREATED), NODE, None)
    assert message.id.retry_attempt == 1
    assert message.id.task_id.resource_type == identifier_pb2.TASK
    assert message.id.node_execution_id == NODE
    assert message.input_uri == "file:///inputs.pb"
    closure = message.closure
    assert closure.phase == core_execution_pb2.TaskExecution.RUNNING
    assert [reason.message for reason in closure.reasons] == ["first", "latest"]
    assert closure.logs[0].uri == "file:///log"
    assert closure.metadata.generated_name == "e-n0-1"
    assert closure.task_type == "python-task"
    assert closure.WhichOneof("output_result") is None


@pytest.mark.parametrize("uri", ["o.pb", None])
def test_finished_attempts(uri: str | None) -> None:
    """Success names outputs, failure shows the error."""
    message = task_message(_task(phase=int(TaskPhase.SUCCEEDED), output_uri=uri), NODE, None)
    assert message.closure.output_uri == (uri or "flyte://v1/p/d/e/n0/1/o")
    assert task_message(_task(phase=int(TaskPhase.FAILED), output_uri=uri), NODE, ERROR).closure.error == ERROR
