"""Launch plan nodes: an execution of their own, with a name that follows from the node's.

The child is created once the node's row is durable, and found again by its name after a restart. It ends the node: its
failure is the node's, unchanged and for good; an abort of the child fails the node. Whatever ends the node otherwise
terminates the child.
"""

from flyteidl.core import identifier_pb2
from flyteidl.event import event_pb2

from wingbeat_propeller.core.effects import AbortChild, LaunchChild
from wingbeat_propeller.core.events import ChildEnded, ChildStarted
from wingbeat_propeller.core.ids import child_execution_name
from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import Value, stored_values
from wingbeat_propeller.core.waiting.view import View
from wingbeat_propeller.core.walk import Walk, ref_of
from wingbeatidl.query.v1 import identity_pb2, why_pb2


class LaunchPlanKind(Kind):
    """The node runs from the moment its child exists."""

    counts = True

    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """Create the child once the row is durable."""
        run.phase = NodePhase.QUEUED
        input_uri = None if inputs is not None else _inputs_uri(run)
        walk.node_row(frame, run, node, inputs=inputs, input_uri=input_uri)
        walk.effects.commands.append(_launch(walk, frame, run, node, inputs))
        walk.timers(frame, run, node)

    def stop(self, walk: Walk, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """Terminate the child."""
        cause = f"cascading abort as parent execution id [{walk.state.name}] aborted, reason [{reason}]"
        walk.effects.commands.append(AbortChild(ref_of(frame, run, node), _name(walk, run), cause))

    def restore(self, walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow) -> None:
        """The slot it holds."""
        run.counted = frame.plan.is_counted
        walk.state.active += run.counted

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Find the child, or create it if that had not happened."""
        walk.effects.commands.append(_launch(walk, frame, run, node, inputs))
        walk.timers(frame, run, node)

    def inherits(self, row: NodeRow, checkpoint: str | None) -> str | None:
        """The child, which the new one is to recover."""
        details = event_pb2.NodeExecutionEvent.FromString(row.details or b"")
        if not details.HasField("workflow_node_metadata"):
            return None
        child = details.workflow_node_metadata.execution_id
        return f"{child.project}:{child.domain}:{child.name}"

    def child_started(self, walk: Walk, frame: Frame, run: NodeRun, event: ChildStarted) -> None:
        """The child exists, so clients may be told of it."""
        if run.phase == NodePhase.RUNNING:
            return
        run.phase = NodePhase.RUNNING
        run.started_at = run.attempt_started_at = walk.now
        child = identifier_pb2.WorkflowExecutionIdentifier(project=event.project, domain=event.domain, name=event.name)
        details = event_pb2.NodeExecutionEvent(
            workflow_node_metadata=event_pb2.WorkflowNodeMetadata(execution_id=child)
        )
        walk.node_row(frame, run, event.ref.node).details = details.SerializeToString()
        walk.timers(frame, run, event.ref.node)

    def child_ended(self, walk: Walk, frame: Frame, run: NodeRun, event: ChildEnded) -> None:
        """The end of the child is the end of the node."""
        node = event.ref.node
        if event.failure is not None:
            walk.fail(frame, run, node, event.failure)
            return
        values = stored_values(event.outputs, event.outputs_uri, frame.plan.launch_plan(node).output_names)
        outputs = event.outputs if event.outputs is not None or event.outputs_uri is not None else b""
        walk.succeed(frame, run, node, values, outputs=outputs, output_uri=event.outputs_uri)

    def explain(self, view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
        """The execution that it waits for, or is about to create."""
        state = view.state
        name = child_execution_name(state.name, run.node_id, run.attempt)
        child = identity_pb2.ExecutionIdentifier(project=state.project, domain=state.domain, name=name)
        exists = run.phase == NodePhase.RUNNING
        answer.standing = why_pb2.STANDING_WAITING if exists else why_pb2.STANDING_STARTING
        answer.reasons.add(child_execution=why_pb2.ChildExecution(execution=child, exists=exists))


def _launch(walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> LaunchChild:
    return LaunchChild(
        ref=ref_of(frame, run, node),
        name=_name(walk, run),
        node_id=run.node_id,
        launch_plan=frame.plan.launch_plan(node),
        inputs=inputs,
        inputs_uri=_inputs_uri(run),
        is_repeat=run.phase == NodePhase.RUNNING,
        recovers=run.inherited,
    )


def _name(walk: Walk, run: NodeRun) -> str:
    return child_execution_name(walk.state.name, run.node_id, run.attempt)


def _inputs_uri(run: NodeRun) -> str:
    return f"{run.data_dir}/inputs.pb"
