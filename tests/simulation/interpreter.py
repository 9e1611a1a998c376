"""The straight sequential interpreter: what must come of an execution, whatever happens to the engines that run it.

It runs the model of the workflow node by node and knows nothing of events, rows, processes or faults, except for the
one thing that is the task's own: how each attempt ends (`Outcome`).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from itertools import accumulate

from tests.property.workflows import task_result
from tests.simulation.plugin import element_id
from tests.simulation.programs import (
    ApproveNode,
    Both,
    BranchNode,
    Compared,
    Condition,
    LaunchPlanNode,
    Listed,
    MapNode,
    Mapped,
    Node,
    Number,
    Of,
    SignalNode,
    SleepNode,
    Task,
    TaskNode,
    Value,
    Workflow,
    WorkflowNode,
    arms,
    read_by,
)
from tests.simulation.render import FAILURE, arm_id, node_id
from wingbeat_propeller.core.ids import child_execution_name, unique_node_id
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import FailurePolicy

SYSTEM_RETRIES_MAX = 3
ELEMENT = "n0"
"""Id of the node of an element that is neither a task nor a workflow."""
_START, _END = "start-node", "end-node"

Outcome = Callable[[str, str, Task, int], str]
"""How an attempt ends, by execution, unique node id, task and number: `ok`, `user`, `system`, `fatal` or `hang`."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of a node when everything that may run runs. `phases`: one of them."""

    phases: frozenset[NodePhase]
    attempts: range = range(1, 2)
    """How many attempts may have been made at the end."""
    value: int | None = None
    system_failures: tuple[int, ...] | None = None
    """How many attempts failed by the system's fault before attempt 0, 1, ... and, last, in all."""
    counts: bool = False
    """It takes a slot of max_parallelism,"""
    rests: bool = False
    """but only as long as an element of it runs."""
    is_optional: bool = False
    """It may also be aborted, or never be reached."""


@dataclass(slots=True)
class Expectation:
    """What must come of an execution."""

    nodes: dict[str, Expected] = field(default_factory=dict[str, Expected])
    """By unique node id, as if no failure stopped anything else."""
    value: int | None = None
    """Its output; None: it fails."""
    is_bare: bool = False
    """Whether that is a bare number."""
    children: "dict[str, Expectation]" = field(default_factory=dict[str, "Expectation"])
    """Of the executions that its launch plan nodes create, by name."""
    elements: dict[tuple[str, int], Expected] = field(default_factory=dict[tuple[str, int], Expected])
    """Of the elements of array nodes, by unique node id and index."""
    signals: dict[str, int | bool] = field(default_factory=dict[str, int | bool])
    """What its gates wait for, and what they are given."""


SUCCEEDED = frozenset({NodePhase.SUCCEEDED})
FAILED = frozenset({NodePhase.FAILED})
SKIPPED = frozenset({NodePhase.SKIPPED})
TIMED_OUT = frozenset({NodePhase.FAILED, NodePhase.TIMED_OUT})


def interpret(workflow: Workflow, given: "Known", name: str, outcome: Outcome) -> Expectation:
    """Run a workflow on an input as the execution `name`."""
    run = _Run(name, outcome, workflow.policy)
    result = run.workflow(workflow, given, Place(run.expectation.nodes))
    run.expectation.value = None if result is None else result.total
    run.expectation.is_bare = result is not None and result.is_bare
    return run.expectation


def signal_value(execution: str, signal_id: str) -> int:
    """What somebody gives as a signal."""
    return sum(f"{execution}/{signal_id}".encode()) % 97


def is_approved(execution: str, signal_id: str) -> bool:
    """Whether somebody approves."""
    return signal_value(execution, signal_id) % 5 > 0


@dataclass(frozen=True, slots=True)
class Known:
    """A value: the sum of its numbers, and whether it is a bare number, which alone can be compared."""

    total: int
    is_bare: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workflow runs: at the top, or inside an attempt of a node."""

    nodes: dict[str, Expected]
    parent: str | None = None
    parent_attempt: int = 0
    id_bits: int = 32
    """More inside the elements of arrays."""

    def unique_id(self, spec_id: str) -> str:
        """Of a node here."""
        return unique_node_id(self.parent, self.parent_attempt, spec_id, self.id_bits)

    def say(self, spec_id: str, expected: Expected) -> None:
        """What must come of a node here."""
        self.nodes[self.unique_id(spec_id)] = expected

    def expected(self, spec_id: str) -> Expected:
        """What was said."""
        return self.nodes[self.unique_id(spec_id)]

    def inside(self, spec_id: str, attempt: int = 0) -> "Place":
        """Inside a node here."""
        return Place(self.nodes, self.unique_id(spec_id), attempt, self.id_bits)


class _Run:
    def __init__(self, name: str, outcome: Outcome, policy: FailurePolicy) -> None:
        self.expectation = Expectation()
        self._policy = policy
        self._name = name
        self._outcome = outcome

    def workflow(self, workflow: Workflow, value: Known, place: Place) -> Known | None:
        """Its output, None when it fails."""
        place.say(_START, Expected(SUCCEEDED))
        values: dict[int, Known] = {0: value}
        bad: set[int] = set()
        for number, node in enumerate(workflow.nodes, 1):
            skipped = bool(workflow.sources(number) & bad)
            result = None if skipped else self._node(node, place, node_id(number), values, bad)
            if skipped:
                place.say(node_id(number), Expected(SKIPPED))
            if result is None:
                bad.add(number)
            else:
                values[number] = result
        if bad:  # some way leads from each node to the end
            place.say(_END, Expected(SKIPPED))
            if workflow.failure is not None:
                self._node(workflow.failure, place, FAILURE, values, set())
            return None
        result = evaluate(workflow.result, values)
        place.say(_END, Expected(SUCCEEDED, value=result.total))
        return result

    def _node(self, node: Node, place: Place, spec_id: str, values: dict[int, Known], bad: set[int]) -> Known | None:
        given = evaluate(node.given, values)
        match node:
            case TaskNode():
                return self._task(node, place, spec_id, given)
            case WorkflowNode():
                known = set(place.nodes)
                result = self.workflow(node.workflow, given, place.inside(spec_id))
                if node.is_cached:
                    _let_be_absent(place, known)
                phases = FAILED if result is None else SUCCEEDED
                place.say(spec_id, Expected(phases, value=None if result is None else result.total))
                return result
            case MapNode():
                return self._map(node, place, spec_id, values)
            case BranchNode():
                return self._branch(node, place, spec_id, given, values, bad)
            case LaunchPlanNode():
                return self._child(node, place, spec_id, given)
            case SleepNode():
                place.say(spec_id, Expected(SUCCEEDED))
                return Known(0, is_bare=False)
            case SignalNode():
                value = self.expectation.signals[node.signal_id] = signal_value(self._name, node.signal_id)
                place.say(spec_id, Expected(SUCCEEDED, value=value))
                return Known(value, is_bare=True)
            case ApproveNode():
                approved = self.expectation.signals[node.signal_id] = is_approved(self._name, node.signal_id)
                place.say(spec_id, Expected(SUCCEEDED, value=given.total) if approved else Expected(FAILED))
                return given if approved else None

    def _branch(
        self, node: BranchNode, place: Place, spec_id: str, given: Known, values: dict[int, Known], bad: set[int]
    ) -> Known | None:
        taken = _taken(node, given)
        if taken is None:
            place.say(spec_id, Expected(FAILED))
            return None
        arm, own_id, inside = arms(node)[taken], arm_id(spec_id, taken), place.inside(spec_id)
        if read_by(arm.given) & bad:
            inside.say(own_id, Expected(SKIPPED))
            place.say(spec_id, Expected(SKIPPED))
            return None
        result = self._node(arm, inside, own_id, values, bad)
        of_arm = inside.expected(own_id)
        place.say(spec_id, Expected(of_arm.phases, value=of_arm.value))
        return result

    def _child(
        self, node: LaunchPlanNode, place: Place, spec_id: str, given: Known, *, counts: bool = True
    ) -> Known | None:
        name = child_execution_name(self._name, place.unique_id(spec_id), 0)
        child = self.expectation.children[name] = interpret(node.workflow, given, name, self._outcome)
        phases = FAILED if child.value is None else SUCCEEDED
        place.say(spec_id, Expected(phases, value=child.value, counts=counts))
        return None if child.value is None else Known(child.value, child.is_bare)

    def _task(self, node: TaskNode, place: Place, spec_id: str, given: Known) -> Known | None:
        unique_id = place.unique_id(spec_id)
        expected, result = self._attempts(
            node.task, node.attempts_max, unique_id, given, lambda attempt: place.inside(spec_id, attempt)
        )
        place.say(spec_id, replace(expected, counts=True))
        return result

    def _attempts(
        self, task: Task, attempts_max: int, name: str, given: Known, inside: Callable[[int], Place]
    ) -> tuple[Expected, Known | None]:
        """What comes of a task in a node or an element called `name`; `inside` of an attempt is what it makes."""
        if task.hangs:
            # The deadline of all attempts together may come before that of an attempt, when its start was late.
            return Expected(TIMED_OUT, range(1, attempts_max + 1)), None
        ends = attempts(lambda attempt: self._outcome(self._name, name, task, attempt), attempts_max)
        made = range(len(ends), len(ends) + 1)
        failures = tuple(accumulate((end == "system" for end in ends), initial=0))
        if ends[-1] != "ok":
            return Expected(FAILED, made, None, failures), None
        result: Known | None
        if task.makes is None:
            result = Known(task_result(task.name, given.total), is_bare=not task.is_large)
        else:
            constant = Known(given.total, is_bare=True)
            place = inside(len(ends) - 1)
            known = set(place.nodes)
            result = self.workflow(task.makes, constant, place)
            if task.is_cached:  # with a hit there is nothing inside
                _let_be_absent(place, known)
        if result is None:
            return Expected(FAILED, made, None, failures), None
        return Expected(SUCCEEDED, made, result.total, failures), result

    def _map(self, node: MapNode, place: Place, spec_id: str, values: dict[int, Known]) -> Known | None:
        array_id = place.unique_id(spec_id)
        inner: list[tuple[dict[str, Expected], Known | None]] = []
        for index, item in enumerate(node.given.elements):
            nodes: dict[str, Expected] = {}
            result = self._element(node, array_id, index, evaluate(item, values), nodes)
            inner.append((nodes, result))
        failed = sum(result is None for _, result in inner)
        is_lost = failed > len(inner) - node.needed
        may_stop = is_lost and not node.runs_all
        for nodes, result in inner:
            # A frame that fails at once aborts what else runs in it; an array that fails at once, all its elements.
            is_optional = may_stop or (result is None and self._policy is FailurePolicy.FAIL_IMMEDIATELY)
            place.nodes.update(
                (name, replace(expected, is_optional=expected.is_optional or is_optional))
                for name, expected in nodes.items()
            )
        task = node.element if isinstance(node.element, Task) else None
        counts = node.is_launched or (task is not None and task.makes is None)
        rests = task is not None and task.is_cached and task.is_serialized
        if is_lost:
            place.say(spec_id, Expected(FAILED, counts=counts, rests=rests))
            return None
        value = sum(result.total for _, result in inner if result is not None)
        # Outputs of executions that nobody reads are not handed on.
        shown = None if node.is_launched else value
        place.say(spec_id, Expected(SUCCEEDED, value=shown, counts=counts, rests=rests))
        return Known(value, is_bare=False)

    def _element(
        self, node: MapNode, array_id: str, index: int, given: Known, nodes: dict[str, Expected]
    ) -> Known | None:
        frame_id = unique_node_id(array_id, 0, f"n{index}", 64)
        if isinstance(node.element, Task):
            expected, result = self._attempts(
                node.element,
                node.attempts_max,
                element_id(array_id, index),
                given,
                lambda attempt: Place(nodes, frame_id, attempt, 64),
            )
        else:
            place = Place(nodes, frame_id, 0, 64)
            if node.is_launched:
                place.say(_START, Expected(SUCCEEDED))
                launched = LaunchPlanNode(Of(0), frozenset(), node.element)
                result = self._child(launched, place, ELEMENT, given, counts=False)
                place.say(_END, Expected(SKIPPED if result is None else SUCCEEDED))
            else:
                result = self.workflow(node.element, given, place)
            shown = None if result is None or node.is_launched else result.total
            expected = Expected(FAILED if result is None else SUCCEEDED, value=shown)
        self.expectation.elements[array_id, index] = expected
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


def evaluate(value: Value, values: dict[int, Known]) -> Known:
    """What a value comes to."""
    match value:
        case Number():
            return Known(value.value, is_bare=True)
        case Of():
            return values[value.node]
        case Listed() | Mapped():
            return Known(sum(evaluate(element, values).total for element in value.elements), is_bare=False)


def _taken(node: BranchNode, given: Known) -> int | None:
    """Position of the arm that runs, None when the branch fails."""
    if not given.is_bare:
        return None
    for position, (condition, _) in enumerate(node.cases):
        if _holds(condition, given.total):
            return position
    return None if node.otherwise is None else len(node.cases)


def _holds(condition: Condition, x: int) -> bool:
    match condition:
        case Compared():
            than = condition.than
            return (x == than, x != than, x > than, x >= than, x < than, x <= than)[condition.operator]
        case Both():
            both = _holds(condition.left, x), _holds(condition.right, x)
            return all(both) if condition.is_and else any(both)


def _let_be_absent(place: Place, known: Collection[str]) -> None:
    """Nodes that were met since `known` may not be there."""
    for met in place.nodes.keys() - known:
        place.nodes[met] = replace(place.nodes[met], is_optional=True)
