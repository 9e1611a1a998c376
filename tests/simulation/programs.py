"""Random workflows, as the simulation draws them: a small model that render.py turns into compiled closures and
interpreter.py runs straight through.

Nodes are numbered from 1 in topological order; 0 is the workflow's input. Every value is an integer, or a nest of lists
and maps of integers that counts as their sum.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import TypeAlias

from tests.property.workflows import Behaviour
from wingbeat_propeller.core.plan import FailurePolicy

INPUT = "x"
OUTPUT = "o0"


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: int


@dataclass(frozen=True, slots=True)
class Of:
    """The output of a node; 0 is the workflow's input."""

    node: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A list."""

    elements: "tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Mapped:
    """A map with keys k0, k1, ..."""

    elements: "tuple[Value, ...]"


Value: TypeAlias = Number | Of | Listed | Mapped


class Style(StrEnum):
    """How attempts of a task run; also the types of their templates."""

    CONTAINER = "container"
    """As a program that reads and writes files."""
    INSTANT = "instant"
    """At once, in the runtime; outputs come with the event of the end."""
    ENGINE = "engine"
    """In the engine itself, possibly with a delay."""


@dataclass(slots=True, eq=False)
class Task:
    """A task. Its attempts end as `behaviour` says, `hang` being one that only a deadline ends."""

    name: str
    behaviour: Behaviour
    style: Style
    is_large: bool
    """Its outputs are too large for a row."""
    duration_s: float
    timeout_s: float = 0.0
    makes: "Workflow | None" = None
    """It is dynamic: an attempt that ends well leaves this workflow, with the input as a constant, to be run in its
    place."""
    is_cached: bool = False
    is_serialized: bool = False
    """Cacheable, of whose calls one runs at a time."""
    is_safe: bool = False
    """Its attempts are never lost by the system's fault, so that what it comes to does not depend on where it runs."""
    reads_lists: bool = False
    """Its program is given whole lists and picks its item itself, as mapped tasks of flytekit do."""

    @property
    def hangs(self) -> bool:
        """Whether no attempt ever ends by itself."""
        return self.behaviour.outcomes == ["hang"]


@dataclass(slots=True, eq=False)
class TaskNode:
    """Runs a task."""

    given: Value
    after: frozenset[int]
    """Further nodes that must have ended."""
    task: Task
    attempts_max: int


@dataclass(slots=True, eq=False)
class WorkflowNode:
    """Runs a workflow inside this one."""

    given: Value
    after: frozenset[int]
    workflow: "Workflow"
    is_cached: bool = False
    """Its outputs are kept as a whole."""
    is_serialized: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """`x operator than`; operators by their numbers in flyteidl."""

    operator: int
    than: int


@dataclass(frozen=True, slots=True)
class Both:
    """Both conditions (`is_and`), or at least one."""

    is_and: bool
    left: "Condition"
    right: "Condition"


Condition: TypeAlias = Compared | Both


@dataclass(slots=True, eq=False)
class BranchNode:
    """Runs the arm of the first case that holds for `given`, which must be a bare number."""

    given: Value
    after: frozenset[int]
    cases: "list[tuple[Condition, Node]]"
    otherwise: "Node | None"
    """None: fail."""


@dataclass(slots=True, eq=False)
class LaunchPlanNode:
    """Runs a workflow as an execution of its own, by its launch plan, which has the workflow's name."""

    given: Value
    after: frozenset[int]
    workflow: "Workflow"


@dataclass(slots=True, eq=False)
class SleepNode:
    """Waits; it has no output."""

    after: frozenset[int]
    duration_s: float
    given: Value = field(default_factory=lambda: Number(0))
    """Nothing."""


@dataclass(slots=True, eq=False)
class SignalNode:
    """Waits for a number that somebody gives."""

    after: frozenset[int]
    signal_id: str
    given: Value = field(default_factory=lambda: Number(0))
    """Nothing."""


@dataclass(slots=True, eq=False)
class ApproveNode:
    """Waits until somebody lets its input pass, or not."""

    given: Value
    after: frozenset[int]
    signal_id: str


@dataclass(slots=True, eq=False)
class MapNode:
    """Runs a task, a workflow or an execution of a workflow's launch plan for each item of a list."""

    given: Listed
    after: frozenset[int]
    element: "Task | Workflow"
    is_launched: bool
    """Whether a workflow runs as an execution of its own."""
    attempts_max: int
    parallelism: int
    min_successes: int | None
    min_success_ratio: float | None
    runs_all: bool
    """Whether the other elements go on when too many have failed."""

    @property
    def needed(self) -> int:
        """How many elements must succeed."""
        if self.min_successes is not None:
            return self.min_successes
        ratio = 1.0 if self.min_success_ratio is None else self.min_success_ratio
        return ceil(round(ratio * len(self.given.elements), 6))


Node: TypeAlias = TaskNode | WorkflowNode | BranchNode | LaunchPlanNode | SleepNode | SignalNode | ApproveNode | MapNode


@dataclass(slots=True, eq=False)
class Workflow:
    """A workflow; `result` is its output."""

    name: str
    policy: FailurePolicy
    nodes: list[Node] = field(default_factory=list[Node])
    result: Value = field(default_factory=lambda: Of(0))
    failure: "Node | None" = None
    """Runs when the workflow has failed; reads nothing but its input."""

    def sources(self, node: int) -> frozenset[int]:
        """Nodes (0 included) that must have ended before node number `node` starts."""
        here = self.nodes[node - 1]
        return read_by(here.given) | here.after or frozenset({0})

    def readable(self) -> tuple[int, ...]:
        """Nodes (0 included) that have an output."""
        return (0, *(n for n, node in enumerate(self.nodes, 1) if not isinstance(node, SleepNode)))


def read_by(value: Value) -> frozenset[int]:
    """Nodes whose outputs a value is made of."""
    match value:
        case Of():
            return frozenset({value.node})
        case Listed() | Mapped():
            return frozenset[int]().union(*map(read_by, value.elements))
        case Number():
            return frozenset()


def arms(node: BranchNode) -> Sequence[Node]:
    """All arms of a branch, in order."""
    found = [arm for _, arm in node.cases]
    return found if node.otherwise is None else [*found, node.otherwise]


def inner_nodes(workflow: Workflow) -> Iterator[Node]:
    """The nodes of a workflow with the arms of its branches and its failure node; not those of workflows inside."""
    pending = [*workflow.nodes, *([] if workflow.failure is None else [workflow.failure])]
    while pending:
        node = pending.pop(0)
        yield node
        if isinstance(node, BranchNode):
            pending += arms(node)


def tasks_of(workflow: Workflow) -> Iterator[Task]:
    """All tasks of a workflow, nested ones included."""
    for node in inner_nodes(workflow):
        match node:
            case TaskNode():
                yield from _with_made(node.task)
            case WorkflowNode() | LaunchPlanNode():
                yield from tasks_of(node.workflow)
            case MapNode():
                yield from _with_made(node.element) if isinstance(node.element, Task) else tasks_of(node.element)
            case _:
                pass


def _with_made(task: Task) -> Iterator[Task]:
    yield task
    if task.makes is not None:
        yield from tasks_of(task.makes)


def workflows_of(workflow: Workflow) -> Iterator[Workflow]:
    """Workflows that are launched by a workflow as executions of their own, at any depth."""
    for node in inner_nodes(workflow):
        match node:
            case WorkflowNode():
                yield from workflows_of(node.workflow)
            case LaunchPlanNode():
                yield node.workflow
                yield from workflows_of(node.workflow)
            case MapNode() if isinstance(node.element, Workflow):
                if node.is_launched:
                    yield node.element
                yield from workflows_of(node.element)
            case _:
                pass


def nested_in(workflow: Workflow) -> Iterator[WorkflowNode]:
    """All nodes of a workflow that run another one inside of it, at any depth."""
    for node in inner_nodes(workflow):
        match node:
            case WorkflowNode():
                yield node
                yield from nested_in(node.workflow)
            case LaunchPlanNode():
                yield from nested_in(node.workflow)
            case TaskNode(task=Task(makes=Workflow() as made)) | MapNode(element=Task(makes=Workflow() as made)):
                yield from nested_in(made)
            case MapNode(element=Workflow() as element):
                yield from nested_in(element)
            case _:
                pass


def make_cacheable(workflow: Workflow, rng: random.Random) -> None:
    """Let about half of the tasks that always come to the same be cacheable."""
    for task in tasks_of(workflow):
        if rng.random() < 0.5 and _always_succeeds(task):
            task.is_cached = True
            task.is_serialized = rng.random() < 0.5
            task.is_safe = True
            for inner in () if task.makes is None else tasks_of(task.makes):
                inner.is_safe = True


def make_nested_cacheable(workflow: Workflow, rng: random.Random) -> None:
    """Likewise for workflows that run inside of others."""
    for node in nested_in(workflow):
        if rng.random() < 0.5 and _is_plain(node.workflow):
            node.is_cached = True
            node.is_serialized = rng.random() < 0.5
            for inner in tasks_of(node.workflow):
                inner.is_safe = True


def _always_succeeds(task: Task) -> bool:
    if task.behaviour.outcomes != ["ok"] or task.timeout_s:
        return False
    return task.makes is None or _is_plain(task.makes)


def _is_plain(workflow: Workflow) -> bool:
    return all(
        (isinstance(node, TaskNode) and _always_succeeds(node.task))
        or (isinstance(node, WorkflowNode) and _is_plain(node.workflow))
        for node in inner_nodes(workflow)
    )


@dataclass(slots=True)
class Dice:
    """Draws workflows. Sizes are small: what matters is how things meet, and a world must cost little."""

    rng: random.Random
    nodes_max: int = 6
    depth_max: int = 2
    is_calm: bool = False
    """Nothing delays anything, so deadlines may be near."""

    def workflow(self, name: str = "wf", depth: int = 0, *, is_typed: bool = False) -> Workflow:
        """A workflow of up to `nodes_max` nodes, fewer inside others.

        `is_typed`: what the compiler will check, as its types are those of bare numbers.
        """
        rng = self.rng
        made = Workflow(name, FailurePolicy(rng.randint(0, 1)))
        for number in range(1, rng.randint(1 if is_typed else 0, self.nodes_max if not depth else 3) + 1):
            own = f"{name}.{number}"
            is_gate = not is_typed and rng.random() < 0.15
            node = self._gate(own, made) if is_gate else self._node(own, made.readable(), depth, is_typed=is_typed)
            made.nodes.append(node)
        made.result = self._value(made.readable(), is_typed=is_typed)
        if not is_typed and rng.random() < 0.3:
            made.failure = self._node(f"{name}.failure", (0,), self.depth_max)
        return made

    def _gate(self, name: str, workflow: Workflow) -> Node:
        rng = self.rng
        after = frozenset(rng.choices(range(len(workflow.nodes) + 1), k=rng.randint(0, 1)))
        match rng.randint(0, 2):
            case 0:
                return SleepNode(after, rng.choice((0.01, 1.0, 10.0)) * rng.uniform(0.5, 1.5))
            case 1:
                return SignalNode(after, f"s{rng.randint(1, 3)}")
            case _:
                return ApproveNode(self._value(workflow.readable()), after, f"a{rng.randint(1, 3)}")

    def _node(self, name: str, before: Sequence[int], depth: int, *, is_typed: bool = False) -> Node:
        rng = self.rng
        given = self._value(before, is_typed=is_typed)
        after = frozenset(rng.choices(before, k=rng.randint(0, 1)))
        roll = rng.random()
        if depth < self.depth_max and roll < 0.15:
            return WorkflowNode(given, after, self.workflow(name, depth + 1, is_typed=is_typed))
        if not is_typed and depth < self.depth_max and roll < 0.25:
            return LaunchPlanNode(given, after, self.workflow(name, depth + 1))
        if not is_typed and roll < 0.35:
            return self._map(name, before, after, depth)
        if roll > 0.87:
            return self._branch(name, before, after, depth, is_typed=is_typed)
        return TaskNode(given, after, self.task(name, depth, is_typed=is_typed), attempts_max=rng.randint(1, 3))

    def _map(self, name: str, before: Sequence[int], after: frozenset[int], depth: int) -> MapNode:
        rng = self.rng
        size = rng.randint(0, 4)
        element: Task | Workflow
        if depth < self.depth_max and rng.random() < 0.4:
            element = self.workflow(name, depth + 1)
        else:
            element = self.task(name, depth)
            if element.style is Style.CONTAINER and element.makes is None and rng.random() < 0.5:
                element.reads_lists = True
        return MapNode(
            Listed(tuple(self._value(before, is_typed=True) for _ in range(size))),
            after,
            element,
            is_launched=isinstance(element, Workflow) and rng.random() < 0.5,
            attempts_max=rng.randint(1, 3),
            parallelism=rng.choice((0, 0, 1, 2)),
            min_successes=rng.randint(0, size) if rng.random() < 0.3 else None,
            min_success_ratio=rng.choice((0.5, 0.6, 1.0)) if rng.random() < 0.3 else None,
            runs_all=rng.random() < 0.3,
        )

    def _branch(
        self, name: str, before: Sequence[int], after: frozenset[int], depth: int, *, is_typed: bool
    ) -> BranchNode:
        rng = self.rng
        cases = [
            (self._condition(), self._node(f"{name}.{arm}", before, depth + 1, is_typed=is_typed))
            for arm in range(rng.randint(1, 3))
        ]
        otherwise = self._node(f"{name}.else", before, depth + 1, is_typed=is_typed) if rng.random() < 0.6 else None
        given = Of(rng.choice(before)) if rng.random() < 0.9 else self._value(before, is_typed=is_typed)
        return BranchNode(given, after, cases, otherwise)

    def _condition(self, depth: int = 0) -> Condition:
        rng = self.rng
        if depth < 2 and rng.random() < 0.3:
            return Both(rng.random() < 0.5, self._condition(depth + 1), self._condition(depth + 1))
        return Compared(rng.randint(0, 5), rng.choice((0, 30, 60, 500_000)))

    def task(self, name: str, depth: int, *, is_typed: bool = False) -> Task:
        """A task of some behaviour."""
        rng = self.rng
        behaviour = self._behaviour()
        if is_typed and behaviour.outcomes == ["hang"]:
            # A dynamic task is tried again after one kind of deadline inside it and not after the other.
            behaviour = Behaviour(["user"])
        style = rng.choices(list(Style), weights=[6, 2, 2])[0]
        if behaviour.outcomes == ["hang"]:
            style = Style.CONTAINER
        task = Task(
            name,
            behaviour,
            style,
            is_large=style is not Style.INSTANT and rng.random() < 0.25,
            duration_s=rng.choice((0.001, 0.05, 0.5, 3.0)) * rng.uniform(0.5, 1.5),
        )
        if task.hangs:
            task.timeout_s = rng.uniform(1.0, 5.0)
        elif style is Style.CONTAINER and depth < self.depth_max and rng.random() < 0.15:
            task.makes = self.workflow(f"{name}.made", depth + 1, is_typed=True)
        elif self.is_calm and style is Style.CONTAINER and rng.random() < 0.3:
            # Each attempt is in time, both together take longer than one may.
            task.behaviour, task.duration_s, task.timeout_s = Behaviour(["user", "ok"]), 14.0, 20.0
        elif rng.random() < 0.1:
            task.timeout_s = 100_000.0
        return task

    def _behaviour(self) -> Behaviour:
        rng = self.rng
        roll = rng.random()
        if roll < 0.7:
            return Behaviour(["ok"])
        if roll < 0.73:
            return Behaviour(["hang"])
        return Behaviour(rng.choices(["user", "system", "fatal", "ok"], weights=[5, 4, 1, 8], k=rng.randint(1, 4)))

    def _value(self, before: Sequence[int], depth: int = 0, *, is_typed: bool = False) -> Value:
        rng = self.rng
        roll = rng.random() if not is_typed else rng.uniform(0.3, 1.0)
        if depth < 2 and roll < 0.15:
            return Listed(tuple(self._value(before, depth + 1) for _ in range(rng.randint(0, 3))))
        if depth < 2 and roll < 0.25:
            return Mapped(tuple(self._value(before, depth + 1) for _ in range(rng.randint(0, 2))))
        if roll < 0.35:
            return Number(rng.randint(-9, 9))
        return Of(rng.choice(before))
