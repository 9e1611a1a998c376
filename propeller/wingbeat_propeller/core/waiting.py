"""Why the nodes of an execution do not run: read off its state, nothing is changed.

`explain` walks from the nodes asked about along what each waits for, down to nodes that wait for no other: the root
causes. What differs between kinds of nodes is told by the kinds themselves (`Kind.explain`, `Kind.inside`). What only
the process knows (queues, the runtime, who else holds what) is added by `engine.explainer`; sentences are written by
whoever asks. A question about one node costs what lies between it and the root causes, and at most a look at each edge
of the plans that are open.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
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
NODES_KEPT_MAX = 1_000
"""Nodes of a frame, and root causes, that an answer may choose from; the others are counted."""

_HASHED_ID = re.compile(r"^f[a-z1-6]{7}([a-z1-6]{6})?$")
"""See `ids.fixed_length`."""
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
    if question:
        asked = find_places(view, question)
        if not asked:
            return None
        way = _walk(view, asked)
        node_count = way.node_count
    else:
        asked = []
        roots = [place for place in view.under_way() if not any(True for _ in view.waits_for(place))]
        way = _Way([roots[:nodes_max]], roots[:nodes_max], len(roots), len(roots))
        node_count = sum(_unfinished(frame) for frame in state.frames.values())
    shown = _choose(asked, way, nodes_max)
    answers = [(place, view.answer(place)) for place in shown]
    for place, answer in answers:
        answer.waits_for.extend(view.node_id(other) for other in view.waits_for_among(place, shown))
    return Explanation(
        nodes=answers,
        asked=sum(1 for place in asked if place in shown),
        roots=[view.node_id(root) for root in way.roots if root in shown],
        root_count=way.root_count,
        node_count=node_count,
    )


class _Way(NamedTuple):
    """What lies between nodes and their root causes."""

    pieces: Sequence[Sequence[Place]]
    """Places from the nearest on, frame by frame."""
    roots: Sequence[Place]
    """The first NODES_KEPT_MAX that wait for no other."""
    root_count: int
    node_count: int


def _walk(view: "View", asked: Sequence[Place]) -> _Way:
    """All places on the way from those asked about, and those among them that wait for no other.

    Frame by frame, nearest first in each. Workflows may have a hundred thousand nodes, and the engine does nothing else
    meanwhile: so the loop over nodes that were not met deals in numbers alone.
    """
    pieces: list[Sequence[Place]] = []
    roots: list[Place] = []
    root_count = count = 0
    visited: dict[int, bytearray] = {}
    work: dict[int, list[int]] = {}

    def visit(place: Place) -> bool:
        marks = visited.get(place.frame)
        if marks is None:
            marks = visited[place.frame] = bytearray(view.frame(place).plan.size)
        is_new = not marks[place.node]
        marks[place.node] = 1
        return is_new

    for place in asked:
        if visit(place):
            work.setdefault(place.frame, []).append(place.node)
    while work:
        number, nodes = next(iter(work.items()))
        del work[number]
        frame = view.state.frames[number]
        phases, runs, marks, owners = frame.phases, frame.runs, visited[number], frame.plan.owners
        upstream, resting = view.upstream_of(frame.plan), view.resting_in(frame)
        may_rule_out = frame.failing or frame.tainted or frame.plan.failure_node is not None
        for node in nodes:  # the list grows meanwhile
            if phases[node]:
                continue
            is_root = True
            if node in runs:
                for other in view.waits_for(Place(number, node)):
                    is_root = False
                    if visit(other):
                        (nodes if other.frame == number else work.setdefault(other.frame, [])).append(other.node)
            elif node not in resting and not (may_rule_out and view.is_ruled_out(frame, node)):
                for other in upstream[node]:
                    if not phases[other]:
                        is_root = False
                        if not marks[other]:
                            marks[other] = 1
                            nodes.append(other)
                owner = owners[node]
                if owner >= 0 and not view.has_decided(frame, owner):
                    is_root = False
                    if not marks[owner]:
                        marks[owner] = 1
                        nodes.append(owner)
            if is_root:
                root_count += 1
                if len(roots) < NODES_KEPT_MAX:
                    roots.append(Place(number, node))
        count += len(nodes)
        pieces.append([Place(number, node) for node in nodes[:NODES_KEPT_MAX]])
    return _Way(pieces, roots, root_count, count)


def _choose(asked: Sequence[Place], way: _Way, nodes_max: int) -> dict[Place, None]:
    """As many places as there is room for: the first ones, then root causes, for which some room is kept."""
    kept_for_roots = min(len(way.roots), max(1, nodes_max // 4))
    places = dict.fromkeys(chain(asked, chain.from_iterable(way.pieces)))
    chosen = dict.fromkeys(islice(places, nodes_max - kept_for_roots))
    chosen.update(dict.fromkeys(islice((root for root in way.roots if root not in chosen), nodes_max - len(chosen))))
    chosen.update(dict.fromkeys(islice((place for place in places if place not in chosen), nodes_max - len(chosen))))
    return chosen


def _unfinished(frame: Frame) -> int:
    plan = frame.plan
    waits = plan.failure_node is not None and not frame.phases[plan.failure_node] and not frame.failing
    return frame.phases.count(0) - waits


def find_places(view: "View", question: str) -> list[Place]:
    """The nodes meant: by unique id, else by id in their workflow, else by name. A node inside a sub-workflow that has
    not begun is not there yet: the node of that sub-workflow stands for it. An element of an array is told by its
    array, or by the nodes inside it."""
    by_spec_id: list[Place] = []
    by_name: list[Place] = []
    within: list[Place] = []
    for frame in view.state.frames.values():
        plan = frame.plan
        if frame.element >= 0 and frame.parent_id == question:
            return list(view.live_in(frame))
        node = _by_unique_id(view, frame, question)
        if node is not None:
            return [Place(frame.number, node)]
        if question in plan.ids:
            by_spec_id.append(Place(frame.number, plan.ids.index(question)))
        if question in plan.names:
            by_name += [Place(frame.number, node) for node, name in enumerate(plan.names) if name == question]
        for node, target in enumerate(plan.targets):
            run = frame.runs.get(node)
            if run is not None and run.array is not None and _is_element(run, question):
                return [Place(frame.number, node)]
            has_begun = frame.phases[node] or run is not None
            if isinstance(target, Plan) and not has_begun and _is_in(target, question):
                within.append(Place(frame.number, node))
    return by_spec_id or by_name or within


def _by_unique_id(view: "View", frame: Frame, question: str) -> int | None:
    plan = frame.plan
    if frame.parent is None and question in plan.ids:
        node = plan.ids.index(question)
        if plan.owners[node] < 0:
            return node
    # Other ids are those of a parent and their own, joined, or a hash of that; arms have their branch's in front.
    has_parents = max(plan.owners) >= 0 if frame.parent is None else question.startswith(f"{frame.parent_id}-")
    if not has_parents and not _HASHED_ID.match(question):
        return None
    return next((node for node in range(plan.size) if view.node_id(Place(frame.number, node)) == question), None)


def _is_element(run: NodeRun, question: str) -> bool:
    """Whether an element of an array is meant; a task element has no node, and its array stands for it."""
    index = question.rpartition("-n")[2]
    ids = [str(unique_node_id(run.node_id, run.attempt, f"n{index}", bits)) for bits in (32, 64)]
    return index.isdecimal() and question in ids


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
        self._held: dict[tuple[int, int], int] | None = None
        self._resting: dict[int, dict[int, None]] = {}

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
                self.node_id(Place(place.frame, owner)),
                branch.attempt if branch else 0,
                plan.ids[place.node],
                frame.id_bits,
            )
        if frame.parent is None:
            return unique_node_id(None, 0, plan.ids[place.node])
        return unique_node_id(frame.parent_id, frame.parent_attempt, plan.ids[place.node], frame.id_bits)

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
        for node in self.resting_in(frame):
            yield Place(frame.number, node)

    def resting_in(self, frame: Frame) -> dict[int, None]:
        """Nodes of a frame that wait for a slot of max_parallelism, in line, then those that the next step looks at."""
        self.held()
        return self._resting.get(frame.number, {})

    def held(self) -> dict[tuple[int, int], int]:
        """Frame and index of nodes that wait for a slot of max_parallelism, with their places in line from 0."""
        if self._held is None:
            self._held = {}
            for entry in self.state.held:
                number, node = entry
                frame = self.state.frames.get(number)
                if frame is not None and (not frame.failing or node == frame.plan.failure_node):
                    self._held[entry] = len(self._held)
                    if node not in frame.runs:  # else it has begun, and waits for a slot again
                        self._resting.setdefault(number, {})[node] = None
            for frame, node in self.state.ready:
                self._resting.setdefault(frame.number, {})[node] = None
        return self._held

    def unfinished_upstream(self, frame: Frame, node: int) -> list[int]:
        """Nodes of its frame that a node which was not met waits for, but for the branch that it is an arm of."""
        return [other for other in self.upstream_of(frame.plan)[node] if not frame.phases[other]]

    def waits_for(self, place: Place) -> Iterable[Place]:
        """The nodes that a node waits for: upstream ones before it is met, inner ones while it is under way."""
        frame = self.frame(place)
        node = place.node
        run = frame.runs.get(node)
        if run is not None:
            return self.kinds[frame.plan.kinds[node]].inside(self, frame, run, node)
        if frame.phases[node] or node in self.resting_in(frame) or self.is_ruled_out(frame, node):
            return ()
        owner = frame.plan.owners[node]
        upstream = self.unfinished_upstream(frame, node)
        if owner >= 0 and not self.has_decided(frame, owner):
            upstream = [owner, *(other for other in upstream if other != owner)]
        return (Place(place.frame, other) for other in upstream)

    def waits_for_among(self, place: Place, others: Collection[Place]) -> list[Place]:
        """Those of the nodes that a node waits for which are among `others`."""
        frame = self.frame(place)
        if place.node in frame.runs or frame.plan.owners[place.node] >= 0 or place.node in self.resting_in(frame):
            return [other for other in self.waits_for(place) if other in others]
        if frame.phases[place.node] or self.is_ruled_out(frame, place.node):
            return []
        near = {other.node for other in others if other.frame == place.frame}
        upstream = self.upstream_of(frame.plan)[place.node]
        return [Place(place.frame, other) for other in upstream if other in near and not frame.phases[other]]

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
            answer.reasons.add(parallelism=self.parallelism(ahead))
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
        if run.stage is not Stage.ACTIVE:
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
        if owner >= 0 and not self.has_decided(frame, owner):
            branch = self.reference(Place(place.frame, owner))
            answer.reasons.add(decision=why_pb2.Decision(branch=branch))
        unfinished = [other for other in self.unfinished_upstream(frame, place.node) if other != owner]
        if unfinished:
            named = [self.reference(Place(place.frame, other)) for other in unfinished[:NAMED_MAX]]
            answer.reasons.add(dependency=why_pb2.Dependency(unfinished=named, unfinished_count=len(unfinished)))
        if not answer.reasons:
            answer.standing = why_pb2.STANDING_READY

    def is_ruled_out(self, frame: Frame, node: int) -> bool:
        """Whether a node that was not met will not run, or only after a failure."""
        if node == frame.plan.failure_node:
            return not frame.failing
        return frame.failing or node in frame.tainted

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
                for other in self.upstream_of(plan)[node]
                if frame.phases[other] not in _BLAMELESS
            ]
            return why_pb2.RuledOut(cause=why_pb2.RuledOut.CAUSE_UPSTREAM_FAILED, nodes=blamed[:NAMED_MAX])
        return None

    def parallelism(self, ahead: int) -> why_pb2.Parallelism:
        """That there is no slot of max_parallelism, and who has them."""
        holders = (
            self.holder(run, frame.plan.names[node])
            for frame in self.state.frames.values()
            for node, run in frame.runs.items()
            if run.counted
        )
        return why_pb2.Parallelism(
            limit=self.state.settings.max_parallelism,
            holders=islice(holders, NAMED_MAX),
            holder_count=self.state.active,
            ahead=ahead,
        )

    def has_decided(self, frame: Frame, branch: int) -> bool:
        """Whether a branch has chosen among its arms."""
        run = frame.runs.get(branch)
        return frame.phases[branch] != 0 or (run is not None and run.stage is Stage.ACTIVE)

    def _parent_id(self, place: Place) -> str:
        frame = self.frame(place)
        owner = frame.plan.owners[place.node]
        return self.node_id(Place(place.frame, owner)) if owner >= 0 else frame.parent_id or ""

    def upstream_of(self, plan: Plan) -> list[list[int]]:
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
