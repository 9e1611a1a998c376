"""A row of `node_executions` as flyteidl's NodeExecution."""

from collections.abc import Callable

from flyteidl.admin import node_execution_pb2
from flyteidl.core import execution_pb2, identifier_pb2
from flyteidl.event import event_pb2

from wingbeat_controlplane.executions.flyte_urls import node_urls
from wingbeat_controlplane.executions.rows import Row, elapsed, optional_timestamp
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.folders import checkpoint_folder
from wingbeat_propeller.core.ids import generated_name
from wingbeat_propeller.core.phases import NODE_SUCCESS, NodePhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import FLAG_ARRAY, FLAG_DYNAMIC, FLAG_PARENT

_FAILURES = frozenset({NodePhase.FAILING, NodePhase.FAILED, NodePhase.ABORTED, NodePhase.TIMED_OUT})
"""Phases that show an error; a node that runs again after a failed attempt shows none."""


def node_message(
    row: Row,
    execution: identifier_pb2.WorkflowExecutionIdentifier,
    error: execution_pb2.ExecutionError | None,
    raw_output_prefix: str,
) -> node_execution_pb2.NodeExecution:
    """The node in `row` (see reads of nodes for its columns); `error` is the row's, whole or cut, and
    `raw_output_prefix` the execution's.

    Values kept in the row have an address all the same, so that readers see that there are some.
    """
    identifier = identifier_pb2.NodeExecutionIdentifier(node_id=row["node_id"], execution_id=execution)
    urls = node_urls(identifier, deck=False)
    flags = row["flags"]
    return node_execution_pb2.NodeExecution(
        id=identifier,
        input_uri=row["input_uri"] or (urls.inputs if row["has_inputs"] else ""),
        closure=_closure(row, error, urls.outputs, lambda: _checkpoints(row, execution.name, raw_output_prefix)),
        metadata=node_execution_pb2.NodeExecutionMetaData(
            retry_group="" if row["parent_id"] is None else str(row["parent_attempt"] or 0),
            spec_node_id=row["spec_node_id"],
            is_parent_node=bool(flags & FLAG_PARENT),
            is_dynamic=bool(flags & FLAG_DYNAMIC),
            is_array=bool(flags & FLAG_ARRAY),
        ),
    )


def _closure(
    row: Row, error: execution_pb2.ExecutionError | None, outputs_address: str, checkpoints: Callable[[], str]
) -> node_execution_pb2.NodeExecutionClosure:
    closure = node_execution_pb2.NodeExecutionClosure(
        phase=row["phase"],
        created_at=timestamp(row["created_at"]),
        started_at=optional_timestamp(row["started_at"]),
        updated_at=timestamp(row["updated_at"]),
        duration=elapsed(row["started_at"], row["ended_at"]),
        deck_uri=row["deck_uri"] or "",
    )
    if error is not None and row["phase"] in _FAILURES:
        closure.error.CopyFrom(error)
    elif row["phase"] in NODE_SUCCESS and (row["output_uri"] or row["has_outputs"]):
        closure.output_uri = row["output_uri"] or outputs_address
    details = event_pb2.NodeExecutionEvent.FromString(row["details"] or b"")
    if details.HasField("workflow_node_metadata"):
        closure.workflow_node_metadata.executionId.CopyFrom(details.workflow_node_metadata.execution_id)
    elif _is_task(row) or details.HasField("task_node_metadata"):
        closure.task_node_metadata.CopyFrom(_task_metadata(row, details.task_node_metadata, checkpoints()))
        closure.dynamic_job_spec_uri = details.task_node_metadata.dynamic_workflow.dynamic_job_spec_uri
    return closure


def _is_task(row: Row) -> bool:
    """Whether clients take it for a task: array nodes are flagged, the older kind of map task is not."""
    return row["kind"] == NodeKind.TASK or (row["kind"] == NodeKind.ARRAY and not row["flags"] & FLAG_ARRAY)


def _checkpoints(row: Row, execution_name: str, raw_output_prefix: str) -> str:
    """Where the last attempt of a task that has begun puts its checkpoints, whether or not it writes any."""
    if row["kind"] != NodeKind.TASK or row["started_at"] is None:
        return ""
    return checkpoint_folder(raw_output_prefix, generated_name(execution_name, row["node_id"], row["attempt"]))


def _task_metadata(
    row: Row, details: event_pb2.TaskNodeMetadata, checkpoints: str
) -> node_execution_pb2.TaskNodeMetadata:
    metadata = node_execution_pb2.TaskNodeMetadata(cache_status=row["cache_status"], checkpoint_uri=checkpoints)
    if details.HasField("catalog_key"):
        metadata.catalog_key.CopyFrom(details.catalog_key)
    return metadata
