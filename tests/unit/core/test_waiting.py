"""Why nodes do not run, read off small states."""

import dataclasses

import pytest
from tests.unit.core.arrays import array, begun, launches
from tests.unit.core.caching import open_array
from tests.unit.core.plans import line, task

from wingbeat_propeller.core.bindings import BindingProgram
from wingbeat_propeller.core.effects import Launch, NodeRef
from wingbeat_propeller.core.element_ids import stored_parent_id
from wingbeat_propeller.core.events import (
    Begin,
    ChildStarted,
    Continue,
    Event,
    TaskBecameDynamic,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
)
from wingbeat_propeller.core.ids import ExecutionKey, child_execution_name
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.plan import END, FailurePolicy, GateKind, GateSpec, LaunchPlanSpec, NodeKind, Plan
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.waiting.explanation import Explanation, explain
from wingbeat_propeller.core.walk import STEP_NODES_MAX
from wingbeatidl.query.v1 import why_pb2


class Run:
    """An execution that a test drives node by node."""

    def __init__(self, plan: Plan, **settings: object) -> None:
        options = Settings(base_uri="mem://b", **settings)  # pyright: ignore[reportArgumentType]
        self.state = ExecutionState(ExecutionKey(1), "p", "d", "e", plan, options)
        self.launches: dict[str, Launch] = {}
        self.send(Begin(100.0, {"x": b"\x0a\x00"}))

    def send(self, event: Event) -> None:
        """One step; launches are kept by node."""
        for command in step(self.state, event).commands:
            if isinstance(command, Launch):
                self.launches[command.node_id] = command

    def start(self, node: str, at: float = 101.0) -> None:
        """The node's attempt runs."""
        self.send(TaskStarted(at, self.launches[node].ref, at))

    def succeed(self, node: str, at: float = 102.0) -> None:
        """The node's attempt ends well."""
        self.send(TaskSucceeded(at, self.launches[node].ref, at, {"o0": b"\x0a\x00"}, b""))

    def fail(self, node: str, at: float = 102.0, *, retryable: bool = False, kind: ErrorKind = ErrorKind.USER) -> None:
        """The node's attempt fails."""
        failure = Failure(kind, "Bad", "it broke", retryable=retryable)
        self.send(TaskFailed(at, self.launches[node].ref, at, failure))

    def why(self, question: str = "", nodes_max: int = 100) -> Explanation:
        """Ask; the node is known."""
        found = explain(self.state, KINDS, question, nodes_max=nodes_max)
        assert found is not None
        return found

    def answer(self, node: str) -> why_pb2.NodeAnswer:
        """What is said about one node."""
        return self.why(node).nodes[0][1]


def _wide(width: int, policy: FailurePolicy = FailurePolicy.FAIL_IMMEDIATELY) -> Plan:
    """Tasks w0, w1, ... that depend on nothing, and `last`, which comes after all of them."""
    count = width + 3
    last = count - 1
    ids = ("start-node", "end-node", *(f"w{number}" for number in range(width)), "last")
    between = tuple(range(2, last))
    return dataclasses.replace(
        line(*(task(name) for name in ids[2:])),
        policy=policy,
        ids=ids,
        names=("", "", *(f"work {number}" for number in range(width)), "the last"),
        indegree=(0, 1, *(1 for _ in between), width),
        successors=(between, (), *((last,) for _ in between), (END,)),
        bindings=(BindingProgram(),) * count,
        uses=(0,) * count,
    )


def _ids(explanation: Explanation) -> list[str]:
    return [answer.node_id for _, answer in explanation.nodes]


def test_a_chain_down_to_its_root() -> None:
    """A node waits for the one before, and so on down to the one that runs; each step is told, the root is named."""
    run = Run(line(task("a"), task("b"), task("c")))
    run.start("n0")
    found = run.why("n2")
    assert _ids(found) == ["n2", "n1", "n0"]
    assert (found.asked, found.roots, found.root_count, found.node_count) == (1, ["n0"], 1, 3)
    last, middle, root = (answer for _, answer in found.nodes)
    assert last.standing == middle.standing == why_pb2.STANDING_NOT_REACHED
    assert [node.node_id for node in last.reasons[0].dependency.unfinished] == ["n1"]
    assert (list(last.waits_for), list(middle.waits_for), list(root.waits_for)) == (["n1"], ["n0"], [])
    assert root.standing == why_pb2.STANDING_RUNNING
    assert root.reasons[0].running.since.seconds == 101


def test_only_what_has_not_finished_is_named() -> None:
    """Of several dependencies those that have ended are left out."""
    run = Run(_wide(3))
    run.succeed("w1")
    answer = run.answer("last")
    assert [node.node_id for node in answer.reasons[0].dependency.unfinished] == ["w0", "w2"]
    assert answer.reasons[0].dependency.unfinished_count == 2
    assert answer.name == "the last"


def test_a_node_held_by_max_parallelism() -> None:
    """It names the limit, who holds the slots, and its place in line, which moves up as nodes end."""
    run = Run(_wide(5), max_parallelism=2)
    run.start("w0", 101.5)
    answer = run.answer("w4")
    assert answer.standing == why_pb2.STANDING_HELD
    held = answer.reasons[0].parallelism
    assert (held.limit, held.holder_count, held.ahead) == (2, 2, 2)
    assert [(holder.node_id, holder.name, holder.attempt) for holder in held.holders] == [
        ("w0", "work 0", 0),
        ("w1", "work 1", 0),
    ]
    assert held.holders[0].since.seconds == 101
    assert held.holders[0].execution.name == "e"
    run.succeed("w0")
    moved = run.answer("w4").reasons[0].parallelism
    assert [holder.node_id for holder in moved.holders] == ["w1", "w2"]
    assert moved.ahead == 1


def test_the_execution_as_a_whole() -> None:
    """Without a node the root causes are told: what is under way or could be, and waits for no other node."""
    inner = line(task("a"), task("b"))
    run = Run(line(inner, task("c")))
    assert _ids(run.why()) == ["n0-0-n0"]
    wide = Run(_wide(4), max_parallelism=3)
    found = wide.why()
    assert _ids(found) == ["w0", "w1", "w2", "w3"]
    assert found.asked == 0
    assert [answer.standing for _, answer in found.nodes] == [why_pb2.STANDING_QUEUED] * 3 + [why_pb2.STANDING_HELD]


def test_a_sub_workflow_waits_for_what_is_inside() -> None:
    """From a node behind a sub-workflow the chain leads into it."""
    run = Run(line(line(task("a"), task("b")), task("c")))
    run.start("n0-0-n0")
    found = run.why("n1")
    assert _ids(found) == ["n1", "n0", "n0-0-n0"]
    around = found.nodes[1][1]
    assert around.kind == "workflow"
    assert [node.node_id for node in around.reasons[0].inner.nodes] == ["n0-0-n0"]
    inside = found.nodes[2][1]
    assert inside.parent_node_id == "n0"
    assert inside.spec_node_id == "n0"


def test_nodes_by_id_name_and_by_what_is_inside() -> None:
    """A unique id is one node; an id in workflows or a name may be several; what has not begun is told by its place."""
    inner = dataclasses.replace(line(task("a")), names=("", "", "square"))
    run = Run(line(inner, inner))
    assert _ids(run.why("n0"))[0] == "n0"
    assert _ids(run.why("n0-0-n0")) == ["n0-0-n0"]
    assert _ids(run.why("square")) == ["n0-0-n0"]
    run.succeed("n0-0-n0")
    assert _ids(run.why("square")) == ["n1-0-n0"]
    fresh = Run(line(task("a"), inner))
    assert _ids(fresh.why("square")) == ["n1", "n0"]
    assert explain(fresh.state, KINDS, "absent", nodes_max=10) is None


def test_inputs_in_the_making() -> None:
    """A node whose inputs are read or written says so."""
    run = Run(line(task("a"), task("b")))
    run.send(TaskSucceeded(102.0, run.launches["n0"].ref, 102.0, {"o0": b"\x0a" + bytes(200_000)}, None))
    answer = run.answer("n1")
    assert answer.standing == why_pb2.STANDING_PREPARING
    assert answer.reasons[0].WhichOneof("reason") == "preparation"


def test_deadlines() -> None:
    """A node tells when its timeout will end it: its attempt's once that runs, else that of all attempts."""
    run = Run(line(task("a"), timeout_s=10))
    assert run.answer("n0").deadline.seconds == 120
    run.start("n0", 105.0)
    assert run.answer("n0").deadline.seconds == 115


def test_what_failed_upstream_rules_a_node_out() -> None:
    """With other nodes still under way, what depends on the failed one will be skipped, and the culprit is named."""
    run = Run(_wide(2, FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE))
    run.fail("w0")
    answer = run.answer("last")
    assert answer.standing == why_pb2.STANDING_RULED_OUT
    assert answer.reasons[0].ruled_out.cause == why_pb2.RuledOut.CAUSE_UPSTREAM_FAILED
    assert [node.node_id for node in answer.reasons[0].ruled_out.nodes] == ["w0"]
    assert not answer.waits_for
    ended = run.answer("w0")
    assert ended.standing == why_pb2.STANDING_ENDED
    assert ended.phase == 5


def test_a_failing_workflow_rules_its_nodes_out() -> None:
    """While the failure node runs nothing else will; before, the failure node itself is ruled out."""
    plan = dataclasses.replace(line(task("a"), task("b"), task("handler")), failure_node=4)
    plan = dataclasses.replace(
        plan, successors=((2,), (), (3,), (END,), ()), bindings=(BindingProgram(),) * 5, uses=(0,) * 5
    )
    run = Run(plan)
    before = run.answer("n2")
    assert before.reasons[0].ruled_out.cause == why_pb2.RuledOut.CAUSE_ONLY_ON_FAILURE
    run.fail("n0")
    after = run.answer("n1")
    assert after.reasons[0].ruled_out.cause == why_pb2.RuledOut.CAUSE_WORKFLOW_FAILING
    assert after.reasons[0].ruled_out.error == "it broke"
    assert [node.node_id for node in after.reasons[0].ruled_out.nodes] == ["n0"]
    assert run.answer("n2").standing == why_pb2.STANDING_QUEUED


def test_answers_have_a_limit_and_keep_the_roots() -> None:
    """However long the way, the answer has room for its end."""
    run = Run(line(*(task(f"t{number}") for number in range(50))))
    found = run.why("n49", nodes_max=3)
    assert _ids(found) == ["n49", "n48", "n0"]
    assert (found.roots, found.root_count, found.node_count) == (["n0"], 1, 50)
    wide = Run(_wide(500), max_parallelism=1).why(nodes_max=7)
    assert (len(wide.nodes), len(wide.roots), wide.root_count) == (7, 7, 500)


def test_asking_changes_nothing() -> None:
    """The same events after a question have the same effects as without it."""

    def effects(*, ask: bool) -> list[str]:
        run = Run(_wide(4), max_parallelism=2)
        seen: list[str] = []
        for node in ("w0", "w1", "w2", "w3", "last"):
            if ask:
                for question in ("", "last", "w3", "start-node", "end-node"):
                    run.why(question)
            seen += run.launches
            run.succeed(node)
        return seen

    assert effects(ask=True) == effects(ask=False)


def test_every_node_at_every_moment_has_an_answer() -> None:
    """Whatever is asked when, each node has a standing, and the way down ends at the node that is under way."""
    inner = line(task("a"), task("b"))
    run = Run(line(task("c"), inner, task("d")), max_parallelism=1)
    ids = ["start-node", "n0", "n1", "n1-0-n0", "n1-0-n1", "n2", "end-node"]
    for ending in ("n0", "n1-0-n0", "n1-0-n1", "n2"):
        for node in ids:
            found = explain(run.state, KINDS, node, nodes_max=100)
            if found is None:
                assert node.startswith("n1-")
                continue
            answer = found.nodes[0][1]
            assert answer.standing != why_pb2.STANDING_UNSPECIFIED
            assert answer.reasons or answer.standing in (why_pb2.STANDING_ENDED, why_pb2.STANDING_QUEUED)
            if answer.standing != why_pb2.STANDING_ENDED:
                assert found.roots == [ending]
        run.succeed(ending)
    assert run.state.ended


def test_a_pause_before_the_next_attempt() -> None:
    """After a failure of the system the node tells until when it pauses, and which attempt follows."""
    run = Run(line(task("a")))
    run.fail("n0", 200.0, retryable=True, kind=ErrorKind.SYSTEM)
    answer = run.answer("n0")
    assert answer.standing == why_pb2.STANDING_WAITING
    pause = answer.reasons[0].back_off
    assert pause.next_attempt == 1
    assert 200 < pause.until.seconds + pause.until.nanos / 1e9 <= 201


def test_a_workflow_made_by_a_task() -> None:
    """A dynamic node waits for what its task has made, and counts as running."""
    run = Run(line(task("a"), task("b")))
    run.start("n0")
    made = dataclasses.replace(line(task("c")), bindings=(BindingProgram(),) * 3, uses=(0,) * 3)
    run.send(TaskBecameDynamic(103.0, run.launches["n0"].ref, 103.0, made, b"", "mem://b/futures.pb"))
    found = run.why("n1")
    assert _ids(found) == ["n1", "n0", "n0-0-n0"]
    dynamic = found.nodes[1][1]
    assert dynamic.standing == why_pb2.STANDING_RUNNING
    assert [reason.WhichOneof("reason") for reason in dynamic.reasons] == ["inner"]


def test_nodes_that_the_next_step_begins() -> None:
    """Of a wide graph the engine begins a part at a time; the others are ready, and count among the root causes."""
    run = Run(_wide(STEP_NODES_MAX + 100))
    answer = run.answer(f"w{STEP_NODES_MAX + 50}")
    assert answer.standing == why_pb2.STANDING_READY
    assert not answer.reasons
    assert run.why().root_count == STEP_NODES_MAX + 100
    assert run.why("last").root_count == STEP_NODES_MAX + 100
    run.send(Continue(101.0))
    assert run.answer(f"w{STEP_NODES_MAX + 50}").standing == why_pb2.STANDING_QUEUED


def _gated(target: GateSpec | LaunchPlanSpec) -> Plan:
    """A node of another kind, then a task."""
    plan = line(task("a"), task("b"))
    kind = NodeKind.GATE if isinstance(target, GateSpec) else NodeKind.LAUNCH_PLAN
    return dataclasses.replace(
        plan,
        kinds=(*plan.kinds[:2], kind, NodeKind.TASK),
        targets=(None, None, target, plan.targets[3]),
        bindings=(BindingProgram(),) * 4,
        uses=(0,) * 4,
    )


def test_gates() -> None:
    """A sleep tells until when, the others which signal nobody gave."""
    sleeping = Run(_gated(GateSpec(GateKind.SLEEP, 60.0, "", b"", ()))).answer("n0")
    assert sleeping.standing == why_pb2.STANDING_WAITING
    assert sleeping.reasons[0].sleep.until.seconds == 160
    for kind, approval in ((GateKind.SIGNAL, False), (GateKind.APPROVE, True)):
        run = Run(_gated(GateSpec(kind, 0.0, "go", b"", ())))
        asked = run.answer("n0").reasons[0].signal
        assert (asked.signal_id, asked.approval) == ("go", approval)
        assert run.why("n1").roots == ["n0"]


def test_an_execution_of_its_own() -> None:
    """A launch plan node names the execution that it creates, then waits for."""
    run = Run(_gated(LaunchPlanSpec("p", "d", "lp", "1", ())))
    starting = run.answer("n0")
    assert starting.standing == why_pb2.STANDING_STARTING
    child = starting.reasons[0].child_execution
    assert (child.execution.name, child.exists) == (child_execution_name("e", "n0", 0), False)
    run.send(ChildStarted(105.0, NodeRef(0, 2, 0), "p", "d", child.execution.name))
    waiting = run.answer("n0")
    assert waiting.standing == why_pb2.STANDING_WAITING
    assert waiting.reasons[0].child_execution.exists


@pytest.mark.parametrize("node_id", ["n0", "a-map-of-many-items"])
def test_elements_of_arrays(node_id: str) -> None:
    """By the ids that clients know them by, however long: attempts are told by their array, workflows by the nodes
    inside; there are no elements beyond the last one."""
    state, effects = begun(array(), [1, 2, 3], node_id=node_id)
    open_array(state, effects)
    for element in range(3):
        found = explain(state, KINDS, f"{node_id}-0-n{element}", nodes_max=100)
        assert found is not None
        assert _ids(found) == [node_id]
    assert explain(state, KINDS, f"{node_id}-0-n3", nodes_max=100) is None
    inner = dataclasses.replace(line(task("a"), task("b")), bindings=(BindingProgram(),) * 4, uses=(0,) * 4)
    nested, _ = begun(array(inner), [1, 2], node_id=node_id)
    found = explain(nested, KINDS, f"{node_id}-0-n1", nodes_max=100)
    assert found is not None
    assert {answer.parent_node_id for _, answer in found.nodes} == {stored_parent_id(f"{node_id}-0-n1")}


def test_elements_that_run_are_named_as_clients_know_them() -> None:
    """An array names those that run, and each can be asked about by that name."""
    node_id = "a-map-of-many-items"
    state, effects = begun(array(), [1, 2], node_id=node_id)
    for launch in launches(open_array(state, effects)):
        step(state, TaskStarted(101.0, launch.ref, 101.0))
    found = explain(state, KINDS, node_id, nodes_max=100)
    assert found is not None
    running = found.nodes[0][1].reasons[0].elements.running
    assert [holder.node_id for holder in running] == [f"{node_id}-0-n0", f"{node_id}-0-n1"]
    assert all(explain(state, KINDS, holder.node_id, nodes_max=100) for holder in running)


def test_an_element_of_an_array_that_has_not_begun() -> None:
    """It waits for what its array waits for."""
    plan = line(task("a"), task("b"))
    kinds = (*plan.kinds[:3], NodeKind.ARRAY)
    found = Run(dataclasses.replace(plan, kinds=kinds, targets=(*plan.targets[:3], array()))).why("n1-0-n7")
    assert _ids(found) == ["n1", "n0"]
