"""Executions, nodes and attempts as a client shows them: frozen values, each with the message it was made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from wingbeat.identifiers import EntityId, ExecutionId, Kind

if TYPE_CHECKING:
    from flyteidl.admin import execution_pb2, node_execution_pb2, task_execution_pb2
    from flyteidl.core import execution_pb2 as core_execution_pb2
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp


class Phase(Enum):
    """Where an execution stands; the numbers are FlyteIDL's."""

    CREATED = 0
    """Not taken up by an engine yet."""
    QUEUED = 1
    RUNNING = 2
    SUCCEEDING = 3
    SUCCEEDED = 4
    FAILING = 5
    FAILED = 6
    ABORTED = 7
    TIMED_OUT = 8
    ABORTING = 9

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in _ENDED


_ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT})


class NodePhase(Enum):
    """Where a node stands; the numbers are FlyteIDL's."""

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILING = 4
    FAILED = 5
    ABORTED = 6
    SKIPPED = 7
    TIMED_OUT = 8
    DYNAMIC_RUNNING = 9
    RECOVERED = 10

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the node."""
        return self in _NODE_ENDED


_NODE_ENDED = frozenset(
    {
        NodePhase.SUCCEEDED,
        NodePhase.FAILED,
        NodePhase.ABORTED,
        NodePhase.SKIPPED,
        NodePhase.TIMED_OUT,
        NodePhase.RECOVERED,
    }
)


class AttemptPhase(Enum):
    """Where an attempt of a task stands; the numbers are FlyteIDL's."""

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    ABORTED = 4
    FAILED = 5
    INITIALIZING = 6
    WAITING_FOR_RESOURCES = 7
    RETRYABLE_FAILED = 8

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the attempt."""
        return self in _ATTEMPT_ENDED


_ATTEMPT_ENDED = frozenset(
    {AttemptPhase.SUCCEEDED, AttemptPhase.ABORTED, AttemptPhase.FAILED, AttemptPhase.RETRYABLE_FAILED}
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed. `kind` is USER, SYSTEM or UNKNOWN."""

    code: str
    message: str
    kind: str = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution at one moment. `message` has all that FlyteIDL says of it."""

    id: ExecutionId
    phase: Phase
    launched: EntityId | None
    workflow: EntityId | None
    failure: Failure | None
    created_at: datetime | None
    started_at: datetime | None
    updated_at: datetime | None
    duration: timedelta | None
    labels: Mapping[str, str]
    message: "execution_pb2.Execution" = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.phase.ended

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.phase is Phase.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Node:
    """A node of an execution at one moment."""

    execution: ExecutionId
    id: str
    """Unique in the execution."""
    spec_id: str
    """Its id in its workflow."""
    name: str
    phase: NodePhase
    is_parent: bool
    failure: Failure | None
    created_at: datetime | None
    started_at: datetime | None
    updated_at: datetime | None
    duration: timedelta | None
    child: ExecutionId | None
    """The execution of a launch plan node."""
    message: "node_execution_pb2.NodeExecution" = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LogLink:
    """Where a log can be read."""

    name: str
    uri: str
    element: int | None = None
    """Index of a map element."""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a node's task at one moment, with all elements if it is a map."""

    execution: ExecutionId
    node: str
    number: int
    task: EntityId
    phase: AttemptPhase
    failure: Failure | None
    logs: tuple[LogLink, ...]
    started_at: datetime | None
    updated_at: datetime | None
    duration: timedelta | None
    message: "task_execution_pb2.TaskExecution" = field(repr=False, compare=False)


def execution_of(message: "execution_pb2.Execution") -> Execution:
    """From FlyteIDL's message."""
    from flyteidl.core import identifier_pb2

    closure = message.closure
    plan = message.spec.launch_plan
    kind = Kind.TASK if plan.resource_type == identifier_pb2.TASK else Kind.LAUNCH_PLAN
    failure = failure_of(closure.error) if closure.HasField("error") else None
    if closure.HasField("abort_metadata"):
        failure = Failure("Aborted", closure.abort_metadata.cause or "aborted", "USER")
    return Execution(
        id=ExecutionId.of(message.id),
        phase=Phase(closure.phase),
        launched=EntityId.of(plan, kind) if plan.name else None,
        workflow=EntityId.of(closure.workflow_id, Kind.WORKFLOW) if closure.workflow_id.name else None,
        failure=failure,
        created_at=_moment(closure.created_at),
        started_at=_moment(closure.started_at),
        updated_at=_moment(closure.updated_at),
        duration=_span(closure.duration) if closure.HasField("duration") else None,
        labels=dict(message.spec.labels.values),
        message=message,
    )


def node_of(message: "node_execution_pb2.NodeExecution") -> Node:
    """From FlyteIDL's message."""
    closure, metadata = message.closure, message.metadata
    child = closure.workflow_node_metadata.executionId
    return Node(
        execution=ExecutionId.of(message.id.execution_id),
        id=message.id.node_id,
        spec_id=metadata.spec_node_id,
        name=metadata.spec_node_id or message.id.node_id,
        phase=NodePhase(closure.phase),
        is_parent=metadata.is_parent_node,
        failure=failure_of(closure.error) if closure.HasField("error") else None,
        created_at=_moment(closure.created_at),
        started_at=_moment(closure.started_at),
        updated_at=_moment(closure.updated_at),
        duration=_span(closure.duration) if closure.HasField("duration") else None,
        child=ExecutionId.of(child) if child.name else None,
        message=message,
    )


def attempt_of(message: "task_execution_pb2.TaskExecution") -> Attempt:
    """From FlyteIDL's message."""
    closure = message.closure
    logs = [LogLink(log.name, log.uri, attempt=message.id.retry_attempt) for log in closure.logs if log.uri]
    for resource in closure.metadata.external_resources:
        logs += [
            LogLink(log.name, log.uri, element=resource.index, attempt=resource.retry_attempt)
            for log in resource.logs
            if log.uri
        ]
    return Attempt(
        execution=ExecutionId.of(message.id.node_execution_id.execution_id),
        node=message.id.node_execution_id.node_id,
        number=message.id.retry_attempt,
        task=EntityId.of(message.id.task_id, Kind.TASK),
        phase=AttemptPhase(closure.phase),
        failure=failure_of(closure.error) if closure.HasField("error") else None,
        logs=tuple(logs),
        started_at=_moment(closure.started_at),
        updated_at=_moment(closure.updated_at),
        duration=_span(closure.duration) if closure.HasField("duration") else None,
        message=message,
    )


def failure_of(error: "core_execution_pb2.ExecutionError") -> Failure:
    """From FlyteIDL's message."""
    return Failure(error.code, error.message, error.ErrorKind.Name(error.kind))


def _moment(stamp: "Timestamp") -> datetime | None:
    if not stamp.seconds and not stamp.nanos:
        return None
    return stamp.ToDatetime(tzinfo=UTC)


def _span(duration: "Duration") -> timedelta:
    return duration.ToTimedelta()
