"""What clients see of the elements of an array: `external_resources` of the array's one task execution.

An entry for each attempt of an element. Of a very large array an answer has only so many, those that need attention
first: failed, tried again, running; how many there are in all stands in `custom_info`. Elements whose turn has not come
have no rows; they are listed as QUEUED while the array runs, UNDEFINED after it, where there is room.
"""

from collections.abc import Mapping, Sequence

from flyteidl.admin import task_execution_pb2
from flyteidl.core import execution_pb2, identifier_pb2
from flyteidl.event import event_pb2

from wingbeat_controlplane.executions.flyte_urls import node_urls
from wingbeat_controlplane.executions.rows import Row
from wingbeat_propeller.core.element_ids import element_node_id
from wingbeat_propeller.core.ids import child_execution_name, element_name, unique_node_id
from wingbeat_propeller.core.phases import TASK_FINAL, TaskPhase
from wingbeat_propeller.core.plan import ELEMENT_NODE_ID

HEAD_LENGTH, TAIL_LENGTH = 100, 300
"""How much of the message of a failed attempt an entry shows, of its beginning and of its end."""

_SHOWN_PHASES = {TaskPhase.RETRYABLE_FAILED: TaskPhase.FAILED}
"""Phases of rows that clients know by another name."""


def array_size(closure: task_execution_pb2.TaskExecutionClosure) -> int:
    """Number of elements, as the engine has noted it."""
    fields = closure.custom_info.fields
    return int(fields["size"].number_value) if "size" in fields else 0


def maps_launch_plan(closure: task_execution_pb2.TaskExecutionClosure) -> bool:
    """Whether each element is an execution of its own."""
    return "launch_plan" in closure.custom_info.fields


def child_name(execution: str, node_id: str, element: int, attempt: int) -> str:
    """Name of the execution that an element of an array over a launch plan is. The array itself has one attempt."""
    inside = unique_node_id(unique_node_id(node_id, 0, f"n{element}", 64), attempt, ELEMENT_NODE_ID, 64)
    return child_execution_name(execution, inside, 0)


def add_elements(
    message: task_execution_pb2.TaskExecution,
    rows: Sequence[Row],
    counts: Mapping[int, int],
    *,
    children: frozenset[str] = frozenset(),
    entries_max: int,
) -> None:
    """Complete the task execution of an array by what rows say of its elements.

    `rows` are attempts, at most `entries_max`; `counts` how many attempts there are of each phase; `children` names of
    executions that exist, for an array over a launch plan.
    """
    closure = message.closure
    size = array_size(closure)
    entries = [_entry(message, row, children) for row in rows]
    room = entries_max - len(entries)
    if sum(counts.values()) == len(rows) and room > 0:
        known = {row["element"] for row in rows}
        phase = TaskPhase.UNDEFINED if closure.phase in TASK_FINAL else TaskPhase.QUEUED
        waiting = (element for element in range(size) if element not in known)
        name = closure.metadata.generated_name
        for _, element in zip(range(room), waiting, strict=False):
            external_id = element_name(name, element, 0)
            entries.append(event_pb2.ExternalResourceInfo(external_id=external_id, index=element, phase=phase.name))
    closure.metadata.external_resources.extend(sorted(entries, key=lambda entry: (entry.index, entry.retry_attempt)))
    ended = counts.get(TaskPhase.SUCCEEDED, 0) + counts.get(TaskPhase.FAILED, 0)
    closure.custom_info.update(
        {
            "succeeded": counts.get(TaskPhase.SUCCEEDED, 0),
            "failed": counts.get(TaskPhase.FAILED, 0),
            "running": counts.get(TaskPhase.RUNNING, 0),
            "not_ended": size - ended,
            "shown": len(entries),
        }
    )


def _entry(
    message: task_execution_pb2.TaskExecution, row: Row, children: frozenset[str]
) -> event_pb2.ExternalResourceInfo:
    element, attempt = row["element"], row["attempt"]
    details = task_execution_pb2.TaskExecutionClosure.FromString(row["details"] or b"")
    entry = event_pb2.ExternalResourceInfo(
        external_id=element_name(message.closure.metadata.generated_name, element, attempt),
        index=element,
        retry_attempt=attempt,
        phase=_SHOWN_PHASES.get(row["phase"], TaskPhase(row["phase"])).name,
        cache_status=row["cache_status"],
    )
    for log in details.logs:
        log.name = f"{log.name}-{element}"
        entry.logs.append(log)
    if row["error"] is not None:
        error = execution_pb2.ExecutionError.FromString(row["error"])
        entry.custom_info.update({"error_code": error.code, "error": _cut(error.message)})
    node = message.id.node_execution_id
    if row["deck_uri"]:
        of_element = identifier_pb2.NodeExecutionIdentifier(
            execution_id=node.execution_id, node_id=element_node_id(node.node_id, element)
        )
        entry.custom_info.update({"deck": node_urls(of_element, deck=True).deck})
    if maps_launch_plan(message.closure):
        name = child_name(node.execution_id.name, node.node_id, element, attempt)
        if name in children:
            entry.workflow_node_metadata.execution_id.CopyFrom(node.execution_id)
            entry.workflow_node_metadata.execution_id.name = name
    return entry


def _cut(message: str) -> str:
    if len(message) <= HEAD_LENGTH + TAIL_LENGTH:
        return message
    return f"{message[:HEAD_LENGTH]} [...] {message[-TAIL_LENGTH:]}"
