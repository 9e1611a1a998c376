"""What a recovery says beforehand of each node."""

import dataclasses
from fractions import Fraction

from flyteidl.core import literals_pb2, tasks_pb2
from tests.unit.core.arrays import array, array_plan
from tests.unit.core.plans import line, task

from wingbeat_controlplane.executions.recovery_fates import Past, decide_fates
from wingbeat_propeller.compiler.comparison import NO_RULES, Rules, compare_plans
from wingbeat_propeller.core.conditions import Comparison, Fixed, Operator, Variable
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import BranchSpec, LaunchPlanSpec, NodeKind, Plan, TaskSpec
from wingbeat_propeller.core.rows import FLAG_DYNAMIC, FLAG_PARENT
from wingbeatidl.recovery.v1 import recovery_pb2

DONE = Past(NodePhase.SUCCEEDED, 0)
FAILED = Past(NodePhase.FAILED, 0)


def _task(name: str, command: str = "run") -> TaskSpec:
    template = tasks_pb2.TaskTemplate(type="python-task")
    template.container.args.append(command)
    return dataclasses.replace(task(name), template=template)


def _fates(
    before: Plan, after: Plan, past: dict[str, Past], rules: Rules = NO_RULES, *, same_version: bool = False
) -> dict[str, str]:
    decisions = decide_fates(compare_plans(before, after, rules), past, same_version=same_version)
    names = recovery_pb2.Fate, recovery_pb2.Reason
    return {
        each.node_id: f"{names[0].Name(each.fate)[5:]} {names[1].Name(each.reason)[7:]}: {each.explanation}"
        for each in decisions
    }


def _short(fates: dict[str, str]) -> dict[str, str]:
    return {node: text.partition(":")[0] for node, text in fates.items()}


def test_the_same_code() -> None:
    """What succeeded is reused, what failed runs, and so does what follows; nodes come in the order of the graph."""
    plan = line(_task("a"), _task("b"), _task("c"))
    fates = _fates(plan, plan, {"n0": DONE, "n1": FAILED}, same_version=True)
    assert list(fates.items()) == [
        ("n0", "REUSED UNCHANGED: it succeeded, and nothing about it has changed"),
        ("n1", "RUNS NOT_SUCCEEDED: it was FAILED"),
        ("n2", "RUNS UPSTREAM: it follows node 'n1', which runs"),
        ("end-node", "RUNS UPSTREAM: it follows node 'n2', which runs"),
    ]


def test_nodes_that_recovered_count_as_succeeded_and_skipped_ones_for_nothing() -> None:
    """As while it runs."""
    plan = line(_task("a"), _task("b"))
    past = {"n0": Past(NodePhase.RECOVERED, 0), "n1": Past(NodePhase.SKIPPED, 0)}
    assert _short(_fates(plan, plan, past)) == {
        "n0": "REUSED UNCHANGED",
        "n1": "RUNS NOT_SUCCEEDED",
        "end-node": "RUNS UPSTREAM",
    }


def test_what_changed_deep_inside() -> None:
    """The sub-workflow is opened, and its nodes are told of; those of one that is reused as a whole are not."""
    before = line(line(_task("a"), _task("b")), line(_task("c")), _task("d"))
    after = line(line(_task("a"), _task("b", "other")), line(_task("c")), _task("d"))
    past = dict.fromkeys(("n0", "n1", "n2", "end-node", "n0-0-n0", "n0-0-n1", "n0-0-end-node", "n1-0-n0"), DONE)
    assert _short(_fates(before, after, past)) == {
        "n0": "PARTLY_REUSED INSIDE",
        "n0-0-n0": "REUSED UNCHANGED",
        "n0-0-n1": "RUNS DEFINITION",
        "n0-0-end-node": "RUNS UPSTREAM",
        "n1": "RUNS UPSTREAM",
        "n2": "RUNS UPSTREAM",
        "end-node": "RUNS UPSTREAM",
    }


def test_a_sub_workflow_that_failed() -> None:
    """What succeeded in it is reused."""
    plan = line(line(_task("a"), _task("b")))
    fates = _short(_fates(plan, plan, {"n0": FAILED, "n0-0-n0": DONE, "n0-0-n1": FAILED}))
    assert (fates["n0"], fates["n0-0-n0"], fates["n0-0-n1"]) == (
        "PARTLY_REUSED NOT_SUCCEEDED",
        "REUSED UNCHANGED",
        "RUNS NOT_SUCCEEDED",
    )


def test_launch_plans_and_dynamic_tasks() -> None:
    """They go on from what they had begun."""
    plan = line(_task("a"), _task("dyn"))
    spec = LaunchPlanSpec("p", "d", "lp", "v", ())
    plan = dataclasses.replace(
        plan,
        kinds=(NodeKind.START, NodeKind.END, NodeKind.LAUNCH_PLAN, NodeKind.TASK),
        targets=(None, None, spec, plan.targets[3]),
    )
    past = {"n0": DONE, "n1": Past(NodePhase.FAILED, FLAG_PARENT | FLAG_DYNAMIC)}
    assert "goes on" in _fates(plan, plan, past, same_version=True)["n1"]
    assert "anew" in _fates(plan, plan, past)["n1"]
    assert _fates(plan, plan, {"n0": FAILED})["n0"].startswith("PARTLY_REUSED NOT_SUCCEEDED")


def test_arrays() -> None:
    """Elements that succeeded need not run again, unless something about the array has changed."""
    plan, other = array_plan(array()), array_plan(array(min_success_ratio=Fraction(1, 2)))
    assert _short(_fates(plan, plan, {"n0": FAILED}))["n0"] == "PARTLY_REUSED NOT_SUCCEEDED"
    assert _short(_fates(plan, other, {"n0": FAILED}))["n0"] == "RUNS DEFINITION"


def _branch(command: str = "run") -> Plan:
    plan = line(_task("a"), _task("after"))
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=1)))
    case = Comparison(Operator.EQ, Variable("x"), Fixed(literal.SerializeToString()))
    spec = BranchSpec(((case, 4), (case, 5)), None, "no", ("o0",))
    more = (plan.bindings[2], plan.bindings[2])
    return dataclasses.replace(
        plan,
        ids=(*plan.ids, "one", "two"),
        names=(*plan.names, "one", "two"),
        kinds=(NodeKind.START, NodeKind.END, NodeKind.BRANCH, NodeKind.TASK, NodeKind.TASK, NodeKind.TASK),
        indegree=(*plan.indegree, 1, 1),
        successors=(*plan.successors, (), ()),
        bindings=(*plan.bindings, *more),
        uses=(*plan.uses, 0, 0),
        targets=(None, None, spec, plan.targets[3], _task("one"), _task("two", command)),
        owners=(-1, -1, -1, -1, 2, 2),
    )


def test_conditions() -> None:
    """A change in an arm that was not taken changes nothing; one in the arm that was makes it run."""
    past = {"n0": DONE, "n1": DONE, "end-node": DONE}
    taken_one, taken_two = past | {"n0-0-one": DONE}, past | {"n0-0-two": DONE}
    assert _short(_fates(_branch(), _branch("other"), taken_one)) == {
        "n0": "REUSED UNCHANGED",
        "n0-0-one": "REUSED UNCHANGED",
        "n1": "REUSED UNCHANGED",
        "end-node": "REUSED UNCHANGED",
    }
    assert _short(_fates(_branch(), _branch("other"), taken_two)) == {
        "n0": "PARTLY_REUSED INSIDE",
        "n0-0-two": "RUNS DEFINITION",
        "n1": "RUNS UPSTREAM",
        "end-node": "RUNS UPSTREAM",
    }


def test_failure_nodes_are_not_told_of() -> None:
    """They run only if it fails."""
    plan = dataclasses.replace(line(_task("a"), _task("handler")), failure_node=3, successors=((2,), (), (1,), ()))
    assert set(_fates(plan, plan, {})) == {"n0", "end-node"}
