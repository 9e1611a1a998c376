"""A world for the core: a database that keeps what is committed, a runtime, and a process that may die at any moment.

Whatever happens is drawn from a seed. A world may go on from what another one has done, as a recovery does.
"""

import dataclasses
import random

from tests.property.workflows import (
    INPUT,
    OUTPUT,
    WHOLE,
    Behaviour,
    RunFailed,
    attempts,
    behaviour_of,
    integer,
    interpret,
    item,
    plan_tasks,
    random_plan,
    task_result,
    total,
)
from wingbeat_propeller.compiler.comparison import NO_RULES, compare_plans
from wingbeat_propeller.core.array_inputs import take_apart
from wingbeat_propeller.core.array_outputs import collections
from wingbeat_propeller.core.bindings import NeedsContentError, evaluate
from wingbeat_propeller.core.caching import CacheStatus
from wingbeat_propeller.core.effects import (
    Abort,
    Effects,
    Gather,
    Keep,
    Launch,
    LookUp,
    OpenArray,
    Prepare,
    Recall,
    RecallElements,
    SetTimer,
)
from wingbeat_propeller.core.events import (
    ArrayOpened,
    Begin,
    ElementsRecalled,
    Event,
    Gathered,
    Kept,
    LookedUp,
    Prepared,
    Recalled,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import EXECUTION_FINAL, NODE_FINAL, ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import ArraySpec, FailurePolicy, Plan
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.reuse import ALL
from wingbeat_propeller.core.rows import ElementRow, ExecutionRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.values import Ref, Value, build_literal_map, split_literal_map


class Database:
    """Rows as the journal keeps them, with the invariants every commit must hold."""

    def __init__(self) -> None:
        self.execution: ExecutionRow | None = None
        self.nodes: dict[str, NodeRow] = {}
        self.task_attempts: dict[str, set[int]] = {}
        self.elements: dict[tuple[str, int, int], ElementRow] = {}
        self.blobs: dict[str, bytes] = {}
        self.not_before: dict[tuple[str, int, int], float] = {}
        """When an attempt may begin, by node, element (-1: the node itself) and number."""

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
                self.not_before[row.node_id, -1, row.attempt] = row.retry_at
        for task in effects.tasks:
            self.task_attempts.setdefault(task.node_id, set()).add(task.attempt)
        for element in effects.elements:
            place = (element.node_id, element.element, element.attempt)
            before = self.elements.get(place)
            assert before is None or before.ended_at is None, f"{place} changed after its end"
            assert not element.attempt or (*place[:2], element.attempt - 1) in self.elements
            futures_uri = element.futures_uri or (before and before.futures_uri)
            self.elements[place] = element._replace(futures_uri=futures_uri)
            if element.retry_at is not None:
                self.not_before[element.node_id, element.element, element.attempt + 1] = element.retry_at
        if effects.execution_row is not None:
            assert self.execution is None or self.execution.phase not in EXECUTION_FINAL
            self.execution = effects.execution_row

    def last_elements(self) -> list[ElementRow]:
        """The last attempt of each element of the arrays under way."""
        last = {place[:2]: row for place, row in sorted(self.elements.items())}
        return [row for (node_id, _), row in last.items() if self.nodes[node_id].phase not in NODE_FINAL]


class World:
    """A runtime, a journal that commits late, and a process that may die."""

    def __init__(
        self,
        seed: int,
        *,
        max_parallelism: int = 0,
        elements_max: int = 3,
        large: bool = False,
        source: "World | None" = None,
        plan: Plan | None = None,
    ) -> None:
        self.source = source
        """The world whose execution this one recovers: of the same seed, with behaviours of its own to be set, and with
        a `plan` of its own if it runs another version."""
        self.number = 1 if source is None else source.number + 1
        self.rng = random.Random(seed)
        drawn = random_plan(self.rng)
        self.plan = drawn if plan is None else plan
        self.value = self.rng.randint(0, 99)
        self.behaviours = {name: self._variants(name) for name in plan_tasks(self.plan)}
        self.rng = random.Random(f"{seed}/{self.number}")
        self.behaviour_of_element: dict[tuple[str, int], Behaviour] = {}
        self.settings = Settings(
            base_uri="mem://b",
            max_parallelism=max_parallelism,
            elements_max=elements_max,
            element_attempts_max=elements_max,
        )
        self.large = large
        self.cache: dict[tuple[str, bytes], bytes] = {}
        """Outputs by what the cache knows a node by and its inputs; worlds may share one."""
        self.database = Database()
        if source is not None:
            self.database.blobs = source.database.blobs  # one store
        self.now = 1000.0
        self.launched: dict[str, Launch] = {}
        self.running: dict[str, Launch] = {}
        self.finished: dict[str, Event] = {}
        self.started: dict[str, int] = {}
        self.followed: set[str] = set()
        """Attempts that this process has launched or adopted, and so hears of."""
        self.queue: list[Effects] = []
        self.events: list[Event] = []
        self.old_events: list[Event] = []
        self.timers: list[SetTimer] = []
        self.state = self._fresh()
        self.peak = 0

    def _variants(self, name: str) -> list[Behaviour]:
        """Tasks in arrays fare differently from element to element."""
        return [self._behaviour() for _ in range(3 if ".e" in name else 1)]

    def _behaviour(self) -> Behaviour:
        if self.rng.random() < 0.75:
            return Behaviour()
        kinds = self.rng.choices(["user", "system", "fatal", "ok"], weights=[4, 3, 1, 4], k=self.rng.randint(1, 4))
        return Behaviour(kinds)

    def _fresh(self) -> ExecutionState:
        state = ExecutionState(ExecutionKey(self.number), "p", "d", f"exec{self.number}", self.plan, self.settings)
        if self.source is not None:
            same = self.source.plan is self.plan
            state.reuse = ALL if same else compare_plans(self.source.plan, self.plan, NO_RULES).reuse()
        return state

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
            match request:
                case Prepare():
                    self.events.append(self._prepare(request))
                case OpenArray():
                    self.events.append(self._open_array(request))
                case Gather():
                    self.events.append(self._gather(request))
                case LookUp():
                    self.events.append(self._look_up(request))
                case Keep():
                    outputs = request.outputs or self.database.blobs[request.outputs_uri]
                    self.cache.setdefault(self._key(request.call), outputs)
                    self.events.append(Kept(self.now, request.call.ref, CacheStatus.POPULATED, b""))
                case Recall():
                    self.events.append(self._recall(request))
                case RecallElements():
                    self.events.append(self._recall_elements(request))
        self.timers += effects.timers
        if effects.writes:
            self.queue.append(effects)
        else:
            self._command(effects)

    def _load(self, ref: Ref) -> bytes:
        return split_literal_map(self.database.blobs[ref.uri])[ref.var]

    def _content(self, value: Value) -> bytes:
        return self._load(value) if isinstance(value, Ref) else value

    def _prepare(self, request: Prepare) -> Event:
        try:
            values = evaluate(request.program, request.sources, self._load)
        except NeedsContentError as need:  # pragma: no cover - load knows every blob
            raise AssertionError(need.refs) from need
        content = {var: self._content(value) for var, value in values.items()}
        self.database.blobs[request.uri] = build_literal_map(content)
        return Prepared(self.now, request.ref, {var: Ref(request.uri, var) for var in content})

    def _open_array(self, request: OpenArray) -> Event:
        if request.inputs is not None:
            self.database.blobs[request.uri] = request.inputs
        values = {var: self._content(value) for var, value in request.values.items()}
        return ArrayOpened(self.now, request.ref, take_apart(request.spec, values))

    def _gather(self, request: Gather) -> Event:
        def outputs(element: bytes | str | None) -> dict[str, bytes] | None:
            data = self.database.blobs[element] if isinstance(element, str) else element
            return None if data is None else split_literal_map(data)

        made = collections(request.names, [outputs(element) for element in request.elements])
        self.database.blobs[request.uri] = build_literal_map(made)
        return Gathered(self.now, request.ref, {var: Ref(request.uri, var) for var in made}, None)

    def _key(self, call: LookUp) -> tuple[str, bytes]:
        return call.task.name, self.database.blobs[call.inputs_uri] if call.inputs is None else call.inputs

    def _look_up(self, call: LookUp) -> Event:
        found = self.cache.get(self._key(call))
        if found is None:
            return LookedUp(self.now, call.ref, CacheStatus.MISS, b"")
        values: dict[str, Value] = {**split_literal_map(found)}
        if self.large:
            self.database.blobs[call.outputs_uri] = found
            values = {var: Ref(call.outputs_uri, var) for var in values}
        return LookedUp(self.now, call.ref, CacheStatus.HIT, b"", values, None if self.large else found)

    def _recall(self, request: Recall) -> Event:
        assert self.source is not None, "nothing is recovered"
        row = self.source.database.nodes.get(request.node_id)
        return Recalled(self.now, request.ref, None if row is None else dataclasses.replace(row))

    def _recall_elements(self, request: RecallElements) -> Event:
        """Pages of two."""
        assert self.source is not None, "nothing is recovered"
        rows = [
            row
            for (array_id, element, _), row in sorted(self.source.database.elements.items())
            if array_id == request.array_id and element > request.after and row.phase == TaskPhase.SUCCEEDED
        ]
        return ElementsRecalled(self.now, request.ref, rows[:2], len(rows) < 2)

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
        place = (launch.array_id or launch.node_id, launch.ref.element, launch.ref.attempt)
        not_before = self.database.not_before.get(place, 0.0)
        assert self.now >= not_before, f"{launch.name} is launched before its pause is over"
        self.launched[launch.name] = launch
        self.followed.add(launch.name)
        if launch.name in self.finished:
            self.events.append(_for(self.finished[launch.name], launch))
        elif launch.name not in self.running:
            if launch.inputs is not None:
                self.database.blobs[f"{launch.data_dir}/inputs.pb"] = launch.inputs
            self.started[launch.name] = self.started.get(launch.name, 0) + 1
            self.running[launch.name] = launch
        else:
            self.running[launch.name] = launch
        self.peak = max(self.peak, len({each.array_id or each.name for each in self.running.values()}))
        if launch.array_id:
            elements = [each for each in self.running.values() if each.array_id == launch.array_id]
            assert len(elements) <= self.settings.elements_max

    def finish_one(self) -> None:
        name = self.rng.choice(list(self.running))
        launch = self.running.pop(name)
        given = self._given(launch)
        behaviour = behaviour_of(self.behaviours, launch.task.name, given)
        if launch.array_id:
            self.behaviour_of_element[launch.array_id, launch.ref.element] = behaviour
        match behaviour.of(launch.ref.attempt):
            case "ok":
                literal = integer(task_result(launch.task.name, given))
                outputs = {OUTPUT: self._value(f"{launch.output_dir}/outputs.pb", OUTPUT, literal)}
                serialized = None if self.large else build_literal_map({OUTPUT: literal})
                began = self.now if self.rng.random() < 0.5 else None  # nobody may have heard of it before
                event: Event = TaskSucceeded(self.now, launch.ref, self.now, outputs, serialized, started_at=began)
            case kind:
                origin = ErrorKind.SYSTEM if kind == "system" else ErrorKind.USER
                failure = Failure(origin, "E", kind, retryable=kind != "fatal")
                event = TaskFailed(self.now, launch.ref, self.now, failure)
        self.finished[name] = event
        if name in self.followed:
            self.events.append(event)

    def _given(self, launch: Launch) -> int:
        """Sum of the inputs; an element that reads whole lists picks its item by the index in its environment."""
        inputs = split_literal_map(self.database.blobs[f"{launch.data_dir}/inputs.pb"])
        literal = inputs[INPUT]
        if launch.array_id and launch.output_dir.rpartition("/")[0] != launch.data_dir:
            literal = item(literal, int(launch.env[launch.env["BATCH_JOB_ARRAY_INDEX_VAR_NAME"]]))
        return total(literal) + (total(inputs[WHOLE]) if WHOLE in inputs else 0)

    def crash(self) -> None:
        """The process dies: memory and uncommitted effects are lost, tasks run on, blobs stay."""
        self.queue.clear()
        self.followed.clear()
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
        elements = self.database.last_elements()
        self.take(rebuild(self.state, rows, self.inputs(), elements=elements, started_at=1000.0, now=self.now))

    def run(self, *, crashes: bool = False, crash_rate: float = 0.03) -> None:
        self.begin()
        for _ in range(100_000):
            self.now += 1
            choices = ["commit"] * (3 * bool(self.queue)) + ["finish"] * bool(self.running)
            choices += ["event"] * (2 * bool(self.events)) + ["old"] * bool(self.old_events and crashes)
            choices += ["start"] * bool(self.running)
            choices += ["timer"] * bool(self.timers)
            if not (self.queue or self.running or self.events or self.timers):
                return
            match self.rng.choice(choices) if not crashes or self.rng.random() > crash_rate else "crash":
                case "commit":
                    self.commit_one()
                case "finish":
                    self.finish_one()
                case "start":
                    launch = self.rng.choice(list(self.running.values()))
                    if launch.name in self.followed:
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
            if row is None or row.phase in (NodePhase.SKIPPED, NodePhase.RECOVERED):
                continue
            match plan.targets[index]:
                case Plan() as inner:
                    self._check_attempts(inner, row.node_id)
                case ArraySpec() as array:
                    self._check_elements(array, row)
                case _:
                    task = plan.task(index)
                    if len(self.behaviours[task.name]) > 1:
                        continue
                    made, succeeded = attempts(self.behaviours[task.name][0], plan.attempts_max[index])
                    assert (row.phase == NodePhase.SUCCEEDED) is succeeded
                    assert row.attempt + 1 == made
                    assert self.database.task_attempts[row.node_id] == set(range(made))

    def _check_elements(self, array: ArraySpec, row: NodeRow) -> None:
        """Each element made the attempts that its budgets allow; all of them, unless too many failed before."""
        last = {
            place[1]: element for place, element in sorted(self.database.elements.items()) if place[0] == row.node_id
        }
        if row.phase == NodePhase.SUCCEEDED or array.runs_all:
            assert sorted(last) == list(range(int(row.memo or b"0")))
            assert all(element.phase in (TaskPhase.SUCCEEDED, TaskPhase.FAILED) for element in last.values())
        for index, element in last.items():
            behaviour = self.behaviour_of_element.get((row.node_id, index))
            if behaviour is None or element.phase not in (TaskPhase.SUCCEEDED, TaskPhase.FAILED):
                continue
            made, succeeded = attempts(behaviour, array.attempts_max)
            assert (element.phase == TaskPhase.SUCCEEDED) is succeeded
            assert element.attempt + 1 == made


def _for(event: Event, launch: Launch) -> Event:
    """The same end, addressed to where the attempt stands in a rebuilt state."""
    assert isinstance(event, TaskSucceeded | TaskFailed)
    return event._replace(ref=launch.ref)
