"""A batch of effects as the records of the journal's `commit` statement: pure, and cheap, since it runs on the loop.

Of several versions of a row in one batch only the last is written. Where the last says None for a field that None
leaves as it is, the value of the version before is moved into it, so rows belong to the journal once submitted.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import cast

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.rows import (
    ElementRow,
    ExecutionRow,
    LineageRow,
    NodeRow,
    TaskRow,
    Transition,
)
from wingbeat_propeller.postgres.journal_errors import ErrorCells, code_cell

Record = tuple[object, ...]

_get_execution = cast(
    "Callable[[ExecutionRow], Record]",
    attrgetter("execution", "phase", "updated_at", "started_at", "ended_at", "outputs", "outputs_uri"),
)
_get_node = cast(
    "Callable[[NodeRow], Record]",
    attrgetter(
        *("execution", "node_id", "seq", "spec_node_id", "parent_id", "parent_attempt", "node_name", "kind", "flags"),
        *("phase", "attempt", "system_failures", "created_at", "updated_at", "started_at", "attempt_started_at"),
        *("ended_at", "inputs", "input_uri", "outputs", "output_uri", "deck_uri", "details", "memo"),
        *("retry_at", "cache_status", "inherited"),
    ),
)
_get_task = cast(
    "Callable[[TaskRow], Record]",
    attrgetter(
        *("execution", "node_id", "attempt", "task_project", "task_domain", "task_name", "task_version", "task_type"),
        *("name", "phase", "phase_version", "created_at", "updated_at", "started_at", "ended_at"),
        *("input_uri", "output_uri", "details"),
    ),
)


@dataclass(frozen=True, slots=True)
class BatchRecords:
    """Rows of one commit, as the types journal_execution, journal_node_3, journal_task, journal_element_3 and
    journal_transition have them, the slots that are freed (journal_slot), what ties nodes to other executions
    (journal_lineage_2), and the blobs, by URI, that must be stored before."""

    executions: Sequence[Record]
    nodes: Sequence[Record]
    tasks: Sequence[Record]
    elements: Sequence[Record]
    transitions: Sequence[Transition]
    slots: Sequence[Record]
    lineage: Sequence[LineageRow]
    blobs: dict[str, bytes]

    @property
    def is_plain(self) -> bool:
        """Whether nothing is in it that few batches have."""
        return not (self.elements or self.lineage)

    @property
    def parameters(self) -> tuple[Sequence[object], ...]:
        """Parameters of the statement from the fourth on; of the plain one (see `plain_commit`), if that is enough."""
        plain = (self.executions, self.nodes, self.tasks, self.transitions, self.slots)
        return plain if self.is_plain else (*plain, self.elements, self.lineage)


@cache
def plain_commit(statement: str) -> str:
    """The journal's statement without what few batches have anything for."""
    return re.sub(r"^ *-- rare\n.*?^ *-- end\n", "", statement, flags=re.MULTILINE | re.DOTALL)


def batch_records(batch: Iterable[Effects], *, base: str) -> BatchRecords:
    """Records of all rows of `batch`, earlier versions first; `base` is the blob store's URI prefix."""
    executions: dict[int, ExecutionRow] = {}
    nodes: dict[tuple[int, str], NodeRow] = {}
    tasks: dict[tuple[int, str, int], TaskRow] = {}
    elements: dict[tuple[int, str, int, int], ElementRow] = {}
    transitions: list[Transition] = []
    slots: list[Record] = []
    lineage: list[LineageRow] = []
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
        for element in effects.elements:
            place = element[:4]
            known = elements.get(place)
            elements[place] = element if known is None else _carried_element(known, element)
        transitions += effects.transitions
        slots += [(effects.execution, name) for name in effects.freed]
        if effects.lineage:
            lineage += effects.lineage
    errors = ErrorCells(base)
    return BatchRecords(
        # Sorted: writers of many execution rows lock them in one order and do not wait for each other in a ring.
        executions=[_execution_record(executions[key], errors) for key in sorted(executions)],
        nodes=[
            _get_node(row) + errors.cell(row.failure, row.execution, row.node_id, row.attempt) for row in nodes.values()
        ],
        tasks=[
            _get_task(row) + errors.cell(row.failure, row.execution, row.node_id, row.attempt) for row in tasks.values()
        ],
        elements=[
            row[:-1] + errors.cell(row.failure, row.execution, row.node_id, row.attempt) for row in elements.values()
        ],
        transitions=transitions,
        slots=slots,
        lineage=lineage,
        blobs=errors.blobs,
    )


def _execution_record(row: ExecutionRow, errors: ErrorCells) -> Record:
    kind = None if row.failure is None else int(row.failure.kind)
    return (*_get_execution(row), *errors.cell(row.failure, row.execution), kind, code_cell(row.failure))


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
    if row.details is None:
        row.details = before.details
    if row.memo is None:
        row.memo = before.memo
    if row.inherited is None:
        row.inherited = before.inherited


def _carried_element(before: ElementRow, row: ElementRow) -> ElementRow:
    return row._replace(
        deck_uri=before.deck_uri if row.deck_uri is None else row.deck_uri,
        futures_uri=before.futures_uri if row.futures_uri is None else row.futures_uri,
        details=before.details if row.details is None else row.details,
    )


def _carry_task(before: TaskRow, row: TaskRow) -> None:
    if row.input_uri is None:
        row.input_uri = before.input_uri
    if row.output_uri is None:
        row.output_uri = before.output_uri
    if row.details is None:
        row.details = before.details
