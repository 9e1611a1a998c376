"""Spans of random executions: as the core makes their rows, and as nobody would."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from flyteidl.core import identifier_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.world import World
from tests.span_text import check, cut, walk
from wingbeat_controlplane.executions.metrics.flow import END_ID, Flow
from wingbeat_controlplane.executions.metrics.spans import NODE_TRANSITION, Attempt, Execution, Node, execution_span
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.events import TaskStarted, TimerFired, TimerKind
from wingbeat_propeller.core.plan import NodeKind, Plan
from wingbeat_propeller.core.rows import FLAG_ARRAY, FLAG_DYNAMIC, FLAG_PARENT, NodeRow, TaskRow
from wingbeat_propeller.core.step import step

SEEDS = st.integers(0, 2**48)
DEPTHS = st.integers(0, 12)
NAME = ("p", "d", "e")
CREATED_AT = 999.0
"""Before anything happens in a world."""


def _at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def _maybe(moment: float | None) -> datetime | None:
    return None if moment is None else _at(moment)


def _flow(plan: Plan) -> Flow:
    upstream: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for node, successors in enumerate(plan.successors):
        for successor in successors:
            upstream[plan.ids[successor]] += (plan.ids[node],)
    inside = {plan.ids[node]: _flow(target) for node, target in enumerate(plan.targets) if isinstance(target, Plan)}
    return Flow(dict(upstream), inside, plan.size)


def _node(row: NodeRow) -> Node:
    return Node(
        row.node_id,
        row.spec_node_id,
        row.parent_id,
        row.parent_attempt or 0,
        row.seq,
        row.kind,
        row.flags,
        row.phase,
        _at(row.created_at),
        _maybe(row.started_at),
        _maybe(row.ended_at),
        _at(row.updated_at),
    )


def _attempt(row: TaskRow) -> Attempt:
    task = identifier_pb2.Identifier(name=row.task_name)
    return Attempt(
        row.node_id,
        row.attempt,
        task,
        _at(row.created_at),
        _maybe(row.started_at),
        _maybe(row.ended_at),
        _at(row.updated_at),
    )


class _Rows:
    """What a world's database holds, attempts included."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: dict[tuple[str, int], TaskRow] = {}
        commit = world.database.commit

        def keep(effects: Effects) -> None:
            commit(effects)
            self.tasks.update({(row.node_id, row.attempt): row for row in effects.tasks})

        world.database.commit = keep

    def execution(self) -> Execution:
        """As it stands now."""
        row = self.world.database.execution
        assert row is not None
        nodes: defaultdict[str | None, list[Node]] = defaultdict(list)
        for node in self.world.database.nodes.values():
            nodes[node.parent_id].append(_node(node))
        attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
        for task in self.tasks.values():
            attempts[task.node_id].append(_attempt(task))
        return Execution(
            identifier=identifier_pb2.WorkflowExecutionIdentifier(name=NAME[2]),
            created_at=_at(CREATED_AT),
            ended_at=_maybe(row.ended_at),
            updated_at=_at(row.updated_at),
            flow=_flow(self.world.plan),
            nodes=nodes,
            attempts=attempts,
            dynamic={},
            children={},
        )


def _drive(world: World, steps: int) -> None:
    """So many steps in an order of the world's choosing, each event taken at the time of the clock."""
    world.begin()
    world.commit_one()
    for _ in range(steps):
        world.now += 1
        if world.queue and world.rng.random() < 0.8:
            world.commit_one()
        elif world.events:
            world.take(step(world.state, world.events.pop(0)._replace(now=world.now)))
        elif world.running:
            launch = world.rng.choice(list(world.running.values()))
            if world.rng.random() < 0.5:
                world.events.append(TaskStarted(world.now, launch.ref, world.now))
            else:
                world.finish_one()
        elif world.timers:
            timer = world.timers.pop(0)
            world.now = max(world.now, timer.at)
            world.take(step(world.state, TimerFired(world.now, timer.ref, TimerKind(timer.kind))))
    while world.queue:
        world.commit_one()


@settings(max_examples=200)
@given(seed=SEEDS, steps=st.integers(1, 60) | st.just(10_000), depth=DEPTHS)
def test_executions_of_the_core(seed: int, steps: int, depth: int) -> None:
    """All nodes but those of elements have a span, and all attempts of tasks; nothing that goes on is torn down; what
    is over lies within the time of what it is part of; a depth cuts the same tree."""
    world = World(seed)
    rows = _Rows(world)
    _drive(world, steps)
    execution = rows.execution()
    span = execution_span(execution, {}, -1)
    check(span, steady=True)
    assert execution_span(execution, {}, depth) == cut(span, depth)
    stored = world.database.nodes

    def is_shown(row: NodeRow) -> bool:
        if row.kind in (NodeKind.START, NodeKind.END):
            return False
        return row.parent_id is None or (row.parent_id in stored and is_shown(stored[row.parent_id]))

    found = [inner for inner, _ in walk(span)]
    shown = {inner.node_id.node_id for inner in found if inner.HasField("node_id")}
    assert shown == {row.node_id for row in stored.values() if is_shown(row)}
    tasks = [(t.task_id.node_execution_id.node_id, t.task_id.retry_attempt) for t in found if t.HasField("task_id")]
    assert sorted(tasks) == sorted(
        (node_id, number)
        for node_id, number in rows.tasks
        if node_id in shown and stored[node_id].kind == NodeKind.TASK
    )
    for inner in found:
        is_over = execution.ended_at is not None
        if inner.HasField("node_id"):
            is_over = stored[inner.node_id.node_id].ended_at is not None
        for each in inner.spans:
            assert is_over or not each.operation_id.endswith(("NODE_TEARDOWN", "WORKFLOW_TEARDOWN"))
            if is_over and each.operation_id != NODE_TRANSITION:
                assert inner.start_time.ToNanoseconds() <= each.start_time.ToNanoseconds()
                assert each.end_time.ToNanoseconds() <= inner.end_time.ToNanoseconds()


@settings(max_examples=100)
@given(seed=SEEDS, depth=DEPTHS)
def test_executions_of_engines_that_die(seed: int, depth: int) -> None:
    """Crashes, and events that come late with the time of their making, leave everything in its place."""
    world = World(seed)
    rows = _Rows(world)
    world.run(crashes=True)
    span = execution_span(rows.execution(), {}, -1)
    check(span, steady=False)
    assert execution_span(rows.execution(), {}, depth) == cut(span, depth)


@st.composite
def _executions(draw: st.DrawFn) -> dict[tuple[str, str, str], Execution]:
    """An execution, and maybe the child of its launch plan nodes, of nodes of any kind with any times."""
    rng = random.Random(draw(SEEDS))
    names = ("e", "child", "gone")
    return {("p", "d", name): _any_execution(rng, name, names[names.index(name) + 1]) for name in names[:2]}


def _any_execution(rng: random.Random, name: str, child: str) -> Execution:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def moment() -> datetime:
        return start + timedelta(milliseconds=rng.randint(0, 5_000))

    def maybe() -> datetime | None:
        return moment() if rng.random() < 0.7 else None

    nodes: defaultdict[str | None, list[Node]] = defaultdict(list)
    attempts: dict[str, list[Attempt]] = {}
    dynamic: dict[str, Flow] = {}
    children: dict[str, tuple[str, str, str]] = {}
    counter = iter(range(10_000))

    def add(parent: str | None, attempt: int, spec: str, kind: NodeKind, depth: int) -> None:
        node_id = f"{spec}.{next(counter)}"
        flags = rng.choice([0, 0, FLAG_DYNAMIC | FLAG_PARENT]) if kind is NodeKind.TASK else rng.choice([0, FLAG_ARRAY])
        nodes[parent].append(
            Node(node_id, spec, parent, attempt, next(counter), kind, flags, 1, moment(), maybe(), maybe(), moment())
        )
        if kind is NodeKind.LAUNCH_PLAN and rng.random() < 0.7:
            children[node_id] = ("p", "d", child)
        if kind in (NodeKind.TASK, NodeKind.ARRAY):
            task = identifier_pb2.Identifier(name="t")
            attempts[node_id] = [
                Attempt(node_id, number, task, moment(), maybe(), maybe(), moment())
                for number in range(rng.randint(0, 3))
            ]
        if depth == 0 or rng.random() < 0.3:
            return
        if kind is NodeKind.BRANCH:
            add(node_id, 0, f"{spec}-arm", rng.choice(list(NodeKind)[2:]), depth - 1)
        elif kind is NodeKind.WORKFLOW:
            frame(node_id, 0, depth - 1)
        elif kind is NodeKind.TASK:
            dynamic[node_id] = flow
            for number in range(rng.randint(0, 2)):
                frame(node_id, number, depth - 1)

    def frame(parent: str | None, attempt: int, depth: int) -> None:
        if rng.random() < 0.9:
            add(parent, attempt, "start-node", NodeKind.START, 0)
        for number in range(rng.randint(0, 3)):
            add(parent, attempt, f"n{number}", rng.choice(list(NodeKind)[2:]), depth)

    specs = ["start-node", *(f"n{number}" for number in range(3))]
    upstream = {spec: tuple(rng.sample(specs, rng.randint(0, 3))) for spec in (*specs[1:], END_ID)}
    flow = Flow(upstream, {}, len(upstream))
    frame(None, 0, 3)
    identifier = identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name=name)
    return Execution(identifier, moment(), maybe(), moment(), flow, nodes, attempts, dynamic, children)


@settings(max_examples=300)
@given(executions=_executions(), depth=DEPTHS)
def test_rows_of_any_kind_and_time(executions: dict[tuple[str, str, str], Execution], depth: int) -> None:
    """Whatever the rows say, no operation takes negative time or stands in the wrong place, and a depth cuts the same
    tree."""
    span = execution_span(executions["p", "d", "e"], executions, -1)
    check(span, steady=False)
    assert execution_span(executions["p", "d", "e"], executions, depth) == cut(span, depth)
