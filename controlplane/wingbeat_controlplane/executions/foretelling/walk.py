"""The way that an execution would take, as far as the cache tells it: nodes in turn, calls gathered into rounds.

Pure but for what its caller looks up: `ForetellingWalk.calls` are the calls whose inputs are known, and `answer` takes
what the cache says of them and goes on; `children` are the executions that would be launched with inputs that are
known, and `open_child` walks into one. Every node is met once, sub-workflows and children as frames of their own.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flyteidl.core import literals_pb2

from wingbeat_controlplane.executions.foretelling.known_inputs import Inputs, Known, known_inputs
from wingbeat_propeller.core.array_inputs import OffloadedError, element_inputs, take_apart
from wingbeat_propeller.core.array_outputs import collections
from wingbeat_propeller.core.caching import CacheMode
from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.kinds.branch import decide
from wingbeat_propeller.core.plan import END, START, ArraySpec, LaunchPlanSpec, NodeKind, Plan, TaskSpec
from wingbeat_propeller.core.values import MalformedLiteralMapError, build_literal_map, split_literal_map
from wingbeat_propeller.ports.cache import CacheAnswer, CacheAsk, CacheHit, CacheMiss
from wingbeatidl.cache.v1 import foretell_pb2

ELEMENTS_MAX = 100_000
"""Elements of all map tasks that are looked up for one answer; of further ones nothing is told."""
CHILDREN_MAX = 500
"""Executions of launch plan nodes that are walked into for one answer."""
DEPTH_MAX = 5
"""How deep they may be nested; launch plans may launch themselves."""

_HIT, _RUN, _OPEN = foretell_pb2.FORECAST_HIT, foretell_pb2.FORECAST_RUN, foretell_pb2.FORECAST_OPEN
_WORDS = {
    foretell_pb2.FORECAST_REASON_FOUND: "it would not run: the cache has its outputs",
    foretell_pb2.FORECAST_REASON_MISS: "it would run: the cache has no entry for these inputs",
    foretell_pb2.FORECAST_REASON_NOT_CACHEABLE: "it would run: its task is not cacheable",
    foretell_pb2.FORECAST_REASON_CACHE_OFF: "it would run: the cache is off for this launch",
    foretell_pb2.FORECAST_REASON_OVERWRITE: "it would run: overwrite_cache is set",
}


@dataclass(slots=True, eq=False)
class _Frame:
    plan: Plan
    parent: "tuple[_Frame, int] | None"
    parent_id: str | None
    pending: list[int]
    mode: CacheMode
    config: bytes
    """Settings of the execution: a serialized flyteidl.admin.WorkflowExecutionConfig."""
    launched_by: tuple[str, ...] = ()
    """Nodes that would launch the execution, from the nearest on."""
    outputs: dict[int, Known] = field(default_factory=dict[int, Known])
    reached: set[int] = field(default_factory=set[int])
    arms_taken: set[int] = field(default_factory=set[int])

    def node_id(self, node: int) -> str:
        owner = self.plan.owners[node]
        parent_id = self.parent_id if owner < 0 else self.node_id(owner)
        return unique_node_id(parent_id, 0, self.plan.ids[node])


@dataclass(slots=True, eq=False)
class _Call:
    frame: _Frame
    node: int
    asks: list[CacheAsk]
    answers: list[CacheAnswer] = field(default_factory=list[CacheAnswer])


class Child(NamedTuple):
    """An execution that a node would launch."""

    frame: _Frame
    node: int
    launch_plan: LaunchPlanSpec
    inputs: Known
    config: bytes
    """Of the execution that would launch it; as of its frame."""


class ForetellingWalk:
    """See the module. `nodes` tells of those that were met so far. `config` is a serialized WorkflowExecutionConfig."""

    def __init__(self, plan: Plan, inputs: Known, mode: CacheMode, config: bytes = b"") -> None:
        self.nodes: list[foretell_pb2.NodeForecast] = []
        self.hits = self.runs = self.open = 0
        self._elements_left = ELEMENTS_MAX
        self._ready: deque[tuple[_Frame, int]] = deque()
        self._calls: list[_Call] = []
        self._children: list[Child] = []
        self._children_left = CHILDREN_MAX
        self._enter(_Frame(plan, None, None, list(plan.indegree), mode, config), inputs)
        self._go_on()

    def calls(self) -> Sequence[CacheAsk]:
        """What is to be looked up next; none: everything is told."""
        return [ask for call in self._calls for ask in call.asks]

    def answer(self, answers: Sequence[CacheAnswer]) -> None:
        """Go on with the answers to `calls`, in their order."""
        calls, self._calls = self._calls, []
        place = 0
        for call in calls:
            found = answers[place : place + len(call.asks)]
            place += len(call.asks)
            target = call.frame.plan.targets[call.node]
            if isinstance(target, ArraySpec):
                self._array_answered(call, target, found)
            elif isinstance(target, Plan):
                self._workflow_answered(call, found[0])
            else:
                self._task_answered(call, found[0])
        self._go_on()

    def children(self) -> Sequence[Child]:
        """Executions to be opened, or refused, before anything else is asked."""
        found, self._children = self._children, []
        return found

    def open_child(self, child: Child, plan: Plan, inputs: Known, mode: CacheMode, config: bytes) -> None:
        """The execution would run `plan` with `inputs`, and such settings."""
        parent, node = child.frame, child.node
        self._tell_child(child, foretell_pb2.FORECAST_INNER, "it launches an execution, whose nodes follow")
        launched_by = (parent.node_id(node), *parent.launched_by)
        frame = _Frame(plan, (parent, node), None, list(plan.indegree), mode, config, launched_by)
        self._enter(frame, inputs)
        self._go_on()

    def refuse_child(self, child: Child, reason: str) -> None:
        """The execution could not be launched."""
        self._tell_child(child, _RUN, f"it would launch an execution, which would be refused: {reason}")
        self.runs += 1
        self._ended(child.frame, child.node, {})
        self._go_on()

    # ---- frames ----

    def _enter(self, frame: _Frame, inputs: Known) -> None:
        self._ended(frame, START, inputs)

    def _ended(self, frame: _Frame, node: int, outputs: Known) -> None:
        """Nothing more will be known of the node; what depends on it may be told."""
        frame.outputs[node] = outputs
        plan = frame.plan
        owner = plan.owners[node]
        if owner >= 0:
            self._ended(frame, owner, outputs)
            return
        if node == END:
            if frame.parent is not None:
                self._ended(*frame.parent, outputs)
            return
        for successor in plan.successors[node]:
            self._one_less(frame, successor)

    def _one_less(self, frame: _Frame, node: int) -> None:
        frame.pending[node] -= 1
        is_arm = frame.plan.owners[node] >= 0
        if not frame.pending[node] and (not is_arm or node in frame.arms_taken) and node not in frame.reached:
            frame.reached.add(node)
            self._ready.append((frame, node))

    def _go_on(self) -> None:
        while self._ready:
            frame, node = self._ready.popleft()
            self._reach(frame, node, known_inputs(frame.plan.bindings[node], frame.outputs))

    # ---- nodes by kind ----

    def _reach(self, frame: _Frame, node: int, inputs: Inputs) -> None:
        kind = frame.plan.kinds[node]
        if kind is NodeKind.END:
            self._ended(frame, node, inputs.values)
        elif kind is NodeKind.TASK:
            self._task(frame, node, frame.plan.task(node), inputs)
        elif kind is NodeKind.WORKFLOW:
            self._workflow(frame, node, inputs)
        elif kind is NodeKind.BRANCH:
            self._branch(frame, node, inputs)
        elif kind is NodeKind.LAUNCH_PLAN:
            self._launch_plan(frame, node, frame.plan.launch_plan(node), inputs)
        elif kind is NodeKind.ARRAY:
            self._array(frame, node, frame.plan.array(node), inputs)
        else:
            self._other(frame, node, "", "it waits for a time or a person")

    def _other(self, frame: _Frame, node: int, entity: str, text: str) -> None:
        told = self._tell(frame, node, _RUN, entity, text)
        told.reason = foretell_pb2.FORECAST_REASON_NOT_A_TASK
        self.runs += 1
        self._ended(frame, node, {})

    def _launch_plan(self, frame: _Frame, node: int, spec: LaunchPlanSpec, inputs: Inputs) -> None:
        text = "it launches an execution"
        if not inputs.is_whole:
            self._other(frame, node, spec.name, f"{text}, whose inputs are not known yet")
        elif len(frame.launched_by) == DEPTH_MAX or not self._children_left:
            self._other(frame, node, spec.name, f"{text}, to be foretold by itself")
        else:
            self._children_left -= 1
            self._children.append(Child(frame, node, spec, inputs.values, frame.config))

    def _tell_child(self, child: Child, forecast: "foretell_pb2.Forecast", text: str) -> None:
        told = self._tell(child.frame, child.node, forecast, child.launch_plan.name, text)
        told.reason = foretell_pb2.FORECAST_REASON_NOT_A_TASK

    def _task(self, frame: _Frame, node: int, task: TaskSpec, inputs: Inputs) -> None:
        reason = _runs_anyway(frame.mode, task)
        if reason is not None or not inputs.is_whole:
            self._not_looked_up(frame, node, task.name, inputs, reason)
        elif task.cached is not None:
            self._calls.append(_Call(frame, node, [CacheAsk(task.cached, build_literal_map(inputs.values))]))

    def _task_answered(self, call: _Call, answer: CacheAnswer) -> None:
        frame, node = call.frame, call.node
        is_hit = isinstance(answer, CacheHit)
        told = self._tell(frame, node, _HIT if is_hit else _RUN, frame.plan.task(node).name, _explained(answer))
        told.reason, told.catalog_key = _reason(answer), answer.catalog
        self.hits += is_hit
        self.runs += not is_hit
        self._ended(frame, node, split_literal_map(answer.outputs) if isinstance(answer, CacheHit) else {})

    def _array(self, frame: _Frame, node: int, spec: ArraySpec, inputs: Inputs) -> None:
        reason = _runs_anyway(frame.mode, spec)
        if reason is not None or not inputs.is_whole or spec.cached is None:
            self._not_looked_up(frame, node, spec.name, inputs, reason)
            return
        try:
            opened = take_apart(spec, inputs.values)
        except (OffloadedError, MalformedLiteralMapError) as error:
            self._not_looked_up(frame, node, spec.name, Inputs(error=str(error)))
            return
        if not isinstance(opened.size, int) or opened.size > self._elements_left:
            text = f"more than {ELEMENTS_MAX} elements" if isinstance(opened.size, int) else opened.size.message
            self._not_looked_up(frame, node, spec.name, Inputs(error=text))
            return
        self._elements_left -= opened.size
        asks = [
            CacheAsk(spec.cached, build_literal_map({name: _bytes(value) for name, value in made.items()}))
            for made in (element_inputs(opened, index) for index in range(opened.size))
        ]
        self._calls.append(_Call(frame, node, asks))

    def _array_answered(self, call: _Call, spec: ArraySpec, answers: Sequence[CacheAnswer]) -> None:
        outputs = [split_literal_map(answer.outputs) for answer in answers if isinstance(answer, CacheHit)]
        hits, total = len(outputs), len(answers)
        is_hit = hits == total
        text = f"{hits} of {total} elements are in the cache" + ("" if is_hit else ", the others would run")
        told = self._tell(call.frame, call.node, _HIT if is_hit else _RUN, spec.name, text)
        told.reason = foretell_pb2.FORECAST_REASON_FOUND if is_hit else foretell_pb2.FORECAST_REASON_MISS
        told.elements, told.elements_hit = total, hits
        self.hits += hits
        self.runs += total - hits
        self._ended(call.frame, call.node, collections(spec.output_names, outputs) if is_hit else {})

    def _workflow(self, frame: _Frame, node: int, inputs: Inputs) -> None:
        cached = frame.plan.cached(node)
        if cached is not None and frame.mode is CacheMode.USE and inputs.is_whole:
            self._calls.append(_Call(frame, node, [CacheAsk(cached, build_literal_map(inputs.values))]))
        else:
            self._walk_into(frame, node, inputs, "its inner nodes follow")

    def _workflow_answered(self, call: _Call, answer: CacheAnswer) -> None:
        frame, node = call.frame, call.node
        if isinstance(answer, CacheHit):
            told = self._tell(frame, node, _HIT, frame.plan.sub_plan(node).name, _explained(answer))
            self.hits += 1
            self._ended(frame, node, split_literal_map(answer.outputs))
        else:
            inputs = known_inputs(frame.plan.bindings[node], frame.outputs)
            told = self._walk_into(frame, node, inputs, f"{_explained(answer)}; its inner nodes follow")
        told.reason, told.catalog_key = _reason(answer), answer.catalog

    def _walk_into(self, frame: _Frame, node: int, inputs: Inputs, text: str) -> foretell_pb2.NodeForecast:
        plan = frame.plan.sub_plan(node)
        told = self._tell(frame, node, foretell_pb2.FORECAST_INNER, plan.name, text)
        pending = list(plan.indegree)
        inside = _Frame(plan, (frame, node), frame.node_id(node), pending, frame.mode, frame.config, frame.launched_by)
        self._enter(inside, inputs.values)
        return told

    def _branch(self, frame: _Frame, node: int, inputs: Inputs) -> None:
        spec = frame.plan.branch(node)
        decision = decide(spec, dict(inputs.values)) if inputs.is_whole else None
        if not isinstance(decision, int):
            text = _waits(frame, inputs) if decision is None else f"it would fail: {decision.message}"
            told = self._tell(frame, node, _OPEN if decision is None else _RUN, "", text)
            told.reason = foretell_pb2.FORECAST_REASON_BRANCH
            self.open += decision is None
            self._ended(frame, node, {})
            return
        self._tell(frame, node, foretell_pb2.FORECAST_INNER, "", f"it takes the arm {frame.plan.ids[decision]}")
        frame.arms_taken.add(decision)
        self._one_less(frame, decision)

    # ---- words ----

    def _not_looked_up(
        self, frame: _Frame, node: int, entity: str, inputs: Inputs, reason: "foretell_pb2.ForecastReason | None" = None
    ) -> None:
        if reason is not None:
            told = self._tell(frame, node, _RUN, entity, _WORDS[reason])
            told.reason = reason
            self.runs += 1
        else:
            told = self._tell(frame, node, _OPEN, entity, _waits(frame, inputs))
            told.reason = foretell_pb2.FORECAST_REASON_INPUTS
            self.open += 1
        self._ended(frame, node, {})

    def _tell(
        self, frame: _Frame, node: int, forecast: "foretell_pb2.Forecast", entity: str, text: str
    ) -> foretell_pb2.NodeForecast:
        told = foretell_pb2.NodeForecast(
            node_id=frame.node_id(node),
            name=frame.plan.names[node],
            entity=entity,
            forecast=forecast,
            explanation=f"{text}.",
            launched_by=frame.launched_by,
        )
        self.nodes.append(told)
        return told


def _runs_anyway(mode: CacheMode, target: TaskSpec | ArraySpec) -> "foretell_pb2.ForecastReason | None":
    """Reason for which a task runs whatever its inputs are, if there is one."""
    if target.cached is None:
        return foretell_pb2.FORECAST_REASON_NOT_CACHEABLE
    if mode is CacheMode.OFF:
        return foretell_pb2.FORECAST_REASON_CACHE_OFF
    return foretell_pb2.FORECAST_REASON_OVERWRITE if mode is CacheMode.OVERWRITE else None


def _reason(answer: CacheAnswer) -> "foretell_pb2.ForecastReason":
    if isinstance(answer, CacheHit):
        return foretell_pb2.FORECAST_REASON_FOUND
    if isinstance(answer, CacheMiss):
        return foretell_pb2.FORECAST_REASON_MISS
    return foretell_pb2.FORECAST_REASON_LOOKUP_FAILURE


def _explained(answer: CacheAnswer) -> str:
    if isinstance(answer, CacheHit | CacheMiss):
        return _WORDS[_reason(answer)]
    return f"it would run: the cache cannot say whether it has an entry ({answer.reason})"


def _waits(frame: _Frame, inputs: Inputs) -> str:
    if inputs.error:
        return f"that cannot be told: {inputs.error}"
    makers = ", ".join(frame.plan.ids[node] for node in inputs.waits_for)
    return f"that depends on outputs that are not known yet, of {makers}"


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes), "what is asked for at a launch is at hand"
    return value


def literals_of(inputs: bytes) -> Known:
    """Inputs of a launch by name; they may be two maps one after the other, of which the last counts."""
    merged = literals_pb2.LiteralMap.FromString(inputs)
    return {name: literal.SerializeToString() for name, literal in merged.literals.items()}
