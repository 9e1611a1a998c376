"""Sub-workflow nodes: a frame over the sub-workflow's plan, unless the cache has what it would come to."""

from wingbeat_propeller.core.caching import ReservationStatus, Result, restored
from wingbeat_propeller.core.kinds.node_cache import CachedKind, cached_node, explain_cached, has_waited, new_caching
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import Value, stored_values
from wingbeat_propeller.core.waiting.view import View
from wingbeat_propeller.core.walk import Walk
from wingbeatidl.query.v1 import why_pb2


class WorkflowKind(CachedKind):
    """The frame's end is the node's end; its failure is for good, whatever the node's retries."""

    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """Open the frame, unless its outputs may be in the cache."""
        run.values = values
        super().enter(walk, frame, run, node, values, inputs)

    def begin(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Open the frame."""
        self._open(walk, frame, run, node, inputs, None if inputs is not None else _inputs_uri(run))

    def begin_reserved(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """The same; the row has the inputs already."""
        if run.values is None:  # it was queued before a restart
            uri = None if inputs is not None else _inputs_uri(run)
            run.values = stored_values(inputs, uri, frame.plan.sub_plan(node).input_names)
        self._open(walk, frame, run, node, None, None)

    def _open(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None, input_uri: str | None
    ) -> None:
        values, run.values = run.values, None
        run.phase = NodePhase.RUNNING
        run.started_at = run.attempt_started_at = walk.now
        walk.node_row(frame, run, node, inputs=inputs, input_uri=input_uri)
        walk.timers(frame, run, node)
        walk.open_frame(frame.plan.sub_plan(node), values or {}, parent=frame, parent_node=node)

    def end(self, walk: Walk, frame: Frame, run: NodeRun, node: int, result: Result) -> None:
        """With the outputs of the frame."""
        walk.succeed(frame, run, node, dict(result.values), outputs=result.outputs, output_uri=result.output_uri)

    def stop(self, walk: Walk, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """Abort what runs inside."""
        self.close(walk, frame, node)
        if run.child is not None:
            walk.stop_frame(run.child, reason)

    def restore(self, walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow) -> Frame | None:
        """The frame, with its inputs, or the wait for a reservation."""
        if new_caching(walk.state.settings, frame.plan.cached(node), None) is not None:
            run.cache = restored(row)
            run.cache.waits = has_waited(frame, run, node, run.cache)
        if run.phase == NodePhase.QUEUED:
            return None
        plan = frame.plan.sub_plan(node)
        child = walk.state.open_frame(plan, parent=frame, parent_node=node)
        child.outputs[0] = stored_values(row.inputs, row.input_uri, plan.input_names)
        return child

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """The deadlines and the reservation: the frame resumes by itself."""
        walk.timers(frame, run, node)
        call = cached_node(walk, frame, run, node)
        if call is not None and (call.caching.waits or call.caching.reservation == ReservationStatus.ACQUIRED):
            call.reserve(runs=not call.caching.waits)
        elif run.phase == NodePhase.QUEUED:  # the cache is off by now
            self.begin_reserved(walk, frame, run, node, inputs)

    def explain(self, view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
        """It waits for another call, or runs."""
        if run.cache is None or not explain_cached(view, frame, run, node, run.cache, answer):
            super().explain(view, frame, run, node, answer)


def _inputs_uri(run: NodeRun) -> str:
    return f"{run.data_dir}/inputs.pb"
