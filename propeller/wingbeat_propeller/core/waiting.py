"""Why the nodes of an execution do not run: read off its state, nothing is changed.

`explain` walks from the nodes asked about along what each waits for, down to nodes that wait for no other: the root
causes. What differs between kinds of nodes is told by the kinds themselves (`Kind.explain`, `Kind.inside`). What only
the process knows (queues, the runtime, who else holds what) is added by `engine.explainer`; sentences are written by
whoever asks. A question about one node costs what lies between it and the root causes, and at most a look at each edge
of the plans that are open.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.state import ExecutionState, Frame, NodeRun, Stage
from wingbeat_propeller.core.walk import AUTO_ABORT
from wingbeatidl.query.v1 import identity_pb2, why_pb2

if TYPE_CHECKING:
    from wingbeat_propeller.core.kinds.base import Kind

NAMED_MAX = 100
"""Nodes or holders that one reason names."""

_BLAMELESS = frozenset({NodePhase.UNDEFINED, NodePhase.SUCCEEDED, NodePhase.RECOVERED})


class Place(NamedTuple):
    """A node by its frame's number and its index in the frame's plan."""

    frame: int
    node: int


class Explanation(NamedTuple):
    """The nodes of an answer: those asked about, then what they wait for, nearest first, then further root causes."""

    nodes: list[tuple[Place, why_pb2.NodeAnswer]]
    asked: int
    """How many of `nodes`, from the first, were asked about."""
    roots: list[str]
    """Ids of root causes among `nodes`."""
    root_count: int
    node_count: int
    """How many nodes were walked over; of the execution as a whole, how many have not finished."""


def explain(state: ExecutionState, kinds: "Sequence[Kind]", question: str, *, nodes_max: int) -> Explanation | None:
    """Why the nodes that `question` means do not run; empty: why the execution does not end.

    `question` is a unique id, an id in a workflow, or a name. None: no node of the state is meant by it.
    """
    view = View(state, kinds)
    if not question:
        asked: list[Place] = []
        seen = roots = [place for place in view.under_way() if not any(True for _ in view.waits_for(place))]
        node_count = sum(_unfinished(frame) for frame in state.frames.values())
    else:
        asked = find_places(view, question)
        if not asked:
            return None
        seen, roots = _walk(view, asked)
        node_count = len(seen)
    shown = _choose(seen, roots, nodes_max)
    answers = [(place, view.answer(place)) for place in shown]
    for place, answer in answers:
        answer.waits_for.extend(view.node_id(other) for other in view.waits_for(place) if other in shown)
    return Explanation(
        nodes=answers,
        asked=sum(1 for place in asked if place in shown),
        roots=[view.node_id(root) for root in roots if root in shown],
        root_count=len(roots),
        node_count=node_count,
    )


def _walk(view: "View", asked: Sequence[Place]) -> tuple[list[Place], list[Place]]:
    """All places on the way from those asked about, nearest first, and those among them that wait for no other."""
    seen = dict.fromkeys(asked)
    roots: list[Place] = []
    work = deque(asked)
    while work:
        place = work.popleft()
        is_root = not view.has_ended(place)
        for other in view.waits_for(place):
            is_root = False
            if other not in seen:
                seen[other] = None
                work.append(other)
        if is_root:
            roots.append(place)
    return list(seen), roots


def _choose(seen: Sequence[Place], roots: Sequence[Place], nodes_max: int) -> dict[Place, None]:
    """As many places as there is room for, in their order; some of the room is kept for root causes."""
    shown = dict.fromkeys(seen[: nodes_max - min(len(roots), max(1, nodes_max // 4))])
    shown.update(dict.fromkeys(islice((root for root in roots if root not in shown), nodes_max - len(shown))))
    shown.update(dict.fromkeys(islice((place for place in seen if place not in shown), nodes_max - len(shown))))
    return {place: None for place in seen if place in shown}


def _unfinished(frame: Frame) -> int:
    plan = frame.plan
    waits = plan.failure_node is not None and not frame.phases[plan.failure_node] and not frame.failing
    return frame.phases.count(0) - waits


def find_places(view: "View", question: str) -> list[Place]:
    """The nodes meant: by unique id, else by id in their workflow, else by name. A node inside a sub-workflow that has
    not begun is not there yet: the node of that sub-workflow stands for it."""
    by_spec_id: list[Place] = []
    by_name: list[Place] = []
    within: list[Place] = []
    for frame in view.state.frames.values():
        plan = frame.plan
        for node in range(plan.size):
            place = Place(frame.number, node)
            if view.node_id(place) == question:
                return [place]
            if plan.ids[node] == question:
                by_spec_id.append(place)
            elif plan.names[node] == question:
                by_name.append(place)
            target = plan.targets[node]
            has_begun = frame.phases[node] or node in frame.runs
            if isinstance(target, Plan) and not has_begun and _is_in(target, question):
                within.append(place)
    return by_spec_id or by_name or within


def _is_in(plan: Plan, question: str) -> bool:
    return (
        question in plan.ids
        or question in plan.names
        or any(isinstance(target, Plan) and _is_in(target, question) for target in plan.targets)
    )


class View:
    """What is looked up again and again while one question is answered. The state must not change meanwhile."""

    def __init__(self, state: ExecutionState, kinds: "Sequence[Kind]") -> None:
        self.state = state
        self.kinds = kinds
        self._upstream: dict[int, list[list[int]]] = {}
        self._held: dict[Place, int] | None = None
        self._held_by_frame: dict[int, list[int]] = {}
        self._slot_holders: list[tuple[Frame, NodeRun, int]] | None = None

    def frame(self, place: Place) -> Frame:
        """The frame of a place."""
        return self.state.frames[place.frame]

    def run(self, place: Place) -> NodeRun | None:
        """The node's record while it is under way."""
        return self.frame(place).runs.get(place.node)

    def has_ended(self, place: Place) -> bool:
        """Whether the node is in a final phase."""
        return bool(self.frame(place).phases[place.node])

    def node_id(self, place: Place) -> str:
        """Unique id of a node, met already or not."""
        frame = self.frame(place)
        run = frame.runs.get(place.node)
        if run is not None:
            return run.node_id
        plan = frame.plan
        owner = plan.owners[place.node]
        if owner >= 0:
            branch = frame.runs.get(owner)
            return unique_node_id(
                self.node_id(Place(place.frame, owner)), branch.attempt if branch else 0, plan.ids[place.node]
            )
        if frame.parent is None:
            return unique_node_id(None, 0, plan.ids[place.node])
        return unique_node_id(frame.parent_id, frame.parent_attempt, plan.ids[place.node])

    def reference(self, place: Place) -> why_pb2.NodeReference:
        """A node as others name it."""
        return why_pb2.NodeReference(node_id=self.node_id(place), name=self.frame(place).plan.names[place.node])

    def under_way(self) -> Iterator[Place]:
        """Every node that is under way, or ready and held."""
        for frame in self.state.frames.values():
            yield from self.live_in(frame)

    def live_in(self, frame: Frame) -> Iterator[Place]:
        """Nodes of a frame that are under way, or ready and held, in the order in which they were met."""
        for node in frame.runs:
            yield Place(frame.number, node)
        self.held()
        for node in self._held_by_frame.get(frame.number, ()):
            yield Place(frame.number, node)

    def held(self) -> dict[Place, int]:
        """Nodes that wait for a slot of max_parallelism, with their places in line from 0."""
        if self._held is None:
            self._held = {}
            for number, node in self.state.held:
                frame = self.state.frames.get(number)
                if frame is not None and (not frame.failing or node == frame.plan.failure_node):
                    self._held[Place(number, node)] = len(self._held)
                    self._held_by_frame.setdefault(number, []).append(node)
        return self._held

    def unfinished_upstream(self, place: Place) -> Iterator[Place]:
        """Nodes that a node that was not met yet waits for, the branch that it is an arm of among them."""
        frame = self.frame(place)
        owner = frame.plan.owners[place.node]
        if owner >= 0 and not self._has_decided(frame, owner):
            yield Place(place.frame, owner)
        for node in self._upstream_of(frame.plan)[place.node]:
            if not frame.phases[node]:
                yield Place(place.frame, node)

    def waits_for(self, place: Place) -> Iterable[Place]:
        """The nodes that a node waits for: upstream ones before it is met, inner ones while it is under way."""
        frame = self.frame(place)
        run = frame.runs.get(place.node)
        if run is not None:
            return self.kinds[frame.plan.kinds[place.node]].inside(self, frame, run, place.node)
        if frame.phases[place.node] or place in self.held() or self._ruled_out(place) is not None:
            return ()
        return self.unfinished_upstream(place)

    def answer(self, place: Place) -> why_pb2.NodeAnswer:
        """Everything the state says about one node, but for `waits_for`."""
        frame = self.frame(place)
        plan = frame.plan
        node = place.node
        run = frame.runs.get(node)
        answer = why_pb2.NodeAnswer(
            node_id=self.node_id(place),
            spec_node_id=plan.ids[node],
            name=plan.names[node],
            parent_node_id=self._parent_id(place),
            kind=plan.kinds[node].name.lower(),
            phase=identity_pb2.NodePhase.Name(run.phase if run is not None else frame.phases[node]),
        )
        if run is not None:
            self._answer_under_way(frame, run, node, answer)
        elif frame.phases[node]:
            answer.standing = why_pb2.STANDING_ENDED
        elif (ruled_out := self._ruled_out(place)) is not None:
            answer.standing = why_pb2.STANDING_RULED_OUT
            answer.reasons.add(ruled_out=ruled_out)
        elif (ahead := self.held().get(place)) is not None:
            answer.standing = why_pb2.STANDING_HELD
            answer.reasons.add(parallelism=self._parallelism(ahead))
        else:
            answer.standing = why_pb2.STANDING_NOT_REACHED
            self._answer_not_reached(place, answer)
        return answer

    def holder(self, run: NodeRun, name: str) -> why_pb2.Holder:
        """A node of this execution as who has something."""
        state = self.state
        since = run.attempt_started_at or run.created_at
        return why_pb2.Holder(
            execution=identity_pb2.ExecutionIdentifier(project=state.project, domain=state.domain, name=state.name),
            node_id=run.node_id,
            name=name,
            attempt=run.attempt,
            since=moment(since),
        )

    def _answer_under_way(self, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
        plan = frame.plan
        answer.attempt = run.attempt
        answer.since.CopyFrom(moment(run.attempt_started_at or run.created_at))
        deadline = _deadline(run, plan.timeout_s[node])
        if deadline is not None:
            answer.deadline.CopyFrom(moment(deadline))
        if run.stage is Stage.PREPARING:
            answer.standing = why_pb2.STANDING_PREPARING
            answer.reasons.add(preparation=why_pb2.Preparation())
            return
        kind = self.kinds[plan.kinds[node]]
        kind.explain(self, frame, run, node, answer)
        inside = list(kind.inside(self, frame, run, node))
        if inside:
            answer.reasons.add(
                inner=why_pb2.Inner(
                    nodes=[self.reference(place) for place in inside[:NAMED_MAX]], node_count=len(inside)
                )
            )

    def _answer_not_reached(self, place: Place, answer: why_pb2.NodeAnswer) -> None:
        frame = self.frame(place)
        owner = frame.plan.owners[place.node]
        if owner >= 0 and not self._has_decided(frame, owner):
            branch = self.reference(Place(place.frame, owner))
            answer.reasons.add(decision=why_pb2.Decision(branch=branch))
        unfinished = [other for other in self.unfinished_upstream(place) if other.node != owner]
        if unfinished:
            answer.reasons.add(
                dependency=why_pb2.Dependency(
                    unfinished=[self.reference(other) for other in unfinished[:NAMED_MAX]],
                    unfinished_count=len(unfinished),
                )
            )

    def _ruled_out(self, place: Place) -> why_pb2.RuledOut | None:
        """Why a node that was not met will not run, None if it may."""
        frame = self.frame(place)
        plan = frame.plan
        node = place.node
        if node == plan.failure_node:
            return None if frame.failing else why_pb2.RuledOut(cause=why_pb2.RuledOut.CAUSE_ONLY_ON_FAILURE)
        if frame.failing:
            error = frame.failure.message if frame.failure is not None else AUTO_ABORT
            blamed = [why_pb2.NodeReference(node_id=frame.failed_node)] if frame.failed_node else []
            return why_pb2.RuledOut(cause=why_pb2.RuledOut.CAUSE_WORKFLOW_FAILING, nodes=blamed, error=error)
        if node in frame.tainted:
            blamed = [
                self.reference(Place(place.frame, other))
                for other in self._upstream_of(plan)[node]
                if frame.phases[other] not in _BLAMELESS
            ]
            return why_pb2.RuledOut(cause=why_pb2.RuledOut.CAUSE_UPSTREAM_FAILED, nodes=blamed[:NAMED_MAX])
        return None

    def _parallelism(self, ahead: int) -> why_pb2.Parallelism:
        if self._slot_holders is None:
            self._slot_holders = [
                (frame, run, node)
                for frame in self.state.frames.values()
                for node, run in frame.runs.items()
                if run.counted
            ]
        return why_pb2.Parallelism(
            limit=self.state.settings.max_parallelism,
            holders=[self.holder(run, frame.plan.names[node]) for frame, run, node in self._slot_holders[:NAMED_MAX]],
            holder_count=self.state.active,
            ahead=ahead,
        )

    def _has_decided(self, frame: Frame, branch: int) -> bool:
        run = frame.runs.get(branch)
        return frame.phases[branch] != 0 or (run is not None and run.stage is Stage.ACTIVE)

    def _parent_id(self, place: Place) -> str:
        frame = self.frame(place)
        owner = frame.plan.owners[place.node]
        return self.node_id(Place(place.frame, owner)) if owner >= 0 else frame.parent_id or ""

    def _upstream_of(self, plan: Plan) -> list[list[int]]:
        """For each node of a plan those that it depends on."""
        known = self._upstream.get(id(plan))
        if known is None:
            known = self._upstream[id(plan)] = [[] for _ in range(plan.size)]
            for node, successors in enumerate(plan.successors):
                for successor in successors:
                    known[successor].append(node)
        return known


def moment(at: float) -> Timestamp:
    """Seconds since the epoch as protobuf writes them, to the microsecond."""
    microseconds = round(at * 1e6)
    return Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def _deadline(run: NodeRun, timeout_s: float) -> float | None:
    """When the node's own timeout ends it or its attempt, as `Walk.timers` sets it."""
    if not timeout_s:
        return None
    of_node = run.created_at + 2 * timeout_s
    return of_node if run.attempt_started_at is None else min(of_node, run.attempt_started_at + timeout_s)
