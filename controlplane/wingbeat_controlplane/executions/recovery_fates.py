"""What becomes of each node when an execution is recovered, told before it happens. Pure.

The engine decides node by node while it runs (`core.reuse`); this says the same from the comparison of the two versions
and from how the nodes of the source have ended.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from wingbeat_propeller.compiler.comparison import Comparison, Difference
from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.phases import NODE_SUCCESS, NodePhase
from wingbeat_propeller.core.plan import (
    START,
    ArraySpec,
    LaunchPlanSpec,
    NodeKind,
    Plan,
    TaskSpec,
)
from wingbeat_propeller.core.rows import FLAG_DYNAMIC
from wingbeatidl.recovery.v1 import recovery_pb2

_REUSED = recovery_pb2.FATE_REUSED
_PARTLY = recovery_pb2.FATE_PARTLY_REUSED
_RUNS = recovery_pb2.FATE_RUNS


class Past(NamedTuple):
    """How a node of the source stands: phase, and flags of its row."""

    phase: int
    flags: int


def decide_fates(
    comparison: Comparison, past: Mapping[str, Past], *, same_version: bool
) -> Iterator[recovery_pb2.NodeDecision]:
    """The nodes of the plan in the order in which they can run, those inside a sub-workflow that runs after it; `past`
    is by unique id."""
    yield from _Frame(comparison, past, None, same_version=same_version).decide()


class _Frame:
    def __init__(
        self, comparison: Comparison, past: Mapping[str, Past], parent_id: str | None, *, same_version: bool
    ) -> None:
        self._comparison = comparison
        self._plan = comparison.plan
        self._past = past
        self._parent_id = parent_id
        self._same_version = same_version
        self._upstream = _upstream(self._plan)
        self._runs: dict[int, None] = {}
        """Nodes that are not taken over."""

    def decide(self) -> Iterator[recovery_pb2.NodeDecision]:
        for node in _in_order(self._plan, self._upstream):
            yield from self._node(node)

    def _node(self, node: int) -> Iterator[recovery_pb2.NodeDecision]:
        decision = self._decision(node)
        inside: Sequence[recovery_pb2.NodeDecision] = ()
        if self._plan.kinds[node] is NodeKind.BRANCH and decision.fate != _REUSED:
            inside = self._arms(node, decision)
        elif decision.fate == _PARTLY and self._plan.kinds[node] is NodeKind.WORKFLOW:
            inner = self._comparison.inner.get(node) or Comparison(self._plan.sub_plan(node))
            frame = _Frame(inner, self._past, decision.node_id, same_version=self._same_version)
            inside = list(frame.decide())
        if decision.fate != _REUSED:
            self._runs[node] = None
        yield decision
        yield from inside

    def _decision(self, node: int) -> recovery_pb2.NodeDecision:
        plan = self._plan
        decision = recovery_pb2.NodeDecision(
            node_id=self._unique_id(node), name=plan.names[node], entity=_entity(plan, node)
        )
        past = self._past.get(decision.node_id)
        difference = self._comparison.differences.get(node)
        running = next((each for each in self._upstream[node] if each in self._runs), None)
        if difference is not None and difference.reason != recovery_pb2.REASON_INSIDE:
            _say(decision, _RUNS, difference.reason, difference.explanation)
        elif running is not None:
            _say(decision, _RUNS, recovery_pb2.REASON_UPSTREAM, f"it follows node '{plan.ids[running]}', which runs")
        elif difference is not None:
            self._changed_inside(decision, node, difference, past)
        elif past is None or past.phase == NodePhase.SKIPPED:
            _say(decision, _RUNS, recovery_pb2.REASON_NOT_SUCCEEDED, "it was not reached")
        elif past.phase not in NODE_SUCCESS:
            self._unfinished(decision, node, past)
        else:
            _say(decision, _REUSED, recovery_pb2.REASON_UNCHANGED, "it succeeded, and nothing about it has changed")
        return decision

    def _changed_inside(
        self, decision: recovery_pb2.NodeDecision, node: int, difference: Difference, past: Past | None
    ) -> None:
        _say(decision, _PARTLY if past is not None else _RUNS, difference.reason, difference.explanation)
        if past is not None and self._plan.kinds[node] is NodeKind.ARRAY:
            decision.fate = _RUNS

    def _unfinished(self, decision: recovery_pb2.NodeDecision, node: int, past: Past) -> None:
        phase = NodePhase(past.phase).name
        match self._plan.kinds[node]:
            case NodeKind.WORKFLOW:
                text, fate = f"it was {phase}; what succeeded inside is taken over", _PARTLY
            case NodeKind.BRANCH:
                text, fate = f"it was {phase}; it decides again", _PARTLY
            case NodeKind.LAUNCH_PLAN:
                text, fate = f"it was {phase}; the execution that it launched is recovered", _PARTLY
            case NodeKind.ARRAY:
                text, fate = f"it was {phase}; elements that succeeded are taken over", _PARTLY
            case NodeKind.TASK if past.flags & FLAG_DYNAMIC:
                again = "the workflow that it had made goes on" if self._same_version else "it makes its workflow anew"
                text, fate = f"it was {phase}; {again}, and what succeeded inside is taken over", _PARTLY
            case _:
                text, fate = f"it was {phase}", _RUNS
        _say(decision, fate, recovery_pb2.REASON_NOT_SUCCEEDED, text)

    def _arms(self, node: int, decision: recovery_pb2.NodeDecision) -> Sequence[recovery_pb2.NodeDecision]:
        """The arm that was taken, if the condition decides as it did."""
        if decision.fate != _PARTLY:
            return ()
        for arm in self._plan.branch(node).arms:
            if self._unique_id(arm) in self._past:
                inside = list(self._node(arm))
                if inside[0].fate == _REUSED:
                    text = "it decides as before, and its arm is taken over"
                    _say(decision, _REUSED, recovery_pb2.REASON_UNCHANGED, text)
                return inside
        return ()

    def _unique_id(self, node: int) -> str:
        owner = self._plan.owners[node]
        parent_id = self._parent_id if owner < 0 else self._unique_id(owner)
        return unique_node_id(parent_id, 0, self._plan.ids[node])


def static_ids(plan: Plan, parent_id: str | None = None) -> Iterator[tuple[str, Plan, int]]:
    """Unique ids of the nodes of a plan and of its sub-workflows, in their first attempts, each with its plan and
    index."""
    own: dict[int, str] = {}
    for node in range(START + 1, plan.size):
        owner = plan.owners[node]
        own[node] = unique_node_id(parent_id if owner < 0 else own[owner], 0, plan.ids[node])
        yield own[node], plan, node
        target = plan.targets[node]
        if isinstance(target, Plan):
            yield from static_ids(target, own[node])


def _say(decision: recovery_pb2.NodeDecision, fate: recovery_pb2.Fate, reason: int, explanation: str) -> None:
    decision.fate = fate
    decision.reason = cast("recovery_pb2.Reason", reason)
    decision.explanation = explanation


def _entity(plan: Plan, node: int) -> str:
    match plan.targets[node]:
        case TaskSpec(name=name) | LaunchPlanSpec(name=name) | ArraySpec(name=name) | Plan(name=name):
            return name
        case _:
            return ""


def _upstream(plan: Plan) -> Sequence[Sequence[int]]:
    found: list[list[int]] = [[] for _ in plan.ids]
    for node, successors in enumerate(plan.successors):
        if node != START:
            for successor in successors:
                found[successor].append(node)
    return found


def _in_order(plan: Plan, upstream: Sequence[Sequence[int]]) -> Iterator[int]:
    """Nodes after those that they follow; arms come with their branch, failure nodes not at all."""
    top = {node: _top(plan, node) for node in range(START + 1, plan.size)}
    nodes = [node for node in top if top[node] == node and node != plan.failure_node]
    waits: dict[int, set[int]] = {node: set() for node in nodes}
    for node, own in top.items():
        if own in waits:
            waits[own].update(top[each] for each in upstream[node] if top[each] != own)
    followers: dict[int, list[int]] = {node: [] for node in nodes}
    for node, others in waits.items():
        for other in others:
            followers[other].append(node)
    ready = deque(node for node in nodes if not waits[node])
    while ready:
        node = ready.popleft()
        yield node
        for follower in followers[node]:
            waits[follower].discard(node)
            if not waits[follower]:
                ready.append(follower)


def _top(plan: Plan, node: int) -> int:
    while plan.owners[node] >= 0:
        node = plan.owners[node]
    return node
