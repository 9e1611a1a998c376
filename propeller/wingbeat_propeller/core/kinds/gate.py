"""Gate nodes: a sleep, a value that somebody gives, an approval. One that waits costs a timer or a table's entry.

Rules of Flyte v1, but for one: a sleep that is longer than the node's own timeout (flytekit always sends one) is not
ended by it, see `compiler.plan`.
"""

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.core.effects import AwaitSignal, SetTimer
from wingbeat_propeller.core.events import SignalReceived, TimerKind
from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import GateKind
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import Ref, Value, build_literal_map, stored_values
from wingbeat_propeller.core.waiting.view import View, moment
from wingbeat_propeller.core.walk import Walk, ref_of
from wingbeatidl.query.v1 import why_pb2


class GateNodeKind(Kind):
    """Signals belong to the execution, whatever the depth of the gate: two gates may wait for one."""

    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """Wait from now on."""
        run.phase = NodePhase.RUNNING
        run.started_at = run.attempt_started_at = walk.now
        if frame.plan.gate(node).kind is GateKind.APPROVE:
            run.values = values
        input_uri = None if inputs is not None else f"{run.data_dir}/inputs.pb"
        walk.node_row(frame, run, node, inputs=inputs, input_uri=input_uri)
        self._wait(walk, frame, run, node)

    def restore(self, walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow) -> None:
        """What an approval lets pass."""
        if frame.plan.gate(node).kind is GateKind.APPROVE:
            names = [var for var, _ in frame.plan.bindings[node].bindings]
            run.values = stored_values(row.inputs, row.input_uri, names)

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Wait on."""
        self._wait(walk, frame, run, node)

    def woken(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        """The sleep is over."""
        walk.succeed(frame, run, node, {}, outputs=b"")

    def signal_received(self, walk: Walk, frame: Frame, run: NodeRun, event: SignalReceived) -> None:
        """The value is the output, or decides whether the inputs pass."""
        node = event.ref.node
        spec = frame.plan.gate(node)
        if spec.kind is GateKind.SIGNAL:
            values: dict[str, Value] = dict.fromkeys(spec.output_names, event.value)
            walk.succeed(frame, run, node, values, outputs=build_literal_map(dict.fromkeys(values, event.value)))
            return
        approved = _boolean(event.value)
        if approved is None:
            text = f"signal '{spec.signal_id}' was given a value that is no boolean"
            walk.fail(frame, run, node, Failure(ErrorKind.UNKNOWN, "RuntimeExecutionError", text))
        elif not approved:
            text = f"signal '{spec.signal_id}' was rejected"
            walk.fail(frame, run, node, Failure(ErrorKind.USER, "ReceivedRejectSignal", text))
        else:
            self._pass(walk, frame, run, node)

    def explain(self, view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
        """What it waits for, and until when."""
        spec = frame.plan.gate(node)
        answer.standing = why_pb2.STANDING_WAITING
        if spec.kind is GateKind.SLEEP:
            until = (run.attempt_started_at or run.created_at) + spec.duration_s
            answer.reasons.add(sleep=why_pb2.Sleep(until=moment(until)))
        else:
            approval = spec.kind is GateKind.APPROVE
            answer.reasons.add(signal=why_pb2.Signal(signal_id=spec.signal_id, approval=approval))

    def _pass(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        values = run.values or {}
        inline = {name: value for name, value in values.items() if not isinstance(value, Ref)}
        if len(inline) == len(values):
            walk.succeed(frame, run, node, values, outputs=build_literal_map(inline))
        else:
            walk.succeed(frame, run, node, values, output_uri=f"{run.data_dir}/inputs.pb")

    def _wait(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        spec = frame.plan.gate(node)
        ref = ref_of(frame, run, node)
        if spec.kind is GateKind.SLEEP:
            assert run.attempt_started_at is not None, "a gate under way has begun"
            walk.effects.timers.append(SetTimer(ref, run.attempt_started_at + spec.duration_s, TimerKind.WAKE))
        else:
            walk.effects.commands.append(AwaitSignal(ref, spec.signal_id, spec.signal_type))
        walk.timers(frame, run, node)


def _boolean(value: bytes) -> bool | None:
    try:
        primitive = literals_pb2.Literal.FromString(value).scalar.primitive
    except DecodeError:
        return None
    return primitive.boolean if primitive.WhichOneof("value") == "boolean" else None
