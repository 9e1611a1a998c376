"""The straight sequential interpreter: what must come of an execution, whatever happens to the engines that run it.

It runs the model of the workflow node by node and knows nothing of events, rows, processes or faults, except for the
one thing that is the task's own: how each attempt ends (`Outcome`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

from tests.property.workflows import task_result
from tests.simulation.programs import (
    Listed,
    Mapped,
    Number,
    Of,
    Task,
    TaskNode,
    Value,
    Workflow,
    WorkflowNode,
    read_by,
)
from tests.simulation.render import node_id
from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.phases import NodePhase

SYSTEM_RETRIES_MAX = 3
_START, _END = "start-node", "end-node"

Outcome = Callable[[str, Task, int], str]
"""How an attempt of a task in a node (by unique id) ends: `ok`, `user`, `system`, `fatal` or `hang`."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of a node when everything that may run runs. `phases`: one of them."""

    phases: frozenset[NodePhase]
    attempts: range = range(1, 2)
    """How many attempts may have been made at the end."""
    value: int | None = None
    system_failures: tuple[int, ...] | None = None
    """How many attempts failed by the system's fault before attempt 0, 1, ... and, last, in all."""


@dataclass(slots=True)
class Expectation:
    """What must come of an execution."""

    nodes: dict[str, Expected] = field(default_factory=dict[str, Expected])
    """By unique node id, as if no failure stopped anything else."""
    value: int | None = None
    """Its output; None: it fails."""


SUCCEEDED = frozenset({NodePhase.SUCCEEDED})
FAILED = frozenset({NodePhase.FAILED})
SKIPPED = frozenset({NodePhase.SKIPPED})
TIMED_OUT = frozenset({NodePhase.FAILED, NodePhase.TIMED_OUT})


def interpret(workflow: Workflow, value: int, outcome: Outcome) -> Expectation:
    """Run a workflow on an input."""
    run = _Run(outcome)
    run.expectation.value = run.workflow(workflow, value, None, 0)
    return run.expectation


class _Run:
    def __init__(self, outcome: Outcome) -> None:
        self.expectation = Expectation()
        self._outcome = outcome

    def workflow(self, workflow: Workflow, value: int, parent: str | None, parent_attempt: int) -> int | None:
        """Its output, None when it fails."""

        def say(spec_id: str, expected: Expected) -> None:
            self.expectation.nodes[unique_node_id(parent, parent_attempt, spec_id)] = expected

        say(_START, Expected(SUCCEEDED))
        values: dict[int, int] = {0: value}
        bad: set[int] = set()
        for number, node in enumerate(workflow.nodes, 1):
            place = unique_node_id(parent, parent_attempt, node_id(number))
            if workflow.sources(number) & bad:
                bad.add(number)
                self.expectation.nodes[place] = Expected(SKIPPED)
                continue
            given = evaluate(node.given, values)
            match node:
                case TaskNode():
                    result = self._task(node, place, given)
                case WorkflowNode():
                    result = self.workflow(node.workflow, given, place, 0)
                    self.expectation.nodes[place] = Expected(FAILED if result is None else SUCCEEDED, value=result)
            if result is None:
                bad.add(number)
            else:
                values[number] = result
        followed = {source for number in range(1, len(workflow.nodes) + 1) for source in workflow.sources(number)}
        awaited = read_by(workflow.result) | {n for n in range(len(workflow.nodes) + 1) if n not in followed}
        if awaited & bad:
            say(_END, Expected(SKIPPED))
            return None
        result = evaluate(workflow.result, values)
        say(_END, Expected(SUCCEEDED, value=result))
        return None if bad else result

    def _task(self, node: TaskNode, place: str, given: int) -> int | None:
        task = node.task
        if task.hangs:
            # The deadline of all attempts together may come before that of an attempt, when its start was late.
            self.expectation.nodes[place] = Expected(TIMED_OUT, range(1, node.attempts_max + 1))
            return None
        ends = attempts(lambda attempt: self._outcome(place, task, attempt), node.attempts_max)
        result = task_result(task.name, given) if ends[-1] == "ok" else None
        failures = tuple(accumulate((end == "system" for end in ends), initial=0))
        self.expectation.nodes[place] = Expected(
            FAILED if result is None else SUCCEEDED, range(len(ends), len(ends) + 1), result, failures
        )
        return result


def attempts(outcome: Callable[[int], str], attempts_max: int) -> list[str]:
    """How each attempt ends that is made within both budgets; the last is `ok` or what the node fails with."""
    ends: list[str] = []
    while True:
        ends.append(outcome(len(ends)))
        is_over = (
            ends[-1] not in ("user", "system")
            or ends.count("user") >= attempts_max
            or ends.count("system") > SYSTEM_RETRIES_MAX
        )
        if is_over:
            return ends


def evaluate(value: Value, values: dict[int, int]) -> int:
    """The sum of all integers in a value."""
    match value:
        case Number():
            return value.value
        case Of():
            return values[value.node]
        case Listed() | Mapped():
            return sum(evaluate(element, values) for element in value.elements)
