"""Sub-workflow nodes: a frame over the sub-workflow's plan."""

from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import Value, stored_values
from wingbeat_propeller.core.walk import Walk


class WorkflowKind(Kind):
    """The frame's end is the node's end; its failure is for good, whatever the node's retries."""

    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """Open the frame."""
        run.phase = NodePhase.RUNNING
        run.started_at = run.attempt_started_at = walk.now
        input_uri = None if inputs is not None else f"{run.data_dir}/inputs.pb"
        walk.node_row(frame, run, node, inputs=inputs, input_uri=input_uri)
        walk.timers(frame, run, node)
        walk.open_frame(frame.plan.sub_plan(node), values, parent=frame, parent_node=node)

    def stop(self, walk: Walk, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """Abort what runs inside."""
        if run.child is not None:
            walk.stop_frame(run.child, reason)

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Only the deadlines: the frame resumes by itself."""
        walk.timers(frame, run, node)

    def restore(self, walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow) -> Frame:
        """The frame, with its inputs."""
        plan = frame.plan.sub_plan(node)
        child = walk.state.open_frame(plan, parent=frame, parent_node=node)
        child.outputs[0] = stored_values(row.inputs, row.input_uri, plan.input_names)
        return child
