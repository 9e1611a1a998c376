"""Rows to spans: a tree for each kind of node, as a text of one line a span with its seconds."""

from collections.abc import Sequence
from datetime import UTC, datetime

from flyteidl.core import identifier_pb2
from tests.span_text import check, cut, names, span_lines

from wingbeat_controlplane.executions.metrics.flow import Flow
from wingbeat_controlplane.executions.metrics.spans import Attempt, Execution, ExecutionName, Node, execution_span
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import FLAG_ARRAY, FLAG_DYNAMIC, FLAG_PARENT

TASK = identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, project="p", domain="d", name="t", version="v")
DYNAMIC = FLAG_DYNAMIC | FLAG_PARENT


def _at(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _node(
    node_id: str,
    created: float,
    updated: float,
    kind: NodeKind = NodeKind.TASK,
    *,
    parent: str | None = None,
    attempt: int = 0,
    started: float | None = None,
    ended: bool = True,
    flags: int = 0,
    spec: str = "",
) -> Node:
    return Node(
        node_id=node_id,
        spec_node_id=spec or node_id,
        parent_id=parent,
        parent_attempt=attempt,
        seq=0,
        kind=kind,
        flags=flags,
        phase=NodePhase.SUCCEEDED if ended else NodePhase.RUNNING,
        created_at=_at(created),
        started_at=None if started is None else _at(started),
        ended_at=_at(updated) if ended else None,
        updated_at=_at(updated),
    )


def _start(at: float, parent: str | None = None, attempt: int = 0) -> Node:
    node_id = f"{parent}-{attempt}-start-node" if parent else "start-node"
    return _node(node_id, at, at, NodeKind.START, parent=parent, attempt=attempt, spec="start-node")


def _attempt(
    node_id: str, number: int, created: float, started: float | None, ended: float | None, updated: float
) -> Attempt:
    return Attempt(
        node_id,
        number,
        TASK,
        _at(created),
        None if started is None else _at(started),
        None if ended is None else _at(ended),
        _at(updated),
    )


def _flow(inside: dict[str, Flow] | None = None, **upstream: str) -> Flow:
    """`n1="n0 n2"`: n1 waits for both. `end` is the end node; who is not named waits for the start."""
    known = {node.replace("end", "end-node"): tuple(ids.split()) for node, ids in upstream.items()}
    return Flow(known, inside or {}, len(known))


def _execution(
    nodes: Sequence[Node] = (),
    attempts: Sequence[Attempt] = (),
    *,
    flow: Flow | None = None,
    name: str = "e",
    created: float = 0,
    updated: float = 100,
    ended: bool = True,
    dynamic: dict[str, Flow] | None = None,
    children: dict[str, ExecutionName] | None = None,
) -> Execution:
    by_parent: dict[str | None, list[Node]] = {}
    by_node: dict[str, list[Attempt]] = {}
    for node in nodes:
        by_parent.setdefault(node.parent_id, []).append(node)
    for attempt in attempts:
        by_node.setdefault(attempt.node_id, []).append(attempt)
    return Execution(
        identifier=identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name=name),
        created_at=_at(created),
        ended_at=_at(updated) if ended else None,
        updated_at=_at(updated),
        flow=flow or _flow(n0="start-node", end="n0"),
        nodes=by_parent,
        attempts=by_node,
        dynamic=dynamic or {},
        children=children or {},
    )


def _tree(execution: Execution, depth: int = -1, *children: Execution) -> str:
    known: dict[ExecutionName, Execution] = {("p", "d", child.identifier.name): child for child in children}
    span = execution_span(execution, known, depth)
    check(span, steady=depth < 0)
    assert span == cut(execution_span(execution, known, -1), depth if depth >= 0 else 1_000)
    return "\n".join(["", *span_lines(span), ""])


def test_chain_with_a_retry() -> None:
    """Transitions come from the last upstream, attempts have a reset in between, and all operations join."""
    execution = _execution(
        [_start(2), _node("n1", 31, 60), _node("n0", 3, 30)],
        [
            _attempt("n0", 1, 18, 19, 28, 29),
            _attempt("n0", 0, 5, 6, 14, 15),
            _attempt("n1", 0, 33, 35, 58, 59),
        ],
        flow=_flow(n0="start-node", n1="n0 start-node", end="n1"),
        updated=61,
    )
    whole = """
e 0-61
  WORKFLOW_SETUP 0-2
  n0 3-30
    NODE_TRANSITION 2-3
    NODE_SETUP 3-5
    t/0 5-15
      TASK_SETUP 5-6
      TASK_RUNTIME 6-14
      TASK_TEARDOWN 14-15
    NODE_RESET 15-18
    t/1 18-29
      TASK_SETUP 18-19
      TASK_RUNTIME 19-28
      TASK_TEARDOWN 28-29
    NODE_TEARDOWN 29-30
  n1 31-60
    NODE_TRANSITION 30-31
    NODE_SETUP 31-33
    t/0 33-59
      TASK_SETUP 33-35
      TASK_RUNTIME 35-58
      TASK_TEARDOWN 58-59
    NODE_TEARDOWN 59-60
  WORKFLOW_TEARDOWN 60-61
"""
    assert _tree(execution) == _tree(execution, 3) == whole


def test_depth() -> None:
    """Each level less hides what things are made of, then the things; 0 leaves the execution."""
    execution = _execution([_start(1), _node("n0", 2, 9)], [_attempt("n0", 0, 3, 4, 7, 8)], updated=10)
    assert _tree(execution, 0) == "\ne 0-10\n"
    one = """
e 0-10
  WORKFLOW_SETUP 0-1
  n0 2-9
    NODE_TRANSITION 1-2
  WORKFLOW_TEARDOWN 9-10
"""
    two = one.replace("1-2\n", "1-2\n    NODE_SETUP 2-3\n    NODE_TEARDOWN 8-9\n")
    assert _tree(execution, 1) == one
    assert _tree(execution, 2) == two
    assert _tree(execution, 3) == _tree(execution, 2**31 - 1) == _tree(execution) != two


def test_not_begun() -> None:
    """Without a start node everything so far is set-up."""
    assert _tree(_execution(updated=7, ended=False)) == "\ne 0-7\n  WORKFLOW_SETUP 0-7\n"


def test_what_runs_has_no_tear_down() -> None:
    """Spans of what goes on end with the last that is known; nothing is torn down before its end."""
    flow = _flow(n0="start-node", n1="start-node", n2="start-node", end="n0 n1 n2")
    nodes = [_start(1), *(_node(f"n{number}", 2, 5, ended=False) for number in range(3))]
    attempts = [_attempt("n1", 0, 4, None, None, 5), _attempt("n2", 0, 3, 4, None, 6)]
    assert (
        _tree(_execution(nodes, attempts, flow=flow, updated=1, ended=False))
        == """
e 0-1
  WORKFLOW_SETUP 0-1
  n0 2-5
    NODE_TRANSITION 1-2
    NODE_SETUP 2-5
  n1 2-5
    NODE_TRANSITION 1-2
    NODE_SETUP 2-4
    t/0 4-5
      TASK_SETUP 4-5
  n2 2-5
    NODE_TRANSITION 1-2
    NODE_SETUP 2-3
    t/0 3-6
      TASK_SETUP 3-4
      TASK_RUNTIME 4-6
"""
    )


def test_what_is_around_something_that_has_ended_may_go_on() -> None:
    """A sub-workflow, a branch and a launch plan whose inside is done are not torn down before they say so."""
    child = _execution([_start(3)], name="child", created=3, updated=5)
    kinds = {"sub": NodeKind.WORKFLOW, "choice": NodeKind.BRANCH, "plan": NodeKind.LAUNCH_PLAN}
    inside = [_start(3, "sub"), _node("a", 4, 5, parent="sub"), _node("arm", 4, 5, parent="choice")]
    flow = _flow({"sub": _flow(a="start-node", end="a")}, end="sub choice plan")
    for ended in (False, True):
        nodes = [_start(1), *(_node(node_id, 2, 6, kind, ended=ended) for node_id, kind in kinds.items()), *inside]
        execution = _execution(nodes, flow=flow, ended=ended, children={"plan": ("p", "d", "child")})
        assert _tree(execution, -1, child).count("NODE_TEARDOWN 5-6") == 3 * ended


def test_attempt_that_was_heard_of_at_its_end() -> None:
    """Its row is younger than the attempt: set-up of the node ends where the attempt has begun, not after it."""
    execution = _execution([_start(1), _node("n0", 1, 9)], [_attempt("n0", 0, 9, 3, 8, 9)], updated=9)
    assert (
        _tree(execution)
        == """
e 0-9
  WORKFLOW_SETUP 0-1
  n0 1-9
    NODE_TRANSITION 1-1
    NODE_SETUP 1-3
    t/0 3-9
      TASK_SETUP 3-3
      TASK_RUNTIME 3-8
      TASK_TEARDOWN 8-9
    NODE_TEARDOWN 9-9
  WORKFLOW_TEARDOWN 9-9
"""
    )


def test_failure() -> None:
    """A node that was never reached leads nowhere: the tear-down of what it was to lead to is not known."""
    flow = _flow(n0="start-node", n1="n0", end="n1")
    execution = _execution([_start(1), _node("n0", 2, 5)], [_attempt("n0", 0, 3, 3, 4, 5)], flow=flow, updated=5)
    assert names(execution_span(execution, {}, -1)) == ["WORKFLOW_SETUP", "node_id"]
    assert "NODE_TEARDOWN 5-5" in _tree(execution)


def test_nothing_inside() -> None:
    """A task from the cache, a branch without an arm, a sub-workflow from the cache, a launch plan without a child:
    set-up alone. An array has nothing, the older kind of map task is a task."""
    kinds = [NodeKind.TASK, NodeKind.BRANCH, NodeKind.WORKFLOW, NodeKind.LAUNCH_PLAN]
    for kind in kinds:
        lines = _tree(_execution([_start(1), _node("n0", 2, 5, kind)])).splitlines()
        assert lines[4:6] == ["    NODE_TRANSITION 1-2", "    NODE_SETUP 2-5"]
        assert len(lines) == 7
    array = _node("n0", 2, 5, NodeKind.ARRAY, flags=FLAG_ARRAY)
    attempts = [_attempt("n0", 0, 3, 3, 5, 5)]
    assert names(execution_span(_execution([_start(1), array], attempts), {}, -1).spans[1]) == ["NODE_TRANSITION"]
    older = _execution([_start(1), array._replace(flags=0)], attempts)
    assert names(execution_span(older, {}, -1).spans[1]) == [
        "NODE_TRANSITION",
        "NODE_SETUP",
        "task_id",
        "NODE_TEARDOWN",
    ]


def test_sub_workflow_in_an_arm() -> None:
    """Both have what is inside between set-up and tear-down; an arm has no transition, and its workflow is known."""
    inner = _flow(a="start-node", b="start-node", end="a b")
    execution = _execution(
        [
            _start(1),
            _node("n0", 2, 40, NodeKind.BRANCH),
            _node("arm", 4, 38, NodeKind.WORKFLOW, parent="n0", spec="n0-n0"),
            _start(6, "arm"),
            _node("x-a", 7, 30, parent="arm", spec="a"),
            _node("x-b", 8, 20, parent="arm", spec="b"),
        ],
        flow=_flow({"n0-n0": inner}, n0="start-node", end="n0"),
        updated=41,
    )
    assert (
        _tree(execution)
        == """
e 0-41
  WORKFLOW_SETUP 0-1
  n0 2-40
    NODE_TRANSITION 1-2
    NODE_SETUP 2-4
    arm 4-38
      NODE_SETUP 4-6
      x-a 7-30
        NODE_TRANSITION 6-7
        NODE_SETUP 7-30
      x-b 8-20
        NODE_TRANSITION 6-8
        NODE_SETUP 8-20
      NODE_TEARDOWN 30-38
    NODE_TEARDOWN 38-40
  WORKFLOW_TEARDOWN 40-41
"""
    )
    assert "x-a" not in _tree(execution, 2)
    assert _tree(execution, 3).count("NODE_TRANSITION") == 3


def test_dynamic() -> None:
    """After the attempt a reset to the start of what it made, then the nodes of that; after a timeout inside of it the
    next attempt makes its own."""
    made = _flow(dn0="start-node", end="dn0")
    execution = _execution(
        [
            _start(1),
            _node("n0", 2, 50, flags=DYNAMIC),
            _start(11, "n0", 0),
            _node("n0-0-dn0", 12, 20, parent="n0", spec="dn0"),
            _start(31, "n0", 1),
            _node("n0-1-dn0", 32, 48, parent="n0", attempt=1, spec="dn0"),
        ],
        [_attempt("n0", 0, 3, 4, 9, 10), _attempt("n0", 1, 23, 24, 29, 30)],
        dynamic={"n0": made},
        updated=51,
    )
    assert (
        _tree(execution)
        == """
e 0-51
  WORKFLOW_SETUP 0-1
  n0 2-50
    NODE_TRANSITION 1-2
    NODE_SETUP 2-3
    t/0 3-10
      TASK_SETUP 3-4
      TASK_RUNTIME 4-9
      TASK_TEARDOWN 9-10
    NODE_RESET 10-11
    n0-0-dn0 12-20
      NODE_TRANSITION 11-12
      NODE_SETUP 12-20
    NODE_RESET 20-23
    t/1 23-30
      TASK_SETUP 23-24
      TASK_RUNTIME 24-29
      TASK_TEARDOWN 29-30
    NODE_RESET 30-31
    n0-1-dn0 32-48
      NODE_TRANSITION 31-32
      NODE_SETUP 32-48
    NODE_TEARDOWN 48-50
  WORKFLOW_TEARDOWN 50-51
"""
    )


def test_dynamic_whose_next_attempt_fails() -> None:
    """What was made did not come to its end; after the attempt that followed there is a tear-down all the same."""
    nodes = [_start(1), _node("n0", 2, 30, flags=DYNAMIC), _start(6, "n0"), _node("x", 7, 20, parent="n0", spec="dn0")]
    attempts = [_attempt("n0", 0, 3, 3, 5, 5), _attempt("n0", 1, 24, 24, 28, 29)]
    made = {"n0": _flow(dn0="start-node", dn1="dn0", end="dn1")}
    text = _tree(_execution(nodes, attempts, dynamic=made))
    assert "    NODE_RESET 20-24\n    t/1 24-29\n" in text
    assert "    NODE_TEARDOWN 29-30\n" in text
    assert "NODE_TEARDOWN" not in _tree(_execution(nodes, attempts[:1], dynamic=made))


def test_dynamic_whose_workflow_is_gone() -> None:
    """Its nodes are there; only what leads to what is not known."""
    nodes = [_start(1), _node("n0", 2, 9, flags=DYNAMIC), _start(4, "n0"), _node("x", 5, 8, parent="n0")]
    text = _tree(_execution(nodes, [_attempt("n0", 0, 3, 3, 4, 4)]))
    assert "    x 5-8\n      NODE_SETUP 5-8\n  WORKFLOW_TEARDOWN" in text


def test_recovered_dynamic_goes_on_without_an_attempt() -> None:
    """What was made before goes on at once."""
    nodes = [_start(1), _node("n0", 2, 9, flags=DYNAMIC), _start(3, "n0"), _node("x", 5, 8, parent="n0", spec="dn0")]
    execution = _execution(nodes, dynamic={"n0": _flow(dn0="start-node", end="dn0")})
    assert names(execution_span(execution, {}, -1).spans[1]) == [
        "NODE_TRANSITION",
        "NODE_SETUP",
        "node_id",
        "NODE_TEARDOWN",
    ]
    _tree(execution)


def test_launch_plan() -> None:
    """The child's tree is inside; a child that is gone leaves the time until there was one."""
    child = _execution([_start(7), _node("n0", 8, 18)], name="child", created=5, updated=19)
    nodes = [_start(1), _node("n0", 2, 20, NodeKind.LAUNCH_PLAN, started=5.5)]
    execution = _execution(nodes, children={"n0": ("p", "d", "child")}, updated=21)
    assert (
        _tree(execution, -1, child)
        == """
e 0-21
  WORKFLOW_SETUP 0-1
  n0 2-20
    NODE_TRANSITION 1-2
    NODE_SETUP 2-5
    child 5-19
      WORKFLOW_SETUP 5-7
      n0 8-18
        NODE_TRANSITION 7-8
        NODE_SETUP 8-18
      WORKFLOW_TEARDOWN 18-19
    NODE_TEARDOWN 19-20
  WORKFLOW_TEARDOWN 20-21
"""
    )
    assert _tree(execution, 2, child).splitlines()[6:8] == ["    child 5-19", "    NODE_TEARDOWN 19-20"]
    assert _tree(execution).splitlines()[5:7] == ["    NODE_SETUP 2-5.5", "  WORKFLOW_TEARDOWN 20-21"]


def test_gate() -> None:
    """It idles from its start to its end."""
    waiting = _node("n0", 2, 4, NodeKind.GATE, started=3, ended=False)
    for node, expected in [
        (waiting._replace(started_at=None), ["NODE_SETUP 2-4"]),
        (waiting, ["NODE_SETUP 2-3", "NODE_IDLE 3-4"]),
        (waiting._replace(ended_at=_at(3.5)), ["NODE_SETUP 2-3", "NODE_IDLE 3-3.5", "NODE_TEARDOWN 3.5-4"]),
    ]:
        lines = _tree(_execution([_start(1), node], ended=False)).splitlines()
        assert [line.strip() for line in lines[5:]] == expected


def test_clocks_that_go_back() -> None:
    """After an execution has moved to an engine whose clock is behind, no operation takes negative time."""
    flow = _flow(n0="start-node", n1="n0", end="n1")
    nodes = [_start(10), _node("n0", 11, 20), _node("n1", 15, 18)]
    attempts = [_attempt("n0", 0, 12, 11, 9, 19), _attempt("n1", 0, 14, 16, 15, 13)]
    span = execution_span(_execution(nodes, attempts, flow=flow, updated=5), {}, -1)
    check(span, steady=False)
    assert names(span) == ["WORKFLOW_SETUP", "node_id", "node_id"]
