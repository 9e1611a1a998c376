"""Rows of executions, nodes and attempts as the tree of spans that GetExecutionMetrics answers. Pure.

A *reference* span is an execution, a node or an attempt, from its creation to its last change, with the spans of what
it is made of. An *operation* span is time that the engine or the task took: set-up, runtime, tear-down, the way from
one node to the next. The rules are Flyte v1's:

- An execution: WORKFLOW_SETUP to the end of its start node, its nodes in the order of their creation, and
  WORKFLOW_TEARDOWN from the last node before its end.
- A node: NODE_TRANSITION from the last node that it waited for, outside of its own time. Then by its kind:
  - a task: NODE_SETUP, its attempts with NODE_RESET in between, NODE_TEARDOWN;
  - a dynamic task: the same; after the attempt NODE_RESET to the start of what it made, then the nodes of that;
  - a sub-workflow, branch or launch plan: NODE_SETUP, what is inside, NODE_TEARDOWN;
  - a gate: NODE_SETUP, NODE_IDLE, NODE_TEARDOWN; an array: nothing.
- An attempt: TASK_SETUP, TASK_RUNTIME, TASK_TEARDOWN.

What has nothing inside (not begun, from the cache, recovered) is NODE_SETUP alone. What runs ends, here, with the last
change of its row, and has no tear-down. Operations follow each other without a gap and never go back, though clocks do.
A depth counts levels of reference spans: those on the last level have nothing inside but their transition, and attempts
are only shown where there is a level left for what they are made of.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

from flyteidl.core import identifier_pb2, metrics_pb2

from wingbeat_controlplane.executions.metrics.flow import END_ID, NO_FLOW, Flow
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import FLAG_ARRAY

WORKFLOW_SETUP, WORKFLOW_TEARDOWN = "WORKFLOW_SETUP", "WORKFLOW_TEARDOWN"
NODE_TRANSITION = "NODE_TRANSITION"
NODE_SETUP, NODE_IDLE, NODE_RESET, NODE_TEARDOWN = "NODE_SETUP", "NODE_IDLE", "NODE_RESET", "NODE_TEARDOWN"
TASK_SETUP, TASK_RUNTIME, TASK_TEARDOWN = "TASK_SETUP", "TASK_RUNTIME", "TASK_TEARDOWN"

ExecutionName: TypeAlias = tuple[str, str, str]
"""Project, domain and name."""


class Node(NamedTuple):
    """What is needed of a node's row."""

    node_id: str
    """Unique in its execution."""
    spec_node_id: str
    parent_id: str | None
    parent_attempt: int
    seq: int
    kind: int
    flags: int
    phase: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime

    @property
    def has_attempts(self) -> bool:
        """Whether it is a task to its clients: the older kind of map task is, arrays are not."""
        return self.kind == NodeKind.TASK or (self.kind == NodeKind.ARRAY and not self.flags & FLAG_ARRAY)


class Attempt(NamedTuple):
    """What is needed of an attempt's row."""

    node_id: str
    attempt: int
    task: identifier_pb2.Identifier
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime

    @property
    def began_at(self) -> datetime:
        """Rows are written once somebody has heard of an attempt, which may be at its end."""
        return self.created_at if self.started_at is None else min(self.created_at, self.started_at)


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution with its rows by what they belong to; empty where nothing of them is asked."""

    identifier: identifier_pb2.WorkflowExecutionIdentifier
    created_at: datetime
    ended_at: datetime | None
    updated_at: datetime
    flow: Flow
    nodes: Mapping[str | None, Sequence[Node]]
    """By the unique id of the node that they are inside of, None at top level."""
    attempts: Mapping[str, Sequence[Attempt]]
    """By the unique id of their node, first ones first."""
    dynamic: Mapping[str, Flow]
    """The workflows that dynamic nodes have made, by the unique id of the node."""
    children: Mapping[str, ExecutionName]
    """Executions of launch plan nodes, by the unique id of the node."""


def execution_span(execution: Execution, executions: Mapping[ExecutionName, Execution], depth: int) -> metrics_pb2.Span:
    """The tree, `depth` levels deep, without bound if that is negative. `executions` has those of launch plan nodes at
    any depth; one that is not there has been deleted since."""
    span = metrics_pb2.Span()
    _add_execution(span, execution, executions, depth)
    return span


class _Line:
    """Operations of one span, each from where the one before has ended."""

    __slots__ = ("at", "span")

    def __init__(self, span: metrics_pb2.Span, at: datetime) -> None:
        self.span = span
        self.at = at

    def until(self, operation: str, moment: datetime) -> None:
        """An operation that takes until then, or no time if that is over."""
        end = max(self.at, moment)
        self.span.spans.append(_operation(operation, self.at, end))
        self.at = end

    def last(self, operation: str, moment: datetime) -> None:
        """The last operation; there is none if that moment is over."""
        if moment >= self.at:
            self.until(operation, moment)

    def pass_to(self, moment: datetime) -> None:
        """Something else took until then."""
        self.at = max(self.at, moment)


def _add_execution(
    span: metrics_pb2.Span, execution: Execution, executions: Mapping[ExecutionName, Execution], depth: int
) -> None:
    span.workflow_id.CopyFrom(execution.identifier)
    _set_period(span, execution.created_at, execution.updated_at)
    if depth == 0:
        return
    line = _Line(span, execution.created_at)
    nodes = execution.nodes.get(None, ())
    start = _start_of(nodes)
    if start is None:
        line.until(WORKFLOW_SETUP, execution.updated_at)
        return
    line.until(WORKFLOW_SETUP, start.updated_at)
    last = _Frames(execution, executions).add(span, nodes, execution.flow, depth - 1)
    if last is not None and execution.ended_at is not None:
        line.pass_to(last)
        line.last(WORKFLOW_TEARDOWN, execution.updated_at)


@dataclass(frozen=True, slots=True)
class _Frames:
    """Spans of nodes of one execution."""

    execution: Execution
    executions: Mapping[ExecutionName, Execution]

    def add(self, span: metrics_pb2.Span, nodes: Sequence[Node], flow: Flow, depth: int) -> datetime | None:
        """Add one run of a workflow; returns when the last node before its end was done, None if there is none."""
        done = {node.spec_node_id: node.updated_at for node in nodes}
        for node in sorted(nodes, key=lambda node: (node.created_at, node.seq)):
            if node.kind in (NodeKind.START, NodeKind.END):
                continue
            inner = span.spans.add()
            before = _latest(flow, node.spec_node_id, done)
            if before is not None:
                inner.spans.append(_operation(NODE_TRANSITION, before, node.created_at))
            self._add_node(inner, node, flow, depth)
        return _latest(flow, END_ID, done)

    def _add_node(self, span: metrics_pb2.Span, node: Node, flow: Flow, depth: int) -> None:
        span.node_id.node_id = node.node_id
        span.node_id.execution_id.CopyFrom(self.execution.identifier)
        _set_period(span, node.created_at, node.updated_at)
        if depth == 0:
            return
        line = _Line(span, node.created_at)
        if node.has_attempts:
            self._add_attempts(line, node, depth - 1)
        elif node.kind == NodeKind.WORKFLOW:
            self._add_workflow(line, node, flow, depth - 1)
        elif node.kind == NodeKind.BRANCH:
            self._add_arm(line, node, flow, depth - 1)
        elif node.kind == NodeKind.LAUNCH_PLAN:
            self._add_child(line, node, depth - 1)
        elif node.kind == NodeKind.GATE:
            _add_phases(line, node, NODE_SETUP, NODE_IDLE, NODE_TEARDOWN)

    def _add_attempts(self, line: _Line, node: Node, depth: int) -> None:
        attempts = {attempt.attempt: attempt for attempt in self.execution.attempts.get(node.node_id, ())}
        frames: defaultdict[int, list[Node]] = defaultdict(list)
        for inner in self.execution.nodes.get(node.node_id, ()):
            frames[inner.parent_attempt].append(inner)
        operation, leads_to_end = NODE_SETUP, True
        for number in sorted({*attempts, *frames}):
            if number in attempts:
                attempt = attempts[number]
                line.until(operation, attempt.began_at)
                if depth:
                    _add_attempt(line.span.spans.add(), node.node_id, attempt, self.execution.identifier)
                line.pass_to(attempt.updated_at)
                operation, leads_to_end = NODE_RESET, True
            if number in frames:
                frame = frames[number]
                start = _start_of(frame)
                line.until(operation, line.at if start is None else start.updated_at)
                last = self.add(line.span, frame, self.execution.dynamic.get(node.node_id, NO_FLOW), depth)
                line.pass_to(max(inner.updated_at for inner in frame) if last is None else last)
                operation, leads_to_end = NODE_RESET, last is not None
        if operation == NODE_SETUP:
            line.until(NODE_SETUP, node.updated_at)
        elif node.ended_at is not None and leads_to_end:
            line.last(NODE_TEARDOWN, node.updated_at)

    def _add_workflow(self, line: _Line, node: Node, flow: Flow, depth: int) -> None:
        nodes = self.execution.nodes.get(node.node_id, ())
        start = _start_of(nodes)
        if start is None:
            line.until(NODE_SETUP, node.updated_at)
            return
        line.until(NODE_SETUP, start.updated_at)
        last = self.add(line.span, nodes, flow.inside.get(node.spec_node_id, NO_FLOW), depth)
        if last is not None and node.ended_at is not None:
            line.pass_to(last)
            line.last(NODE_TEARDOWN, node.updated_at)

    def _add_arm(self, line: _Line, node: Node, flow: Flow, depth: int) -> None:
        arms = self.execution.nodes.get(node.node_id, ())
        if not arms:
            line.until(NODE_SETUP, node.updated_at)
            return
        (arm,) = arms
        line.until(NODE_SETUP, arm.created_at)
        self._add_node(line.span.spans.add(), arm, flow, depth)
        line.pass_to(arm.updated_at)
        if node.ended_at is not None:
            line.last(NODE_TEARDOWN, node.updated_at)

    def _add_child(self, line: _Line, node: Node, depth: int) -> None:
        name = self.execution.children.get(node.node_id)
        if name is None:
            line.until(NODE_SETUP, node.updated_at)
            return
        child = self.executions.get(name)
        if child is None:
            line.until(NODE_SETUP, node.started_at or node.created_at)
            return
        line.until(NODE_SETUP, child.created_at)
        _add_execution(line.span.spans.add(), child, self.executions, depth)
        line.pass_to(child.updated_at)
        if node.ended_at is not None:
            line.last(NODE_TEARDOWN, node.updated_at)


def _add_phases(line: _Line, one: Node | Attempt, before: str, between: str, after: str) -> None:
    """Until it started, until it ended, and after that."""
    if one.started_at is None:
        line.until(before, one.updated_at)
        return
    line.until(before, one.started_at)
    line.until(between, one.ended_at or one.updated_at)
    if one.ended_at is not None:
        line.last(after, one.updated_at)


def _add_attempt(
    span: metrics_pb2.Span, node_id: str, attempt: Attempt, execution: identifier_pb2.WorkflowExecutionIdentifier
) -> None:
    span.task_id.task_id.CopyFrom(attempt.task)
    span.task_id.node_execution_id.node_id = node_id
    span.task_id.node_execution_id.execution_id.CopyFrom(execution)
    span.task_id.retry_attempt = attempt.attempt
    _set_period(span, attempt.began_at, attempt.updated_at)
    _add_phases(_Line(span, attempt.began_at), attempt, TASK_SETUP, TASK_RUNTIME, TASK_TEARDOWN)


def _start_of(nodes: Sequence[Node]) -> Node | None:
    return next((node for node in nodes if node.kind == NodeKind.START), None)


def _latest(flow: Flow, spec_node_id: str, done: Mapping[str, datetime]) -> datetime | None:
    """When the last of those that a node waits for was done."""
    return max((done[before] for before in flow.upstream.get(spec_node_id, ()) if before in done), default=None)


def _operation(operation: str, start: datetime, end: datetime) -> metrics_pb2.Span:
    span = metrics_pb2.Span(operation_id=operation)
    _set_period(span, start, end)
    return span


def _set_period(span: metrics_pb2.Span, start: datetime, end: datetime) -> None:
    """Never negative, whatever the clocks said."""
    span.start_time.FromDatetime(start)
    span.end_time.FromDatetime(max(start, end))
