"""What an execution takes over from the one that it recovers: single rules."""

import dataclasses
from collections.abc import Mapping, Sequence

from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.event import event_pb2
from tests.unit.core.arrays import array, array_plan, integers, launches, outputs
from tests.unit.core.plans import line, task

from wingbeat_propeller.core.bindings import BindingProgram
from wingbeat_propeller.core.conditions import Comparison, Fixed, Operator
from wingbeat_propeller.core.effects import Effects, Launch, LaunchChild, Recall, RecallElements
from wingbeat_propeller.core.events import (
    AbortRequested,
    Begin,
    ElementsRecalled,
    Recalled,
    TaskBecameDynamic,
    TaskFailed,
    TaskSucceeded,
)
from wingbeat_propeller.core.ids import ExecutionKey, unique_node_id
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import BranchSpec, LaunchPlanSpec, NodeKind, Plan
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.reuse import ALL, Reuse, inherited_checkpoint
from wingbeat_propeller.core.rows import FLAG_DYNAMIC, FLAG_PARENT, ElementRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step

INPUTS = {"x": b"\x0a\x00"}
OUTPUTS = b"\x0a\x08\x0a\x02o0\x12\x02\x0a\x00"
TRUE = literals_pb2.Literal(
    scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(boolean=True))
).SerializeToString()
FATAL = Failure(ErrorKind.USER, "E", "no")


def _state(plan: Plan, reuse: Reuse = ALL, max_parallelism: int = 0) -> ExecutionState:
    settings = Settings(base_uri="mem://b", max_parallelism=max_parallelism)
    state = ExecutionState(ExecutionKey(2), "p", "d", "new", plan, settings)
    state.reuse = reuse
    return state


def _row(node_id: str, phase: NodePhase, kind: NodeKind = NodeKind.TASK, **columns: object) -> NodeRow:
    spec_id = node_id.rsplit("-", 1)[-1] if node_id != "end-node" else node_id
    row = NodeRow(
        ExecutionKey(1), node_id, 0, spec_id, None, None, spec_id, kind, 0, phase, 0, 0, created_at=1.0, updated_at=2.0
    )
    if phase == NodePhase.SUCCEEDED:
        row.outputs, row.input_uri, row.output_uri = OUTPUTS, f"mem://{node_id}/in", f"mem://{node_id}/out"
    return dataclasses.replace(row, **columns)


def _run(state: ExecutionState, effects: Effects, source: Mapping[str, NodeRow]) -> tuple[list[NodeRow], list[object]]:
    """Answer every question from `source`; the rows written by then, and the commands."""
    rows, commands = list(effects.nodes), list(effects.commands)
    questions = list(effects.reads)
    while questions:
        question = questions.pop(0)
        assert isinstance(question, Recall)
        effects = step(state, Recalled(101.0, question.ref, source.get(question.node_id)))
        questions += effects.reads
        rows += effects.nodes
        commands += effects.commands
    return rows, commands


def _phases(rows: list[NodeRow]) -> dict[str, str]:
    return {row.node_id: NodePhase(row.phase).name for row in rows}


def test_a_node_that_succeeded_is_taken_over() -> None:
    """Its row has the values of then by reference, and its attempts, children and cache entries as clients see them;
    nothing is launched for it."""
    details = event_pb2.NodeExecutionEvent(task_node_metadata=event_pb2.TaskNodeMetadata()).SerializeToString()
    source = _row("n0", NodePhase.SUCCEEDED, details=details, deck_uri="mem://deck", cache_status=4, flags=2)
    state = _state(line(task("a"), task("b")))
    rows, commands = _run(state, step(state, Begin(100.0, INPUTS)), {"n0": source})
    assert _phases(rows) == {"start-node": "SUCCEEDED", "n0": "RECOVERED", "n1": "QUEUED"}
    row = next(row for row in rows if row.node_id == "n0")
    for name in ("inputs", "input_uri", "outputs", "output_uri", "details", "deck_uri", "cache_status", "flags"):
        assert getattr(row, name) == getattr(source, name), name
    assert (row.attempt, row.started_at, row.ended_at) == (0, 101.0, 101.0)
    (launch,) = commands
    assert isinstance(launch, Launch)
    assert (launch.node_id, launch.inputs) == (
        "n1",
        OUTPUTS.replace(b"o0", b"\x78").replace(b"\x0a\x08\x0a\x02", b"\x0a\x07\x0a\x01"),
    )


def test_questions_take_no_slot() -> None:
    """Nodes are looked up whatever max_parallelism says, and take a slot only if they run."""
    plan = line(task("a"), task("b"))
    wide = dataclasses.replace(plan, successors=((2, 3), (), (1,), (1,)), indegree=(0, 2, 1, 1), uses=(2, 0, 0, 1))
    wide = dataclasses.replace(wide, bindings=(*plan.bindings[:2], plan.bindings[2], plan.bindings[2]))
    state = _state(wide, max_parallelism=1)
    begun = step(state, Begin(100.0, INPUTS))
    assert len(begun.reads) == 2
    _, commands = _run(state, begun, {})
    assert [command.node_id for command in commands if isinstance(command, Launch)] == ["n0"]
    assert list(state.held) == [(0, 3)]
    effects = step(state, TaskSucceeded(102.0, commands[0].ref, 102.0, dict(INPUTS), b""))
    assert not effects.reads, "it was looked up before"
    assert [command.node_id for command in effects.commands if isinstance(command, Launch)] == ["n1"]


def test_nothing_is_taken_over_below_what_ran() -> None:
    """A node whose upstream ran in this execution is not even looked up."""
    state = _state(line(task("a"), task("b")))
    source = {"n0": _row("n0", NodePhase.FAILED), "n1": _row("n1", NodePhase.SUCCEEDED)}
    _, (launch,) = _run(state, step(state, Begin(100.0, INPUTS)), source)
    assert isinstance(launch, Launch)
    effects = step(state, TaskSucceeded(102.0, launch.ref, 102.0, {"o0": b""}, OUTPUTS))
    assert not effects.reads
    assert _phases(effects.nodes) == {"n0": "SUCCEEDED", "n1": "QUEUED"}


def test_freshness_survives_a_crash() -> None:
    """Rows tell what ran; what is below it is not looked up by whoever takes the execution up."""
    plan = line(task("a"), line(task("inner")))
    state = _state(plan)
    begun = step(state, Begin(100.0, INPUTS))
    rows, (launch,) = _run(state, begun, {})
    assert isinstance(launch, Launch)
    rows += step(state, TaskSucceeded(102.0, launch.ref, 102.0, {"o0": b""}, OUTPUTS)).nodes
    last = sorted({row.node_id: row for row in rows}.values(), key=lambda row: row.seq)
    again = _state(plan)
    effects = rebuild(again, [row for row in last if row.node_id != "n1-0-n0"], INPUTS, started_at=100.0, now=103.0)
    assert not effects.reads
    assert "n1-0-n0" in _phases(effects.nodes)


def test_a_row_of_another_node_is_not_taken_over() -> None:
    """Two nodes may share a hashed id: kind and id in the workflow must agree. A skipped node counts for nothing."""
    for wrong in (
        _row("n0", NodePhase.SUCCEEDED, spec_node_id="n7"),
        _row("n0", NodePhase.SUCCEEDED, NodeKind.GATE),
        _row("n0", NodePhase.SKIPPED),
    ):
        state = _state(line(task("a")))
        rows, _ = _run(state, step(state, Begin(100.0, INPUTS)), {"n0": wrong})
        assert _phases(rows)["n0"] == "QUEUED"


def test_an_execution_that_had_succeeded_ends_at_once() -> None:
    """Its end node is taken over as well, with its outputs."""
    state = _state(line(task("a")))
    source = {"n0": _row("n0", NodePhase.SUCCEEDED), "end-node": _row("end-node", NodePhase.SUCCEEDED, NodeKind.END)}
    rows, commands = _run(state, step(state, Begin(100.0, INPUTS)), source)
    assert _phases(rows) == {"start-node": "SUCCEEDED", "n0": "RECOVERED", "end-node": "RECOVERED"}
    assert not commands
    assert state.phase == ExecutionPhase.SUCCEEDED


def test_a_failure_node_always_runs() -> None:
    """It has the new execution's failure to deal with, whatever came of its namesake."""
    plan = line(task("a"), task("handler"))
    plan = dataclasses.replace(
        plan,
        successors=((2,), (), (1,), ()),
        indegree=(0, 1, 1, 1),
        bindings=(plan.bindings[0], plan.bindings[3], plan.bindings[2], BindingProgram()),
        uses=(1, 0, 1, 0),
        failure_node=3,
    )
    plan = dataclasses.replace(plan, bindings=(*plan.bindings[:1], BindingProgram(), *plan.bindings[2:]))
    state = _state(plan)
    source = {"n0": _row("n0", NodePhase.FAILED), "n1": _row("n1", NodePhase.SUCCEEDED)}
    _, (launch,) = _run(state, step(state, Begin(100.0, INPUTS)), source)
    assert isinstance(launch, Launch)
    effects = step(state, TaskFailed(102.0, launch.ref, 102.0, FATAL))
    assert not effects.reads
    assert _phases(effects.nodes) == {"n0": "FAILED", "n1": "QUEUED"}


def test_a_task_goes_on_from_the_checkpoint_of_its_namesake() -> None:
    """The folder stands in its row, so a crash does not lose it; every attempt hears of it."""
    state = _state(line(task("a"), attempts_max=2))
    begun = step(state, Begin(100.0, INPUTS))
    (question,) = begun.reads
    effects = step(state, Recalled(101.0, question.ref, _row("n0", NodePhase.FAILED, attempt=1), "mem://checkpoints"))
    (launch,) = effects.commands
    assert isinstance(launch, Launch)
    assert launch.inherited == effects.nodes[0].inherited == "mem://checkpoints"
    rebuilt = rebuild(_state(state.plan), [*begun.nodes, *effects.nodes], INPUTS, started_at=100.0, now=103.0)
    assert rebuilt.adopt[0].inherited == "mem://checkpoints"
    again = step(state, TaskFailed(102.0, launch.ref, 102.0, dataclasses.replace(FATAL, retryable=True)))
    assert isinstance(again.commands[0], Launch)
    assert again.commands[0].inherited == "mem://checkpoints"


def _child_plan() -> Plan:
    plan = line(task("a"))
    spec = LaunchPlanSpec("p", "d", "lp", "v", ("o0",))
    return dataclasses.replace(
        plan, kinds=(NodeKind.START, NodeKind.END, NodeKind.LAUNCH_PLAN), targets=(None, None, spec)
    )


def test_a_launch_plan_node_recovers_its_child() -> None:
    """The child of then is named to whoever creates the new one, also after a crash."""
    child = identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name="child")
    metadata = event_pb2.WorkflowNodeMetadata(execution_id=child)
    details = event_pb2.NodeExecutionEvent(workflow_node_metadata=metadata).SerializeToString()
    source = {"n0": _row("n0", NodePhase.FAILED, NodeKind.LAUNCH_PLAN, details=details)}
    state = _state(_child_plan())
    begun = step(state, Begin(100.0, INPUTS))
    rows, (launch,) = _run(state, begun, source)
    assert isinstance(launch, LaunchChild)
    assert launch.recovers == "p:d:child"
    rebuilt = rebuild(_state(_child_plan()), rows, INPUTS, started_at=100.0, now=103.0)
    assert [command.recovers for command in rebuilt.commands if isinstance(command, LaunchChild)] == ["p:d:child"]


def test_a_changed_launch_plan_node_runs_with_its_child_recovered() -> None:
    """It is looked up although it cannot be taken over."""
    source = {"n0": _row("n0", NodePhase.SUCCEEDED, NodeKind.LAUNCH_PLAN)}
    state = _state(_child_plan(), Reuse(changed=frozenset({2})))
    rows, (launch,) = _run(state, step(state, Begin(100.0, INPUTS)), source)
    assert isinstance(launch, LaunchChild)
    assert _phases(rows)["n0"] == "QUEUED"


def test_a_node_that_makes_no_workflow_begins_anew() -> None:
    """A workflow that its namesake is said to have made cannot run inside it."""
    state = _state(_child_plan())
    begun = step(state, Begin(100.0, INPUTS))
    (question,) = begun.reads
    row = _row("n0", NodePhase.FAILED, NodeKind.LAUNCH_PLAN)
    effects = step(state, Recalled(101.0, question.ref, row, None, line(task("m0")), ALL))
    assert _phases(effects.nodes)["n0"] == "QUEUED"
    assert [type(command) for command in effects.commands] == [LaunchChild]


def test_changed_nodes_run() -> None:
    """A changed node is not looked up, and neither is what follows it; of a node with other inputs nothing inside is,
    of one in which something has changed the rest is."""
    inner = line(task("i0"), task("i1"))
    plan = line(inner, task("b"))
    begun = step(_state(plan, Reuse(changed=frozenset({2}), rebound=frozenset({2}))), Begin(100.0, INPUTS))
    assert not begun.reads
    reuse = Reuse(changed=frozenset({2}), inner={2: Reuse(changed=frozenset({3}))})
    state = _state(plan, reuse)
    begun = step(state, Begin(100.0, INPUTS))
    assert [question.node_id for question in begun.reads if isinstance(question, Recall)] == ["n0-0-n0"]
    rows, _ = _run(state, begun, {"n0-0-n0": _row("n0-0-n0", NodePhase.SUCCEEDED)})
    assert _phases(rows)["n0-0-n0"] == "RECOVERED"
    assert _phases(rows)["n0-0-n1"] == "QUEUED"


def _dynamic_details(uri: str) -> bytes:
    dynamic = event_pb2.DynamicWorkflowNodeMetadata(dynamic_job_spec_uri=uri)
    metadata = event_pb2.TaskNodeMetadata(dynamic_workflow=dynamic)
    return event_pb2.NodeExecutionEvent(task_node_metadata=metadata).SerializeToString()


def _dynamic_row(**columns: object) -> NodeRow:
    details = _dynamic_details("mem://futures")
    return _row("n0", NodePhase.FAILED, flags=FLAG_PARENT | FLAG_DYNAMIC, details=details, **columns)


def test_a_condition_whose_arm_is_taken_over_ends_so_as_well() -> None:
    """It decides again, as before; what follows it is not below anything that ran."""
    plan = line(task("arm"), task("after"))
    spec = BranchSpec(((Comparison(Operator.EQ, Fixed(TRUE), Fixed(TRUE)), 4),), None, None, ("o0",))
    plan = dataclasses.replace(
        plan,
        ids=("start-node", "end-node", "n0", "n1", "arm"),
        names=("start-node", "end-node", "n0", "n1", "arm"),
        kinds=(NodeKind.START, NodeKind.END, NodeKind.BRANCH, NodeKind.TASK, NodeKind.TASK),
        indegree=(0, 1, 1, 1, 1),
        successors=((2,), (), (3,), (1,), ()),
        bindings=(*plan.bindings[:2], BindingProgram(), plan.bindings[3], BindingProgram()),
        uses=(0, 0, 1, 1, 0),
        targets=(None, None, spec, task("after"), task("arm")),
        owners=(-1, -1, -1, -1, 2),
        attempts_max=(1,) * 5,
        timeout_s=(0.0,) * 5,
        interruptible=(None,) * 5,
    )
    state = _state(plan, Reuse(changed=frozenset({2})))
    source = {
        "n0-0-arm": dataclasses.replace(_row("n0-0-arm", NodePhase.SUCCEEDED), spec_node_id="arm"),
        "n1": _row("n1", NodePhase.SUCCEEDED),
    }
    rows, commands = _run(state, step(state, Begin(100.0, INPUTS)), source)
    assert _phases(rows) == {
        "start-node": "SUCCEEDED",
        "n0": "RECOVERED",
        "n0-0-arm": "RECOVERED",
        "n1": "RECOVERED",
        "end-node": "SUCCEEDED",
    }
    assert not commands


def test_a_dynamic_task_goes_on_with_the_workflow_that_it_had_made() -> None:
    """The task does not run; inner nodes are looked up where they were, below the attempt that had made them, also
    after a crash; they run where the new ids lead."""
    made = line(task("m0"), task("m1"))
    state = _state(line(task("dyn")))
    begun = step(state, Begin(100.0, INPUTS))
    (question,) = begun.reads
    effects = step(state, Recalled(101.0, question.ref, _dynamic_row(attempt=1), None, made, ALL))
    assert not effects.commands
    (inner,) = effects.reads
    assert isinstance(inner, Recall)
    assert inner.node_id == "n0-1-n0"
    row = effects.nodes[0]
    assert (row.phase, row.flags, row.attempt) == (NodePhase.DYNAMIC_RUNNING, FLAG_PARENT | FLAG_DYNAMIC, 0)
    assert (row.inherited, row.details) == ("1:mem://futures", _dynamic_details("mem://futures"))
    again = _state(state.plan)
    rows = [*begun.nodes, *effects.nodes]
    plans, reuses = {("n0", 0): made}, {("n0", 0): ALL}
    rebuilt = rebuild(again, rows, INPUTS, started_at=100.0, now=103.0, dynamic_plans=plans, dynamic_reuses=reuses)
    assert [question.node_id for question in rebuilt.reads if isinstance(question, Recall)] == ["n0-1-n0"]
    written, commands = _run(again, rebuilt, {"n0-1-n0": _row("n0-1-n0", NodePhase.SUCCEEDED)})
    assert _phases(written) == {"n0-0-n0": "RECOVERED", "n0-0-n1": "QUEUED"}
    assert [command.node_id for command in commands if isinstance(command, Launch)] == ["n0-0-n1"]


def test_a_dynamic_task_that_runs_again_may_make_something_else() -> None:
    """What of it may be taken over was found out by comparing it with what the task had made; without that nothing is
    looked up inside. Attempts do not take where that lies for a folder with checkpoints."""
    made = line(task("m0"), task("m1"))
    for reuse, asked in ((None, []), (ALL, ["n0-1-n0"]), (Reuse(rebound=frozenset({2})), [])):
        state = _state(line(task("dyn")))
        (question,) = step(state, Begin(100.0, INPUTS)).reads
        effects = step(state, Recalled(101.0, question.ref, _dynamic_row(attempt=1)))
        (launch,) = effects.commands
        assert isinstance(launch, Launch)
        assert launch.inherited == effects.nodes[0].inherited == "1:mem://futures"
        assert not inherited_checkpoint(launch.inherited)
        event = TaskBecameDynamic(112.0, launch.ref, 112.0, made, b"", "mem://new", None, reuse)
        effects = step(state, event)
        assert [question.node_id for question in effects.reads if isinstance(question, Recall)] == asked


def test_an_abort_meets_nodes_that_are_looked_up() -> None:
    """They have no rows and leave none; the answer comes too late."""
    state = _state(line(task("a")))
    (question,) = step(state, Begin(100.0, INPUTS)).reads
    effects = step(state, AbortRequested(101.0, "enough"))
    assert not effects.nodes
    assert state.phase == ExecutionPhase.ABORTED
    assert not step(state, Recalled(102.0, question.ref, _row("n0", NodePhase.SUCCEEDED))).writes


def _element(index: int, **columns: object) -> ElementRow:
    row = ElementRow(ExecutionKey(1), "n0", index, 2, TaskPhase.SUCCEEDED, 1, 1.0, 1.0, 2.0)
    return row._replace(outputs=outputs(index))._replace(**columns)


def _array_begun(plan: Plan, values: Sequence[int]) -> tuple[ExecutionState, RecallElements, list[NodeRow]]:
    """An execution whose only node is an array that had failed in the source, as it asks for its elements."""
    state = _state(plan)
    begun = step(state, Begin(100.0, {"x": integers(values).SerializeToString()}))
    (asked,) = begun.reads
    assert isinstance(asked, Recall)
    source = _row("n0", NodePhase.FAILED, NodeKind.ARRAY, memo=b"%d" % len(values))
    effects = step(state, Recalled(101.0, asked.ref, source))
    (question,) = effects.reads
    assert isinstance(question, RecallElements)
    assert not effects.commands
    return state, question, [*begun.nodes, *effects.nodes]


def test_elements_that_succeeded_are_taken_over() -> None:
    """Page by page, with their outputs and logs, as first attempts; then the others begin, and know where they come
    from."""
    state, question, _ = _array_begun(array_plan(array(picks=True)), [7, 8, 9, 10])
    assert (question.array_id, question.after) == ("n0", -1)
    large = _element(2, outputs=None, output_uri="mem://n0/2", details=b"")
    page = step(state, ElementsRecalled(102.0, question.ref, [_element(0), large], is_last=False))
    assert [(row.element, row.attempt, row.system_failures, row.phase) for row in page.elements] == [
        (0, 0, 0, TaskPhase.SUCCEEDED),
        (2, 0, 0, TaskPhase.SUCCEEDED),
    ]
    assert [(row.outputs, row.output_uri) for row in page.elements] == [(outputs(0), None), (None, "mem://n0/2")]
    assert not page.commands
    (more,) = page.reads
    assert more == question._replace(after=2)
    last = step(state, ElementsRecalled(103.0, question.ref, [], is_last=True))
    assert [(launch.ref.element, launch.ref.attempt) for launch in launches(last)] == [(1, 0), (3, 0)]
    assert {launch.inherited for launch in launches(last)} == {"elements of n0, known"}
    assert inherited_checkpoint("elements of n0, known") == ""
    assert [row.inherited for row in last.nodes] == ["elements of n0, known"]


def test_a_page_that_comes_twice() -> None:
    """Changes nothing, nor does one that comes when the elements are known."""
    state, question, _ = _array_begun(array_plan(array(picks=True)), [7, 8])
    page = ElementsRecalled(102.0, question.ref, [_element(0)], is_last=False)
    step(state, page)
    assert not step(state, page).elements
    assert len(launches(step(state, ElementsRecalled(103.0, question.ref, [], is_last=True)))) == 1
    late = step(state, page._replace(is_last=True))
    assert (late.writes, late.commands, late.reads) == (False, [], [])


def test_an_array_of_which_all_elements_succeeded() -> None:
    """It ends as soon as it knows, though it had failed or had been aborted before that."""
    state, question, _ = _array_begun(array_plan(array(picks=True)), [7, 8])
    effects = step(state, ElementsRecalled(102.0, question.ref, [_element(0), _element(1)], is_last=True))
    assert not effects.commands
    assert _phases(effects.nodes)["n0"] == "SUCCEEDED"


def test_an_abort_while_elements_are_looked_up() -> None:
    """Nothing is under way yet, and the answer is late."""
    state, question, _ = _array_begun(array_plan(array(picks=True)), [7, 8])
    assert _phases(step(state, AbortRequested(102.0, "enough")).nodes)["n0"] == "ABORTED"
    assert not step(state, ElementsRecalled(103.0, question.ref, [_element(0)], is_last=True)).writes


def test_elements_are_looked_up_again_after_a_crash() -> None:
    """Those that have rows are not asked for, and nothing begins before all are known; once they are, nothing is asked
    for any more."""
    plan = array_plan(array(picks=True))
    state, question, rows = _array_begun(plan, [7, 8, 9])
    page = step(state, ElementsRecalled(102.0, question.ref, [_element(1)], is_last=False))
    last = step(state, ElementsRecalled(103.0, question.ref, [], is_last=True))
    inputs = {"x": integers([7, 8, 9]).SerializeToString()}

    def restart(written: list[NodeRow]) -> tuple[ExecutionState, Effects]:
        again = _state(plan)
        latest = {row.node_id: row for row in written}
        stored = next(row.inputs for row in written if row.node_id == "n0" and row.inputs is not None)
        memo = next(row.memo for row in written if row.memo is not None)
        latest["n0"] = dataclasses.replace(latest["n0"], inputs=stored, memo=memo)
        elements = page.elements
        effects = rebuild(again, list(latest.values()), inputs, elements=elements, started_at=100.0, now=200.0)
        return again, effects

    again, effects = restart(rows)
    assert effects.reads == [question._replace(ref=question.ref, after=1)]
    assert effects.adopt == effects.commands == []
    known = step(again, ElementsRecalled(201.0, question.ref, [], is_last=True))
    assert [launch.ref.element for launch in launches(known)] == [0, 2]
    _, effects = restart([*rows, *last.nodes])
    assert not effects.reads
    assert [launch.ref.element for launch in effects.adopt] == [0, 2]


def test_inside_of_an_element_that_failed() -> None:
    """Its nodes are looked up where they were in the source; of an element that succeeded nothing is left to be
    done."""
    plan = array_plan(array(line(task("a"), task("b")), picks=True))
    state, question, _ = _array_begun(plan, [7, 8])
    effects = step(state, ElementsRecalled(102.0, question.ref, [_element(0)], is_last=True))
    (asked,) = effects.reads
    assert isinstance(asked, Recall)
    assert asked.node_id == unique_node_id("n0-0-n1", 0, "n0", 64)
    rows, (launch,) = _run(state, effects, {asked.node_id: _row(asked.node_id, NodePhase.SUCCEEDED, spec_node_id="n0")})
    assert [NodePhase(row.phase).name for row in rows if row.spec_node_id == "n0"][-1] == "RECOVERED"
    assert isinstance(launch, Launch)
    assert launch.node_id == unique_node_id("n0-0-n1", 0, "n1", 64)


def test_an_array_that_had_not_begun() -> None:
    """One whose lists were not known yet has no elements to look up."""
    plan = array_plan(array(picks=True))
    state = _state(plan)
    (asked,) = step(state, Begin(100.0, {"x": integers([7]).SerializeToString()})).reads
    assert isinstance(asked, Recall)
    effects = step(state, Recalled(101.0, asked.ref, _row("n0", NodePhase.FAILED, NodeKind.ARRAY)))
    assert not effects.reads
    assert len(launches(effects)) == 1
