"""Random workflows, as the simulation draws them: a small model that render.py turns into compiled closures and
interpreter.py runs straight through.

Nodes are numbered from 1 in topological order; 0 is the workflow's input. Every value is an integer, or a nest of lists
and maps of integers that counts as their sum.
"""

import random
from dataclasses import dataclass, field
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


@dataclass(slots=True, eq=False)
class Task:
    """A task. Its attempts end as `behaviour` says, `hang` being one that only a deadline ends."""

    name: str
    behaviour: Behaviour
    is_container: bool
    """It reads and writes files; else its outputs come with the event of its end."""
    is_large: bool
    """Its outputs are too large for a row."""
    duration_s: float
    timeout_s: float = 0.0

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


Node: TypeAlias = TaskNode | WorkflowNode


@dataclass(slots=True, eq=False)
class Workflow:
    """A workflow; `result` is its output."""

    name: str
    policy: FailurePolicy
    nodes: list[Node] = field(default_factory=list[Node])
    result: Value = field(default_factory=lambda: Of(0))

    def sources(self, node: int) -> frozenset[int]:
        """Nodes (0 included) that must have ended before node number `node` starts."""
        here = self.nodes[node - 1]
        return read_by(here.given) | here.after or frozenset({0})


def read_by(value: Value) -> frozenset[int]:
    """Nodes whose outputs a value is made of."""
    match value:
        case Of():
            return frozenset({value.node})
        case Listed() | Mapped():
            return frozenset[int]().union(*map(read_by, value.elements))
        case Number():
            return frozenset()


@dataclass(slots=True)
class Dice:
    """Draws workflows. Sizes are small: what matters is how things meet, and a world must cost little."""

    rng: random.Random
    nodes_max: int = 6
    depth_max: int = 2
    tasks: int = 0

    def workflow(self, name: str = "wf", depth: int = 0) -> Workflow:
        """A workflow of up to `nodes_max` nodes, fewer inside others."""
        rng = self.rng
        made = Workflow(name, FailurePolicy(rng.randint(0, 1)))
        for number in range(1, rng.randint(0, self.nodes_max if not depth else 3) + 1):
            made.nodes.append(self._node(made, number, depth))
        made.result = self._value(range(len(made.nodes) + 1))
        return made

    def _node(self, workflow: Workflow, number: int, depth: int) -> Node:
        rng = self.rng
        given = self._value(range(number))
        after = frozenset(rng.choices(range(number), k=rng.randint(0, 1)))
        if depth < self.depth_max and rng.random() < 0.2:
            return WorkflowNode(given, after, self.workflow(f"{workflow.name}.{number}", depth + 1))
        return TaskNode(given, after, self.task(f"{workflow.name}.t{number}"), attempts_max=rng.randint(1, 3))

    def task(self, name: str) -> Task:
        """A task of some behaviour."""
        rng = self.rng
        behaviour = self._behaviour()
        is_container = rng.random() < 0.6 or behaviour.outcomes == ["hang"]
        task = Task(
            name,
            behaviour,
            is_container,
            is_large=is_container and rng.random() < 0.25,
            duration_s=rng.choice((0.001, 0.05, 0.5, 3.0)) * rng.uniform(0.5, 1.5),
        )
        if task.hangs:
            task.timeout_s = rng.uniform(1.0, 5.0)
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

    def _value(self, before: range, depth: int = 0) -> Value:
        rng = self.rng
        roll = rng.random()
        if depth < 2 and roll < 0.15:
            return Listed(tuple(self._value(before, depth + 1) for _ in range(rng.randint(0, 3))))
        if depth < 2 and roll < 0.25:
            return Mapped(tuple(self._value(before, depth + 1) for _ in range(rng.randint(0, 2))))
        if roll < 0.35:
            return Number(rng.randint(-9, 9))
        return Of(rng.choice(before))
