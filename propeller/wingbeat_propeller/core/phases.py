"""Phases as the numbers of FlyteIDL's enums, and which of them are final."""

from enum import IntEnum
from typing import Final


class ExecutionPhase(IntEnum):
    """flyteidl.core.WorkflowExecution.Phase."""

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDING = 3
    SUCCEEDED = 4
    FAILING = 5
    FAILED = 6
    ABORTED = 7
    TIMED_OUT = 8
    ABORTING = 9


class NodePhase(IntEnum):
    """flyteidl.core.NodeExecution.Phase; UNDEFINED stands for a node that has not been reached."""

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


class TaskPhase(IntEnum):
    """flyteidl.core.TaskExecution.Phase."""

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    ABORTED = 4
    FAILED = 5
    INITIALIZING = 6
    WAITING_FOR_RESOURCES = 7
    RETRYABLE_FAILED = 8


EXECUTION_FINAL: Final = frozenset(
    {ExecutionPhase.SUCCEEDED, ExecutionPhase.FAILED, ExecutionPhase.ABORTED, ExecutionPhase.TIMED_OUT}
)
NODE_FINAL: Final = frozenset(
    {
        NodePhase.SUCCEEDED,
        NodePhase.FAILED,
        NodePhase.ABORTED,
        NodePhase.SKIPPED,
        NodePhase.TIMED_OUT,
        NodePhase.RECOVERED,
    }
)
NODE_SUCCESS: Final = frozenset({NodePhase.SUCCEEDED, NodePhase.RECOVERED})
TASK_FINAL: Final = frozenset({TaskPhase.SUCCEEDED, TaskPhase.ABORTED, TaskPhase.FAILED})
