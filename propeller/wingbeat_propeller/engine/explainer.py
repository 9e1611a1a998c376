"""What this process adds to `core.waiting`: where attempts are between their row and their first sign of life, and who
has what they wait for.

Called on the engine's event loop between steps, so an answer is of one moment. Nothing is kept and nothing is changed.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice

from wingbeat_propeller.core.array_run import ArrayRun
from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.ids import ExecutionKey, attempt_name, element_name
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.state import ExecutionState, NodeRun
from wingbeat_propeller.core.waiting.explanation import explain
from wingbeat_propeller.core.waiting.view import NAMED_MAX, Place, moment
from wingbeat_propeller.engine.dispatch.whereabouts import Whereabouts
from wingbeat_propeller.engine.live import LiveExecution, LiveExecutions, Tenant
from wingbeatidl.engine.v1 import engine_pb2
from wingbeatidl.query.v1 import identity_pb2, why_pb2

NODES_MAX = 1_000
"""Nodes in one answer."""
PLACES_MAX = 16
"""Attempts in one answer whose place in the queue is worked out; each costs a look at its tenant's whole line."""


class Explainer:
    """Answers for the executions of this process. `condition` says why an execution of a shard is not among them."""

    def __init__(
        self,
        *,
        name: str,
        live: LiveExecutions,
        whereabouts: Whereabouts,
        condition: Callable[[int], why_pb2.Engine],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._live = live
        self._whereabouts = whereabouts
        self._condition = condition
        self._clock = clock

    def explain(self, request: engine_pb2.ExplainRequest) -> engine_pb2.ExplainResponse:
        """What is known here of why an execution, or the nodes asked about, do not go on."""
        response = engine_pb2.ExplainResponse()
        answer = response.answer
        answer.as_of.CopyFrom(moment(self._clock()))
        answer.source = why_pb2.SOURCE_ENGINE
        answer.engine = self._name
        live = self._live.get(ExecutionKey(request.execution))
        if live is None or live.state.ended:
            engine = answer.reasons.add().engine
            engine.CopyFrom(self._condition(request.shard))
            engine.name = self._name
            return response
        response.drives = True
        answer.MergeFrom(why_pb2.WhyResponse(phase=identity_pb2.ExecutionPhase.Name(live.state.phase)))
        found = explain(live.state, KINDS, request.node, nodes_max=min(max(request.limit, 1), NODES_MAX))
        if found is None:
            return response
        response.knows_node = True
        attempts = _Attempts(self._whereabouts)
        for place, node in found.nodes:
            attempts.tell(live, place, node)
            answer.nodes.append(node)
        answer.asked = found.asked
        answer.root_causes.extend(found.roots)
        answer.root_cause_count = found.root_count
        answer.node_count = found.node_count
        return response


class _Attempts:
    """Where the attempts of one answer are; what all of them have in common is looked up once."""

    def __init__(self, whereabouts: Whereabouts) -> None:
        self._whereabouts = whereabouts
        self._queues: dict[tuple[bool, str], why_pb2.RuntimeQueue] = {}
        """What takes up the room of eager tasks (True) and of all others, by lane."""
        self._placed = 0

    def tell(self, live: LiveExecution, place: Place, node: why_pb2.NodeAnswer) -> None:
        """Add to the answer for a node under way what is known of attempts that have shown no sign of life yet."""
        frame = live.state.frames[place.frame]
        run = frame.runs.get(place.node)
        kind = frame.plan.kinds[place.node]
        if run is None:
            return
        if kind is NodeKind.ARRAY and run.array is not None and run.array.spec.runs_attempts:
            self._tell_elements(live, run, run.array, node)
        elif kind is NodeKind.TASK and node.standing == why_pb2.STANDING_QUEUED:
            self._tell_task(live, run.name, node)

    def _tell_task(self, live: LiveExecution, name: str, node: why_pb2.NodeAnswer) -> None:
        whereabouts = self._whereabouts
        if whereabouts.is_queued(name):
            self._add_queue(live, name, node)
            return
        node.standing = why_pb2.STANDING_STARTING
        step = why_pb2.Starting.STEP_COMMITTING
        if whereabouts.is_handed_over(name):
            step = why_pb2.Starting.STEP_HANDED_OVER
        elif whereabouts.is_started(name):
            step = why_pb2.Starting.STEP_WRITING_FILES
        node.reasons.add(starting=why_pb2.Starting(step=step))

    def _tell_elements(self, live: LiveExecution, run: NodeRun, array: ArrayRun, node: why_pb2.NodeAnswer) -> None:
        """How many elements wait in the queue, and the place of the first of them."""
        names = (
            attempt_name(live.state.key, element_name(run.generated_name, index, array.attempts[index]))
            for index, element in array.under_way.items()
            if element.started_at is None and element.retry_at is None
        )
        queued = [name for name in names if self._whereabouts.is_queued(name)]
        if queued:
            node.reasons[0].elements.queued = len(queued)
            self._add_queue(live, queued[0], node)

    def _add_queue(self, live: LiveExecution, name: str, node: why_pb2.NodeAnswer) -> None:
        """The limits of its tenant, the room in the runtime, or both, and the place of an attempt that waits."""
        whereabouts = self._whereabouts
        eager = whereabouts.is_eager(name)
        limits = () if eager else whereabouts.limits(live.tenant)
        self._placed += 1
        tells_place = self._placed <= PLACES_MAX
        for (project, domain), limit in limits:
            tenant_limit = node.reasons.add().tenant_limit
            tenant_limit.MergeFrom(why_pb2.TenantLimit(project=project, domain=domain, limit=limit))
            if tells_place:
                tenant_limit.ahead = whereabouts.place_in_line(name)
        lane = "" if eager else whereabouts.lane(name)
        if needs := whereabouts.wants_worker(lane):
            waiting = sum(whereabouts.waiting(eager=False, lane=lane).values())
            node.reasons.add(no_worker=why_pb2.NoWorker(needs=needs, waiting=waiting))
            return
        occupancy = self._occupancy(eager=eager, lane=lane)
        if limits and occupancy.under_way < occupancy.capacity:
            return
        queue = node.reasons.add().runtime_queue
        queue.CopyFrom(occupancy)
        if tells_place:
            queue.ahead = whereabouts.place(name)

    def _occupancy(self, *, eager: bool, lane: str) -> why_pb2.RuntimeQueue:
        if (eager, lane) not in self._queues:
            whereabouts = self._whereabouts
            under_way = Counter(live.tenant for live, _ in whereabouts.occupants(eager=eager, lane=lane))
            waiting = whereabouts.waiting(eager=eager, lane=lane)
            holders = islice(whereabouts.occupants(eager=eager, lane=lane), NAMED_MAX)
            self._queues[eager, lane] = why_pb2.RuntimeQueue(
                workers=bool(lane),
                capacity=whereabouts.capacity(eager=eager, lane=lane),
                under_way=under_way.total(),
                waiting=sum(waiting.values()),
                holders=[holder(live.state, launch) for live, launch in holders],
                tenants=[
                    why_pb2.TenantLoad(
                        project=tenant[0],
                        domain=tenant[1],
                        under_way=under_way[tenant],
                        waiting=waiting.get(tenant, 0),
                    )
                    for tenant in _largest(under_way, waiting)
                ],
            )
        return self._queues[eager, lane]


def holder(state: ExecutionState, launch: Launch) -> why_pb2.Holder:
    """An attempt as who has something."""
    frame = state.frames.get(launch.ref.frame)
    run = frame.runs.get(launch.ref.node) if frame is not None else None
    since = None if run is None else moment(run.attempt_started_at or run.created_at)
    return why_pb2.Holder(
        execution=identity_pb2.ExecutionIdentifier(project=state.project, domain=state.domain, name=state.name),
        node_id=launch.node_id,
        name="" if frame is None else frame.plan.names[launch.ref.node],
        attempt=launch.ref.attempt,
        since=since,
    )


def _largest(under_way: Counter[Tenant], waiting: Mapping[Tenant, int]) -> list[Tenant]:
    tenants = dict.fromkeys([*under_way, *waiting])
    return sorted(tenants, key=lambda tenant: (-under_way[tenant], -waiting.get(tenant, 0), tenant))[:NAMED_MAX]
