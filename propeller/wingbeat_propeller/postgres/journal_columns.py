"""A batch of effects as the columns of the journal's `commit` statement: pure, and cheap, since it runs on the loop.

Of several versions of a row in one batch only the last is written. Where the last says None for a field that None
leaves as it is, the value of the version before is moved into it, so rows belong to the journal once submitted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import cast

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.rows import ExecutionRow, NodeRow, TaskRow, Transition
from wingbeat_propeller.postgres.journal_errors import ErrorCells, code_cell

Column = Sequence[object]

_EXECUTION = ("execution", "phase", "updated_at", "started_at", "ended_at", "outputs", "outputs_uri")
_NODE = (
    *("execution", "node_id", "seq", "spec_node_id", "parent_id", "parent_attempt", "node_name", "kind", "flags"),
    *(
        "phase",
        "attempt",
        "system_failures",
        "created_at",
        "updated_at",
        "started_at",
        "attempt_started_at",
        "ended_at",
    ),
    *("inputs", "input_uri", "outputs", "output_uri", "deck_uri"),
)
_TASK = (
    *("execution", "node_id", "attempt", "task_project", "task_domain", "task_name", "task_version", "task_type"),
    *(
        "name",
        "phase",
        "phase_version",
        "created_at",
        "updated_at",
        "started_at",
        "ended_at",
        "input_uri",
        "output_uri",
    ),
)
_get_execution = cast("Callable[[ExecutionRow], tuple[object, ...]]", attrgetter(*_EXECUTION))
_get_node = cast("Callable[[NodeRow], tuple[object, ...]]", attrgetter(*_NODE))
_get_task = cast("Callable[[TaskRow], tuple[object, ...]]", attrgetter(*_TASK))


@dataclass(frozen=True, slots=True)
class BatchColumns:
    """Arguments $4 and on of the statement `commit`, how many rows they write by table, and blobs to store first."""

    columns: Sequence[Column]
    executions: int
    nodes: int
    tasks: int
    transitions: int
    blobs: dict[str, bytes]


def batch_columns(batch: Iterable[Effects], *, base: str) -> BatchColumns:
    """Columns of all rows of `batch`, earlier versions first; `base` is the blob store's URI prefix."""
    executions: dict[int, ExecutionRow] = {}
    nodes: dict[tuple[int, str], NodeRow] = {}
    tasks: dict[tuple[int, str, int], TaskRow] = {}
    transitions: list[Transition] = []
    for effects in batch:
        if (execution := effects.execution_row) is not None:
            if (earlier := executions.get(execution.execution)) is not None:
                _carry_execution(earlier, execution)
            executions[execution.execution] = execution
        for node in effects.nodes:
            key = (node.execution, node.node_id)
            if (stored := nodes.get(key)) is not None:
                _carry_node(stored, node)
            nodes[key] = node
        for task in effects.tasks:
            attempt = (task.execution, task.node_id, task.attempt)
            if (before := tasks.get(attempt)) is not None:
                _carry_task(before, task)
            tasks[attempt] = task
        transitions += effects.transitions
    errors = ErrorCells(base)
    # Rows are locked in this order: sorted, so that two writers of many rows do not wait for each other in a ring.
    execution_rows = [executions[key] for key in sorted(executions)]
    columns = (
        *_execution_columns(execution_rows, errors),
        *_node_columns(list(nodes.values()), errors),
        *_task_columns(list(tasks.values()), errors),
        *_transposed(transitions, len(Transition._fields)),
    )
    return BatchColumns(columns, len(executions), len(nodes), len(tasks), len(transitions), errors.blobs)


def _execution_columns(rows: Sequence[ExecutionRow], errors: ErrorCells) -> Iterable[Column]:
    failures = [row.failure for row in rows]
    cells = [errors.cell(row.failure, row.execution) for row in rows]
    return (
        *_transposed(map(_get_execution, rows), len(_EXECUTION)),
        *_transposed(cells, 2),
        [None if failure is None else int(failure.kind) for failure in failures],
        [code_cell(failure) for failure in failures],
    )


def _node_columns(rows: Sequence[NodeRow], errors: ErrorCells) -> Iterable[Column]:
    cells = [errors.cell(row.failure, row.execution, row.node_id, row.attempt) for row in rows]
    return (*_transposed(map(_get_node, rows), len(_NODE)), *_transposed(cells, 2))


def _task_columns(rows: Sequence[TaskRow], errors: ErrorCells) -> Iterable[Column]:
    cells = [errors.cell(row.failure, row.execution, row.node_id, row.attempt) for row in rows]
    details = [row.details for row in rows]
    return (*_transposed(map(_get_task, rows), len(_TASK)), *_transposed(cells, 2), details)


def _transposed(rows: Iterable[tuple[object, ...]], width: int) -> Sequence[Column]:
    return list(zip(*rows, strict=True)) or [()] * width


def _carry_execution(before: ExecutionRow, row: ExecutionRow) -> None:
    if row.outputs is None:
        row.outputs = before.outputs
    if row.outputs_uri is None:
        row.outputs_uri = before.outputs_uri


def _carry_node(before: NodeRow, row: NodeRow) -> None:
    if row.inputs is None:
        row.inputs = before.inputs
    if row.input_uri is None:
        row.input_uri = before.input_uri
    if row.outputs is None:
        row.outputs = before.outputs
    if row.output_uri is None:
        row.output_uri = before.output_uri
    if row.deck_uri is None:
        row.deck_uri = before.deck_uri


def _carry_task(before: TaskRow, row: TaskRow) -> None:
    if row.input_uri is None:
        row.input_uri = before.input_uri
    if row.output_uri is None:
        row.output_uri = before.output_uri
    if row.details is None:
        row.details = before.details
