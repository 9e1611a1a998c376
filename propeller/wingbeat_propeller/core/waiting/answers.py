"""What the state says about one node: how it stands, and its reasons."""

from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.state import Frame, NodeRun, Stage
from wingbeat_propeller.core.waiting.view import NAMED_MAX, Place, View, moment
from wingbeat_propeller.core.walk import AUTO_ABORT
from wingbeatidl.query.v1 import identity_pb2, why_pb2

_BLAMELESS = frozenset({NodePhase.UNDEFINED, NodePhase.SUCCEEDED, NodePhase.RECOVERED})


def answer_of(view: View, place: Place) -> why_pb2.NodeAnswer:
    """Everything the state says about one node, but for `waits_for`."""
    frame = view.frame(place)
    plan = frame.plan
    node = place.node
    run = frame.runs.get(node)
    answer = why_pb2.NodeAnswer(
        node_id=view.node_id(place),
        spec_node_id=plan.ids[node],
        name=plan.names[node],
        parent_node_id=_parent_id(view, place),
        kind=plan.kinds[node].name.lower(),
        phase=identity_pb2.NodePhase.Name(run.phase if run is not None else frame.phases[node]),
    )
    if run is not None:
        _answer_under_way(view, frame, run, node, answer)
    elif frame.phases[node]:
        answer.standing = why_pb2.STANDING_ENDED
    elif (ruled_out := _ruled_out(view, place)) is not None:
        answer.standing = why_pb2.STANDING_RULED_OUT
        answer.reasons.add(ruled_out=ruled_out)
    elif (ahead := view.held().get(place)) is not None:
        answer.standing = why_pb2.STANDING_HELD
        answer.reasons.add(parallelism=view.parallelism(ahead))
    else:
        answer.standing = why_pb2.STANDING_NOT_REACHED
        _answer_not_reached(view, place, answer)
    return answer


def _answer_under_way(view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
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
    kind = view.kinds[plan.kinds[node]]
    kind.explain(view, frame, run, node, answer)
    inside = list(kind.inside(view, frame, run, node))
    if inside:
        answer.reasons.add(
            inner=why_pb2.Inner(nodes=[view.reference(place) for place in inside[:NAMED_MAX]], node_count=len(inside))
        )


def _answer_not_reached(view: View, place: Place, answer: why_pb2.NodeAnswer) -> None:
    frame = view.frame(place)
    owner = frame.plan.owners[place.node]
    if owner >= 0 and not view.has_decided(frame, owner):
        branch = view.reference(Place(place.frame, owner))
        answer.reasons.add(decision=why_pb2.Decision(branch=branch))
    unfinished = [other for other in view.unfinished_upstream(frame, place.node) if other != owner]
    if unfinished:
        named = [view.reference(Place(place.frame, other)) for other in unfinished[:NAMED_MAX]]
        answer.reasons.add(dependency=why_pb2.Dependency(unfinished=named, unfinished_count=len(unfinished)))
    if not answer.reasons:
        answer.standing = why_pb2.STANDING_READY


def _ruled_out(view: View, place: Place) -> why_pb2.RuledOut | None:
    """Why a node that was not met will not run, None if it may."""
    frame = view.frame(place)
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
            view.reference(Place(place.frame, other))
            for other in view.upstream_of(plan)[node]
            if frame.phases[other] not in _BLAMELESS
        ]
        return why_pb2.RuledOut(cause=why_pb2.RuledOut.CAUSE_UPSTREAM_FAILED, nodes=blamed[:NAMED_MAX])
    return None


def _parent_id(view: View, place: Place) -> str:
    frame = view.frame(place)
    owner = frame.plan.owners[place.node]
    return view.node_id(Place(place.frame, owner)) if owner >= 0 else frame.parent_id or ""


def _deadline(run: NodeRun, timeout_s: float) -> float | None:
    """When the node's own timeout ends it or its attempt, as `Walk.timers` sets it."""
    if not timeout_s:
        return None
    of_node = run.created_at + 2 * timeout_s
    return of_node if run.attempt_started_at is None else min(of_node, run.attempt_started_at + timeout_s)
