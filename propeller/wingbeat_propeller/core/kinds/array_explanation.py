"""What an array node says when somebody asks why it does not end (see `core.waiting`)."""

from collections.abc import Iterator

from wingbeat_propeller.core.array_run import ArrayRun
from wingbeat_propeller.core.element_ids import element_node_id
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.waiting.view import NAMED_MAX, Place, View, moment
from wingbeatidl.query.v1 import why_pb2


def explain_array(view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
    """How many elements have ended, run and wait, and which run."""
    array = run.array
    if array is None or array.recalling:
        answer.standing = why_pb2.STANDING_PREPARING
        answer.reasons.add(preparation=why_pb2.Preparation())
        return
    running = [index for index, element in array.under_way.items() if element.started_at is not None]
    pauses = [element.retry_at for element in array.under_way.values() if element.retry_at is not None]
    answer.standing = why_pb2.STANDING_RUNNING if running or array.gathering else why_pb2.STANDING_QUEUED
    answer.reasons.add(
        elements=why_pb2.Elements(
            pausing=len(pauses),
            pause_ends=moment(min(pauses)) if pauses else None,
            gathering=array.gathering,
            total=array.size,
            succeeded=array.succeeded,
            failed=array.failed,
            under_way=len(array.under_way),
            waiting=array.size - array.succeeded - array.failed - len(array.under_way),
            concurrency=array.spec.parallelism,
            successes_min=array.needed,
            running=[_holder(view, frame, run, node, array, index) for index in running[:NAMED_MAX]],
        )
    )
    if array.lacking:
        answer.reasons.add(parallelism=view.parallelism(view.held().get((frame.number, node), 0)))
    waiting = next((one.cache for one in array.under_way.values() if one.cache and one.cache.waits), None)
    if waiting is not None:
        lapses = None if waiting.held_until is None else moment(waiting.held_until)
        answer.reasons.add(reservation=why_pb2.Reservation(owner=waiting.holder, lapses=lapses))


def inside_elements(view: View, run: NodeRun) -> Iterator[Place]:
    """Nodes inside the frames of elements."""
    for element in run.array.under_way.values() if run.array is not None else ():
        child = view.state.frames.get(element.child) if element.child is not None else None
        if child is not None:
            yield from view.live_in(child)


def _holder(view: View, frame: Frame, run: NodeRun, node: int, array: ArrayRun, index: int) -> why_pb2.Holder:
    """An element as who runs."""
    started_at = array.under_way[index].started_at
    holder = view.holder(run, frame.plan.names[node])
    holder.node_id = element_node_id(run.node_id, index)
    holder.attempt = array.attempts[index]
    if started_at is not None:
        holder.since.CopyFrom(moment(started_at))
    return holder
