"""What has changed between two versions of a workflow, node by node: what an execution of the newer one may take over
from one of the older one follows from it (`core.reuse`).

Nodes are compared with the ones of the same id. A node is the same when it does the same (task, workflow, launch plan,
conditions, gate), gets its inputs from the same outputs of the same nodes or from equal constants, and follows the same
nodes. Whether what it depends on is taken over is settled while the execution runs, and for people by `decide_fates`.

Of a task the definition must be equal. When it is and its code is not, the task counts as changed, since nobody can see
from outside whose code has changed; unless the caller knows, and says so in the Rules: by naming the tasks that
changed, all others then count as unchanged, or by naming tasks that did not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, TypeAlias

from flyteidl.core import literals_pb2, types_pb2

from wingbeat_propeller.compiler.task_identity import definition_changes, task_identity
from wingbeat_propeller.core.bindings import Binding, Constant, Entries, Items, Promise
from wingbeat_propeller.core.conditions import Condition, Conjunction, Fixed, Operand
from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.plan import (
    START,
    ArraySpec,
    BranchSpec,
    GateSpec,
    LaunchPlanSpec,
    Plan,
    Target,
    TaskSpec,
)
from wingbeat_propeller.core.reuse import Reuse

LaunchPlanKey: TypeAlias = tuple[str, str, str, str]
"""Project, domain, name and version."""


class Reason(IntEnum):
    """Why a node cannot be taken over; numbers of wingbeatidl.recovery.v1.Reason."""

    NEW = 3
    DEFINITION = 4
    CODE = 5
    INPUTS = 6
    ASKED = 8
    INSIDE = 9


_ANEW = frozenset({Reason.NEW, Reason.INPUTS})
"""Nothing inside of such a node is taken over either."""


class Difference(NamedTuple):
    """What is different about a node."""

    reason: Reason
    explanation: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What the caller knows of the two versions."""

    rerun: tuple[str, ...] = ()
    """Names of tasks that run in any case; `*` stands for any characters."""
    rerun_nodes: frozenset[str] = frozenset()
    """The same by unique ids of nodes."""
    assume_unchanged: tuple[str, ...] = ()
    """Names of tasks whose code is unchanged; `*` stands for any characters."""
    assume_unchanged_nodes: frozenset[str] = frozenset()
    """The same by unique ids of nodes."""
    trusts_code: bool = False
    """Whether the code of all other tasks is unchanged, since those that have changed were named."""
    changed_inputs: frozenset[str] = frozenset()
    """Inputs of the workflow with other values."""
    equal_launch_plans: frozenset[tuple[LaunchPlanKey, LaunchPlanKey]] = frozenset()
    """Two versions of a launch plan that mean the same, the older one first; the same version twice where tasks are
    named to run, none of which it runs."""
    changed_inside: frozenset[str] = frozenset()
    """Unique ids of dynamic nodes in whose workflows something has changed."""

    def runs(self, node_id: str, task: TaskSpec | None) -> bool:
        """Whether a node was named to run."""
        return node_id in self.rerun_nodes or (task is not None and matches(self.rerun, task.name))

    def has_same_code(self, node_id: str, task: TaskSpec) -> bool:
        """Whether the code of a task counts as unchanged although it looks changed."""
        return self.trusts_code or node_id in self.assume_unchanged_nodes or matches(self.assume_unchanged, task.name)


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether a task is meant by one of some names."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


NO_RULES: Final = Rules()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The nodes of a plan and their namesakes; `plan` is the newer one. Nodes are plan indexes."""

    plan: Plan
    differences: Mapping[int, Difference] = field(default_factory=dict[int, Difference])
    rebound: frozenset[int] = frozenset()
    inner: "Mapping[int, Comparison]" = field(default_factory=dict[int, "Comparison"])
    """Of sub-workflow nodes that both have."""

    @property
    def is_equal(self) -> bool:
        """Whether nothing has changed, at any depth."""
        return not self.differences

    def reuse(self) -> Reuse:
        """The same for the core."""
        inner = {node: each.reuse() for node, each in self.inner.items() if not each.is_equal}
        return Reuse(frozenset(self.differences), self.rebound, inner)


def compare_plans(before: Plan, after: Plan, rules: Rules, parent_id: str | None = None) -> Comparison:
    """Compare two plans; `parent_id` is the unique id of the node around them, which is in its first attempt."""
    return _Comparer(before, after, rules, parent_id).compare()


class _Comparer:
    def __init__(self, before: Plan, after: Plan, rules: Rules, parent_id: str | None) -> None:
        self._before = before
        self._after = after
        self._rules = rules
        self._parent_id = parent_id
        self._index = {node_id: node for node, node_id in enumerate(before.ids)}
        self._upstream_before = _upstream(before)
        self._upstream_after = _upstream(after)
        self._inner: dict[int, Comparison] = {}

    def compare(self) -> Comparison:
        after = self._after
        differences: dict[int, Difference] = {}
        rebound: set[int] = set()
        # From the last to the first: arms come after the branch that is made of them.
        for node in reversed(range(START + 1, after.size)):
            found = self._compare(node, differences)
            if found is not None:
                differences[node] = found
                is_named = found.reason is Reason.ASKED and not isinstance(after.targets[node], TaskSpec)
                if found.reason in _ANEW or is_named:
                    rebound.add(node)
        return Comparison(after, dict(sorted(differences.items())), frozenset(rebound), self._inner)

    def _compare(self, node: int, differences: Mapping[int, Difference]) -> Difference | None:
        before, after = self._before, self._after
        old = self._index.get(after.ids[node])
        if old is None:
            return Difference(Reason.NEW, "the workflow had no such node")
        if before.kinds[old] is not after.kinds[node]:
            was, now = before.kinds[old].name.lower(), after.kinds[node].name.lower()
            return Difference(Reason.NEW, f"the node of this id was of kind {was} and is of kind {now}")
        bound = self._compare_inputs(old, node)
        if bound is not None:
            return bound
        node_id = self._unique_id(node)
        target = after.targets[node]
        if self._rules.runs(node_id, _task_of(target)):
            return Difference(Reason.ASKED, "it was named to run")
        return self._compare_targets(before.targets[old], target, node, node_id, differences)

    def _compare_inputs(self, old: int, node: int) -> Difference | None:
        before, after = self._before, self._after
        if _owner_id(before, old) != _owner_id(after, node):
            return Difference(Reason.INPUTS, "it belongs to another condition")
        was = dict(before.bindings[old].bindings)
        now = dict(after.bindings[node].bindings)
        for var in sorted(was.keys() | now.keys()):
            if var not in was or var not in now:
                return Difference(Reason.INPUTS, f"its input '{var}' is {'new' if var in now else 'gone'}")
            if _canonical(was[var], before) != _canonical(now[var], after):
                return Difference(Reason.INPUTS, f"its input '{var}' comes from elsewhere")
        if self._parent_id is None:
            read = _workflow_inputs(now.values()) & self._rules.changed_inputs
            if read:
                return Difference(Reason.INPUTS, f"the input '{min(read)}' of the workflow has another value")
        followed = self._upstream_before[old] ^ self._upstream_after[node]
        if followed:
            other = min(followed)
            verb = "follows" if other in self._upstream_after[node] else "does not follow"
            return Difference(Reason.INPUTS, f"it {verb} node '{other}' now")
        return None

    def _compare_targets(
        self, was: Target | None, now: Target | None, node: int, node_id: str, differences: Mapping[int, Difference]
    ) -> Difference | None:
        match was, now:
            case (TaskSpec(), TaskSpec()):
                if node_id in self._rules.changed_inside:
                    return Difference(Reason.INSIDE, "something in the workflow that it made has changed")
                return _compare_tasks(was, now, node_id, self._rules)
            case (Plan(), Plan()):
                inner = self._inner[node] = compare_plans(was, now, self._rules, node_id)
                return None if inner.is_equal else Difference(Reason.INSIDE, "something inside of it has changed")
            case (BranchSpec(), BranchSpec()):
                return self._compare_branches(was, now, differences)
            case (LaunchPlanSpec(), LaunchPlanSpec()):
                return _compare_launch_plans(was, now, self._rules)
            case (GateSpec(), GateSpec()):
                return _compare_gates(was, now)
            case (ArraySpec(), ArraySpec()):
                return _compare_arrays(was, now, node_id, self._rules)
            case _:
                return None

    def _compare_branches(
        self, was: BranchSpec, now: BranchSpec, differences: Mapping[int, Difference]
    ) -> Difference | None:
        before, after = self._before, self._after
        if _decisions(was, before) != _decisions(now, after):
            return Difference(Reason.DEFINITION, "its conditions have changed")
        if any(arm in differences for arm in now.arms):
            return Difference(Reason.INSIDE, "something in one of its arms has changed")
        return None

    def _unique_id(self, node: int) -> str:
        plan = self._after
        owner = plan.owners[node]
        parent_id = self._parent_id if owner < 0 else self._unique_id(owner)
        return unique_node_id(parent_id, 0, plan.ids[node])


def _compare_tasks(was: TaskSpec, now: TaskSpec, node_id: str, rules: Rules) -> Difference | None:
    if (was.project, was.domain, was.name) != (now.project, now.domain, now.name):
        return Difference(Reason.DEFINITION, f"it ran task '{was.name}' and runs task '{now.name}'")
    old, new = task_identity(was.template), task_identity(now.template)
    changes = definition_changes(old, new)
    if changes is not None:
        return Difference(Reason.DEFINITION, f"task '{now.name}' is defined in another way: {changes}")
    if old.code != new.code and not rules.has_same_code(node_id, now):
        was_code, now_code = _first_difference(old.code, new.code)
        return Difference(Reason.CODE, f"the code of task '{now.name}' may have changed: {was_code} became {now_code}")
    return None


def _compare_launch_plans(was: LaunchPlanSpec, now: LaunchPlanSpec, rules: Rules) -> Difference | None:
    old, new = launch_plan_key(was), launch_plan_key(now)
    if (old, new) in rules.equal_launch_plans or (old == new and not rules.rerun):
        return None
    if old[:3] != new[:3]:
        return Difference(Reason.DEFINITION, f"it ran launch plan '{was.name}' and runs launch plan '{now.name}'")
    return Difference(Reason.INSIDE, f"launch plan '{now.name}', or something that it runs, has changed")


def _compare_gates(was: GateSpec, now: GateSpec) -> Difference | None:
    types = [types_pb2.LiteralType.FromString(spec.signal_type) for spec in (was, now)]
    if (was.kind, was.duration_s, was.signal_id) != (now.kind, now.duration_s, now.signal_id) or types[0] != types[1]:
        return Difference(Reason.DEFINITION, "it waits for something else")
    return None


def _compare_arrays(was: ArraySpec, now: ArraySpec, node_id: str, rules: Rules) -> Difference | None:
    if _shape(was) != _shape(now):
        return Difference(Reason.DEFINITION, "it maps in another way")
    match was.element, now.element:
        case (TaskSpec() as old, TaskSpec() as new):
            return _compare_tasks(old, new, node_id, rules)
        case (Plan() as old, Plan() as new):
            inner = compare_plans(old, new, rules, node_id)
            if not inner.is_equal:
                first = next(iter(inner.differences.values()))
                return Difference(Reason.INSIDE, f"what it maps over has changed: {first.explanation}")
            return None
        case _:
            return Difference(Reason.DEFINITION, "it maps over something else")


def _owner_id(plan: Plan, node: int) -> str | None:
    owner = plan.owners[node]
    return None if owner < 0 else plan.ids[owner]


def _decisions(branch: BranchSpec, plan: Plan) -> tuple[object, ...]:
    otherwise = None if branch.otherwise is None else plan.ids[branch.otherwise]
    return (otherwise, branch.error, *((_plain(case), plan.ids[arm]) for case, arm in branch.cases))


def _shape(array: ArraySpec) -> tuple[object, ...]:
    return (
        array.bound_inputs,
        array.picks,
        array.appends_index,
        array.min_successes,
        array.min_success_ratio,
        array.type,
    )


def launch_plan_key(spec: LaunchPlanSpec) -> LaunchPlanKey:
    """The version of a launch plan that a node runs."""
    return (spec.project, spec.domain, spec.name, spec.version)


def _task_of(target: Target | None) -> TaskSpec | None:
    match target:
        case TaskSpec():
            return target
        case ArraySpec(element=TaskSpec() as task):
            return task
        case _:
            return None


def _upstream(plan: Plan) -> Sequence[frozenset[str]]:
    """Ids of the nodes that each node follows, the start node left out: every node follows that."""
    found: list[set[str]] = [set() for _ in plan.ids]
    for node, successors in enumerate(plan.successors):
        if node != START:
            for successor in successors:
                found[successor].add(plan.ids[node])
    return [frozenset(ids) for ids in found]


_Plain: TypeAlias = "tuple[object, ...]"


def _canonical(binding: Binding, plan: Plan) -> _Plain:
    """A binding with ids for plan indexes, and literals in one form."""
    match binding:
        case Constant():
            literal = literals_pb2.Literal.FromString(binding.literal)
            return ("constant", literal.SerializeToString(deterministic=True))
        case Promise():
            return ("promise", plan.ids[binding.node], binding.var, binding.path)
        case Items():
            return ("items", *(_canonical(element, plan) for element in binding.elements))
        case Entries():
            return ("entries", *((key, _canonical(entry, plan)) for key, entry in binding.entries))


def _workflow_inputs(bindings: Iterable[Binding]) -> set[str]:
    """Inputs of the workflow that bindings read."""
    found: set[str] = set()
    pending = list(bindings)
    while pending:
        match pending.pop():
            case Promise(node=node, var=var):
                if node == START:
                    found.add(var)
            case Items(elements=elements):
                pending += elements
            case Entries(entries=entries):
                pending += (entry for _, entry in entries)
            case Constant():
                pass
    return found


def _plain(condition: Condition) -> _Plain:
    if isinstance(condition, Conjunction):
        return ("both" if condition.is_and else "either", _plain(condition.left), _plain(condition.right))
    return (condition.operator, _operand(condition.left), _operand(condition.right))


def _operand(operand: Operand) -> _Plain:
    if isinstance(operand, Fixed):
        literal = literals_pb2.Literal.FromString(operand.literal)
        return ("constant", literal.SerializeToString(deterministic=True))
    return ("variable", operand.name)


def _first_difference(old: Sequence[str], new: Sequence[str]) -> tuple[str, str]:
    for was, now in zip(old, new, strict=False):
        if was != now:
            return was, now
    return f"{len(old)} images and distributions", str(len(new))
