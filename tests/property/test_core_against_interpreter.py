"""The core over random workflows: any order of events, crashes between any two commits, doubled and late events.

What is durable lives in `Database`; everything else is lost at a crash. The outcome must be that of a straight
sequential interpreter, and every task makes exactly the attempts that its budgets allow.
"""

import dataclasses
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.workflows import (
    INPUT,
    OUTPUT,
    Behaviour,
    RunFailed,
    attempts,
    integer,
    interpret,
    plan_tasks,
    random_plan,
    task_result,
    total,
)
from wingbeat_propeller.core.bindings import NeedsContentError, evaluate
from wingbeat_propeller.core.effects import Abort, Effects, Launch, SetTimer
from wingbeat_propeller.core.events import (
    AbortRequested,
    Begin,
    Event,
    Prepared,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import EXECUTION_FINAL, NODE_FINAL, ExecutionPhase, NodePhase
from wingbeat_propeller.core.plan import FailurePolicy, NodeKind, Plan
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.rows import ExecutionRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.values import Ref, Value, build_literal_map, split_literal_map

KEY = ExecutionKey(1)
SEEDS = st.integers(0, 2**48)
"""One number makes a workflow and everything that happens to it, so a failing example replays exactly."""


class Database:
    """Rows as the journal keeps them, with the invariants every commit must hold."""

    def __init__(self) -> None:
        self.execution: ExecutionRow | None = None
        self.nodes: dict[str, NodeRow] = {}
        self.task_attempts: dict[str, set[int]] = {}
        self.blobs: dict[str, bytes] = {}
        self.not_before: dict[tuple[str, int], float] = {}
        """When an attempt may begin, by node and number."""

    def commit(self, effects: Effects) -> None:
        for row in effects.nodes:
            old = self.nodes.get(row.node_id)
            if old is not None:
                assert old.phase not in NODE_FINAL, f"{row.node_id} changed after its end"
                assert old.seq == row.seq
                for name in ("inputs", "input_uri", "outputs", "output_uri"):
                    if getattr(row, name) is None:
                        setattr(row, name, getattr(old, name))
            self.nodes[row.node_id] = dataclasses.replace(row)
            if row.retry_at is not None:
                self.not_before[row.node_id, row.attempt] = row.retry_at
        for task in effects.tasks:
            self.task_attempts.setdefault(task.node_id, set()).add(task.attempt)
        if effects.execution_row is not None:
            assert self.execution is None or self.execution.phase not in EXECUTION_FINAL
            self.execution = effects.execution_row


class World:
    """A runtime, a journal that commits late, and a process that may die."""

    def __init__(self, seed: int, *, max_parallelism: int = 0, large: bool = False) -> None:
        self.rng = random.Random(seed)
        self.plan = random_plan(self.rng)
        self.value = self.rng.randint(0, 99)
        self.behaviours = {name: self._behaviour() for name in plan_tasks(self.plan)}
        self.settings = Settings(base_uri="mem://b", max_parallelism=max_parallelism)
        self.large = large
        self.database = Database()
        self.now = 1000.0
        self.launched: dict[str, Launch] = {}
        self.running: dict[str, Launch] = {}
        self.finished: dict[str, Event] = {}
        self.started: dict[str, int] = {}
        self.queue: list[Effects] = []
        self.events: list[Event] = []
        self.old_events: list[Event] = []
        self.timers: list[SetTimer] = []
        self.state = self._fresh()
        self.peak = 0

    def _behaviour(self) -> Behaviour:
        if self.rng.random() < 0.75:
            return Behaviour()
        kinds = self.rng.choices(["user", "system", "fatal", "ok"], weights=[4, 3, 1, 4], k=self.rng.randint(1, 4))
        return Behaviour(kinds)

    def _fresh(self) -> ExecutionState:
        return ExecutionState(KEY, "p", "d", "exec", self.plan, self.settings)

    def inputs(self) -> dict[str, Value]:
        return {INPUT: self._value("mem://inputs", INPUT, integer(self.value))}

    def _value(self, uri: str, var: str, literal: bytes) -> Value:
        if not self.large:
            return literal
        self.database.blobs[uri] = build_literal_map({var: literal})
        return Ref(uri, var)

    def begin(self) -> None:
        self.take(step(self.state, Begin(self.now, self.inputs())))

    def take(self, effects: Effects) -> None:
        for request in effects.reads:

            def load(ref: Ref) -> bytes:
                return split_literal_map(self.database.blobs[ref.uri])[ref.var]

            try:
                values = evaluate(request.program, request.sources, load)
            except NeedsContentError as need:  # pragma: no cover - load knows every blob
                raise AssertionError(need.refs) from need
            content = {var: load(value) if isinstance(value, Ref) else value for var, value in values.items()}
            self.database.blobs[request.uri] = build_literal_map(content)
            self.events.append(Prepared(self.now, request.ref, {var: Ref(request.uri, var) for var in content}))
        self.timers += effects.timers
        if effects.writes:
            self.queue.append(effects)
        else:
            self._command(effects)

    def commit_one(self) -> None:
        effects = self.queue.pop(0)
        self.database.commit(effects)
        self._command(effects)

    def _command(self, effects: Effects) -> None:
        for command in effects.commands:
            if isinstance(command, Launch):
                self._launch(command)
            elif isinstance(command, Abort):
                self.running.pop(command.name, None)
        for launch in effects.adopt:
            self._launch(launch)

    def _launch(self, launch: Launch) -> None:
        not_before = self.database.not_before.get((launch.node_id, launch.ref.attempt), 0.0)
        assert self.now >= not_before, f"{launch.name} is launched before its pause is over"
        self.launched[launch.name] = launch
        if launch.name in self.finished:
            self.events.append(_for(self.finished[launch.name], launch))
        elif launch.name not in self.running:
            if launch.inputs is not None:
                self.database.blobs[f"{launch.data_dir}/inputs.pb"] = launch.inputs
            self.started[launch.name] = self.started.get(launch.name, 0) + 1
            self.running[launch.name] = launch
        else:
            self.running[launch.name] = launch
        self.peak = max(self.peak, len(self.running))

    def finish_one(self) -> None:
        name = self.rng.choice(list(self.running))
        launch = self.running.pop(name)
        match self.behaviours[launch.task.name].of(launch.ref.attempt):
            case "ok":
                given = split_literal_map(self.database.blobs[f"{launch.data_dir}/inputs.pb"])[INPUT]
                literal = integer(task_result(launch.task.name, total(given)))
                outputs = {OUTPUT: self._value(f"{launch.output_dir}/outputs.pb", OUTPUT, literal)}
                serialized = None if self.large else build_literal_map({OUTPUT: literal})
                event: Event = TaskSucceeded(self.now, launch.ref, self.now, outputs, serialized)
            case kind:
                origin = ErrorKind.SYSTEM if kind == "system" else ErrorKind.USER
                failure = Failure(origin, "E", kind, retryable=kind != "fatal")
                event = TaskFailed(self.now, launch.ref, self.now, failure)
        self.finished[name] = event
        self.events.append(event)

    def crash(self) -> None:
        """The process dies: memory and uncommitted effects are lost, tasks run on, blobs stay."""
        self.queue.clear()
        self.events.clear()
        self.old_events.clear()
        self.timers.clear()
        self.state = self._fresh()
        if self.database.execution is None:
            self.begin()
            return
        if self.database.execution.phase in EXECUTION_FINAL:
            self.state.ended = True
            return
        rows = sorted(self.database.nodes.values(), key=lambda row: row.seq)
        self.take(rebuild(self.state, rows, self.inputs(), started_at=1000.0, now=self.now))

    def run(self, *, crashes: bool = False) -> None:
        self.begin()
        for _ in range(100_000):
            self.now += 1
            choices = ["commit"] * (3 * bool(self.queue)) + ["finish"] * bool(self.running)
            choices += ["event"] * (2 * bool(self.events)) + ["old"] * bool(self.old_events and crashes)
            choices += ["start"] * bool(self.running)
            choices += ["timer"] * bool(self.timers)
            if not (self.queue or self.running or self.events or self.timers):
                return
            match self.rng.choice(choices) if not crashes or self.rng.random() > 0.03 else "crash":
                case "commit":
                    self.commit_one()
                case "finish":
                    self.finish_one()
                case "start":
                    launch = self.rng.choice(list(self.running.values()))
                    self.events.append(TaskStarted(self.now, launch.ref, self.now))
                case "event":
                    event = self.events.pop(self.rng.randrange(len(self.events)))
                    self.old_events = [*self.old_events[-5:], event]
                    self.take(step(self.state, event))
                case "timer":
                    timer = self.timers.pop(self.rng.randrange(len(self.timers)))
                    self.now = max(self.now, timer.at)
                    self.take(step(self.state, TimerFired(self.now, timer.ref, TimerKind(timer.kind))))
                case "old":
                    self.take(step(self.state, self.rng.choice(self.old_events)))
                case _:
                    self.crash()
        raise AssertionError("the execution does not end")

    def expected(self) -> int | None:
        try:
            return interpret(self.plan, self.value, self.behaviours)
        except RunFailed:
            return None

    def check(self) -> None:
        row = self.database.execution
        assert row is not None
        expected = self.expected()
        if expected is None:
            assert row.phase == ExecutionPhase.FAILED
            assert row.failure is not None
        else:
            assert row.phase == ExecutionPhase.SUCCEEDED
            data = row.outputs if row.outputs is not None else self.database.blobs[row.outputs_uri or ""]
            assert total(split_literal_map(data)[OUTPUT]) == expected
        assert all(node.phase in NODE_FINAL for node in self.database.nodes.values())
        assert not self.running
        if expected is not None or self.plan.policy is FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE:
            self._check_attempts(self.plan, None)

    def _check_attempts(self, plan: Plan, parent: str | None) -> None:
        by_place = {(row.parent_id, row.spec_node_id): row for row in self.database.nodes.values()}
        for index in range(2, plan.size):
            row = by_place.get((parent, plan.ids[index]))
            if row is None or row.phase == NodePhase.SKIPPED:
                continue
            if plan.kinds[index] is NodeKind.WORKFLOW:
                self._check_attempts(plan.sub_plan(index), row.node_id)
                continue
            task = plan.task(index)
            made, succeeded = attempts(self.behaviours[task.name], plan.attempts_max[index])
            assert (row.phase == NodePhase.SUCCEEDED) is succeeded
            assert row.attempt + 1 == made
            assert self.database.task_attempts[row.node_id] == set(range(made))


def _for(event: Event, launch: Launch) -> Event:
    """The same end, addressed to where the attempt stands in a rebuilt state."""
    assert isinstance(event, TaskSucceeded | TaskFailed)
    return event._replace(ref=launch.ref)


@settings(max_examples=300, deadline=None)
@given(seed=SEEDS)
def test_outcome_is_that_of_a_sequential_run(seed: int) -> None:
    """Whatever the order of events, outputs, failure and attempts are those of a straight run."""
    world = World(seed)
    world.run()
    world.check()


@settings(max_examples=300, deadline=None)
@given(seed=SEEDS)
def test_crashes_lose_and_double_nothing(seed: int) -> None:
    """A process that dies between any two commits, and late and doubled events, change nothing of the outcome; no
    attempt is started a second time."""
    world = World(seed)
    world.run(crashes=True)
    world.check()
    assert set(world.started.values()) <= {1}


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_large_values_travel_by_reference(seed: int) -> None:
    """The same holds when every value stays in the blob store."""
    world = World(seed, large=True)
    world.run(crashes=True)
    world.check()


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_parallelism_is_bounded(seed: int) -> None:
    """Never more than max_parallelism tasks at once, and none is forgotten."""
    world = World(seed, max_parallelism=2)
    world.run()
    world.check()
    assert world.peak <= 2


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_abort_ends_everything(seed: int) -> None:
    """After an abort every node is final, nothing runs, and later events change nothing."""
    world = World(seed)
    world.begin()
    for _ in range(world.rng.randint(0, 30)):
        if world.queue:
            world.commit_one()
        elif world.running:
            world.finish_one()
        if world.events:
            world.take(step(world.state, world.events.pop()))
    world.take(step(world.state, AbortRequested(world.now, "enough")))
    late = [TaskStarted(world.now, launch.ref, world.now) for launch in world.launched.values()]
    for event in late:
        world.take(step(world.state, event))
    while world.queue:
        world.commit_one()
    row = world.database.execution
    assert row is not None
    assert row.phase in EXECUTION_FINAL
    assert all(node.phase in NODE_FINAL for node in world.database.nodes.values())
    assert not world.running
