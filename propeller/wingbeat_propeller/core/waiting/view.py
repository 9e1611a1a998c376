"""A state as whoever asks why something waits looks at it: which node waits for which, and who holds what."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.state import ExecutionState, Frame, NodeRun, Stage
from wingbeatidl.query.v1 import identity_pb2, why_pb2

if TYPE_CHECKING:
    from wingbeat_propeller.core.kinds.base import Kind

NAMED_MAX = 100
"""Nodes or holders that one reason names."""


class Place(NamedTuple):
    """A node by its frame's number and its index in the frame's plan."""

    frame: int
    node: int


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

    def is_ruled_out(self, frame: Frame, node: int) -> bool:
        """Whether a node that was not met will not run, or only after a failure."""
        if node == frame.plan.failure_node:
            return not frame.failing
        return frame.failing or node in frame.tainted

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
