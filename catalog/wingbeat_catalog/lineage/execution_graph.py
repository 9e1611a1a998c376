"""The data flow inside one execution, derived from its plans and the rows of its nodes. Pure.

A *value* is an output of a node that makes something: a task, a map, a signal, the execution as the giver of its inputs
(node id empty). Everything else only hands values on (start and end of workflows, sub-workflows, branches, approvals)
and is passed through, in both directions. Where a value leaves the execution (into a child, out to the parent) the
functions say so by a Crossing, and whoever walks goes on in the other execution.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from wingbeat_propeller.core.bindings import Binding, Constant, Entries, Items, Promise
from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.phases import NODE_SUCCESS, NodePhase
from wingbeat_propeller.core.plan import END, START, GateKind, NodeKind, Plan, Target, TaskSpec
from wingbeat_propeller.core.rows import FLAG_DYNAMIC

_EDGES_OF_FRAMES = (NodeKind.START, NodeKind.END)
_Seen = set[object]
"""What a walk has passed through."""


class GraphRow(NamedTuple):
    """What is needed of a node's row."""

    node_id: str
    spec_node_id: str
    parent_id: str | None
    parent_attempt: int
    name: str
    kind: int
    flags: int
    phase: int
    attempt: int
    memo: bytes | None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Value(NamedTuple):
    """An output of a node, or with an empty node id an input of the execution. An empty variable: all of them."""

    node_id: str
    var: str


class DynamicTask(NamedTuple):
    """A dynamic task fixed the value when it made its workflow."""

    node_id: str


class ToChild(NamedTuple):
    """The value goes into, or comes out of, the child of a launch plan node, as its input or output `var`."""

    node_id: str
    var: str


Made: TypeAlias = Value | DynamicTask | ToChild
"""Where a value comes from."""


class Outcome(NamedTuple):
    """The value is output `var` of the execution."""

    var: str


class Reading(NamedTuple):
    """A node that makes something has the value as its input `var`."""

    node_id: str
    var: str
    is_dynamic: bool = False
    """The node is part of a workflow that a dynamic task has made."""


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    plan: Plan
    place: tuple[str | None, int]
    """Parent id and attempt of its rows."""
    parent: GraphRow | None


@lru_cache(maxsize=512)
def _readers_of(plan: Plan) -> Mapping[tuple[int, str], Sequence[tuple[int, str]]]:
    """Which nodes read an output, and as which input, by plan index and variable."""
    found: defaultdict[tuple[int, str], list[tuple[int, str]]] = defaultdict(list)
    for node, program in enumerate(plan.bindings):
        for var, binding in program.bindings:
            for promise in promises(binding):
                found[promise.node, promise.var].append((node, var))
    return found


@lru_cache(maxsize=512)
def _positions(plan: Plan) -> Mapping[str, int]:
    return {node_id: index for index, node_id in enumerate(plan.ids)}


def promises(binding: Binding) -> Iterator[Promise]:
    """All outputs that a binding reads."""
    match binding:
        case Promise():
            yield binding
        case Items():
            for element in binding.elements:
                yield from promises(element)
        case Entries():
            for _, entry in binding.entries:
                yield from promises(entry)
        case Constant():
            pass


@dataclass(slots=True)
class ExecutionGraph:
    """One execution. `dynamic_plans` has the workflows that dynamic nodes have made, by node id; those that cannot be
    read any more are left out, and the node is then the maker of its outputs."""

    plan: Plan
    rows: Mapping[str, GraphRow]
    dynamic_plans: Mapping[str, Plan]
    _by_place: dict[tuple[str | None, int], dict[str, GraphRow]] = field(
        default_factory=lambda: defaultdict[tuple[str | None, int], dict[str, GraphRow]](dict)
    )
    _elements: dict[str, GraphRow] | None = None

    def __post_init__(self) -> None:
        for row in self.rows.values():
            self._by_place[row.parent_id, row.parent_attempt][row.spec_node_id] = row

    # ---- up ----

    def makers(self, value: Value) -> Iterator[Made]:
        """What made a value: passes through until something made it, or it came out of a child."""
        return self._makers(value, set())

    def _makers(self, value: Value, seen: _Seen) -> Iterator[Made]:
        row = self.rows.get(value.node_id)
        if row is None or value in seen:
            return
        seen.add(value)
        if row.phase == NodePhase.RECOVERED and row.kind not in _EDGES_OF_FRAMES and not self._has_inside(row):
            yield value  # taken over as a whole: nothing of it ran here
            return
        frame = self._frame(row)
        index = None if frame is None else _positions(frame.plan).get(row.spec_node_id)
        if frame is None or index is None:
            yield value
            return
        match frame.plan.kinds[index]:
            case NodeKind.START:
                yield from self._into_frame(frame, value.var, seen)
            case NodeKind.END:
                yield from self._bound(frame, index, value.var, seen)
            case NodeKind.WORKFLOW if self._has_inside(row):  # else the cache had its outputs
                yield from self._out_of(frame.plan.sub_plan(index), row, value.var, seen)
            case NodeKind.BRANCH:
                for arm in self._by_place[row.node_id, row.attempt].values():
                    if arm.phase in NODE_SUCCESS:
                        yield from self._makers(Value(arm.node_id, value.var), seen)
            case NodeKind.LAUNCH_PLAN:
                yield ToChild(row.node_id, value.var)
            case NodeKind.GATE if frame.plan.gate(index).kind is GateKind.APPROVE:
                yield from self._bound(frame, index, value.var, seen)
            case NodeKind.TASK if row.flags & FLAG_DYNAMIC and row.node_id in self.dynamic_plans:
                yield from self._out_of(self.dynamic_plans[row.node_id], row, value.var, seen)
            case NodeKind.ARRAY if isinstance(frame.plan.array(index).element, Plan):
                yield from self._out_of_elements(row, value.var, seen)
            case _:
                yield value

    def outcome_makers(self, var: str) -> Iterator[Made]:
        """What made the outputs of the execution; an empty `var`: all of them."""
        end = self._row(_Frame(self.plan, (None, 0), None), END)
        if end is not None:
            yield from self.makers(Value(end.node_id, var))

    def inputs(self, node_id: str) -> Iterator[tuple[str, Made]]:
        """Inputs of a node that makes something: variable, and what made its value. Constants are nobody's, but for
        those of workflows that a dynamic task has made."""
        row = self.rows.get(node_id)
        frame = None if row is None else self._frame(row)
        index = None if row is None or frame is None else _positions(frame.plan).get(row.spec_node_id)
        if frame is None or index is None:
            return
        maker = self._dynamic_maker(frame)
        for var, binding in frame.plan.bindings[index].bindings:
            found = False
            seen: _Seen = set()
            for promise in promises(binding):
                found = True
                for value in self._made_by(frame, promise, seen):
                    yield var, value
            if not found and maker is not None:
                yield var, DynamicTask(maker.node_id)

    def _bound(self, frame: _Frame, index: int, var: str, seen: _Seen) -> Iterator[Made]:
        for name, binding in frame.plan.bindings[index].bindings:
            if name != var and var:
                continue
            found = False
            for promise in promises(binding):
                found = True
                yield from self._made_by(frame, promise, seen)
            maker = None if found else self._dynamic_maker(frame)
            if maker is not None:
                yield DynamicTask(maker.node_id)

    def _made_by(self, frame: _Frame, promise: Promise, seen: _Seen) -> Iterator[Made]:
        if promise.node == START:
            yield from self._into_frame(frame, promise.var, seen)
            return
        row = self._row(frame, promise.node)
        if row is not None:
            yield from self._makers(Value(row.node_id, promise.var), seen)

    def _into_frame(self, frame: _Frame, var: str, seen: _Seen) -> Iterator[Made]:
        """What the start node of a frame got from outside."""
        parent = frame.parent
        if parent is None:
            yield Value("", var)
            return
        if (frame.place, var) in seen:
            return
        seen.add((frame.place, var))
        around = self._frame(parent)
        index = None if around is None else _positions(around.plan).get(parent.spec_node_id)
        if around is None or index is None:
            return
        if around.plan.kinds[index] is NodeKind.TASK:
            yield DynamicTask(parent.node_id)
        else:
            yield from self._bound(around, index, var, seen)

    def _out_of(self, plan: Plan, row: GraphRow, var: str, seen: _Seen) -> Iterator[Made]:
        """What the end node of the frame inside `row` hands out."""
        yield from self._bound(_Frame(plan, (row.node_id, row.attempt), row), END, var, seen)

    def _out_of_elements(self, array: GraphRow, var: str, seen: _Seen) -> Iterator[Made]:
        found = False
        for frame in self._element_frames(array):
            found = True
            yield from self._bound(frame, END, var, seen)
        if not found:
            yield Value(array.node_id, var)

    # ---- down ----

    def readers(self, value: Value) -> Iterator[Reading | ToChild | Outcome]:
        """What took a value: nodes that make something, children, and the outcome of the execution."""
        return self._readers(value, set())

    def _readers(self, value: Value, seen: _Seen) -> Iterator[Reading | ToChild | Outcome]:
        if not value.node_id:
            yield from self._readers_in(_Frame(self.plan, (None, 0), None), START, value.var, seen)
            return
        row = self.rows.get(value.node_id)
        frame = None if row is None else self._frame(row)
        index = None if row is None or frame is None else _positions(frame.plan).get(row.spec_node_id)
        if row is None or frame is None or index is None or value in seen:
            return
        seen.add(value)
        yield from self._readers_in(frame, index, value.var, seen)
        owner = frame.plan.owners[index]
        if owner >= 0 and (branch := self._row(frame, owner)) is not None:
            yield from self._readers(Value(branch.node_id, value.var), seen)

    def output_names(self, node_id: str) -> Sequence[str]:
        """Outputs of a node; without a node, inputs of the execution. Empty when nobody can tell any more."""
        if not node_id:
            return self.plan.input_names
        found = self._place(node_id)
        return () if found is None else found[0].plan.node_output_names(found[1])

    def made_outputs(self, node_id: str) -> Sequence[str]:
        """Outputs that a node made itself: all but those that a dynamic task took from its workflow."""
        plan = self.dynamic_plans.get(node_id)
        if plan is None:
            return self.output_names(node_id)
        return [var for var, binding in plan.bindings[END].bindings if not any(promises(binding))]

    def target(self, node_id: str) -> Target | None:
        """What a node does."""
        found = self._place(node_id)
        return None if found is None else found[0].plan.targets[found[1]]

    def _readers_in(self, frame: _Frame, index: int, var: str, seen: _Seen) -> Iterator[Reading | ToChild | Outcome]:
        readers = _readers_of(frame.plan)
        keys = [(index, var)] if var else [key for key in readers if key[0] == index]
        for key in keys:
            for node, name in readers.get(key, ()):
                if (frame.place, node, name) not in seen:
                    seen.add((frame.place, node, name))
                    yield from self._enter(frame, node, name, seen)

    def _enter(self, frame: _Frame, index: int, var: str, seen: _Seen) -> Iterator[Reading | ToChild | Outcome]:
        """Node `index` of a frame has the value as its input `var`."""
        row = self._row(frame, index)
        if row is None or row.phase == NodePhase.SKIPPED:
            return
        plan = frame.plan
        match plan.kinds[index]:
            case NodeKind.END:
                if frame.parent is None:
                    yield Outcome(var)
                else:
                    yield from self._readers(Value(frame.parent.node_id, var), seen)
            case NodeKind.WORKFLOW if self._has_inside(row):
                inside = _Frame(plan.sub_plan(index), (row.node_id, row.attempt), row)
                yield from self._readers_in(inside, START, var, seen)
            case NodeKind.LAUNCH_PLAN if row.phase != NodePhase.RECOVERED:
                yield ToChild(row.node_id, var)
            case NodeKind.GATE if plan.gate(index).kind is GateKind.APPROVE:
                yield from self._readers(Value(row.node_id, var), seen)
            case NodeKind.ARRAY if isinstance(plan.array(index).element, Plan):
                found = False
                for element in self._element_frames(row):
                    found = True
                    yield from self._readers_in(element, START, var, seen)
                if not found:
                    yield Reading(row.node_id, var)
            case NodeKind.START | NodeKind.BRANCH:
                pass  # what a branch decides by; its arms have the values that they need themselves
            case _:
                yield Reading(row.node_id, var)

    def made_inside(self, node_id: str) -> Iterator[Reading | ToChild]:
        """Nodes of the workflow that a dynamic task made and whose inputs it fixed."""
        row, plan = self.rows.get(node_id), self.dynamic_plans.get(node_id)
        if row is None or plan is None:
            return
        frame = _Frame(plan, (row.node_id, row.attempt), row)
        for index in range(plan.size):
            inner = self._row(frame, index)
            if inner is None or plan.kinds[index] in (NodeKind.START, NodeKind.END, NodeKind.BRANCH):
                continue
            for var, binding in plan.bindings[index].bindings:
                if not any(promise.node != START for promise in promises(binding)):
                    if plan.kinds[index] is NodeKind.LAUNCH_PLAN:
                        yield ToChild(inner.node_id, var)
                    else:
                        yield Reading(inner.node_id, var, is_dynamic=True)

    # ---- places ----

    def _place(self, node_id: str) -> tuple[_Frame, int] | None:
        row = self.rows.get(node_id)
        frame = None if row is None else self._frame(row)
        index = None if row is None or frame is None else _positions(frame.plan).get(row.spec_node_id)
        return None if frame is None or index is None else (frame, index)

    def _has_inside(self, row: GraphRow) -> bool:
        """Whether anything inside of a node was met in this execution."""
        return (row.node_id, row.attempt) in self._by_place or (
            row.kind == NodeKind.ARRAY and any(found is row for found in self._arrays_of_elements().values())
        )

    def _dynamic_maker(self, frame: _Frame) -> GraphRow | None:
        """The dynamic task whose workflow a frame runs."""
        return frame.parent if frame.parent is not None and frame.parent.kind == NodeKind.TASK else None

    def _row(self, frame: _Frame, index: int) -> GraphRow | None:
        """The row of a node of a frame, if it was met."""
        owner = frame.plan.owners[index]
        place = frame.place
        if owner >= 0:
            branch = self._row(frame, owner)
            if branch is None:
                return None
            place = (branch.node_id, branch.attempt)
        return self._by_place.get(place, {}).get(frame.plan.ids[index])

    def _frame(self, row: GraphRow) -> _Frame | None:
        """The frame that a row is part of; None when nobody can tell any more."""
        if row.parent_id is None:
            return _Frame(self.plan, (None, 0), None)
        place = (row.parent_id, row.parent_attempt)
        parent = self.rows.get(row.parent_id)
        if parent is None:
            return self._element_frame(row)
        around = self._frame(parent)
        index = None if around is None else _positions(around.plan).get(parent.spec_node_id)
        if around is None or index is None:
            return None
        match around.plan.kinds[index]:
            case NodeKind.BRANCH:
                return around
            case NodeKind.WORKFLOW:
                return _Frame(around.plan.sub_plan(index), place, parent)
            case NodeKind.TASK if parent.node_id in self.dynamic_plans:
                return _Frame(self.dynamic_plans[parent.node_id], place, parent)
            case _:
                return None

    def _element_frame(self, row: GraphRow) -> _Frame | None:
        assert row.parent_id is not None, "top-level rows have no parent"
        array = self._arrays_of_elements().get(row.parent_id)
        plan = None if array is None else self._element_plan(array)
        return None if array is None or plan is None else _Frame(plan, (row.parent_id, row.parent_attempt), array)

    def _element_frames(self, array: GraphRow) -> Iterator[_Frame]:
        """One for each element that has rows, of its last attempt."""
        plan = self._element_plan(array)
        if plan is None:
            return
        own = {parent for parent, found in self._arrays_of_elements().items() if found is array}
        last: dict[str, int] = {}
        for parent, attempt in self._by_place:
            if parent in own:
                last[parent] = max(attempt, last.get(parent, 0))
        for parent, attempt in last.items():
            yield _Frame(plan, (parent, attempt), array)

    def _element_plan(self, array: GraphRow) -> Plan | None:
        frame = self._frame(array)
        index = None if frame is None else _positions(frame.plan).get(array.spec_node_id)
        if frame is None or index is None:
            return None
        element = frame.plan.array(index).element
        return None if isinstance(element, TaskSpec) else element

    def _arrays_of_elements(self) -> Mapping[str, GraphRow]:
        """The array node of each id that rows inside of elements have as their parent."""
        if self._elements is None:
            self._elements = {}
            orphans = {parent for parent, _ in self._by_place if parent is not None and parent not in self.rows}
            arrays = [row for row in self.rows.values() if row.kind == NodeKind.ARRAY and row.memo] if orphans else []
            for row in arrays:
                for element in range(int(row.memo or b"0")):
                    unique = unique_node_id(row.node_id, row.attempt, f"n{element}", 64)
                    if unique in orphans:
                        self._elements[unique] = row
        return self._elements
