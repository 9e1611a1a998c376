"""A row of `executions` as flyteidl's Execution."""

from flyteidl.admin import execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.executions.flyte_urls import outputs_url
from wingbeat_controlplane.executions.rows import Row, elapsed, optional_timestamp
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.core.phases import ExecutionPhase

_ABORT = frozenset({ExecutionPhase.ABORTING, ExecutionPhase.ABORTED})
_ERROR = frozenset({ExecutionPhase.FAILING, ExecutionPhase.FAILED, ExecutionPhase.TIMED_OUT})


def execution_message(row: Row, error: core_execution_pb2.ExecutionError | None) -> execution_pb2.Execution:
    """The execution in `row` (see reads of executions for its columns); `error` is the row's, whole or cut."""
    identifier = identifier_pb2.WorkflowExecutionIdentifier(
        project=row["project"], domain=row["domain"], name=row["name"]
    )
    return execution_pb2.Execution(
        id=identifier,
        spec=execution_pb2.ExecutionSpec.FromString(row["spec"]),
        closure=_closure(row, identifier, error),
    )


def _closure(
    row: Row,
    identifier: identifier_pb2.WorkflowExecutionIdentifier,
    error: core_execution_pb2.ExecutionError | None,
) -> execution_pb2.ExecutionClosure:
    closure = execution_pb2.ExecutionClosure(
        phase=row["phase"],
        created_at=timestamp(row["created_at"]),
        started_at=optional_timestamp(row["started_at"]),
        updated_at=timestamp(row["updated_at"]),
        duration=elapsed(row["started_at"], row["ended_at"]),
        notifications=execution_pb2.NotificationList.FromString(row["notifications"]).notifications,
        workflow_id=identifier_pb2.Identifier(
            resource_type=identifier_pb2.WORKFLOW,
            project=row["workflow_project"],
            domain=row["workflow_domain"],
            name=row["workflow_name"],
            version=row["workflow_version"],
        ),
        state_change_details=execution_pb2.ExecutionStateChangeDetails(
            state=row["state"],
            occurred_at=timestamp(row["state_changed_at"] or row["created_at"]),
            principal=row["principal"] if row["state_changed_at"] is None else row["state_principal"],
        ),
    )
    phase = row["phase"]
    if phase == ExecutionPhase.SUCCEEDED:
        closure.outputs.uri = row["outputs_uri"] or outputs_url(identifier)
    elif phase in _ABORT:
        closure.abort_metadata.CopyFrom(
            execution_pb2.AbortMetadata(cause=row["abort_cause"] or "", principal=row["abort_principal"] or "")
        )
    elif phase in _ERROR and error is not None:
        closure.error.CopyFrom(error)
    return closure
