"""A row of `task_executions` as flyteidl's TaskExecution."""

from flyteidl.admin import task_execution_pb2
from flyteidl.core import execution_pb2, identifier_pb2

from wingbeat_controlplane.executions.flyte_urls import task_urls
from wingbeat_controlplane.executions.rows import Row, elapsed, optional_timestamp
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.phases import TaskPhase

_FAILURES = frozenset({TaskPhase.FAILED, TaskPhase.RETRYABLE_FAILED, TaskPhase.ABORTED})


def task_of(row: Row) -> identifier_pb2.Identifier:
    """The task that an attempt in `row` is of."""
    return identifier_pb2.Identifier(
        resource_type=identifier_pb2.TASK,
        project=row["task_project"],
        domain=row["task_domain"],
        name=row["task_name"],
        version=row["task_version"],
    )


def task_message(
    row: Row,
    node: identifier_pb2.NodeExecutionIdentifier,
    error: execution_pb2.ExecutionError | None,
) -> task_execution_pb2.TaskExecution:
    """The attempt in `row` (see reads of attempts for its columns); `error` is the row's, whole or cut."""
    identifier = identifier_pb2.TaskExecutionIdentifier(
        task_id=task_of(row),
        node_execution_id=node,
        retry_attempt=row["attempt"],
    )
    closure = task_execution_pb2.TaskExecutionClosure.FromString(row["details"] or b"")
    closure.MergeFrom(
        task_execution_pb2.TaskExecutionClosure(
            phase=row["phase"],
            created_at=timestamp(row["created_at"]),
            started_at=optional_timestamp(row["started_at"]),
            updated_at=timestamp(row["updated_at"]),
            duration=elapsed(row["started_at"], row["ended_at"]),
            task_type=row["task_type"],
        )
    )
    if not closure.metadata.generated_name:
        closure.metadata.generated_name = row["name"]
    if error is not None and row["phase"] in _FAILURES:
        closure.error.CopyFrom(error)
    elif row["phase"] == TaskPhase.SUCCEEDED:
        closure.output_uri = row["output_uri"] or task_urls(identifier).outputs
    return task_execution_pb2.TaskExecution(id=identifier, input_uri=row["input_uri"] or "", closure=closure)
