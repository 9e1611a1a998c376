"""What has changed between two versions of a workflow: node by node, at every depth."""

import dataclasses
from fractions import Fraction

import pytest
from flyteidl.core import literals_pb2, tasks_pb2, types_pb2
from tests.unit.core.plans import line, task

from wingbeat_propeller.compiler.comparison import Comparison, Reason, Rules, compare_plans
from wingbeat_propeller.core.bindings import BindingProgram, Constant, Promise
from wingbeat_propeller.core.conditions import Comparison as Condition
from wingbeat_propeller.core.conditions import Fixed, Operator, Variable
from wingbeat_propeller.core.plan import (
    ArraySpec,
    BranchSpec,
    GateKind,
    GateSpec,
    LaunchPlanSpec,
    NodeKind,
    Plan,
    Target,
    TaskSpec,
)

NO_RULES = Rules()


def _task(name: str, *, code: str = "img:1", command: str = "run") -> TaskSpec:
    template = tasks_pb2.TaskTemplate(type="python-task")
    template.id.name = name
    template.container.image = code
    template.container.args.append(command)
    return dataclasses.replace(task(name), template=template)


def _reasons(before: Plan, after: Plan, rules: Rules = NO_RULES) -> dict[str, Reason]:
    return _by_id(compare_plans(before, after, rules))


def _by_id(comparison: Comparison) -> dict[str, Reason]:
    return {comparison.plan.ids[node]: difference.reason for node, difference in comparison.differences.items()}


def _retargeted(plan: Plan, node: int, target: Target, kind: NodeKind | None = None) -> Plan:
    targets = tuple(target if each == node else known for each, known in enumerate(plan.targets))
    kinds = tuple(kind if kind and each == node else known for each, known in enumerate(plan.kinds))
    return dataclasses.replace(plan, targets=targets, kinds=kinds)


def test_the_same_plan_is_equal() -> None:
    """Registered again, under another name and version of everything."""
    plan = line(_task("a"), line(_task("b"), _task("c")))
    again = dataclasses.replace(line(_task("a"), line(_task("b"), _task("c"))), name="renamed")
    assert compare_plans(plan, again, NO_RULES).is_equal


def test_a_task_that_is_told_something_else() -> None:
    """The explanation says what."""
    before, after = line(_task("a"), _task("b")), line(_task("a"), _task("b", command="run --fast"))
    comparison = compare_plans(before, after, NO_RULES)
    assert _by_id(comparison) == {"n1": Reason.DEFINITION}
    assert "/container/args" in comparison.differences[3].explanation
    assert "run --fast" in comparison.differences[3].explanation


def test_another_task_in_the_place_of_one() -> None:
    """However alike they are."""
    assert _reasons(line(_task("a")), line(_task("b"))) == {"n0": Reason.DEFINITION}


def test_changed_code_counts_as_a_change_unless_somebody_knows_better() -> None:
    """By default every task whose image or distribution is another one; with tasks named to run again only these; with
    tasks named as unchanged all but these. Patterns and node ids do as well; a definition that changed is a change
    whatever anybody says."""
    before = line(_task("m.a"), _task("m.b"), _task("m.c"))
    after = line(_task("m.a", code="img:2"), _task("m.b", code="img:2"), _task("m.c", code="img:2", command="other"))
    assert _reasons(before, after) == {"n0": Reason.CODE, "n1": Reason.CODE, "n2": Reason.DEFINITION}
    assert _reasons(before, after, Rules(rerun=("m.b",), trusts_code=True)) == {
        "n1": Reason.ASKED,
        "n2": Reason.DEFINITION,
    }
    assert _reasons(before, after, Rules(rerun_nodes=frozenset({"n0"}), trusts_code=True)) == {
        "n0": Reason.ASKED,
        "n2": Reason.DEFINITION,
    }
    assert _reasons(before, after, Rules(assume_unchanged_nodes=frozenset({"n0"}))) == {
        "n1": Reason.CODE,
        "n2": Reason.DEFINITION,
    }
    assert _reasons(before, after, Rules(assume_unchanged=("m.a",))) == {"n1": Reason.CODE, "n2": Reason.DEFINITION}
    assert _reasons(before, after, Rules(assume_unchanged=("m.*",))) == {"n2": Reason.DEFINITION}


def test_the_same_version_with_tasks_named_to_run() -> None:
    """A plan compared with itself differs in what was named."""
    plan = line(_task("m.a"), line(_task("m.b")))
    comparison = compare_plans(plan, plan, Rules(rerun=("m.b",)))
    assert _by_id(comparison) == {"n1": Reason.INSIDE}
    assert _by_id(comparison.inner[3]) == {"n0": Reason.ASKED}
    assert not comparison.rebound
    reuse = comparison.reuse()
    assert reuse.changed == {3}
    assert reuse.inner[3].changed == {2}


def test_a_node_inside_is_named_by_its_unique_id() -> None:
    """As clients show it."""
    plan = line(line(_task("a"), _task("b")))
    comparison = compare_plans(plan, plan, Rules(rerun_nodes=frozenset({"n0-0-n1"})))
    assert _by_id(comparison.inner[2]) == {"n1": Reason.ASKED}
    whole = compare_plans(plan, plan, Rules(rerun_nodes=frozenset({"n0"})))
    assert _by_id(whole) == {"n0": Reason.ASKED}
    assert whole.rebound == {2}, "nothing inside of it is taken over"


def test_inputs_from_elsewhere() -> None:
    """Another output, another node, another constant, one input more: the node runs, with all that is inside."""
    plan = line(_task("a"), line(_task("b")), _task("c"))

    def bound(program: BindingProgram) -> dict[str, Reason]:
        bindings = tuple(program if node == 3 else known for node, known in enumerate(plan.bindings))
        comparison = compare_plans(plan, dataclasses.replace(plan, bindings=bindings), NO_RULES)
        assert comparison.rebound == frozenset(comparison.differences)
        return _by_id(comparison)

    def literal(value: int) -> bytes:
        primitive = literals_pb2.Primitive(integer=value)
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive)).SerializeToString()

    assert bound(plan.bindings[3]) == {}
    for program in (
        BindingProgram((("x", Promise(2, "o1")),), (2,)),
        BindingProgram((("x", Promise(2, "o0", (0,))),), (2,)),
        BindingProgram((("x", Promise(0, "x")),), (0,)),
        BindingProgram((("x", Constant(literal(1))),)),
        BindingProgram((*plan.bindings[3].bindings, ("y", Constant(literal(1)))), (2,)),
        BindingProgram(),
    ):
        assert bound(program) == {"n1": Reason.INPUTS}


def test_inputs_of_the_workflow_with_other_values() -> None:
    """Only nodes that read them at top level; what is inside gets them by its bindings."""
    plan = line(_task("a"), line(_task("b")))
    assert _reasons(plan, plan, Rules(changed_inputs=frozenset({"x"}))) == {"n0": Reason.INPUTS}
    assert _reasons(plan, plan, Rules(changed_inputs=frozenset({"unread"}))) == {}


def test_nodes_that_are_new_and_nodes_that_follow_others() -> None:
    """Ids decide who is who; whoever follows other nodes than before runs."""
    before, after = line(_task("a"), _task("c")), line(_task("a"), _task("b"), _task("c"))
    renamed = dataclasses.replace(after, ids=("start-node", "end-node", "n0", "nx", "n1"))
    assert _reasons(before, renamed) == {"nx": Reason.NEW, "n1": Reason.INPUTS}
    ordered = dataclasses.replace(
        line(_task("a"), _task("b")), successors=((2, 3), (), (1,), (1,)), indegree=(0, 2, 1, 1)
    )
    ordered = dataclasses.replace(ordered, bindings=(*ordered.bindings[:3], ordered.bindings[2]))
    chained = dataclasses.replace(ordered, successors=((2,), (), (3,), (1,)), indegree=(0, 1, 1, 1))
    assert _reasons(ordered, chained) == {"end-node": Reason.INPUTS, "n1": Reason.INPUTS}


def test_another_kind_of_node() -> None:
    """It is as good as new."""
    before, after = line(_task("a")), line(line(_task("a")))
    assert _reasons(before, after) == {"n0": Reason.NEW}


def _branch(first: str, *, than: bool = True, arm: TaskSpec | None = None) -> Plan:
    plan = line(_task("a"), _task("b"))
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(boolean=than)))
    case = Condition(Operator.EQ, Variable(first), Fixed(literal.SerializeToString()))
    branch = BranchSpec(((case, 3),), None, "no", ("o0",))
    kinds = (NodeKind.START, NodeKind.END, NodeKind.BRANCH, NodeKind.TASK)
    return dataclasses.replace(
        plan,
        kinds=kinds,
        targets=(None, None, branch, arm or _task("arm")),
        owners=(-1, -1, -1, 2),
        successors=((2,), (), (1,), ()),
    )


def test_conditions() -> None:
    """A branch is what its conditions are, and no more than its arms."""
    assert _reasons(_branch("x"), _branch("x")) == {}
    assert _reasons(_branch("x"), _branch("x", than=False)) == {"n0": Reason.DEFINITION}
    assert _reasons(_branch("x"), _branch("x", arm=_task("arm", command="other"))) == {
        "n0": Reason.INSIDE,
        "n1": Reason.DEFINITION,
    }


def test_launch_plans() -> None:
    """Equal if they are the same version, or known to mean the same."""
    plan = _retargeted(line(_task("a")), 2, LaunchPlanSpec("p", "d", "lp", "v1", ()), NodeKind.LAUNCH_PLAN)
    newer = _retargeted(plan, 2, LaunchPlanSpec("p", "d", "lp", "v2", ()))
    other = _retargeted(plan, 2, LaunchPlanSpec("p", "d", "other", "v1", ()))
    assert _reasons(plan, plan) == {}
    assert _reasons(plan, newer) == {"n0": Reason.INSIDE}
    assert _reasons(plan, other) == {"n0": Reason.DEFINITION}
    assert _reasons(plan, plan, Rules(rerun=("some.task",))) == {"n0": Reason.INSIDE}, "it may run that task"
    pair = (("p", "d", "lp", "v1"), ("p", "d", "lp", "v2"))
    assert _reasons(plan, newer, Rules(equal_launch_plans=frozenset({pair}))) == {}


def test_gates() -> None:
    """What they wait for."""
    boolean = types_pb2.LiteralType(simple=types_pb2.BOOLEAN).SerializeToString()
    gate = GateSpec(GateKind.APPROVE, 0.0, "ok?", boolean, ("o0",))
    plan = _retargeted(line(_task("a")), 2, gate, NodeKind.GATE)
    assert _reasons(plan, plan) == {}
    assert _reasons(plan, _retargeted(plan, 2, dataclasses.replace(gate, signal_id="really?"))) == {
        "n0": Reason.DEFINITION
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"parallelism": 9, "attempts_max": 7, "timeout_s": 3.0, "interruptible": True, "version": "v2"}, None),
        ({"min_successes": 1}, Reason.DEFINITION),
        ({"bound_inputs": frozenset({"x"})}, Reason.DEFINITION),
        ({"element": _task("e", command="other")}, Reason.DEFINITION),
        ({"element": _task("e", code="img:2")}, Reason.CODE),
        ({"element": line(_task("e"))}, Reason.DEFINITION),
    ],
)
def test_arrays(changes: dict[str, object], reason: Reason | None) -> None:
    """What they map over, and how many must succeed; not how fast they do it."""
    array = ArraySpec(
        project="p",
        domain="d",
        name="e",
        version="v1",
        element=_task("e"),
        bound_inputs=frozenset(),
        picks=False,
        appends_index=False,
        parallelism=0,
        min_successes=None,
        min_success_ratio=Fraction(1),
        runs_all=False,
        attempts_max=1,
        timeout_s=0.0,
        interruptible=None,
        input_names=("x",),
        output_names=("o0",),
    )
    plan = _retargeted(line(_task("a")), 2, array, NodeKind.ARRAY)
    changed = _retargeted(plan, 2, dataclasses.replace(array, **changes))
    assert _reasons(plan, changed) == ({} if reason is None else {"n0": reason})
